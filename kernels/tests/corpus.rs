//! The frozen corpus of real values: every version reads it to the same bits, and none needs more bytes
//! for it than the figures recorded here.

use hearth_kernels::codec::{Effort, times, values};

const SERIES: usize = 523;
const SAMPLES: usize = 1024;

fn corpus() -> (Vec<i64>, Vec<Vec<f64>>) {
    let path = std::path::Path::new("corpus/node_exporter.chunks");
    let bytes = std::fs::read(path).expect("the corpus is there");
    let (mut at, mut series) = (0, Vec::new());
    let mut clock = Vec::new();
    at += times::decode(&bytes, &mut clock).expect("a chunk of times");
    while at < bytes.len() {
        let mut column = Vec::new();
        at += values::decode(&bytes[at..], &mut column).expect("a chunk of values");
        series.push(column);
    }
    (clock, series)
}

/// FNV-1a over all bits.
fn digest(words: impl Iterator<Item = u64>) -> u64 {
    words.flat_map(u64::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Bytes of all series in chunks of so many samples.
#[track_caller]
fn check_size(samples: usize, effort: Effort, most: usize) {
    let (_, series) = corpus();
    let mut bytes = 0;
    for chunk in series.iter().flat_map(|column| column.chunks(samples)) {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        values::encode(chunk, effort, &mut out);
        bytes += out.len();
        assert_eq!(values::decode(&out, &mut back), Ok(out.len()));
        assert!(back.iter().map(|v| v.to_bits()).eq(chunk.iter().map(|v| v.to_bits())));
    }
    let bits = bytes as f64 * 8.0 / (SERIES * SAMPLES) as f64;
    println!("{samples} samples a chunk: {bytes} bytes, {bits:.3} bits a value");
    assert!(bytes <= most, "{bytes} bytes, {most} were enough before");
    assert!(bytes * 100 > most * 97, "{bytes} bytes: lower the recorded {most}");
}

#[test]
fn old_chunks_are_read_to_the_same_bits() {
    let (clock, series) = corpus();
    assert_eq!((clock.len(), series.len()), (SAMPLES, SERIES));
    assert!(series.iter().all(|column| column.len() == SAMPLES));
    let words = series.iter().flatten().map(|v| v.to_bits());
    assert_eq!(digest(clock.iter().map(|t| *t as u64).chain(words)), 0xe59b_1c6c_d7fd_9336);
}

#[test]
fn old_coded_chunks_are_read_to_the_same_bits() {
    const CODED: u8 = 7;
    let bytes = std::fs::read("corpus/coded.chunks").expect("the corpus is there");
    let (_, mut series) = corpus();
    let (mut at, mut read) = (0, 0);
    while at < bytes.len() {
        let mut values = Vec::new();
        assert_eq!(bytes[at], CODED);
        at += values::decode(&bytes[at..], &mut values).expect("a chunk of values");
        let same =
            |column: &Vec<f64>| column.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits()));
        let found = series.iter().position(same).expect("one of the series");
        series.drain(..=found);
        read += 1;
    }
    assert_eq!(read, 16);
}

#[test]
fn chunks_of_a_block_need_no_more_bytes() {
    check_size(1024, Effort::Fast, 226_824);
    check_size(1024, Effort::Small, 212_890);
}

#[test]
fn chunks_of_a_head_need_no_more_bytes() {
    check_size(128, Effort::Fast, 247_136);
}

//! Values come back bit for bit, and what is no chunk is refused.

use super::*;
use proptest::prelude::*;

/// Bytes of the chunk that these values become: at full speed, and as small as can be.
#[track_caller]
fn check(values: &[f64]) -> [usize; 2] {
    let bytes = [check_effort(values, Effort::Fast), check_effort(values, Effort::Small)];
    assert!(bytes[1] <= bytes[0], "{bytes:?}");
    bytes
}

#[track_caller]
fn check_effort(values: &[f64], effort: Effort) -> usize {
    let mut bytes = vec![0xaa; 3];
    encode(values, effort, &mut bytes);
    let chunk = &bytes[3..];
    let mut out = vec![7.5];
    assert_eq!(decode(chunk, &mut out), Ok(chunk.len()));
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&out[1..]), bits(values));
    assert_eq!(out[0], 7.5);
    assert_eq!(count(chunk), Ok(values.len()));
    for level in Level::ALL {
        // With bytes behind the chunk, and without.
        for tail in [0, 100] {
            let (mut again, mut bytes) = (Vec::new(), chunk.to_vec());
            bytes.resize(chunk.len() + tail, 0xff);
            assert_eq!(decode_on(level, &bytes, &mut again), Ok(chunk.len()));
            assert_eq!(bits(&again), bits(values), "{level:?}");
        }
    }
    for length in 0..chunk.len() {
        let mut none = Vec::new();
        let cut = decode(&chunk[..length], &mut none);
        assert!(cut.is_err() && none.is_empty(), "cut at {length}: {cut:?}");
    }
    chunk.len()
}

fn series(count: usize, value: impl FnMut(usize) -> f64) -> Vec<f64> {
    (0..count).map(value).collect()
}

#[track_caller]
fn check_size(most: usize, values: &[f64]) {
    let [bytes, _] = check(values);
    assert!(bytes <= most, "{bytes} bytes, expected at most {most}");
}

#[test]
fn simple_shapes_are_small() {
    check_size(4, &series(128, |_| 0.0));
    check_size(6, &series(1024, |_| 12.5));
    // A line: header, start, step.
    check_size(9, &series(1024, |i| 1_000.0 + 15.0 * i as f64));
    check_size(11, &series(1024, |i| 0.25 * i as f64));
    // One change: its place and its size.
    check_size(12, &series(1024, |i| if i < 500 { 3.0 } else { 4.0 }));
    // 4 KiB pages, up to 15 apart.
    check_size(600, &series(1024, |i| 4096.0 * ((i * 7919) % 16) as f64));
    // A stale marker in a constant.
    check_size(14, &series(128, |i| if i == 99 { f64::from_bits(0x7ff0_0000_0000_0002) } else { 1.0 }));
}

#[test]
fn coded_chunks_are_smaller() {
    // Half of the steps are one, a quarter two, an eighth four, …
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut sum = 0;
    let skewed = series(1024, |_| {
        sum += 1u64 << random().trailing_zeros().min(20);
        sum as f64
    });
    let [fast, small] = check(&skewed);
    // Chance has two bits each there, 256 bytes in all.
    assert!(small < 300 && fast > 400, "{fast} and {small} bytes");
    // Where all are as likely, they need their bits in any form.
    let even = series(1024, |_| (random() & 0xffff) as f64);
    assert!(matches!(check(&even), [fast, small] if fast == small));
}

#[test]
fn single_values_and_short_runs() {
    for value in [0.0, -0.0, 1.5, f64::NAN, f64::MIN_POSITIVE / 4.0, f64::MAX] {
        check(&[value]);
        check(&[value, 1.0]);
        check(&[1.0, value, 2.0]);
    }
}

#[test]
fn edges_of_exact_integers() {
    let edge = (1u64 << 53) as f64;
    check(&series(100, |i| edge + 2.0 * i as f64 - 100.0));
    check(&series(100, |i| (1u64 << 51) as f64 + i as f64 - 50.0));
    check(&series(100, |i| -edge - 2.0 * i as f64));
    check(&series(64, |i| 1e15 / 7.0 + i as f64 * 0.125));
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0i64..1000).prop_map(|i| i as f64),
        4 => (-100_000i64..100_000).prop_map(|i| i as f64 / 100.0),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324,
            f64::from_bits(0x7ff0_0000_0000_0002), f64::from_bits(0xfff8_dead_beef_0001), 9007199254740993.0,
            9007199254740992.0, -9007199254740992.0, f64::MAX, f64::MIN_POSITIVE]),
    ]
}

proptest! {
    #[test]
    fn any_mix_comes_back(values in prop::collection::vec(value(), 1..200)) {
        check(&values);
    }

    #[test]
    fn any_bits_come_back(bits in prop::collection::vec(any::<u64>(), 1..60)) {
        check(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
    }

    #[test]
    fn counters_with_accidents_come_back(
        steps in prop::collection::vec(0u32..50, 2..1024),
        scale in prop::sample::select(vec![1.0, 100.0, 4096.0, 0.1, 1e9, 3.0]),
        accidents in prop::collection::vec((any::<prop::sample::Index>(), value()), 0..6),
    ) {
        let mut sum = 0.0;
        let mut values: Vec<f64> = steps.iter().map(|step| { sum += f64::from(*step); sum / scale }).collect();
        for (at, value) in accidents {
            let at = at.index(values.len());
            values[at] = value;
        }
        check(&values);
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..7, flags in 0u8..32, coded in any::<bool>()) {
        let mut bytes = bytes;
        // Most of all bytes are no kind.
        if let Some(first) = bytes.first_mut() {
            *first = if *first < 32 { *first } else { kind | flags << 3 };
        }
        if coded {
            bytes.insert(0, 7);
        }
        let mut out = Vec::new();
        let expect = decode_on(Level::Scalar, &bytes, &mut out);
        for level in Level::ALL {
            let mut again = Vec::new();
            prop_assert_eq!(decode_on(level, &bytes, &mut again), expect);
            prop_assert!(again.iter().map(|v| v.to_bits()).eq(out.iter().map(|v| v.to_bits())), "{:?}", level);
        }
        out.clear();
        match decode(&bytes, &mut out) {
            Ok(read) => prop_assert!(read <= bytes.len() && (1..=CHUNK_SAMPLES_MAX).contains(&out.len())),
            Err(_) => prop_assert!(out.is_empty()),
        }
    }

    #[test]
    fn changed_bytes_decode_or_fail(
        values in prop::collection::vec(value(), 1..400), at in any::<prop::sample::Index>(), xor in 1u8..,
        effort in prop::sample::select(vec![Effort::Fast, Effort::Small]),
    ) {
        let mut bytes = Vec::new();
        encode(&values, effort, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= xor;
        let _ = decode(&bytes, &mut Vec::new());
    }
}

//! Any bytes as a sealed chunk of times, and as times: see `chunk_values`.

use hearth_kernels::codec::{CHUNK_SAMPLES_MAX, times};

pub fn run(data: &[u8]) {
    let mut decoded = Vec::new();
    match times::decode(data, &mut decoded) {
        Ok(read) => {
            assert!(read <= data.len() && (1..=CHUNK_SAMPLES_MAX).contains(&decoded.len()));
            comes_back(&decoded);
        }
        Err(_) => assert!(decoded.is_empty()),
    }
    let any: Vec<i64> = data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    any.chunks(CHUNK_SAMPLES_MAX).for_each(comes_back);
}

fn comes_back(any: &[i64]) {
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    times::encode(any, &mut bytes);
    assert!(bytes.len() <= any.len() * 8 + 3);
    assert_eq!(times::decode(&bytes, &mut again), Ok(bytes.len()));
    assert_eq!(again, any);
}

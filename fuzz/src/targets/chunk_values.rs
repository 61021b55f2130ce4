//! Any bytes as a sealed chunk of floats: decoded within its bounds, or refused; what was decoded is
//! encoded and decoded again to the same bits. And any bytes as floats.

use hearth_kernels::codec::{CHUNK_SAMPLES_MAX, Effort, values};

pub fn run(data: &[u8]) {
    let mut decoded = Vec::new();
    match values::decode(data, &mut decoded) {
        Ok(read) => {
            assert!(read <= data.len() && (1..=CHUNK_SAMPLES_MAX).contains(&decoded.len()));
            assert_eq!(values::count(data), Ok(decoded.len()));
            comes_back(&decoded);
        }
        Err(_) => assert!(decoded.is_empty()),
    }
    let floats: Vec<f64> = data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    floats.chunks(CHUNK_SAMPLES_MAX).for_each(comes_back);
}

fn comes_back(floats: &[f64]) {
    for effort in [Effort::Fast, Effort::Small] {
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        values::encode(floats, effort, &mut bytes);
        assert!(bytes.len() <= floats.len() * 8 + 3);
        assert_eq!(values::decode(&bytes, &mut again), Ok(bytes.len()));
        assert!(again.iter().map(|v| v.to_bits()).eq(floats.iter().map(|v| v.to_bits())));
    }
}

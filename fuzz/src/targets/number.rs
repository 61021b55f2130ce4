//! Floats as text. What reads as a float must print in every form as text that reads as the same bits.

use hearth_model::number::{parse_float, write_fixed, write_result, write_short};

pub fn run(data: &[u8]) {
    if let Ok(value) = parse_float(data) {
        check(value);
    }
    if let Some(bits) = data.first_chunk::<8>() {
        check(f64::from_bits(u64::from_le_bytes(*bits)));
    }
}

fn check(value: f64) {
    for write in [write_fixed, write_result, write_short] {
        let mut text = Vec::new();
        write(&mut text, value);
        let back = parse_float(&text).expect("what is printed reads");
        assert!(back.to_bits() == value.to_bits() || value.is_nan(), "{value:e}: {}", text.escape_ascii());
    }
}

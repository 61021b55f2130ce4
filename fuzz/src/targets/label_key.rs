//! The bytes of a label set as a remote-write sender encodes them. What decodes must encode to a key that
//! decodes to the same labels, and the decoder must say rightly whether it was given that key already.

use hearth_model::key;

pub fn run(data: &[u8]) {
    let Ok(decoded) = key::decode_key(data) else { return };
    let canonical = key::key_of(&decoded.labels());
    assert_eq!(decoded.canonical, canonical == data, "says wrongly whether the bytes are the key");
    let again = key::decode_key(&canonical).expect("a key that was just made decodes");
    assert!(again.canonical && again.pairs == decoded.pairs, "the key decodes to other labels");
}

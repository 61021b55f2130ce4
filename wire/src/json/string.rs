//! JSON strings in the two ways Prometheus writes them: labels of results plainly, everything that goes
//! through its general encoder with the characters escaped that are special to HTML.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What is special about a byte: 0 nothing, 1 always escaped, 2 escaped for HTML only, 3 perhaps the
/// start of a line separator that is escaped for HTML.
const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut byte = 0;
    while byte < 0x20 {
        class[byte] = 1;
        byte += 1;
    }
    class[b'"' as usize] = 1;
    class[b'\\' as usize] = 1;
    class[b'<' as usize] = 2;
    class[b'>' as usize] = 2;
    class[b'&' as usize] = 2;
    class[0xe2] = 3;
    class
};

/// A string as result labels are written: `"`, `\` and control characters escaped, nothing else.
#[inline]
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write(out, text, 1);
}

/// A string as the rest of the API is written: `<`, `>`, `&`, U+2028 and U+2029 escaped as well.
pub fn write_string_html(out: &mut Vec<u8>, text: &str) {
    write(out, text, 3);
}

#[inline(always)]
fn write(out: &mut Vec<u8>, text: &str, highest_class: u8) {
    let bytes = text.as_bytes();
    out.push(b'"');
    if needs_care(bytes, highest_class) {
        write_escaped(out, bytes, highest_class);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

/// Whether any byte is perhaps to be escaped: eight at a time, with the zero-byte test on words, which has
/// no false marks where there is no true one.
#[inline(always)]
fn needs_care(bytes: &[u8], highest_class: u8) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let plain = |byte: &u8| {
        let class = CLASS[*byte as usize];
        class == 0 || class > highest_class
    };
    if highest_class > 1 {
        return !bytes.iter().all(plain);
    }
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    let marks = words.iter().fold(0, |marks, word| {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        marks | control | zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64))
    });
    marks != 0 || !rest.iter().all(plain)
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, bytes: &[u8], highest_class: u8) {
    let mut plain = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let class = CLASS[byte as usize];
        if class == 0 || class > highest_class {
            continue;
        }
        let mut next = i + 1;
        let separator = &bytes[i..bytes.len().min(i + 3)];
        if class == 3 && separator != "\u{2028}".as_bytes() && separator != "\u{2029}".as_bytes() {
            continue;
        }
        out.extend_from_slice(&bytes[plain..i]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[(separator[2] & 0xf) as usize]);
                next = i + 3;
            }
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[(byte >> 4) as usize], HEX[(byte & 0xf) as usize]]);
            }
        }
        plain = next;
    }
    out.extend_from_slice(&bytes[plain..]);
}

//! Where a push goes: `job/NAME` and then pairs of a label's name and value, each value as it is or, behind
//! a name that ends in `@base64`, in that encoding's form for URLs.

use super::Labels;
use crate::config::MAX_PUSH_PATH_LABELS;
use hearth_model::label::is_classic_label_name;
use hearth_wire::exposition::unescape_values;

const BASE64: &str = "@base64";

/// The labels that a path names.
pub fn group(path: &str, utf8_names: bool) -> Result<Labels, String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    if !parts.len().is_multiple_of(2) {
        return Err(format!("odd number of components in label string {path:?}"));
    }
    if parts.len() / 2 > MAX_PUSH_PATH_LABELS {
        return Err(format!("more than {MAX_PUSH_PATH_LABELS} labels"));
    }
    let mut labels = Labels::new();
    for (index, pair) in parts.chunks_exact(2).enumerate() {
        let (name, value) = (decode(pair[0])?, decode(pair[1])?);
        let (name, value) = match name.strip_suffix(BASE64) {
            None => (name, value),
            Some(plain) => {
                let text = base64(&value).and_then(|bytes| String::from_utf8(bytes).ok());
                let invalid = || format!("invalid base64 encoding for label {plain}={value:?}");
                (plain.to_owned(), text.ok_or_else(invalid)?)
            }
        };
        let name = if utf8_names { unescape_values(&name).into_owned() } else { name };
        let usable = !name.is_empty() && (utf8_names || is_classic_label_name(&name));
        if !usable || name.starts_with("__") {
            return Err(format!("improper label name {name:?}"));
        }
        if index == 0 && name != "job" {
            return Err("the path must begin with job".into());
        }
        if index == 0 && value.is_empty() {
            return Err("job name is required".into());
        }
        if labels.insert(name.clone(), value).is_some() {
            return Err(format!("label {name:?} is named twice"));
        }
    }
    Ok(labels)
}

/// Resolves percent signs.
fn decode(part: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16);
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                    return Err(format!("invalid URL escape in {part:?}"));
                };
                out.push((high * 16 + low) as u8);
                rest = tail;
            }
            (b'%', _) => return Err(format!("invalid URL escape in {part:?}")),
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).map_err(|_| format!("{part:?} is not UTF-8"))
}

/// RFC 4648 for URLs; padding is optional, bits left over must be zero.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let (mut bits, mut held, mut out) = (0u32, 0u32, Vec::new());
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6 && bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_groups() {
        let check = |path: &str, expect: Result<&str, &str>| {
            let got = group(path, path.contains("U__"));
            let text = got.map(|l| l.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "));
            assert_eq!(text.as_deref().map_err(String::as_str), expect, "{path}");
        };
        check("job/a", Ok("job=a"));
        check("job/a/", Ok("job=a"));
        check("job/a%20b/instance/x", Ok("instance=x job=a b"));
        check("job@base64/L2E_Yg/path@base64/=", Ok("job=/a?b path="));
        check("job/a/l/", Err("odd number of components in label string \"job/a/l\""));
        check("job/a/l//", Ok("job=a l="));
        check("job/a/U__l_2e_x/1", Ok("job=a l.x=1"));
        check("job/", Err("odd number of components in label string \"job\""));
        check("job@base64/=", Err("job name is required"));
        check("job/a/b/c/b/d", Err("label \"b\" is named twice"));
        check("job/a/__b/c", Err("improper label name \"__b\""));
        check("job/a/b-c/c", Err("improper label name \"b-c\""));
        check("instance/a", Err("the path must begin with job"));
        check("job/%zz", Err("invalid URL escape in \"%zz\""));
        check("job/%ff", Err("\"%ff\" is not UTF-8"));
        check("job@base64/a", Err("invalid base64 encoding for label job=\"a\""));
        check("job@base64/a+b=", Err("invalid base64 encoding for label job=\"a+b=\""));
    }
}

//! Writes the text format 0.0.4: our own `/metrics`, and federation. Names that the format has no bare
//! form for are quoted within the braces, as its version 1.0.0 does.

use crate::metadata::MetricType;
use hearth_model::label::{METRIC_NAME, is_classic_label_name, is_classic_metric_name};
use hearth_model::number::write_short;

/// `# HELP name text`
pub fn write_help(out: &mut Vec<u8>, family: &str, help: &str) {
    out.extend_from_slice(b"# HELP ");
    write_family(out, family);
    out.push(b' ');
    write_escaped(out, help, false);
    out.push(b'\n');
}

/// `# TYPE name type`; types that this format does not know are `untyped`.
pub fn write_type(out: &mut Vec<u8>, family: &str, metric_type: MetricType) {
    out.extend_from_slice(b"# TYPE ");
    write_family(out, family);
    out.push(b' ');
    let name = match metric_type {
        MetricType::Counter | MetricType::Gauge | MetricType::Histogram | MetricType::Summary => {
            metric_type.name()
        }
        _ => "untyped",
    };
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
}

/// `name{label="value"} value time`. A label named `__name__` is left out: `name` says it. Labels with an
/// empty value are written: in federation they mean something.
pub fn write_sample<'l>(
    out: &mut Vec<u8>,
    name: &str,
    labels: impl IntoIterator<Item = (&'l str, &'l str)>,
    value: f64,
    timestamp_ms: Option<i64>,
) {
    write_series(out, name, labels);
    out.push(b' ');
    write_short(out, value);
    if let Some(time) = timestamp_ms {
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(time).as_bytes());
    }
    out.push(b'\n');
}

/// `name{label="value"}`, by the same rules.
pub fn write_series<'l>(out: &mut Vec<u8>, name: &str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) {
    let classic = is_classic_metric_name(name);
    let mut separator: &[u8] = b"{";
    if classic {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'{');
        write_quoted(out, name);
        separator = b",";
    }
    for (label, value) in labels {
        if label == METRIC_NAME {
            continue;
        }
        out.extend_from_slice(separator);
        separator = b",";
        if is_classic_label_name(label) {
            out.extend_from_slice(label.as_bytes());
        } else {
            write_quoted(out, label);
        }
        out.push(b'=');
        write_quoted(out, value);
    }
    if separator == b"," {
        out.push(b'}');
    }
}

fn write_family(out: &mut Vec<u8>, family: &str) {
    if is_classic_metric_name(family) {
        out.extend_from_slice(family.as_bytes());
    } else {
        write_quoted(out, family);
    }
}

pub(super) fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text, true);
    out.push(b'"');
}

pub(super) fn write_escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            other => out.push(other),
        }
    }
}

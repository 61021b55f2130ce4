//! Which format a body is in.

use std::fmt;
use std::str::FromStr;

/// A format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The Prometheus text format; its versions 0.0.4 and 1.0.0 are read the same way.
    Text,
    OpenMetrics,
}

/// A format we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Lines(Format),
    Protobuf,
}

impl FromStr for Protocol {
    type Err = ContentTypeError;

    /// The names of `scrape_protocols` and `fallback_scrape_protocol` in the configuration.
    fn from_str(name: &str) -> Result<Protocol, ContentTypeError> {
        match name {
            "PrometheusText0.0.4" | "PrometheusText1.0.0" => Ok(Protocol::Lines(Format::Text)),
            "OpenMetricsText0.0.1" | "OpenMetricsText1.0.0" => Ok(Protocol::Lines(Format::OpenMetrics)),
            "PrometheusProto" => Ok(Protocol::Protobuf),
            other => Err(ContentTypeError::UnknownProtocol(other.to_owned())),
        }
    }
}

/// Why we do not know how to read a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentTypeError {
    Blank,
    Malformed(String),
    Unsupported(String),
    UnknownProtocol(String),
}

impl fmt::Display for ContentTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = "no fallback_scrape_protocol specified for target";
        match self {
            ContentTypeError::Blank => {
                write!(f, "non-compliant scrape target sending blank Content-Type and {none}")
            }
            ContentTypeError::Malformed(header) => {
                write!(f, "cannot parse Content-Type {header:?} and {none}")
            }
            ContentTypeError::Unsupported(header) => {
                write!(f, "received unsupported Content-Type {header:?} and {none}")
            }
            ContentTypeError::UnknownProtocol(name) => write!(f, "unknown scrape protocol {name:?}"),
        }
    }
}

impl std::error::Error for ContentTypeError {}

impl Protocol {
    /// From a response's `Content-Type` (`""` where there is none). The fallback stands in for a header
    /// that is missing, malformed, or names a type nobody could read as metrics.
    pub fn from_content_type(header: &str, fallback: Option<Protocol>) -> Result<Protocol, ContentTypeError> {
        let error = match media_type(header) {
            _ if header.is_empty() => ContentTypeError::Blank,
            None => ContentTypeError::Malformed(header.to_owned()),
            Some(media) => match media.as_str() {
                "text/plain" => return Ok(Protocol::Lines(Format::Text)),
                "application/openmetrics-text" => return Ok(Protocol::Lines(Format::OpenMetrics)),
                "application/vnd.google.protobuf" => return Ok(Protocol::Protobuf),
                _ => ContentTypeError::Unsupported(header.to_owned()),
            },
        };
        fallback.ok_or(error)
    }
}

/// A character of an HTTP token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The media type in lower case; `None` where it, or a parameter, is malformed.
fn media_type(header: &str) -> Option<String> {
    let (media, mut rest) = header.split_once(';').map_or((header, ""), |(media, rest)| (media, rest));
    let media = media.trim();
    let mut parts = media.split('/');
    let well_formed = parts.by_ref().take(2).all(|part| !part.is_empty() && part.bytes().all(is_token));
    if !well_formed || parts.next().is_some() {
        return None;
    }
    let mut seen: Vec<&str> = Vec::new();
    while !rest.trim().is_empty() {
        let (name, after) = parameter(rest.trim_start())?;
        if seen.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return None;
        }
        seen.push(name);
        let after = after.trim_start();
        rest = if after.is_empty() { "" } else { after.strip_prefix(';')? };
    }
    Some(media.to_ascii_lowercase())
}

/// The name of the `name=value` or `name="value"` at the start, and what follows it.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let (name, rest) = (name.trim_end(), rest.trim_start());
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted.bytes().position(|b| {
            let closes = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            closes
        })?;
        return Some((name, &quoted[end + 1..]));
    }
    let end = rest.bytes().position(|b| !is_token(b)).unwrap_or(rest.len());
    (end > 0).then(|| (name, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_decides_and_the_fallback_helps() {
        let check = |header: &str, expect: &str| {
            let found = match Protocol::from_content_type(header, None) {
                Ok(Protocol::Lines(format)) => format!("{format:?}"),
                other => other.map_or_else(|error| error.to_string(), |protocol| format!("{protocol:?}")),
            };
            assert_eq!(found, expect, "{header}");
        };
        check("text/plain", "Text");
        check("Text/Plain; version=0.0.4; charset=utf-8", "Text");
        check("text/plain;version=1.0.0;escaping=allow-utf-8", "Text");
        check("text/plain; version=\"0.0.4\" ;", "Text");
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", "OpenMetrics");
        let none = "and no fallback_scrape_protocol specified for target";
        check("", &format!("non-compliant scrape target sending blank Content-Type {none}"));
        check("text/html", &format!("received unsupported Content-Type \"text/html\" {none}"));
        check("text/plain; x", &format!("cannot parse Content-Type \"text/plain; x\" {none}"));
        check("text/plain; a=1; a=2", &format!("cannot parse Content-Type \"text/plain; a=1; a=2\" {none}"));
        check("text/", &format!("cannot parse Content-Type \"text/\" {none}"));
        check(
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            "Protobuf",
        );
        for header in ["", "text/html", "text/plain; x"] {
            let open = Protocol::Lines(Format::OpenMetrics);
            assert_eq!(Protocol::from_content_type(header, Some(open)), Ok(open));
        }
        let fallback = Some(Protocol::Lines(Format::Text));
        assert_eq!(
            Protocol::from_content_type("application/vnd.google.protobuf", fallback),
            Ok(Protocol::Protobuf)
        );
    }
}

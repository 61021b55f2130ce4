//! Log lines in Prometheus' two formats, on standard error: `time=… level=INFO source=… msg=…` and the
//! same as JSON. Nothing in here decides what is logged.

use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Logfmt,
    Json,
}

/// Turns logging on for the rest of the process' life.
pub fn start(level: &str, format: Format) {
    let level = match level {
        "debug" => Level::DEBUG,
        "warn" => Level::WARN,
        "error" => Level::ERROR,
        _ => Level::INFO,
    };
    // Libraries below ours talk too much at debug level; theirs is held at info.
    let ours = tracing_subscriber::filter::filter_fn(move |metadata| {
        metadata.level() <= &level
            && (metadata.target().starts_with("hearth") || metadata.level() <= &Level::WARN)
    });
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { format })
        .with_writer(std::io::stderr)
        .with_filter(ours);
    let subscriber = tracing_subscriber::registry().with(lines);
    // Fails only where logging is on already, and then it stays as it is.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Lines {
    format: Format,
}

/// An event's fields; the message comes first whatever its place.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String, bool)>,
}

impl Fields {
    fn push(&mut self, field: &Field, text: String, quoted: bool) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.others.push((field.name(), text, quoted));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}"), true);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.to_owned(), true);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.to_string(), false);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.to_string(), false);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = if value.is_finite() { value.to_string() } else { format!("\"{value}\"") };
        self.push(field, text, false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.to_string(), false);
    }
}

/// One line, without its end.
fn line(format: Format, time: jiff::Timestamp, level: Level, source: &str, fields: &Fields) -> String {
    let mut out = String::new();
    match format {
        Format::Logfmt => {
            let _ =
                write!(out, "time={time:.3} level={level} source={source} msg={}", quoted(&fields.message));
            for (name, text, _) in &fields.others {
                let _ = write!(out, " {name}={}", quoted(text));
            }
        }
        Format::Json => {
            let _ = write!(
                out,
                "{{\"time\":\"{time:.9}\",\"level\":\"{level}\",\"source\":{},\"msg\":{}",
                json(source),
                json(&fields.message)
            );
            for (name, text, is_text) in &fields.others {
                let text = if *is_text { json(text) } else { text.clone() };
                let _ = write!(out, ",{}:{text}", json(name));
            }
            out.push('}');
        }
    }
    out
}

/// A logfmt value: in quotes where it holds blanks, quotes, `=` or what cannot be printed, so that no value
/// can pass for another field or line.
fn quoted(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=' && c != '\\';
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

fn json(text: &str) -> String {
    let mut out = Vec::new();
    hearth_wire::json::write_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let file = metadata.file().unwrap_or("unknown");
        let file = file.rsplit_once('/').map_or(file, |(_, name)| name);
        let source = format!("{file}:{}", metadata.line().unwrap_or(0));
        let text = line(self.format, jiff::Timestamp::now(), *metadata.level(), &source, &fields);
        writeln!(writer, "{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, expect: &str) {
        let fields = Fields {
            message: "Server is ready".to_owned(),
            others: vec![
                ("err", "a \"b\"\nc=d".to_owned(), true),
                ("count", "5".to_owned(), false),
                ("component", "web".to_owned(), true),
            ],
        };
        let time = "2026-11-22T12:34:54.506123Z".parse().expect("time");
        assert_eq!(line(format, time, Level::INFO, "main.rs:5", &fields), expect);
    }

    #[test]
    fn lines_look_like_those_of_prometheus() {
        check(
            Format::Logfmt,
            "time=2026-11-22T12:34:54.506Z level=INFO source=main.rs:5 msg=\"Server is ready\" err=\"a \\\"b\\\"\\nc=d\" count=5 component=web",
        );
        check(
            Format::Json,
            r#"{"time":"2026-11-22T12:34:54.506123000Z","level":"INFO","source":"main.rs:5","msg":"Server is ready","err":"a \"b\"\nc=d","count":5,"component":"web"}"#,
        );
    }
}

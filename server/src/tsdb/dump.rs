//! `hearth tsdb dump` and `dump-openmetrics`: every sample, a line each, series by series.

use super::Failure;
use hearth_engine::moving::MovingError;
use hearth_engine::moving::read::Files;
use hearth_model::label::{METRIC_NAME, is_classic_label_name, write_quoted};
use hearth_model::number::write_short;
use hearth_model::{Histogram, Labels, Matcher, TimeRange};
use std::io::{self, Write};
use std::sync::Arc;

/// How a sample looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{labels} value milliseconds`.
    Promtool,
    /// `name{labels} value seconds`; native histograms have no text form there and are left out.
    OpenMetrics,
}

/// An error of the stream that is printed to, or of the files.
enum Stop {
    Out(io::Error),
    Files(MovingError),
}

impl From<MovingError> for Stop {
    fn from(error: MovingError) -> Self {
        Stop::Files(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Out(error)
    }
}

pub fn run(
    files: &mut Files,
    selectors: &[Arc<[Matcher]>],
    range: TimeRange,
    form: Form,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut line = Vec::new();
    let printed = files.series(selectors, range, |labels, samples| {
        let series = series(labels, form);
        let mut histograms = samples.histograms.iter().filter(|_| form == Form::Promtool).peekable();
        for (time, value) in samples.times.iter().zip(&samples.values) {
            while let Some((at, histogram)) = histograms.next_if(|(at, _)| at < time) {
                writeln!(out, "{series} {} {at}", described(histogram))?;
            }
            line.clear();
            write_short(&mut line, *value);
            write!(out, "{series} ")?;
            out.write_all(&line)?;
            match form {
                Form::Promtool => writeln!(out, " {time}")?,
                Form::OpenMetrics => writeln!(out, " {}", seconds(*time))?,
            }
        }
        for (at, histogram) in histograms {
            writeln!(out, "{series} {} {at}", described(histogram))?;
        }
        Ok(())
    });
    printed.map_err(|stop| match stop {
        Stop::Out(error) => Failure::from(error),
        Stop::Files(error) => Failure::from(error),
    })?;
    if form == Form::OpenMetrics {
        out.write_all(b"# EOF\n")?;
    }
    Ok(())
}

/// Milliseconds as seconds with three digits.
fn seconds(ms: i64) -> String {
    let (sign, all) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    format!("{sign}{}.{:03}", all / 1000, all % 1000)
}

fn series(labels: &Labels, form: Form) -> String {
    let named = form == Form::OpenMetrics;
    let mut text = if named { labels.metric_name().to_owned() } else { String::new() };
    text.push('{');
    let mut separator = "";
    for (name, value) in labels.iter().filter(|(name, _)| !(named && *name == METRIC_NAME)) {
        text.push_str(separator);
        // A string takes everything.
        let _ = if is_classic_label_name(name) {
            text.push_str(name);
            Ok(())
        } else {
            write_quoted(&mut text, name)
        };
        text.push('=');
        let _ = write_quoted(&mut text, value);
        separator = ", ";
    }
    text.push('}');
    text
}

fn short(value: f64) -> String {
    let mut out = Vec::new();
    write_short(&mut out, value);
    out.into_iter().map(char::from).collect()
}

/// `{count:…, sum:…, (lower,upper]:count, …}`, without empty buckets; whole counts in all their digits.
fn described(histogram: &Histogram) -> String {
    let count = |n: f64| if histogram.integer { format!("{n:.0}") } else { short(n) };
    let mut text = format!("{{count:{}, sum:{}", count(histogram.count), short(histogram.sum));
    for bucket in histogram.all_buckets().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (short(bucket.lower), short(bucket.upper));
        text += &format!(", {open}{lower},{upper}{close}:{}", count(bucket.count));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::Span;

    #[test]
    fn lines_look_like_those_of_promtool() {
        let labels = Labels::from_pairs([("__name__", "m"), ("a b", "c\"d"), ("s", "é")]);
        assert_eq!(series(&labels, Form::Promtool), r#"{__name__="m", "a b"="c\"d", s="é"}"#);
        assert_eq!(series(&labels, Form::OpenMetrics), r#"m{"a b"="c\"d", s="é"}"#);
        assert_eq!(series(&Labels::from_pairs([("__name__", "m")]), Form::OpenMetrics), "m{}");
        assert_eq!([seconds(1_795_810_199_000), seconds(-1_005)], ["1795810199.000", "-1.005"]);
        let histogram = Histogram {
            schema: 3,
            integer: true,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 12_345_678.0,
            sum: 3.0,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
            positive_counts: vec![3.0, 0.0, 3.0],
            ..Histogram::stale()
        };
        assert_eq!(
            described(&histogram),
            "{count:12345678, sum:3, [-0.001,0.001]:2, (0.9170040432046711,1]:3, (1.189207115002721,1.2968395546510096]:3}"
        );
    }
}

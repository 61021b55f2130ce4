//! What was pushed: text or protobuf, plain or compressed, read into families whose series carry the
//! group's labels.

use super::group::{TIMES, spell};
use super::{Family, Labels, Push, Pushed, Value};
use crate::config::{MAX_PUSH_BODY_BYTES, MAX_PUSH_SAMPLES};
use hearth_model::Histogram;
use hearth_model::label::METRIC_NAME;
use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Entry, Format, Histograms, Parser, ProtobufParser, Protocol, labels_of, unescape_help,
};
use hearth_wire::metadata::MetricType;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Plain,
    Gzip,
    /// In frames.
    Snappy,
}

impl Encoding {
    /// From `Content-Encoding`.
    pub fn named(name: &str) -> Option<Encoding> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Plain),
            "gzip" => Some(Encoding::Gzip),
            "snappy" => Some(Encoding::Snappy),
            _ => None,
        }
    }
}

fn decompress<'a>(body: &'a [u8], encoding: Encoding) -> Result<Cow<'a, [u8]>, String> {
    let reader: Box<dyn Read + 'a> = match encoding {
        Encoding::Plain => return Ok(Cow::Borrowed(body)),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Encoding::Snappy => Box::new(snap::read::FrameDecoder::new(body)),
    };
    let mut out = Vec::new();
    let read = reader.take(MAX_PUSH_BODY_BYTES as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| format!("decompressing the body: {error}"))?;
    if out.len() > MAX_PUSH_BODY_BYTES {
        return Err(format!("the body has more than {MAX_PUSH_BODY_BYTES} bytes once decompressed"));
    }
    Ok(Cow::Owned(out))
}

/// Reads a push's body.
pub fn families(push: &Push<'_>, now_ms: i64) -> Result<BTreeMap<String, Family>, String> {
    let body = decompress(push.body, push.encoding)?;
    let mut reading =
        Reading { group: &push.group, now_ms, families: BTreeMap::new(), name: String::new(), samples: 0 };
    let protocol = Protocol::from_content_type(push.content_type, Some(Protocol::Lines(Format::Text)));
    match protocol.map_err(|error| error.to_string())? {
        // The line that is cut off may be a number that is cut off.
        Protocol::Lines(_) if body.last().is_some_and(|byte| *byte != b'\n') => {
            return Err("the body does not end with a line break: it may not be whole".into());
        }
        Protocol::Lines(format) => {
            let mut parser = Parser::new(format, &body, &Limits::default());
            loop {
                match parser.next().map_err(|error| error.to_string())? {
                    Entry::Eof => break,
                    Entry::Help { family, help } => {
                        reading.family(family).help = unescape_help(help, format).into_owned()
                    }
                    entry => reading.entry(&entry)?,
                }
            }
        }
        Protocol::Protobuf => {
            let histograms = Histograms { native: true, always_classic: true };
            let mut parser = ProtobufParser::new(&body, histograms, &Limits::default());
            loop {
                match parser.next().map_err(|error| error.to_string())? {
                    Entry::Eof => break,
                    Entry::Help { family, help } => help.clone_into(&mut reading.family(family).help),
                    entry => reading.entry(&entry)?,
                }
            }
        }
    }
    let mut families = reading.families;
    families.retain(|name, family| !family.samples.is_empty() && TIMES.iter().all(|(own, _)| own != name));
    Ok(families)
}

struct Reading<'a> {
    group: &'a Labels,
    now_ms: i64,
    families: BTreeMap<String, Family>,
    /// The family that metadata named last.
    name: String,
    samples: usize,
}

impl Reading<'_> {
    fn family(&mut self, name: &str) -> &mut Family {
        name.clone_into(&mut self.name);
        let pushed_ms = self.now_ms;
        self.families.entry(name.to_owned()).or_insert_with(|| Family {
            kind: MetricType::Unknown,
            help: String::new(),
            unit: String::new(),
            pushed_ms,
            samples: Vec::new(),
        })
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        match *entry {
            Entry::Type { family, metric_type } => {
                let family = self.family(family);
                if !family.samples.is_empty() {
                    return Err(format!(
                        "second TYPE line for metric {:?}, or TYPE after samples",
                        self.name
                    ));
                }
                family.kind = metric_type;
            }
            Entry::Unit { family, unit } => unit.clone_into(&mut self.family(family).unit),
            Entry::Sample(line) => {
                self.sample(line.series, line.timestamp_ms.is_some(), Value::Float(line.value))?;
            }
            Entry::Histogram(line) => {
                let histogram: Histogram = line.histogram.clone();
                crate::native::check(&histogram)?;
                self.sample(line.series, line.timestamp_ms.is_some(), Value::Histogram(Box::new(histogram)))?;
            }
            Entry::Help { .. } | Entry::Comment(_) | Entry::Eof => {}
        }
        Ok(())
    }

    fn sample(&mut self, series: &[u8], timed: bool, value: Value) -> Result<(), String> {
        if timed {
            return Err("pushed metrics must not have timestamps".into());
        }
        self.samples += 1;
        if self.samples > MAX_PUSH_SAMPLES {
            return Err(format!("a push has more than {MAX_PUSH_SAMPLES} samples"));
        }
        let exposed = labels_of(series).map_err(|error| error.to_string())?;
        let metric = exposed.metric_name();
        let own = |(name, _): &(&str, &str)| *name != METRIC_NAME;
        let mut labels: Labels =
            exposed.iter().filter(own).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.extend(self.group.iter().map(|(name, value)| (name.clone(), value.clone())));
        let series = spell(metric, &labels);
        let name = self.family_of(metric).unwrap_or(metric).to_owned();
        self.family(&name).samples.push(Pushed { series, value });
        Ok(())
    }

    /// The family at hand, where the sample is a part of it.
    fn family_of(&self, metric: &str) -> Option<&str> {
        let family = self.families.get(&self.name)?;
        let suffix = metric.strip_prefix(self.name.as_str())?;
        let part = match family.kind {
            MetricType::Histogram | MetricType::GaugeHistogram => {
                matches!(suffix, "_bucket" | "_sum" | "_count" | "_created" | "_gsum" | "_gcount")
            }
            MetricType::Summary => matches!(suffix, "_sum" | "_count" | "_created"),
            MetricType::Counter => matches!(suffix, "_total" | "_created"),
            MetricType::Info => suffix == "_info",
            _ => false,
        };
        (part || suffix.is_empty()).then_some(&self.name)
    }
}

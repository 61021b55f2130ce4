//! The protobuf exposition format: a run of `io.prometheus.client.MetricFamily` messages, each behind its
//! length.
//!
//! 1. A family is walked twice: once over its fields for name, help, type and unit, which may stand
//!    behind the metrics; then metric by metric ([`metric`]).
//! 2. Each metric becomes one entry, or one for each part of a summary or classic histogram, with the
//!    names and labels that the text format gives them.
//! 3. The series of an entry is spelled as the text format spells it, so that whoever keeps series by
//!    their bytes, or reads their labels, need not know which format they came in.
//!
//! Memory: nothing is kept but one metric's parts; their number is bounded by [`Limits`].

mod error;
mod histogram;
mod metric;
mod shape;

pub use error::{ProtobufError, ProtobufFault};
pub use shape::{Beside, ProtobufShape};

use super::print::{write_escaped, write_quoted};
use super::{Entry, ExemplarPart, HistogramLine, SampleLine};
use crate::config::Limits;
use crate::metadata::MetricType;
use crate::protobuf::{LENGTH, Reader, VARINT};
use error::Read;
use hearth_model::batch::Exemplar;
use hearth_model::label::{is_classic_label_name, is_classic_metric_name};
use hearth_model::{Histogram, number};
use metric::Metric;

/// Which forms of a histogram come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histograms {
    /// Native histograms; where false, their classic parts come out in their place.
    pub native: bool,
    /// The classic parts of what came out as a native histogram, too.
    pub always_classic: bool,
}

/// One family's own fields.
#[derive(Debug, Clone)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: Kind,
    classic_name: bool,
    /// At the next field of the message.
    metrics: Reader<'a>,
    stage: Stage,
}

/// `MetricType` of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Summary => MetricType::Summary,
            Kind::Untyped => MetricType::Unknown,
            Kind::Histogram => MetricType::Histogram,
            Kind::GaugeHistogram => MetricType::GaugeHistogram,
        }
    }

    fn is_histogram(self) -> bool {
        matches!(self, Kind::Histogram | Kind::GaugeHistogram)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Help,
    Unit,
    Type,
    Metrics,
}

/// What comes out next of the metric at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Value,
    Native,
    Count,
    Sum,
    /// A bucket or a quantile.
    Field(usize),
    End,
}

/// Walks one body. After an error, and after [`Entry::Eof`], every further entry is [`Entry::Eof`].
#[derive(Debug, Clone)]
pub struct ProtobufParser<'a> {
    body: Reader<'a>,
    limits: Limits,
    histograms: Histograms,
    family: Option<Family<'a>>,
    metric: Metric<'a>,
    part: Part,
    /// The metric's labels as the text format has them, without braces.
    labels: Vec<u8>,
    series: Vec<u8>,
    exemplar: Vec<u8>,
    native: Histogram,
    native_exemplars: Vec<Exemplar>,
    done: bool,
}

impl<'a> ProtobufParser<'a> {
    pub fn new(body: &'a [u8], histograms: Histograms, limits: &Limits) -> Self {
        ProtobufParser {
            body: Reader::new(body),
            limits: limits.clone(),
            histograms,
            family: None,
            metric: Metric::default(),
            part: Part::End,
            labels: Vec::new(),
            series: Vec::new(),
            exemplar: Vec::new(),
            native: Histogram::stale(),
            native_exemplars: Vec::new(),
            done: false,
        }
    }

    /// The next entry. Never a comment; help is given out as text that [`super::unescape_help`] must not
    /// touch.
    #[allow(clippy::should_implement_trait)] // As with the text parser: it lends, and errors end it.
    pub fn next(&mut self) -> Result<Entry<'_>, ProtobufError> {
        if self.done {
            return Ok(Entry::Eof);
        }
        self.done = true;
        let more = self.advance()?;
        self.done = !more;
        if !more {
            return Ok(Entry::Eof);
        }
        Ok(self.entry())
    }

    /// Moves on until there is an entry to give out; false at the end of the body.
    fn advance(&mut self) -> Read<bool> {
        loop {
            if self.part != Part::End {
                return Ok(true);
            }
            let Some(family) = &mut self.family else {
                if self.body.is_empty() {
                    return Ok(false);
                }
                let message = self.body.message()?;
                self.family = family_of(message)?;
                continue;
            };
            if family.stage != Stage::Metrics {
                return Ok(true);
            }
            match next_metric(&mut family.metrics)? {
                None => self.family = None,
                Some(message) => {
                    let kind = family.kind;
                    self.metric.read(message, kind, &self.limits)?;
                    self.begin_metric(kind);
                }
            }
        }
    }

    fn begin_metric(&mut self, kind: Kind) {
        self.labels.clear();
        for (i, (name, value)) in self.metric.labels.iter().enumerate() {
            if i > 0 {
                self.labels.push(b',');
            }
            write_label(&mut self.labels, name, value);
        }
        self.part = self.metric.first_part(kind, self.histograms);
        if self.part == Part::Native {
            self.native = self.metric.native.take(kind == Kind::GaugeHistogram);
            self.native_exemplars.clear();
            self.native_exemplars.extend(self.metric.native_exemplars());
        }
    }

    /// Gives out what [`ProtobufParser::advance`] stopped at, and moves the position behind it.
    fn entry(&mut self) -> Entry<'_> {
        // advance stops within a family only.
        let Some(family) = &mut self.family else { return Entry::Eof };
        match family.stage {
            Stage::Help => {
                family.stage = if family.unit.is_empty() { Stage::Type } else { Stage::Unit };
                return Entry::Help { family: family.name, help: family.help };
            }
            Stage::Unit => {
                family.stage = Stage::Type;
                return Entry::Unit { family: family.name, unit: family.unit };
            }
            Stage::Type => {
                family.stage = Stage::Metrics;
                return Entry::Type { family: family.name, metric_type: family.kind.metric_type() };
            }
            Stage::Metrics => {}
        }
        let (kind, part) = (family.kind, self.part);
        self.spell_series(kind, part);
        self.part = self.metric.part_after(kind, part, self.histograms);
        let metric = &self.metric;
        let timestamp_ms = metric.time_ms();
        let created_ms = metric.created_ms.filter(|ms| *ms != 0);
        if part == Part::Native {
            return Entry::Histogram(HistogramLine {
                series: &self.series,
                histogram: &self.native,
                timestamp_ms,
                created_ms,
                exemplars: &self.native_exemplars,
            });
        }
        let (value, exemplar) = metric.value_of(part);
        let exemplar = exemplar.map(|exemplar| {
            self.exemplar.clear();
            self.exemplar.push(b'{');
            for (i, (name, value)) in exemplar.labels.iter().enumerate() {
                if i > 0 {
                    self.exemplar.push(b',');
                }
                write_label(&mut self.exemplar, name, value);
            }
            self.exemplar.push(b'}');
            ExemplarPart {
                labels: &self.exemplar,
                value: exemplar.value,
                timestamp_ms: exemplar.timestamp_ms,
            }
        });
        Entry::Sample(SampleLine { series: &self.series, value, timestamp_ms, exemplar, created_ms })
    }

    /// Step 3.
    fn spell_series(&mut self, kind: Kind, part: Part) {
        let Some(family) = &self.family else { return };
        let suffix = match part {
            Part::Count => "_count",
            Part::Sum => "_sum",
            Part::Field(_) if kind.is_histogram() => "_bucket",
            _ => "",
        };
        let out = &mut self.series;
        out.clear();
        let mut separator: &[u8] = b"{";
        if family.classic_name {
            out.extend_from_slice(family.name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        } else {
            out.extend_from_slice(b"{\"");
            write_escaped(out, family.name, true);
            out.extend_from_slice(suffix.as_bytes());
            out.push(b'"');
            separator = b",";
        }
        if !self.labels.is_empty() {
            out.extend_from_slice(separator);
            separator = b",";
            out.extend_from_slice(&self.labels);
        }
        if let Part::Field(i) = part {
            let bound = self.metric.fields.get(i).map_or(f64::INFINITY, |field| field.bound);
            out.extend_from_slice(separator);
            separator = b",";
            out.extend_from_slice(if kind.is_histogram() { b"le=\"" } else { b"quantile=\"" });
            write_bound(out, bound);
            out.push(b'"');
        }
        if separator == b"," {
            out.push(b'}');
        }
    }
}

/// Step 1; none where the family has no metric: it says nothing.
fn family_of<'a>(message: Reader<'a>) -> Read<Option<Family<'a>>> {
    let mut family = Family {
        name: "",
        help: "",
        unit: "",
        kind: Kind::Counter,
        classic_name: true,
        metrics: message,
        stage: Stage::Help,
    };
    let mut fields = message;
    let mut has_metrics = false;
    while !fields.is_empty() {
        let tag = fields.tag()?;
        match tag.field {
            1 => family.name = metric::text(&mut fields, tag, "metric name")?,
            2 => family.help = metric::text(&mut fields, tag, "help text")?,
            3 => {
                fields.expect(tag, VARINT)?;
                let offset = fields.offset();
                family.kind = match fields.varint()? {
                    0 => Kind::Counter,
                    1 => Kind::Gauge,
                    2 => Kind::Summary,
                    3 => Kind::Untyped,
                    4 => Kind::Histogram,
                    5 => Kind::GaugeHistogram,
                    other => return Err(ProtobufError::at(offset, ProtobufFault::UnknownType(other))),
                };
            }
            4 => {
                fields.expect(tag, LENGTH)?;
                fields.range()?;
                has_metrics = true;
            }
            5 => family.unit = metric::text(&mut fields, tag, "unit")?,
            _ => fields.skip(tag)?,
        }
    }
    if !has_metrics {
        return Ok(None);
    }
    let offset = message.offset();
    if family.name.is_empty() {
        return Err(ProtobufError::at(offset, ProtobufFault::NoName));
    }
    if !is_unit_of(&family) {
        return Err(ProtobufError::at(offset, ProtobufFault::Unit(family.unit.into(), family.name.into())));
    }
    family.classic_name = is_classic_metric_name(family.name);
    Ok(Some(family))
}

/// The next metric's message among a family's fields.
fn next_metric<'a>(fields: &mut Reader<'a>) -> Read<Option<Reader<'a>>> {
    while !fields.is_empty() {
        let tag = fields.tag()?;
        if tag.field == 4 {
            return Ok(Some(fields.message()?));
        }
        fields.skip(tag)?;
    }
    Ok(None)
}

/// Whether the unit is the last word of the name (of a counter: before `_total`).
fn is_unit_of(family: &Family<'_>) -> bool {
    let name = match family.kind {
        Kind::Counter => family.name.strip_suffix("_total").unwrap_or(family.name),
        _ => family.name,
    };
    family.unit.is_empty() || name.strip_suffix(family.unit).is_some_and(|rest| rest.ends_with('_'))
}

fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    if is_classic_label_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        write_quoted(out, name);
    }
    out.push(b'=');
    write_quoted(out, value);
}

/// A bucket's or quantile's bound as OpenMetrics spells it: never a bare whole number.
pub fn write_bound(out: &mut Vec<u8>, bound: f64) {
    let start = out.len();
    number::write_short(out, bound);
    if bound.is_finite() && !out[start..].iter().any(|b| matches!(b, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

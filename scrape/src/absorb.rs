//! A body's entries, turned into a batch: the inner loop of scraping. A float sample whose series was seen
//! before allocates nothing.

use crate::cache::Cache;
use crate::classic::{Collector, Place};
use crate::config::{MAX_AHEAD_MS, MAX_BATCH_KEY_BYTES, MAX_EXEMPLAR_LABEL_CHARS};
use crate::created::{Created, Seen, may_begin};
use crate::job::Job;
use crate::metadata::MetadataCache;
use crate::native;
use crate::push::{Group, Value};
use crate::scraper::Features;
use crate::series_labels::{self, BadSeries, TypeAndUnit};
use crate::target::{HistogramChoice, Target};
use hearth_model::batch::Exemplar;
use hearth_model::{CounterReset, Histogram, Labels, Sample, WriteBatch, key};
use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Beside, ContentTypeError, Entry, ExemplarPart, Format, HistogramLine, Noted, Parser, ProtobufParser,
    Protocol, SampleLine, Stray, labels_of, pairs_of, unescape_help,
};
use hearth_wire::metadata::MetricType;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries between two looks at whether other tasks wait: about a millisecond of work.
const ENTRIES_PER_TURN: u64 = 4_096;

const BUCKET_LIMIT: &str = "histogram bucket limit exceeded";

/// What was counted on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    pub scraped: u64,
    pub kept: u64,
    pub added: u64,
    pub duplicate: u64,
    pub out_of_bounds: u64,
    pub over_sample_limit: bool,
    pub over_bucket_limit: bool,
    pub over_label_limit: bool,
}

/// What the metadata lines said last.
#[derive(Default)]
pub struct Family {
    name: String,
    kind: MetricType,
    unit: String,
}

/// What of a family's metadata has a say in its series' labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Nature {
    pub kind: MetricType,
    pub unit: Box<str>,
}

/// One body's way into a batch.
pub struct Absorber<'a> {
    pub job: &'a Job,
    pub features: Features,
    pub labels: &'a Labels,
    pub histograms: HistogramChoice,
    pub cache: &'a mut Cache,
    pub metadata: &'a Mutex<MetadataCache>,
    pub batch: &'a mut WriteBatch,
    /// Series of the batch that begin with a zero at the time when they began, ascending.
    pub zeros: &'a mut Vec<u32>,
    /// The time of samples without one.
    pub at_ms: i64,
    pub now_ms: i64,
    pub family: Family,
    pub classic: Collector,
    pub created: Created,
    /// The sample at hand is of the series that the cache expected.
    pub expected: bool,
    /// Samples on their way into the batch, for the sample limit.
    pub offered: u64,
    pub tally: Tally,
}

/// Gives way to other tasks now and then.
#[derive(Default)]
struct Turns(u64);

impl Turns {
    async fn take(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(ENTRIES_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

/// How a page of this type is read.
pub fn protocol_of(job: &Job, content_type: &str) -> Result<Protocol, ContentTypeError> {
    let fallback = match job.config.fallback_scrape_protocol.as_str() {
        "" => None,
        name => name.parse().ok(),
    };
    Protocol::from_content_type(content_type, fallback)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where a sample goes that is to be stored.
struct Slot {
    entry: u32,
    timestamp_ms: i64,
    new: bool,
    /// Its series ends when it is not exposed any more.
    ends: bool,
}

impl<'a> Absorber<'a> {
    /// One that has read nothing yet, with no features, at no time.
    pub fn new(
        job: &'a Job,
        target: &'a Target,
        cache: &'a mut Cache,
        metadata: &'a Mutex<MetadataCache>,
        batch: &'a mut WriteBatch,
        zeros: &'a mut Vec<u32>,
    ) -> Absorber<'a> {
        Absorber {
            job,
            features: Features::default(),
            labels: &target.labels,
            histograms: target.histograms,
            cache,
            metadata,
            batch,
            zeros,
            at_ms: 0,
            now_ms: 0,
            family: Family::default(),
            classic: Collector::default(),
            created: Created::default(),
            expected: false,
            offered: 0,
            tally: Tally::default(),
        }
    }
}

impl Absorber<'_> {
    /// Reads the whole body. After an error the batch holds a part of it that must not be stored.
    pub async fn absorb(&mut self, body: &[u8], content_type: &str) -> Result<(), String> {
        // Who shows nothing has nothing to declare either.
        if body.is_empty() {
            return Ok(());
        }
        match protocol_of(self.job, content_type).map_err(text)? {
            Protocol::Lines(format) => self.lines(format, body).await?,
            Protocol::Protobuf => self.protobuf(body).await?,
        }
        self.conclude()
    }

    /// What only the whole page shows.
    fn conclude(&mut self) -> Result<(), String> {
        self.end_classic()?;
        if self.tally.over_sample_limit {
            return Err("sample limit exceeded".into());
        }
        if self.tally.over_bucket_limit {
            return Err(BUCKET_LIMIT.into());
        }
        Ok(())
    }

    /// Reads what was pushed.
    pub async fn absorb_pushed(&mut self, groups: &[Arc<Group>]) -> Result<(), String> {
        let mut turns = Turns::default();
        for group in groups {
            for (name, family) in &group.families {
                self.help(name, &family.help)?;
                self.other(&Entry::Type { family: name, metric_type: family.kind })?;
                if !family.unit.is_empty() {
                    self.other(&Entry::Unit { family: name, unit: &family.unit })?;
                }
                for pushed in &family.samples {
                    turns.take().await;
                    self.pushed(&pushed.series, &pushed.value)?;
                }
            }
            for (name, help, series, value) in group.times() {
                self.help(name, help)?;
                self.other(&Entry::Type { family: name, metric_type: MetricType::Gauge })?;
                self.pushed(series, &Value::Float(value))?;
            }
        }
        self.conclude()
    }

    fn pushed(&mut self, series: &[u8], value: &Value) -> Result<(), String> {
        match value {
            Value::Float(value) => self.sample(&SampleLine {
                series,
                value: *value,
                timestamp_ms: None,
                exemplar: None,
                created_ms: None,
            }),
            Value::Histogram(histogram) => {
                self.end_classic()?;
                self.classic.native(series, &self.family.name);
                self.histogram(&HistogramLine {
                    series,
                    histogram,
                    timestamp_ms: None,
                    created_ms: None,
                    exemplars: &[],
                })
            }
        }
    }

    async fn lines(&mut self, format: Format, body: &[u8]) -> Result<(), String> {
        let mut parser = Parser::new(format, body, &Limits::default());
        let created = self.features.created_zeros && format == Format::OpenMetrics;
        let mut turns = Turns::default();
        loop {
            turns.take().await;
            match parser.next_expecting(self.cache.expected()).map_err(text)? {
                Entry::Eof => return Ok(()),
                Entry::Sample(mut line) => {
                    if created && may_begin(self.family.kind) {
                        let (name, kind) = (&self.family.name, self.family.kind);
                        match self.created.look(&parser, line.series, name, kind) {
                            Seen::Created => continue,
                            Seen::Sample(at_ms) => line.created_ms = at_ms,
                        }
                    }
                    self.expected = parser.was_expected();
                    let taken = self.sample(&line);
                    self.expected = false;
                    taken?;
                }
                Entry::Help { family, help } => self.help(family, &unescape_help(help, format))?,
                entry => self.other(&entry)?,
            }
        }
    }

    async fn protobuf(&mut self, body: &[u8]) -> Result<(), String> {
        let histograms = self.histograms.forms(&self.job.config);
        let mut parser = ProtobufParser::new(body, histograms, &Limits::default());
        let mut turns = Turns::default();
        loop {
            turns.take().await;
            match parser.next().map_err(text)? {
                Entry::Eof => return Ok(()),
                Entry::Sample(line) => self.sample(&line)?,
                Entry::Histogram(line) => {
                    self.end_classic()?;
                    self.classic.native(line.series, &self.family.name);
                    self.histogram(&line)?;
                }
                Entry::Help { family, help } => self.help(family, help)?,
                entry => self.other(&entry)?,
            }
        }
    }

    /// Reads the samples that a page has beside those of a trail. None of them may be a series that `is_known` knows by
    /// its key, nor may anything be wrong: such a page is to be read in full, and the entries that are new to be forgotten.
    /// These entries.
    pub fn strays(
        &mut self,
        body: &[u8],
        strays: &[(Stray, Nature)],
        is_known: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Vec<u32>, Vec<u32>> {
        let (mut new, plain) = (Vec::new(), self.tally);
        for (stray, nature) in strays {
            (self.family.kind, self.family.unit) = (nature.kind, nature.unit.to_string());
            let Some(series) = body.get(stray.series.clone()) else { return Err(new) };
            let before = self.cache.len();
            let taken = self.float(&SampleLine {
                series,
                value: stray.value,
                timestamp_ms: stray.timestamp_ms,
                exemplar: stray.exemplar.as_ref().and_then(|noted| noted.part(body)),
                created_ms: None,
            });
            let mut clashes = false;
            if self.cache.len() > before
                && let Some(id) = self.cache.last()
            {
                new.push(id);
                clashes = self.cache.key(id).is_some_and(&mut *is_known);
            }
            let Tally { scraped, kept, added, .. } = self.tally;
            if taken.is_err() || clashes || self.tally != (Tally { scraped, kept, added, ..plain }) {
                return Err(new);
            }
        }
        Ok(new)
    }

    /// Takes what a page has of series of a trail beside their values, by their numbers on the page: `place` knows those of
    /// the roster, `histogram_key` the others, each where the series was kept. Where anything is wrong, the page is to be
    /// read in full.
    pub fn beside<'k>(
        &mut self,
        body: &[u8],
        noted: &[(u32, Noted)],
        beside: Beside,
        place: impl Fn(u32) -> Option<u32>,
        histogram_key: impl Fn(u32) -> Option<&'k [u8]>,
    ) -> Result<(), String> {
        for (number, noted) in noted {
            let exemplar = noted.part(body).and_then(|part| exemplar_of(&part, self.at_ms));
            self.batch.column.exemplars.extend(place(*number).zip(exemplar));
        }
        let mut exemplars = beside.exemplars.into_iter().filter(|(_, e)| is_short(&e.labels)).peekable();
        for (number, time_ms, mut histogram) in beside.histograms {
            while let Some((of, exemplar)) = exemplars.next_if(|(of, _)| *of < number) {
                self.batch.column.exemplars.extend(place(of).map(|at| (at, exemplar)));
            }
            let Some(key) = histogram_key(number) else { continue };
            self.check_key(key)?;
            native::fit(&self.job.config, &mut histogram).map_err(|_| BUCKET_LIMIT)?;
            native::check(&histogram)?;
            self.batch.push_histograms(key, [(time_ms, histogram)]);
            while let Some((_, exemplar)) = exemplars.next_if(|(of, _)| *of == number) {
                self.batch.push_exemplar(exemplar);
            }
        }
        let rest = exemplars.filter_map(|(of, exemplar)| Some((place(of)?, exemplar)));
        self.batch.column.exemplars.extend(rest);
        Ok(())
    }

    fn check_key(&self, key: &[u8]) -> Result<(), String> {
        if self.batch.keys.len() + key.len() > MAX_BATCH_KEY_BYTES {
            return Err(format!("the series' labels take more than {MAX_BATCH_KEY_BYTES} bytes"));
        }
        Ok(())
    }

    /// Everything that is neither a sample nor help.
    fn other(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        self.end_classic()?;
        match *entry {
            Entry::Type { family, metric_type } => {
                self.enter(family);
                self.family.kind = metric_type;
                self.metadata().set_kind(family, metric_type);
            }
            Entry::Unit { family, unit } => {
                self.enter(family);
                unit.clone_into(&mut self.family.unit);
                self.metadata().set_unit(family, unit);
            }
            _ => {}
        }
        Ok(())
    }

    fn help(&mut self, family: &str, help: &str) -> Result<(), String> {
        self.end_classic()?;
        self.metadata().set_help(family, help);
        Ok(())
    }

    /// A family's type stays in force until the next one's, its unit does not.
    fn enter(&mut self, family: &str) {
        if self.family.name != family {
            family.clone_into(&mut self.family.name);
            self.family.unit.clear();
            self.created.reset();
        }
    }

    fn metadata(&self) -> MutexGuard<'_, MetadataCache> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&mut self, line: &SampleLine<'_>) -> Result<(), String> {
        let converts =
            self.family.kind == MetricType::Histogram && self.histograms.converts(&self.job.config);
        if converts {
            // Another series may come first: the histogram that ends here.
            self.expected = false;
            let place = self.classic.place(line.series, &self.family.name);
            if !matches!(place, Place::Here(_)) {
                self.end_classic()?;
            }
            if let Place::Here(role) | Place::Next(role) = place {
                self.classic.add(role, line);
                if !self.histograms.always_classic(&self.job.config) {
                    return Ok(());
                }
            }
        }
        self.float(line)
    }

    /// Stores the classic histogram that is complete now, in its new form.
    fn end_classic(&mut self) -> Result<(), String> {
        let Some(converted) = self.classic.finish() else { return Ok(()) };
        self.histogram(&HistogramLine {
            series: &converted.series,
            histogram: &converted.histogram,
            timestamp_ms: converted.timestamp_ms,
            created_ms: converted.created_ms,
            exemplars: &converted.exemplars,
        })
    }

    /// What floats and histograms share: counting, the series, the time.
    fn slot(&mut self, series: &[u8], timestamp_ms: Option<i64>) -> Result<Option<Slot>, String> {
        self.tally.scraped += 1;
        let config = &self.job.config;
        let given_ms = timestamp_ms.filter(|_| config.honor_timestamps);
        let ends = given_ms.is_none() || config.track_timestamps_staleness;
        let found = match std::mem::take(&mut self.expected) {
            true => self.cache.find_expected(),
            false => self.cache.find(series),
        };
        let (entry, again, new) = match found {
            Some(hit) => (hit.entry, hit.again, false),
            None => (self.add(series)?, false, true),
        };
        let Some(key) = self.cache.key(entry) else { return Ok(None) };
        self.tally.kept += 1;
        if again && given_ms.is_none() {
            self.tally.duplicate += 1;
            return Ok(None);
        }
        self.check_key(key)?;
        Ok(Some(Slot { entry, timestamp_ms: given_ms.unwrap_or(self.at_ms), new, ends }))
    }

    /// Whether the limits let it in. Beyond the sample limit samples are still counted, to be reported, but
    /// nothing of them is stored.
    fn admit(&mut self, slot: &Slot) -> bool {
        let limit = self.job.config.sample_limit;
        self.offered += 1;
        if limit > 0 && self.offered > limit {
            self.tally.over_sample_limit = true;
            return false;
        }
        if slot.timestamp_ms > self.now_ms.saturating_add(MAX_AHEAD_MS) {
            self.tally.out_of_bounds += 1;
            return false;
        }
        true
    }

    fn float(&mut self, line: &SampleLine<'_>) -> Result<(), String> {
        let Some(slot) = self.slot(line.series, line.timestamp_ms)? else { return Ok(()) };
        if self.admit(&slot) {
            let zero_ms = self.begins(&slot, line.created_ms);
            let sample = Sample { timestamp_ms: slot.timestamp_ms, value: line.value };
            // slot has found the key.
            let key = self.cache.key(slot.entry).unwrap_or_default();
            match zero_ms {
                None => self.batch.push_keyed(key, &[sample]),
                Some(timestamp_ms) => {
                    self.zeros.push(self.batch.series.len() as u32);
                    self.batch.push_keyed(key, &[Sample { timestamp_ms, value: 0.0 }, sample]);
                }
            }
            if let Some(exemplar) = &line.exemplar {
                self.exemplar(exemplar, slot.timestamp_ms);
            }
            self.tally.added += u64::from(slot.new);
        } else if slot.timestamp_ms > self.now_ms {
            return Ok(());
        }
        if slot.ends {
            self.cache.track(slot.entry);
        }
        Ok(())
    }

    fn histogram(&mut self, line: &HistogramLine<'_>) -> Result<(), String> {
        let Some(slot) = self.slot(line.series, line.timestamp_ms)? else { return Ok(()) };
        let mut histogram = line.histogram.clone();
        if native::fit(&self.job.config, &mut histogram).is_err() {
            self.tally.over_bucket_limit = true;
            return Ok(());
        }
        native::check(&histogram)?;
        if !self.admit(&slot) {
            return Ok(());
        }
        let zero = self.begins(&slot, line.created_ms).map(|at_ms| (at_ms, zero_of(&histogram)));
        if zero.is_some() {
            self.zeros.push(self.batch.series.len() as u32);
        }
        let key = self.cache.key(slot.entry).unwrap_or_default();
        self.batch.push_histograms(key, zero.into_iter().chain([(slot.timestamp_ms, histogram)]));
        for exemplar in line.exemplars {
            if is_short(&exemplar.labels) {
                self.batch.push_exemplar(exemplar.clone());
            }
        }
        self.tally.added += u64::from(slot.new);
        if slot.ends {
            self.cache.track(slot.entry);
        }
        Ok(())
    }

    /// The time of the zero that the series is to begin with: once for each time it begins.
    fn begins(&mut self, slot: &Slot, created_ms: Option<i64>) -> Option<i64> {
        let created_ms = created_ms.filter(|_| self.features.created_zeros)?;
        let news = self.cache.begins(slot.entry, created_ms);
        (news && created_ms < slot.timestamp_ms).then_some(created_ms)
    }

    fn exemplar(&mut self, part: &ExemplarPart<'_>, default_ms: i64) {
        if let Some(exemplar) = exemplar_of(part, default_ms) {
            self.batch.push_exemplar(exemplar);
        }
    }

    /// A series not seen before, or not for a while.
    fn add(&mut self, series: &[u8]) -> Result<u32, String> {
        let exposed = labels_of(series).map_err(text)?;
        let exposed = match self.family.kind {
            MetricType::Histogram => series_labels::with_plain_bound(exposed, "le"),
            MetricType::Summary => series_labels::with_plain_bound(exposed, "quantile"),
            _ => exposed,
        };
        let exposed = if self.features.type_and_unit_labels {
            TypeAndUnit { kind: self.family.kind, unit: &self.family.unit }.label(&exposed)
        } else {
            exposed
        };
        let writes = |name: &str| pairs_of(series).any(|(written, _): (Cow<'_, str>, _)| written == name);
        match series_labels::resolve(self.job, self.labels, &exposed, writes) {
            Ok(Some(labels)) => Ok(self.cache.insert(series, Some(&key::key_of(&labels)))),
            Ok(None) => Ok(self.cache.insert(series, None)),
            Err(BadSeries::LabelLimit(text)) => {
                self.tally.over_label_limit = true;
                Err(text)
            }
            Err(BadSeries::Invalid(text)) => Err(text),
        }
    }
}

/// What a histogram was when it began.
fn zero_of(histogram: &Histogram) -> Histogram {
    Histogram {
        schema: histogram.schema,
        integer: histogram.integer,
        reset: CounterReset::Reset,
        zero_threshold: histogram.zero_threshold,
        sum: 0.0,
        custom_values: histogram.custom_values.clone(),
        ..Histogram::stale()
    }
}

/// Unless it says too much; with that time where it has none of its own.
fn exemplar_of(part: &ExemplarPart<'_>, default_ms: i64) -> Option<Exemplar> {
    let labels = Labels::from_pairs(pairs_of(part.labels));
    let timestamp_ms = part.timestamp_ms.unwrap_or(default_ms);
    is_short(&labels).then_some(Exemplar { timestamp_ms, value: part.value, labels })
}

/// OpenMetrics bounds what an exemplar may say.
fn is_short(labels: &Labels) -> bool {
    let chars = |text: &str| text.chars().count();
    labels.iter().map(|(name, value)| chars(name) + chars(value)).sum::<usize>() <= MAX_EXEMPLAR_LABEL_CHARS
}

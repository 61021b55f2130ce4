//! Native histograms: exponential buckets (schemas -4..=8) and custom buckets (schema -53).
//!
//! One type holds both integer and float histograms, its counts as absolute `f64`: integers up to 2^53
//! are exact there, and PromQL computes in floats anyway. `integer` remembers what came in.

mod bounds;
mod buckets;
mod shape;

pub use bounds::exponential_bound;
pub use buckets::Bucket;

/// Schema of histograms whose bucket bounds are listed in `custom_values`.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
pub const MIN_EXPONENTIAL_SCHEMA: i32 = -4;
pub const MAX_EXPONENTIAL_SCHEMA: i32 = 8;

/// A run of consecutive buckets: `offset` from the end of the run before (from index 0 for the first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// Whether the histogram is known to start over from zero against the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum CounterReset {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A native histogram sample's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    pub schema: i32,
    pub integer: bool,
    pub reset: CounterReset,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    /// Carries the stale marker when the series ended here.
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    /// Absolute counts, one for each bucket that the spans name.
    pub positive_counts: Vec<f64>,
    pub negative_counts: Vec<f64>,
    /// Upper bounds, ascending, of custom buckets; the last bucket's bound, +Inf, is left out.
    pub custom_values: Vec<f64>,
}

/// Why a histogram cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistogramError {
    UnknownSchema(i32),
    SpanOffset { index: usize },
    SpanCount { spans: u64, buckets: usize },
    NegativeBucket { index: usize },
    NegativeCount,
    CustomBounds,
    CustomShape,
}

impl std::fmt::Display for HistogramError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HistogramError::UnknownSchema(schema) => write!(f, "histogram has an unknown schema {schema}"),
            HistogramError::SpanOffset { index } => write!(f, "span {index} has a negative offset"),
            HistogramError::SpanCount { spans, buckets } => {
                write!(f, "spans need {spans} buckets, have {buckets} buckets")
            }
            HistogramError::NegativeBucket { index } => write!(f, "bucket {index} has a negative count"),
            HistogramError::NegativeCount => f.write_str("histogram has a negative count"),
            HistogramError::CustomBounds => f.write_str("custom bounds must be finite and ascend"),
            HistogramError::CustomShape => {
                f.write_str("custom buckets have no zero bucket, no negative buckets, and one bound fewer than buckets at most")
            }
        }
    }
}

impl std::error::Error for HistogramError {}

fn check_side(spans: &[Span], counts: &[f64]) -> Result<(), HistogramError> {
    if let Some(index) = spans.iter().skip(1).position(|s| s.offset < 0) {
        return Err(HistogramError::SpanOffset { index: index + 1 });
    }
    let need: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
    if need != counts.len() as u64 {
        return Err(HistogramError::SpanCount { spans: need, buckets: counts.len() });
    }
    match counts.iter().position(|&c| c < 0.0) {
        Some(index) => Err(HistogramError::NegativeBucket { index }),
        None => Ok(()),
    }
}

impl Histogram {
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    pub fn is_stale(&self) -> bool {
        crate::sample::is_stale(self.sum)
    }

    /// The histogram that ends a series.
    pub fn stale() -> Histogram {
        Histogram {
            schema: 0,
            integer: false,
            reset: CounterReset::Unknown,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: crate::sample::stale_nan(),
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            positive_counts: Vec::new(),
            negative_counts: Vec::new(),
            custom_values: Vec::new(),
        }
    }

    /// Checks the shape that every reader relies on.
    pub fn validate(&self) -> Result<(), HistogramError> {
        check_side(&self.positive_spans, &self.positive_counts)?;
        check_side(&self.negative_spans, &self.negative_counts)?;
        if self.count < 0.0 || self.zero_count < 0.0 {
            return Err(HistogramError::NegativeCount);
        }
        if self.is_custom() {
            let ascend = self.custom_values.windows(2).all(|w| w[0] < w[1]);
            if !ascend || self.custom_values.iter().any(|v| !v.is_finite()) {
                return Err(HistogramError::CustomBounds);
            }
            let reach: i64 =
                self.positive_spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum();
            let first_negative = self.positive_spans.first().is_some_and(|s| s.offset < 0);
            let zero = self.zero_count != 0.0 || self.zero_threshold != 0.0;
            if zero || !self.negative_spans.is_empty() || first_negative {
                return Err(HistogramError::CustomShape);
            }
            if reach > self.custom_values.len() as i64 + 1 {
                return Err(HistogramError::CustomShape);
            }
            return Ok(());
        }
        if !(MIN_EXPONENTIAL_SCHEMA..=MAX_EXPONENTIAL_SCHEMA).contains(&self.schema) {
            return Err(HistogramError::UnknownSchema(self.schema));
        }
        Ok(())
    }

    /// Bytes of memory behind this value.
    pub fn size_bytes(&self) -> usize {
        std::mem::size_of::<Histogram>()
            + 8 * (self.positive_spans.len() + self.negative_spans.len())
            + 8 * (self.positive_counts.len() + self.negative_counts.len() + self.custom_values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram() -> Histogram {
        Histogram {
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
            positive_counts: vec![1.0, 2.0, 3.0],
            count: 6.0,
            sum: 10.0,
            ..Histogram::stale()
        }
    }

    #[test]
    fn validate_names_the_fault() {
        assert_eq!(histogram().validate(), Ok(()));
        let check = |change: fn(&mut Histogram), expect| {
            let mut h = histogram();
            change(&mut h);
            assert_eq!(h.validate(), Err(expect));
        };
        check(|h| h.schema = 9, HistogramError::UnknownSchema(9));
        check(|h| h.positive_spans[1].offset = -1, HistogramError::SpanOffset { index: 1 });
        check(|h| h.positive_counts.truncate(2), HistogramError::SpanCount { spans: 3, buckets: 2 });
        check(|h| h.positive_counts[1] = -1.0, HistogramError::NegativeBucket { index: 1 });
        check(|h| (h.schema, h.custom_values) = (-53, vec![2.0, 1.0]), HistogramError::CustomBounds);
        check(|h| (h.schema, h.custom_values) = (-53, vec![1.0]), HistogramError::CustomShape);
    }
}

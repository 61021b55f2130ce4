//! A histogram as lists of (index, count), and how two layouts become one: the coarser schema, the wider
//! zero bucket, the common custom bounds.

use super::{Incompatible, Remarks};
use hearth_model::histogram::exponential_bound;
use hearth_model::{CounterReset, Histogram, Span};

/// Spans unrolled; ascending indexes, no empty buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    pub schema: i32,
    pub reset: CounterReset,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive: Vec<(i32, f64)>,
    pub negative: Vec<(i32, f64)>,
    pub custom_values: Vec<f64>,
}

fn unroll(spans: &[Span], counts: &[f64]) -> Vec<(i32, f64)> {
    let mut next = 0i32;
    let mut indexes = Vec::with_capacity(counts.len());
    for span in spans {
        next = next.saturating_add(span.offset);
        for _ in 0..span.length.min(counts.len() as u32) {
            indexes.push(next);
            next = next.saturating_add(1);
        }
    }
    indexes.into_iter().zip(counts.iter().copied()).filter(|(_, count)| *count != 0.0).collect()
}

fn roll(buckets: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0i32;
    for &(index, _) in buckets {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        next = index.saturating_add(1);
    }
    (spans, buckets.iter().map(|(_, count)| *count).collect())
}

/// Adds `factor` times the one list to the other; both ascend.
pub fn merge(into: &mut Vec<(i32, f64)>, from: &[(i32, f64)], factor: f64) {
    if from.is_empty() {
        return;
    }
    let mut out = Vec::with_capacity(into.len() + from.len());
    let (mut a, mut b) = (into.iter().peekable(), from.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                out.push((x.0, x.1 + factor * y.1));
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x.0 < y.0 => {
                out.push(**x);
                a.next();
            }
            (_, Some(y)) => {
                out.push((y.0, factor * y.1));
                b.next();
            }
            (Some(x), None) => {
                out.push(**x);
                a.next();
            }
            (None, None) => break,
        }
    }
    *into = out;
}

impl Sparse {
    pub fn of(histogram: &Histogram) -> Sparse {
        Sparse {
            schema: histogram.schema,
            reset: histogram.reset,
            zero_threshold: histogram.zero_threshold,
            zero_count: histogram.zero_count,
            count: histogram.count,
            sum: histogram.sum,
            positive: unroll(&histogram.positive_spans, &histogram.positive_counts),
            negative: unroll(&histogram.negative_spans, &histogram.negative_counts),
            custom_values: histogram.custom_values.clone(),
        }
    }

    pub fn into_histogram(mut self) -> Histogram {
        self.positive.retain(|(_, count)| *count != 0.0);
        self.negative.retain(|(_, count)| *count != 0.0);
        let (positive_spans, positive_counts) = roll(&self.positive);
        let (negative_spans, negative_counts) = roll(&self.negative);
        Histogram {
            schema: self.schema,
            integer: false,
            reset: self.reset,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive_counts,
            negative_counts,
            custom_values: self.custom_values,
        }
    }

    pub fn is_custom(&self) -> bool {
        self.schema == hearth_model::histogram::CUSTOM_BUCKETS_SCHEMA
    }

    /// Every count, and the sum of observations.
    pub fn map(&mut self, f: impl Fn(f64) -> f64) {
        for value in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            *value = f(*value);
        }
        for (_, count) in self.positive.iter_mut().chain(&mut self.negative) {
            *count = f(*count);
        }
    }

    /// Upper bound of the bucket with this index on the positive side.
    pub fn bound(&self, index: i32) -> f64 {
        if !self.is_custom() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(index) => self.custom_values.get(index).copied().unwrap_or(f64::INFINITY),
        }
    }

    /// Buckets of a coarser exponential schema: each takes in a power of two of the finer ones.
    pub fn coarsen(&mut self, schema: i32) {
        if schema >= self.schema {
            return;
        }
        let shift = self.schema - schema;
        for side in [&mut self.positive, &mut self.negative] {
            let mut out: Vec<(i32, f64)> = Vec::with_capacity(side.len());
            for &(index, count) in side.iter() {
                let index = ((index - 1) >> shift) + 1;
                match out.last_mut() {
                    Some(last) if last.0 == index => last.1 += count,
                    _ => out.push((index, count)),
                }
            }
            *side = out;
        }
        self.schema = schema;
    }

    /// What the zero bucket counts when it reaches up to `threshold`, or as far beyond as the bucket that
    /// the threshold falls into.
    fn zero_count_for(&self, mut threshold: f64) -> (f64, f64) {
        'again: loop {
            let mut zero_count = self.zero_count;
            for (side, _) in [(&self.positive, 0), (&self.negative, 1)].iter() {
                for &(index, count) in side.iter() {
                    if self.bound(index - 1) >= threshold {
                        break;
                    }
                    zero_count += count;
                    let upper = self.bound(index);
                    if upper > threshold {
                        threshold = upper;
                        // What was counted of the positive side belongs to the smaller threshold.
                        if std::ptr::eq(*side, &self.negative) {
                            continue 'again;
                        }
                        break;
                    }
                }
            }
            return (zero_count, threshold);
        }
    }

    /// Lets the zero bucket reach at least up to `threshold`.
    pub fn widen_zero_to(&mut self, threshold: f64) {
        if threshold <= self.zero_threshold {
            return;
        }
        let (zero_count, threshold) = self.zero_count_for(threshold);
        let schema = self.schema;
        for side in [&mut self.positive, &mut self.negative] {
            side.retain(|(index, _)| exponential_bound(*index, schema) > threshold);
        }
        (self.zero_count, self.zero_threshold) = (zero_count, threshold);
    }

    /// Adds `factor` times another histogram, after bringing both to one layout.
    pub fn add(&mut self, mut other: Sparse, factor: f64) -> Result<Remarks, Incompatible> {
        if self.is_custom() != other.is_custom() {
            return Err(Incompatible);
        }
        let mut remarks = Remarks::default();
        self.adjust_reset(other.reset, &mut remarks);
        if self.is_custom() {
            if self.custom_values != other.custom_values {
                remarks.bounds_reconciled = true;
                let common = common_bounds(&self.custom_values, &other.custom_values);
                self.regroup(&common);
                other.regroup(&common);
            }
        } else {
            while self.zero_threshold != other.zero_threshold {
                self.widen_zero_to(other.zero_threshold);
                other.widen_zero_to(self.zero_threshold);
            }
            self.zero_count += factor * other.zero_count;
            let schema = self.schema.min(other.schema);
            self.coarsen(schema);
            other.coarsen(schema);
        }
        self.count += factor * other.count;
        self.sum += factor * other.sum;
        merge(&mut self.positive, &other.positive, factor);
        merge(&mut self.negative, &other.negative, factor);
        Ok(remarks)
    }

    fn adjust_reset(&mut self, other: CounterReset, remarks: &mut Remarks) {
        use CounterReset::*;
        self.reset = match (self.reset, other) {
            (a, b) if a == b => a,
            (Gauge, _) | (_, Gauge) => Gauge,
            (Unknown, _) | (_, Unknown) => Unknown,
            _ => {
                remarks.reset_collision = true;
                Unknown
            }
        };
    }

    /// Custom buckets under fewer bounds.
    pub fn regroup(&mut self, bounds: &[f64]) {
        let mut out: Vec<(i32, f64)> = Vec::with_capacity(self.positive.len());
        for &(index, count) in &self.positive {
            let upper = self.bound(index);
            let index = bounds.partition_point(|&b| b < upper) as i32;
            match out.last_mut() {
                Some(last) if last.0 == index => last.1 += count,
                _ => out.push((index, count)),
            }
        }
        self.positive = out;
        self.custom_values = bounds.to_vec();
    }
}

/// Bounds that both have; both ascend.
pub fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|x| b.binary_search_by(|y| y.total_cmp(x)).is_ok()).collect()
}

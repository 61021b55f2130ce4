//! Sealed runs of native histograms that share one layout of buckets, column by column: a bucket's counts
//! through the run are a chunk of values like any counter's, and most of them rest.
//!
//! ```text
//! kind      u8      1
//! flags     u8      bit 0 integer counts; 1 start times; 2 zero threshold is 2^-128; 3 the count is the
//!                   exact sum of zero count and buckets; others zero
//! count     varint  histograms less one; there are 1 to 1,024
//! schema    zigzag
//! threshold f64     [not bit 2]
//! spans     twice (positive, negative): varint how many; each: offset zigzag, length varint
//! bounds    varint how many; f64 each
//! hints     a chunk of times: what each histogram says of a reset, 0 to 3
//! starts    [bit 1] a chunk of times
//! sum       a chunk of values; the stale marker stands here
//! zero      a chunk of values: zero counts
//! counts    [not bit 3] a chunk of values
//! buckets   a chunk of values each: the positive ones, then the negative ones
//! ```

use super::cursor::{Cursor, push_varint, push_zigzag};
use super::layout::CHUNK_SAMPLES_MAX;
use super::{CodecError, Effort, times, values};

const KIND: u8 = 1;

const INTEGER: u8 = 1;
const STARTS: u8 = 2;
const THRESHOLD: u8 = 4;
const SUMMED: u8 = 8;

/// Width of the zero bucket where nobody chose another: 2^-128.
const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// Bucket counts in a run: 8 MiB in memory, a hundred times what a busy histogram has. Bounds what a few
/// bytes can make a reader hold.
pub const RUN_VALUES_MAX: usize = 1 << 20;

/// How many histograms of so many buckets a run may have; 0 where even one is too large.
pub fn run_samples_max(buckets: usize) -> usize {
    RUN_VALUES_MAX.checked_div(buckets).unwrap_or(usize::MAX).min(CHUNK_SAMPLES_MAX)
}

/// A run of consecutive buckets: offset from the end of the span before, and length.
pub type Span = (i32, u32);

/// What all histograms of a run have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    pub schema: i32,
    /// Whether counts came as integers.
    pub integer: bool,
    pub zero_threshold: f64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    /// Upper bounds of custom buckets.
    pub custom_bounds: Vec<f64>,
}

impl Layout {
    /// Buckets that the spans name.
    pub fn buckets(&self) -> u64 {
        self.positive_spans.iter().chain(&self.negative_spans).map(|(_, length)| u64::from(*length)).sum()
    }
}

/// Histograms of one layout. Every column is as long as `sum`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    pub layout: Layout,
    /// What each says of a counter reset, as a small number.
    pub hints: Vec<u8>,
    /// Start timestamps in milliseconds; empty where none is known.
    pub starts: Vec<i64>,
    pub sum: Vec<f64>,
    pub zero_count: Vec<f64>,
    pub count: Vec<f64>,
    /// One bucket's absolute counts after the other's: the positive ones, then the negative ones.
    pub buckets: Vec<f64>,
}

impl Run {
    /// Histograms in the run.
    pub fn samples(&self) -> usize {
        self.sum.len()
    }

    /// Empty, with room kept.
    pub fn clear(&mut self) {
        let Run { layout, hints, starts, sum, zero_count, count, buckets } = self;
        layout.positive_spans.clear();
        layout.negative_spans.clear();
        layout.custom_bounds.clear();
        hints.clear();
        starts.clear();
        for column in [sum, zero_count, count, buckets] {
            column.clear();
        }
    }

    fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.buckets.chunks_exact(self.samples().max(1))
    }

    /// Zero count and buckets of each, added in their order.
    fn totals(&self) -> Vec<f64> {
        let mut totals = self.zero_count.clone();
        for column in self.columns() {
            totals.iter_mut().zip(column).for_each(|(total, count)| *total += count);
        }
        totals
    }
}

/// Appends a run.
///
/// # Panics
/// Where it is empty or longer than [`run_samples_max`] allows, or columns differ in length.
pub fn encode(run: &Run, effort: Effort, out: &mut Vec<u8>) {
    let (layout, samples) = (&run.layout, run.samples());
    let buckets = usize::try_from(layout.buckets()).unwrap_or(usize::MAX);
    assert!((1..=run_samples_max(buckets)).contains(&samples), "{samples} histograms of {buckets} buckets");
    assert!(run.zero_count.len() == samples && run.count.len() == samples && run.hints.len() == samples);
    assert!(run.starts.is_empty() || run.starts.len() == samples);
    assert_eq!(run.buckets.len(), buckets * samples, "counts of buckets");
    // Which NaN comes of adding NaNs is not the same everywhere.
    let summed = same_bits(&run.totals(), &run.count) && !run.count.iter().any(|c| c.is_nan());
    let threshold = layout.zero_threshold.to_bits() == ZERO_THRESHOLD.to_bits();
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(KIND);
    out.push(
        flag(layout.integer, INTEGER)
            | flag(!run.starts.is_empty(), STARTS)
            | flag(threshold, THRESHOLD)
            | flag(summed, SUMMED),
    );
    push_varint(samples as u64 - 1, out);
    push_zigzag(i64::from(layout.schema), out);
    if !threshold {
        out.extend_from_slice(&layout.zero_threshold.to_le_bytes());
    }
    for spans in [&layout.positive_spans, &layout.negative_spans] {
        push_varint(spans.len() as u64, out);
        for &(offset, length) in spans {
            push_zigzag(i64::from(offset), out);
            push_varint(u64::from(length), out);
        }
    }
    push_varint(layout.custom_bounds.len() as u64, out);
    for bound in &layout.custom_bounds {
        out.extend_from_slice(&bound.to_le_bytes());
    }
    times::encode(&run.hints.iter().map(|hint| i64::from(*hint)).collect::<Vec<_>>(), out);
    if !run.starts.is_empty() {
        times::encode(&run.starts, out);
    }
    values::encode(&run.sum, effort, out);
    values::encode(&run.zero_count, effort, out);
    if !summed {
        values::encode(&run.count, effort, out);
    }
    run.columns().for_each(|column| values::encode(column, effort, out));
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
}

/// Reads the run that `bytes` begin with, in place of what `run` held; returns how many bytes it has. What
/// follows may be anything. On an error `run` is empty. It never holds more than [`RUN_VALUES_MAX`]
/// counts, nor more spans and bounds than there are bytes. Whether schema, spans and bounds fit each other
/// is for the caller to check.
pub fn decode(bytes: &[u8], run: &mut Run) -> Result<usize, CodecError> {
    run.clear();
    let read = decode_into(bytes, run);
    if read.is_err() {
        run.clear();
    }
    read
}

fn decode_into(bytes: &[u8], run: &mut Run) -> Result<usize, CodecError> {
    let mut cursor = Cursor::new(bytes);
    let kind = cursor.byte()?;
    let flags = cursor.byte()?;
    if kind != KIND || flags > (INTEGER | STARTS | THRESHOLD | SUMMED) {
        return Err(CodecError::UnknownKind(if kind == KIND { flags } else { kind }));
    }
    let samples = cursor.count(CHUNK_SAMPLES_MAX - 1)? + 1;
    read_layout(&mut cursor, flags, &mut run.layout)?;
    let buckets = usize::try_from(run.layout.buckets()).map_err(|_| CodecError::BadCount)?;
    if samples > run_samples_max(buckets) {
        return Err(CodecError::BadCount);
    }
    let mut hints = Vec::new();
    read_times(&mut cursor, samples, &mut hints)?;
    for hint in hints {
        run.hints.push(u8::try_from(hint).map_err(|_| CodecError::BadNumber)?);
    }
    if flags & STARTS != 0 {
        read_times(&mut cursor, samples, &mut run.starts)?;
    }
    read_values(&mut cursor, samples, &mut run.sum)?;
    read_values(&mut cursor, samples, &mut run.zero_count)?;
    if flags & SUMMED == 0 {
        read_values(&mut cursor, samples, &mut run.count)?;
    }
    for _ in 0..buckets {
        read_values(&mut cursor, samples, &mut run.buckets)?;
    }
    if flags & SUMMED != 0 {
        run.count = run.totals();
    }
    Ok(cursor.position())
}

fn read_layout(cursor: &mut Cursor<'_>, flags: u8, layout: &mut Layout) -> Result<(), CodecError> {
    layout.integer = flags & INTEGER != 0;
    layout.schema = i32::try_from(cursor.zigzag()?).map_err(|_| CodecError::BadNumber)?;
    layout.zero_threshold =
        if flags & THRESHOLD != 0 { ZERO_THRESHOLD } else { f64::from_bits(cursor.word()?) };
    for spans in [&mut layout.positive_spans, &mut layout.negative_spans] {
        // A span is two bytes at least, so these are no more than the bytes bear.
        for _ in 0..cursor.count(cursor.rest().len())? {
            let offset = i32::try_from(cursor.zigzag()?).map_err(|_| CodecError::BadNumber)?;
            let length = u32::try_from(cursor.varint()?).map_err(|_| CodecError::BadNumber)?;
            spans.push((offset, length));
        }
    }
    for _ in 0..cursor.count(cursor.rest().len())? {
        layout.custom_bounds.push(f64::from_bits(cursor.word()?));
    }
    Ok(())
}

fn read_times(cursor: &mut Cursor<'_>, samples: usize, out: &mut Vec<i64>) -> Result<(), CodecError> {
    let before = out.len();
    let read = times::decode(cursor.rest(), out)?;
    cursor.take(read)?;
    if out.len() - before == samples { Ok(()) } else { Err(CodecError::BadCount) }
}

fn read_values(cursor: &mut Cursor<'_>, samples: usize, out: &mut Vec<f64>) -> Result<(), CodecError> {
    let before = out.len();
    let read = values::decode(cursor.rest(), out)?;
    cursor.take(read)?;
    if out.len() - before == samples { Ok(()) } else { Err(CodecError::BadCount) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(run: &Run) -> usize {
        let mut bytes = Vec::new();
        encode(run, Effort::Small, &mut bytes);
        let mut again = Run { sum: vec![1.0], ..Run::default() };
        bytes.extend_from_slice(&[0xff; 9]);
        assert_eq!(decode(&bytes, &mut again), Ok(bytes.len() - 9));
        assert_eq!(again.layout, run.layout);
        assert_eq!((&again.hints, &again.starts), (&run.hints, &run.starts));
        assert!(same_bits(&again.sum, &run.sum) && same_bits(&again.count, &run.count));
        assert!(same_bits(&again.zero_count, &run.zero_count) && same_bits(&again.buckets, &run.buckets));
        bytes.truncate(bytes.len() - 9);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], &mut again).is_err(), "cut at {length}");
            assert_eq!(again.samples() + again.buckets.len(), 0);
        }
        bytes.len()
    }

    /// Latencies around a middle bucket; request counts grow unevenly.
    fn latencies(samples: usize, integer: bool) -> Run {
        let layout = Layout {
            schema: 3,
            integer,
            zero_threshold: ZERO_THRESHOLD,
            positive_spans: vec![(-4, 10), (2, 6)],
            ..Layout::default()
        };
        let unit = if integer { 1.0 } else { 0.25 };
        let mut run = Run { layout, ..Run::default() };
        let rate = |bucket: usize| 12u64.saturating_sub((bucket as u64).abs_diff(7) * 2);
        for bucket in 0..16 {
            let mut count = 0;
            for at in 0..samples {
                count += (at * 7919 + bucket * 104_729) as u64 % 11 * rate(bucket) / 8;
                run.buckets.push(count as f64 * unit);
            }
        }
        run.zero_count = vec![0.0; samples];
        run.sum = (0..samples).map(|at| at as f64 * 1.37).collect();
        run.hints = vec![2; samples];
        run.hints[0] = 0;
        run.count = run.totals();
        run
    }

    #[test]
    fn counts_of_buckets_are_small() {
        let bytes = check(&latencies(120, true));
        // Eleven of the sixteen buckets move.
        assert!(bytes < 120 * 9, "{bytes} bytes");
        assert!(check(&latencies(120, false)) < 120 * 9);
    }

    #[test]
    fn custom_bounds_starts_and_stale_markers_survive() {
        let layout = Layout {
            schema: -53,
            positive_spans: vec![(0, 3)],
            custom_bounds: vec![0.1, 0.5],
            ..Layout::default()
        };
        let run = Run {
            layout,
            hints: vec![0, 2, 3],
            starts: vec![1_700_000_000_000, 1_700_000_000_000, 1_700_000_900_000],
            sum: vec![0.0, 2.5, f64::from_bits(0x7ff0_0000_0000_0002)],
            zero_count: vec![0.0; 3],
            // Not what the buckets add up to.
            count: vec![1.0, 2.0, 40.0],
            buckets: vec![1.0, 1.0, 1.0, 0.0, 2.0, 3.0, 0.0, -0.0, f64::NAN],
        };
        check(&run);
        check(&Run {
            hints: vec![0],
            sum: vec![-0.0],
            zero_count: vec![0.0],
            count: vec![0.0],
            ..Run::default()
        });
    }

    #[test]
    fn runs_beyond_the_limit_are_refused() {
        assert_eq!(run_samples_max(0), CHUNK_SAMPLES_MAX);
        assert_eq!(run_samples_max(RUN_VALUES_MAX / 2), 2);
        assert_eq!(run_samples_max(RUN_VALUES_MAX + 1), 0);
        let mut bytes = vec![KIND, THRESHOLD, 0, 0, 1, 0];
        push_varint(u64::from(u32::MAX), &mut bytes);
        bytes.extend_from_slice(&[0; 40]);
        assert_eq!(decode(&bytes, &mut Run::default()), Err(CodecError::BadCount));
    }

    proptest! {
        #[test]
        fn any_run_comes_back(
            samples in 1usize..20, spans in prop::collection::vec((any::<i32>(), 0u32..5), 0..4), integer in any::<bool>(),
            bits in prop::collection::vec(prop_oneof![any::<u64>(), (0u64..50).prop_map(|i| (i as f64).to_bits())], 60),
        ) {
            let mut next = bits.iter().cycle().map(|b| f64::from_bits(*b));
            let mut column = |length: usize| next.by_ref().take(length).collect::<Vec<_>>();
            let layout = Layout { schema: 2, integer, zero_threshold: 0.5, negative_spans: spans, ..Layout::default() };
            let buckets = layout.buckets() as usize * samples;
            let run = Run { layout, hints: vec![1; samples], starts: vec![], sum: column(samples), zero_count: column(samples),
                count: column(samples), buckets: column(buckets) };
            check(&run);
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = [&[KIND, THRESHOLD][..], &bytes].concat();
            let mut run = Run::default();
            match decode(&bytes, &mut run) {
                Ok(read) => prop_assert!(read <= bytes.len() && run.samples() > 0),
                Err(_) => prop_assert_eq!(run.samples(), 0),
            }
        }
    }
}

//! Remote-write requests with what a data directory should hold: floats with gaps, resets, markers and odd
//! values, native histograms of both kinds, samples out of order.

/// The marker that ends a series, and what is no number otherwise.
const STALE: u64 = 0x7ff0_0000_0000_0002;
const NAN: u64 = 0x7ff8_0000_0000_0001;

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn zigzag(n: i64, out: &mut Vec<u8>) {
    varint((n << 1 ^ n >> 63) as u64, out);
}

/// A field that has a length.
fn field(number: u64, body: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

fn label(name: &str, value: &str, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    field(1, name.as_bytes(), &mut body);
    field(2, value.as_bytes(), &mut body);
    field(1, &body, out);
}

fn sample(time_ms: i64, bits: u64, out: &mut Vec<u8>) {
    let mut body = vec![0x09];
    body.extend_from_slice(&bits.to_le_bytes());
    body.push(0x10);
    varint(time_ms as u64, &mut body);
    field(2, &body, out);
}

/// A native histogram: either exponential or with custom bounds.
struct Native {
    schema: i64,
    zero_count: u64,
    sum: f64,
    /// Offset and length of each span, and the buckets' counts.
    spans: Vec<(i64, u64)>,
    counts: Vec<u64>,
    bounds: Vec<f64>,
    /// Counts as floats.
    float: bool,
    gauge: bool,
}

fn histogram(time_ms: i64, native: &Native, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let double = |number: u64, value: f64, body: &mut Vec<u8>| {
        varint(number << 3 | 1, body);
        body.extend_from_slice(&value.to_le_bytes());
    };
    let count = native.zero_count + native.counts.iter().sum::<u64>();
    if native.float {
        double(2, count as f64, &mut body);
    } else {
        varint(1 << 3, &mut body);
        varint(count, &mut body);
    }
    double(3, native.sum, &mut body);
    varint(4 << 3, &mut body);
    zigzag(native.schema, &mut body);
    if native.bounds.is_empty() {
        double(5, 0.001, &mut body);
    }
    if native.float {
        double(7, native.zero_count as f64, &mut body);
    } else {
        varint(6 << 3, &mut body);
        varint(native.zero_count, &mut body);
    }
    for (offset, length) in &native.spans {
        let mut span = vec![0x08];
        zigzag(*offset, &mut span);
        span.push(0x10);
        varint(*length, &mut span);
        field(11, &span, &mut body);
    }
    let (mut packed, mut before) = (Vec::new(), 0);
    for count in &native.counts {
        if native.float {
            packed.extend_from_slice(&(*count as f64).to_le_bytes());
        } else {
            zigzag(*count as i64 - before, &mut packed);
            before = *count as i64;
        }
    }
    field(if native.float { 13 } else { 12 }, &packed, &mut body);
    varint(14 << 3, &mut body);
    varint(if native.gauge { 3 } else { 0 }, &mut body);
    varint(15 << 3, &mut body);
    varint(time_ms as u64, &mut body);
    if !native.bounds.is_empty() {
        let bounds: Vec<u8> = native.bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
        field(16, &bounds, &mut body);
    }
    field(4, &body, out);
}

/// The value of a float series at its step: counters with resets, a gauge, odd values.
fn value(series: usize, step: i64) -> Option<u64> {
    match series {
        // A gap, then a marker.
        3 if step % 50 > 40 => None,
        4 if step % 60 == 59 => Some(STALE),
        5 if step % 7 == 3 => Some(NAN),
        5 => Some((f64::MAX / (step as f64 + 1.0)).to_bits()),
        2 => Some((step as f64 / 7.0).sin().to_bits()),
        _ => Some((((step % 70) * (series as i64 + 1)).max(0) as f64).to_bits()),
    }
}

const FLOATS: usize = 8;
/// The series that is deleted from, under a name of its own: Prometheus 3.5 breaks off queries that cut a block
/// with tombstones short.
const GONE: usize = 6;
const NATIVES: usize = 4;

fn native(kind: usize, step: i64) -> Native {
    let n = (step % 90).unsigned_abs();
    let exponential = Native {
        schema: 3,
        zero_count: n,
        sum: n as f64 * 1.5,
        spans: if n > 45 { vec![(0, 2), (1, 1), (4, 1)] } else { vec![(0, 2), (1, 1)] },
        counts: if n > 45 { vec![n, n + 1, 2 * n, n - 45] } else { vec![n, n + 1, 2 * n] },
        bounds: Vec::new(),
        float: false,
        gauge: false,
    };
    match kind {
        0 => exponential,
        1 => Native {
            schema: -53,
            zero_count: 0,
            spans: vec![(0, 3)],
            counts: vec![n, 1, n + 1],
            bounds: vec![0.5, 1.0, 2.25],
            ..exponential
        },
        2 => Native { float: true, ..exponential },
        _ => {
            Native { gauge: true, counts: vec![90 - n, n / 2, 3], spans: vec![(0, 2), (1, 1)], ..exponential }
        }
    }
}

/// A request with the steps of all series from one to before another, packed.
pub fn steps(start_ms: i64, interval_ms: i64, from: i64, to: i64) -> Vec<u8> {
    let mut raw = Vec::new();
    for series in 0..FLOATS {
        let mut body = Vec::new();
        label("__name__", if series == GONE { "gone" } else { "m" }, &mut body);
        label("s", &series.to_string(), &mut body);
        for step in from..to {
            if let Some(bits) = value(series, step) {
                sample(start_ms + step * interval_ms, bits, &mut body);
            }
        }
        field(1, &body, &mut raw);
    }
    for kind in 0..NATIVES {
        let mut body = Vec::new();
        label("__name__", "h", &mut body);
        label("kind", &kind.to_string(), &mut body);
        for step in from..to {
            histogram(start_ms + step * interval_ms, &native(kind, step), &mut body);
        }
        field(1, &body, &mut raw);
    }
    packed(&raw)
}

/// A request with samples of a float series and of a histogram at these times.
pub fn late(times_ms: &[i64]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut body = Vec::new();
    label("__name__", "m", &mut body);
    label("s", "0", &mut body);
    times_ms.iter().for_each(|time| sample(*time, (*time as f64 / 1e9).to_bits(), &mut body));
    field(1, &body, &mut raw);
    body.clear();
    label("__name__", "h", &mut body);
    label("kind", "0", &mut body);
    times_ms.iter().for_each(|time| histogram(*time, &native(0, 30), &mut body));
    field(1, &body, &mut raw);
    packed(&raw)
}

fn packed(raw: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(raw).expect("a request is small enough")
}

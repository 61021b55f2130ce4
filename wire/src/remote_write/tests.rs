//! Requests as senders make them, broken ones included, against what the decoder makes of them.

use super::*;
use hearth_model::batch::Exemplar;
use hearth_model::{CounterReset, Histogram, Labels, Sample, Span, WriteBatch, key};
use proptest::prelude::*;

fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("compresses")
}

/// A batch in words: labels, samples, histograms and exemplars of each series.
fn words(batch: &WriteBatch) -> String {
    let mut out = String::new();
    for series in &batch.series {
        let labels = key::decode_key(batch.key(series)).map(|d| d.labels().to_string());
        out += &labels.unwrap_or_else(|e| format!("<{e}>"));
        for sample in batch.samples_of(series) {
            out += &format!(" {}@{}", sample.value, sample.timestamp_ms);
        }
        for (time, h) in batch.histograms_of(series) {
            out += &format!(" {h:?}@{time}");
        }
        for e in &batch.exemplars[series.exemplars.start as usize..series.exemplars.end as usize] {
            out += &format!(" # {} {}@{}", e.labels, e.value, e.timestamp_ms);
        }
        out += "\n";
    }
    out
}

#[track_caller]
fn check(message: &[u8], expect: &str) {
    let mut batch = WriteBatch::default();
    let mut decoder = Decoder::default();
    decoder.decode(&compress(message), &mut batch).expect("decodes");
    assert_eq!(words(&batch), expect);
}

#[track_caller]
fn check_error(message: &[u8], expect: &str) {
    let mut batch = WriteBatch::default();
    let error = Decoder::default().decode(&compress(message), &mut batch).expect_err("refused");
    assert_eq!(error.to_string(), expect);
    assert_eq!(batch, WriteBatch::default());
}

/// `tag length content`
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, content.len() as u8];
    out.extend_from_slice(content);
    out
}

fn label(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    key::push_key(&mut out, [(name, value)]);
    out
}

fn sample(value: f64, time: &[u8]) -> Vec<u8> {
    field(2, &[&[9], value.to_le_bytes().as_slice(), &[0x10], time].concat())
}

const TIME: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01];

#[test]
fn reads_what_senders_write() {
    let name = label("__name__", "up");
    let series = [name.clone(), label("job", "a"), sample(1.5, TIME), sample(-2.0, &[5])].concat();
    check(&field(1, &series), "up{job=\"a\"} 1.5@34359738368 -2@5\n");
    check(
        &[field(1, &series), field(1, &series)].concat(),
        &"up{job=\"a\"} 1.5@34359738368 -2@5\n".repeat(2),
    );
    // Zeros are left out by the sender; unknown fields are none of our business.
    check(&[field(1, &[name.clone(), field(2, &[])].concat()), vec![0x78, 1]].concat(), "up 0@0\n");
    check(
        &field(1, &[vec![0x28, 7], name.clone(), field(9, b"x"), field(2, &[0x10, 9])].concat()),
        "up 0@9\n",
    );
    check(&[], "");
    // A series without anything to store.
    check(&field(1, &name), "");
}

#[test]
fn labels_in_several_places_make_one_key() {
    let parts = [label("__name__", "up"), sample(1.0, TIME), label("b", "2"), label("a", "1")].concat();
    let expect = "up{a=\"1\", b=\"2\"} 1@34359738368\n";
    check(&field(1, &parts), expect);
    let behind = [sample(1.0, TIME), label("__name__", "up"), label("b", "2"), label("a", "1")].concat();
    check(&field(1, &behind), expect);
    let both = [field(1, &parts), field(1, &behind), field(1, &parts)].concat();
    check(&both, &expect.repeat(3));
}

#[test]
fn times_of_every_length_survive_the_fast_way() {
    let mut batch = WriteBatch::default();
    let labels = Labels::from_pairs([("__name__", "t")]);
    let mut times = vec![i64::MIN, -1, 0, 1, i64::MAX, 1_700_000_000_123];
    times.extend((0..63).flat_map(|bit| [(1i64 << bit) - 1, 1 << bit, (1 << bit) | 0x55]));
    let samples: Vec<Sample> =
        times.iter().map(|&timestamp_ms| Sample { timestamp_ms, value: 1.0 }).collect();
    batch.push(&labels, &samples);
    let mut message = Vec::new();
    encode_request(&batch, &[], &mut message);
    let mut back = WriteBatch::default();
    Decoder::default().decode_message(&message, &mut back).expect("decodes");
    assert_eq!(back.samples, samples);
}

#[test]
fn faults_name_the_field_and_the_byte() {
    let name = label("__name__", "up");
    let good = field(1, &[name.clone(), sample(1.0, TIME)].concat());
    let bad = |inner: &[u8]| [good.clone(), field(1, &[name.clone(), inner.to_vec()].concat())].concat();
    check_error(
        &bad(&field(2, &[0x0d, 1, 2, 3, 4])),
        "malformed write request: timeseries[1].samples[0].value at byte 57: wire type is 5, expected 1",
    );
    check_error(
        &bad(&field(2, &[9, 1, 2])),
        "malformed write request: timeseries[1].samples[0].value at byte 57: message ends within a field",
    );
    check_error(
        &bad(&[0x12, 0x7f, 1]),
        "malformed write request: timeseries[1].samples[0] at byte 55: length 127 reaches past the end of the message",
    );
    check_error(
        &bad(&field(2, &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
        "malformed write request: timeseries[1].samples[0].timestamp at byte 57: varint is longer than 64 bits",
    );
    check_error(&[0x0b], "malformed write request: timeseries[0] at byte 1: groups are not supported");
    check_error(&[0x23], "malformed write request: field 4 at byte 1: groups are not supported");
    check_error(&[0x0f], "malformed write request: timeseries[0] at byte 1: wire type is 7, expected 2");
    check_error(
        &[0x02],
        "malformed write request: message at byte 0: field number is 0 or above the maximum",
    );
    check_error(
        &bad(&field(4, &field(13, &[1, 2, 3]))),
        "malformed write request: timeseries[1].histograms[0].positive_counts at byte 58: packed field of 3 bytes does not hold whole values",
    );
}

#[test]
fn a_claim_of_size_is_checked_before_memory_is_taken() {
    let refuse = |body: &[u8], expect: &str| {
        let error = Decoder::default().decode(body, &mut WriteBatch::default()).expect_err("refused");
        assert_eq!(error.to_string(), expect);
    };
    refuse(
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        "snappy: decoded size of 4294967295 bytes exceeds the limit of 33554432 bytes",
    );
    refuse(
        &[0x81, 0x80, 0x80, 0x10],
        "snappy: decoded size of 33554433 bytes exceeds the limit of 33554432 bytes",
    );
    assert!(Decoder::default().decode(b"", &mut WriteBatch::default()).is_err());
    assert!(Decoder::default().decode(b"not snappy", &mut WriteBatch::default()).is_err());
    assert!(Decoder::default().decode(&[0xff; 12], &mut WriteBatch::default()).is_err());
}

#[test]
fn limits_stop_what_grows() {
    let check = |limits: Limits, message: &[u8], expect: &str| {
        let mut decoder = Decoder::new(limits);
        let error = decoder.decode(&compress(message), &mut WriteBatch::default()).expect_err("refused");
        assert_eq!(error.to_string(), expect);
    };
    let none = Limits::default();
    let samples = field(1, &[label("a", "b"), [field(2, &[]), field(2, &[])].concat()].concat());
    check(
        Limits { request_samples: 1, ..none.clone() },
        &samples,
        "write request too large: timeseries[0].samples[1] at byte 12: more than 1 samples",
    );
    let full = field(1, &[label("a", "b"), sample(1.0, TIME), sample(1.0, TIME)].concat());
    check(
        Limits { request_samples: 1, ..none.clone() },
        &full,
        "write request too large: timeseries[0] at byte 1: more than 1 samples",
    );
    check(
        Limits { series_labels: 1, ..none.clone() },
        &field(1, &[label("a", "b"), label("c", "d")].concat()),
        "write request too large: timeseries[0] at byte 1: more than 1 labels in one series",
    );
    check(
        Limits { request_buckets: 2, ..none.clone() },
        &field(1, &field(4, &field(12, &[1, 1, 1]))),
        "write request too large: timeseries[0].histograms[0].positive_deltas at byte 6: more than 2 histogram buckets",
    );
    check(
        Limits { request_histograms: 0, ..none },
        &field(1, &field(4, &[])),
        "write request too large: timeseries[0].histograms[0] at byte 2: more than 0 histograms",
    );
}

#[test]
fn exemplars_and_metadata_that_are_not_valid_cost_no_sample() {
    let exemplar = |value: &[u8]| {
        let inner = field(1, &[field(1, b"trace_id"), field(2, value)].concat());
        field(3, &[inner, vec![0x18, 7]].concat())
    };
    let series = [label("__name__", "up"), sample(1.0, &[5]), exemplar(b"ok"), exemplar(b"\xff")].concat();
    let metadata = |help: &[u8]| field(3, &[&[8, 1], &field(2, b"up")[..], &field(4, help)].concat());
    let message = [field(1, &series), metadata(b"Help."), metadata(b"\xff")].concat();
    let mut decoder = Decoder::default();
    let mut batch = WriteBatch::default();
    let summary = decoder.decode(&compress(&message), &mut batch).expect("decodes");
    assert_eq!(words(&batch), "up 1@5 # {trace_id=\"ok\"} 0@7\n");
    assert_eq!((summary.exemplars_refused, summary.metadata_refused, summary.metadata), (1, 1, 1));
    let metadata: Vec<_> = decoder.metadata(&batch).collect();
    let expect = Metadata { metric_type: crate::MetricType::Counter, family: "up", help: "Help.", unit: "" };
    assert_eq!(metadata, [expect]);
}

fn histogram(integer: bool) -> Histogram {
    Histogram {
        schema: 3,
        integer,
        reset: CounterReset::Gauge,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 12.0,
        sum: -3.5,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 1, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        positive_counts: vec![1.0, 5.0, 3.0],
        negative_counts: vec![1.0],
        custom_values: vec![],
    }
}

/// One of everything.
fn rich_message() -> Vec<u8> {
    let mut batch = WriteBatch::default();
    batch.push(&Labels::from_pairs([("__name__", "up"), ("job", "a")]), &[]);
    batch.samples.push(Sample { timestamp_ms: 1_700_000_000_000, value: 1.0 });
    batch.histograms.push((-5, histogram(true)));
    batch.histograms.push((7, histogram(false)));
    batch.exemplars.push(Exemplar {
        timestamp_ms: 9,
        value: 0.5,
        labels: Labels::from_pairs([("trace_id", "x")]),
    });
    batch.series[0].samples = 0..1;
    batch.series[0].histograms = 0..2;
    batch.series[0].exemplars = 0..1;
    let metadata = Metadata { metric_type: crate::MetricType::Gauge, family: "up", help: "Help.", unit: "s" };
    let mut message = Vec::new();
    encode_request(&batch, &[metadata], &mut message);
    let mut back = WriteBatch::default();
    let mut decoder = Decoder::default();
    decoder.decode_message(&message, &mut back).expect("decodes");
    assert_eq!((&back.histograms, &back.exemplars), (&batch.histograms, &batch.exemplars));
    assert_eq!(decoder.metadata(&back).collect::<Vec<_>>(), [metadata]);
    message
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let message = rich_message();
    let mut decoder = Decoder::default();
    let mut batch = WriteBatch::default();
    for cut in 0..message.len() {
        // A cut between two top-level fields leaves a whole message.
        let outcome = decoder.decode_message(&message[..cut], &mut batch);
        assert_eq!(outcome.is_err(), batch.is_empty() && cut > 0, "cut at {cut}: {outcome:?}");
        let _ = decoder.decode(&message[..cut], &mut batch);
    }
    let compressed = compress(&message);
    for at in 0..message.len() {
        for flip in [1, 2, 3, 4, 8, 16, 32, 64, 128, 255u8] {
            let mut bad = message.clone();
            bad[at] ^= flip;
            if let Err(DecodeError::Malformed { offset, .. }) = decoder.decode_message(&bad, &mut batch) {
                assert!(offset <= bad.len());
            }
            if let Some(byte) = compressed.get(at) {
                let mut bad = compressed.clone();
                bad[at] = byte ^ flip;
                let _ = decoder.decode(&bad, &mut batch);
            }
        }
    }
}

fn any_batch() -> impl Strategy<Value = WriteBatch> {
    let value = prop_oneof![any::<u64>().prop_map(f64::from_bits), any::<i32>().prop_map(f64::from)];
    let samples = prop::collection::vec((any::<i64>(), value), 1..4);
    let labels = prop::collection::btree_map("[a-z]{1,8}", ".{1,200}", 0..6);
    prop::collection::vec((labels, samples), 0..8).prop_map(|series| {
        let mut batch = WriteBatch::default();
        for (labels, samples) in series {
            let labels =
                Labels::from_pairs(labels.into_iter().chain([("__name__".to_owned(), "m".to_owned())]));
            let samples: Vec<Sample> =
                samples.into_iter().map(|(timestamp_ms, value)| Sample { timestamp_ms, value }).collect();
            batch.push(&labels, &samples);
        }
        batch
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(batch in any_batch()) {
        let mut body = Vec::new();
        Encoder::default().encode(&batch, &[], &mut body);
        let mut back = WriteBatch::default();
        let summary = Decoder::default().decode(&body, &mut back).expect("decodes");
        prop_assert_eq!(summary.series, batch.series.len());
        let bits = |b: &WriteBatch| b.samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(&batch), bits(&back));
        for (one, other) in batch.series.iter().zip(&back.series) {
            prop_assert_eq!(batch.key(one), back.key(other));
            prop_assert_eq!(&one.samples, &other.samples);
        }
    }

    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut batch = WriteBatch::default();
        let mut decoder = Decoder::default();
        let _ = decoder.decode(&bytes, &mut batch);
        let _ = decoder.decode_message(&bytes, &mut batch);
    }
}

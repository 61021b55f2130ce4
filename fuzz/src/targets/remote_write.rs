//! A remote-write message, compressed and not. Ranges of what decodes must lie within the batch, and what
//! is encoded again must decode to the same.

use hearth_model::WriteBatch;
use hearth_model::batch::BatchSeries;
use hearth_wire::config::Limits;
use hearth_wire::remote_write::{DecodeError, Decoder, Encoder, Summary};

pub fn run(data: &[u8]) {
    // Small limits, so that inputs reach them.
    let limits = Limits {
        decoded_bytes: 1 << 20,
        request_samples: 10_000,
        request_histograms: 1_000,
        request_buckets: 10_000,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    let mut batch = WriteBatch::default();
    let outcome = decoder.decode(data, &mut batch);
    check(&mut decoder, &outcome, &batch, data.len());
    let outcome = decoder.decode_message(data, &mut batch);
    check(&mut decoder, &outcome, &batch, data.len());
}

fn check(
    decoder: &mut Decoder,
    outcome: &Result<Summary, DecodeError>,
    batch: &WriteBatch,
    input_bytes: usize,
) {
    let summary = match outcome {
        Ok(summary) => summary,
        Err(error) => {
            assert!(
                batch.is_empty() && batch.keys.is_empty() && batch.samples.is_empty(),
                "half a batch is left"
            );
            assert!(error.to_string().len() < 1_000, "an error of {input_bytes} bytes of input is endless");
            return;
        }
    };
    assert_eq!(summary.series, batch.series.len());
    let metadata: Vec<_> = decoder.metadata(batch).collect();
    assert_eq!(summary.metadata, metadata.len());
    let mut body = Vec::new();
    Encoder::default().encode(batch, &metadata, &mut body);
    let mut again = WriteBatch::default();
    let mut second = Decoder::default();
    let repeated = second.decode(&body, &mut again).expect("what was encoded decodes");
    assert_eq!(repeated.series, summary.series);
    assert!(second.metadata(&again).eq(metadata.iter().copied()), "metadata changed");
    for (one, other) in batch.series.iter().zip(&again.series) {
        assert_eq!(words(batch, one), words(&again, other));
    }
}

/// A series as text, floats by their bits.
fn words(batch: &WriteBatch, series: &BatchSeries) -> String {
    let samples: Vec<_> =
        batch.samples_of(series).iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
    let exemplars = &batch.exemplars[series.exemplars.start as usize..series.exemplars.end as usize];
    // The label bytes as they are; histograms and exemplars print NaN as NaN, which will do.
    format!("{:?} {samples:?} {:?} {exemplars:?}", batch.key(series), batch.histograms_of(series))
}

//! Prometheus' chunks: the first byte chooses the encoding, the rest is the data. What was read is written and
//! read again.

use hearth_engine::prometheus::chunks::{Encoding, Samples};
use hearth_engine::prometheus::{histogram, xor};

/// The samples' bits, without what a chunk alone knows of resets.
fn bits(samples: &Samples) -> Vec<(i64, u64)> {
    let floats = samples.times.iter().copied().zip(samples.values.iter().map(|value| value.to_bits()));
    let sums = samples.histograms.iter().map(|(time, histogram)| (*time, histogram.sum.to_bits()));
    floats.chain(sums).collect()
}

pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let encoding = [Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram][usize::from(kind % 3)];
    let mut samples = Samples::default();
    if samples.decode(encoding, data).is_err() {
        assert!(samples.is_empty(), "an error leaves nothing behind");
        return;
    }
    let mut again = Samples::default();
    if encoding == Encoding::Xor {
        let written = xor::encode(&samples.times, &samples.values);
        again.decode(encoding, &written).expect("it was written so");
    }
    let mut rest = &samples.histograms[..];
    while !rest.is_empty() {
        let (count, whole) = histogram::run(rest, 120);
        let encoding = if whole { Encoding::Histogram } else { Encoding::FloatHistogram };
        let written = histogram::encode(&rest[..count], whole);
        // Counts that only damage brings forth are written as floats, and may take more than a chunk has room for.
        if again.decode(encoding, &written).is_err() {
            return;
        }
        rest = &rest[count..];
    }
    assert_eq!(bits(&again), bits(&samples));
}

//! Every limit on foreign bytes, with its unit, its default and its reason.

/// Limits of all parsers in this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a snappy block may claim to hold. The claim is checked before memory is taken for it; the
    /// figure is the one Prometheus uses, so what it accepts we accept.
    pub decoded_bytes: usize,
    /// Float samples in one request. A sample is 18 bytes on the wire when written in full, so a request
    /// of 32 MiB cannot reach this; two-byte empty samples, which grow eightfold in memory, can.
    pub request_samples: usize,
    /// Native histograms in one request: each takes about 200 bytes of memory for as little as two on
    /// the wire.
    pub request_histograms: usize,
    /// Spans, bucket counts and custom bounds of all histograms in one request: a count takes eight bytes
    /// of memory for one on the wire.
    pub request_buckets: usize,
    /// Exemplars in one request: each takes an allocation for its labels.
    pub request_exemplars: usize,
    /// Metadata entries in one request.
    pub request_metadata: usize,
    /// Labels of one series, wherever it comes from: each is sorted, interned and indexed. Far above what
    /// a person can read, far below what hurts.
    pub series_labels: usize,
    /// Bytes of one series' labels on the wire.
    pub series_label_bytes: usize,
    /// Bytes of one exemplar's labels on the wire; OpenMetrics allows 128 characters of names and values.
    pub exemplar_label_bytes: usize,
    /// Bytes of one exposition line: a metric's help text is the longest thing that occurs.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            decoded_bytes: 32 << 20,
            request_samples: 2_000_000,
            request_histograms: 100_000,
            request_buckets: 4_000_000,
            request_exemplars: 200_000,
            request_metadata: 200_000,
            series_labels: 1_024,
            series_label_bytes: 1 << 20,
            exemplar_label_bytes: 4 << 10,
            line_bytes: 1 << 20,
        }
    }
}

/// Hard ceiling on [`Limits::decoded_bytes`]: batches address their key bytes with 32 bits, and labels
/// that came scattered are copied behind the decoded body.
pub const MAX_DECODED_BYTES: usize = 1 << 30;

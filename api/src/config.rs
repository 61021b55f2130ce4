//! Every limit of the HTTP layer: name, unit, default and reason. Nothing in here does anything.

/// Bytes of a POST form: what Go's form parser, and so Prometheus, reads at most.
pub const FORM_LIMIT_BYTES: usize = 10 << 20;

/// Bytes of a remote-write body as it comes, compressed: what Prometheus 3.12 set.
pub const WRITE_BODY_LIMIT_BYTES: usize = 32 << 20;

/// Bytes of a remote-write body once decompressed, for the same reason: a small bomb must not fill memory.
pub const WRITE_DECODED_LIMIT_BYTES: usize = 32 << 20;

/// Bytes of a push to the gateway as it comes, and once decompressed: far above what a batch job says.
pub const PUSH_BODY_LIMIT_BYTES: usize = hearth_scrape::config::MAX_PUSH_BODY_BYTES;

/// Labels that tell replicas apart, by flag or in one request: each series is looked at for each of them.
pub const MAX_REPLICA_LABELS: usize = 16;

/// Points of one series in the answer of a range query: Prometheus' own bound.
pub const MAX_POINTS: i64 = 11_000;

/// Bytes in one piece of a streamed answer: large enough to cost little, small enough that a slow client
/// holds little.
pub const PIECE_BYTES: usize = 64 << 10;

/// Warnings and infos shown of one answer; one more text counts the rest.
pub const MAX_ANNOTATIONS: usize = 10;

/// Bytes of all remote-write bodies in flight, compressed and decompressed: with hundreds of connections
/// the limits of one body alone would not bound memory. What does not fit is told to come again.
pub const WRITE_MEMORY_BYTES: usize = 512 << 20;

/// Entries of the cardinality tables when `limit` is not given, and at most.
pub const TSDB_STATUS_LIMIT: usize = 10;
pub const TSDB_STATUS_MAX_LIMIT: usize = 10_000;

/// How long a query that was told to stop may take to answer with its own words, in milliseconds.
pub const STOP_GRACE_MS: u64 = 100;

/// Observations that a summary keeps for its quantiles.
pub const SUMMARY_WINDOW: usize = 512;

/// Age in seconds after which an observation leaves a summary's quantiles, as Prometheus' do.
pub const SUMMARY_AGE_S: u64 = 600;

/// Clusters whose replicas are followed: each takes some hundred bytes, and the labels come from whoever may write.
pub const MAX_CLUSTERS: usize = 10_000;

/// Bytes of the name of a cluster or of a replica.
pub const MAX_REPLICA_LABEL_BYTES: usize = 1 << 10;

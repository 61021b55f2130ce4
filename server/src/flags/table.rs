//! Every flag, once: name, kind, default, help, and whether this server acts on it. The parser, `--help`
//! and `/api/v1/status/flags` are made from this table; nothing else may name a flag's default.

/// What a flag's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Present or `--no-…`; takes no value.
    Switch,
    Text,
    /// May be given more than once.
    Texts,
    Duration,
    Bytes,
    /// A whole number of zero or more.
    Count,
    Ratio,
    OneOf(&'static [&'static str]),
    /// May be given more than once, each a comma list of these.
    SomeOf(&'static [&'static str]),
    /// May be given more than once, each a comma list.
    Names,
}

/// Whether setting the flag does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Served,
    /// Accepted so that existing deployments start; says what is missing.
    NotYet(&'static str),
    /// Accepted so that existing deployments start; says why it never will do anything.
    Meaningless(&'static str),
}

#[derive(Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    pub help: &'static str,
    pub hidden: bool,
    pub effect: Effect,
}

const fn served(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, help, hidden: false, effect: Effect::Served }
}

const fn not_yet(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    missing: &'static str,
) -> Flag {
    Flag { name, kind, default, help, hidden: false, effect: Effect::NotYet(missing) }
}

const fn meaningless(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    why: &'static str,
) -> Flag {
    Flag { name, kind, default, help, hidden: false, effect: Effect::Meaningless(why) }
}

/// A tuning knob that Prometheus itself does not show.
const fn hidden(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    let effect = Effect::Meaningless("it tunes a storage engine that this server does not have");
    Flag { name, kind, default, help: "", hidden: true, effect }
}

const fn hidden_agent(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, help: "", hidden: true, effect: Effect::NotYet(NO_AGENT) }
}

const fn hidden_scrape(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    let effect = Effect::NotYet("scraping runs with this server's own settings");
    Flag { name, kind, default, help: "", hidden: true, effect }
}

const NOT_GO: &str = "this server is not a Go program and has no such runtime";
const NO_AGENT: &str = "agent mode is not there yet";
const NO_RULES: &str = "rules are checked but not evaluated yet";
const NO_ALERTS: &str = "no alert is sent yet";
const NO_REMOTE: &str = "remote read and remote-write sending are not there yet";
const NO_OTLP: &str = "the OTLP receiver is not there yet";
const NO_CONSOLES: &str = "console templates are not there yet";

pub const WRITE_MESSAGES: &[&str] = &["prometheus.WriteRequest", "io.prometheus.write.v2.Request"];

use Kind::*;

pub const FLAGS: &[Flag] = &[
    served(
        "config.file",
        Text,
        "prometheus.yml",
        "Configuration file. Where the flag is not given and no prometheus.yml is there, a built-in configuration scrapes this server, and node_exporter where one answers on port 9100.",
    ),
    not_yet(
        "config.auto-reload",
        Switch,
        "false",
        "Reload the configuration when its files change.",
        "send SIGHUP or POST to /-/reload",
    ),
    not_yet(
        "config.auto-reload-interval",
        Duration,
        "30s",
        "How often the configuration files are checked for changes.",
        "send SIGHUP or POST to /-/reload",
    ),
    served("web.listen-address", Texts, "0.0.0.0:9090", "Address to listen on. Can be repeated."),
    meaningless("auto-gomaxprocs", Switch, "true", "Accepted for compatibility.", NOT_GO),
    meaningless("auto-gomemlimit", Switch, "true", "Accepted for compatibility.", NOT_GO),
    meaningless("auto-gomemlimit.ratio", Ratio, "0.9", "Accepted for compatibility.", NOT_GO),
    meaningless("auto-gomemlimit.refresh-interval", Duration, "0s", "Accepted for compatibility.", NOT_GO),
    not_yet(
        "web.config.file",
        Text,
        "",
        "File that turns on TLS and authentication.",
        "refusing to start without the protection it asks for",
    ),
    served(
        "web.read-timeout",
        Duration,
        "5m",
        "Longest time a request may take to arrive, and a connection may stay idle.",
    ),
    served("web.max-connections", Count, "512", "Most connections at one time, over all listeners."),
    not_yet(
        "web.max-notifications-subscribers",
        Count,
        "16",
        "Most subscribers of live notifications.",
        "live notifications are not there yet",
    ),
    served(
        "web.external-url",
        Text,
        "",
        "URL under which this server is reached from outside; its path prefixes every route unless --web.route-prefix is given.",
    ),
    served(
        "web.route-prefix",
        Text,
        "",
        "Path in front of every route. The default is the path of --web.external-url.",
    ),
    not_yet(
        "web.local-assets",
        Text,
        "",
        "Accepted for compatibility with Debian's Prometheus.",
        "there is no user interface yet",
    ),
    not_yet("web.user-assets", Text, "", "Directory served at /user.", "user assets are not served yet"),
    served("web.enable-lifecycle", Switch, "false", "Allow reload and shutdown over HTTP."),
    served(
        "web.enable-admin-api",
        Switch,
        "false",
        "Allow admin actions over HTTP: deleting series, cleaning tombstones, snapshots.",
    ),
    served("web.enable-remote-write-receiver", Switch, "false", "Accept remote write at /api/v1/write."),
    not_yet(
        "web.enable-otlp-receiver",
        Switch,
        "false",
        "Accept OTLP metrics at /api/v1/otlp/v1/metrics.",
        NO_OTLP,
    ),
    served(
        "web.remote-write-receiver.accepted-protobuf-messages",
        SomeOf(WRITE_MESSAGES),
        "prometheus.WriteRequest",
        "Remote-write messages to accept. Can be repeated.",
    ),
    served(
        "web.remote-write-receiver.deduplicate",
        Switch,
        "false",
        "Of several replicas that write the same, store one: see docs/replicas.md.",
    ),
    served(
        "web.remote-write-receiver.cluster-label",
        Text,
        "cluster",
        "Label that the replicas of one cluster share.",
    ),
    served(
        "web.remote-write-receiver.replica-label",
        Text,
        "__replica__",
        "Label that tells replicas apart. It is not stored.",
    ),
    served(
        "web.remote-write-receiver.failover-timeout",
        Duration,
        "30s",
        "How long the replica that is stored may be silent before another one is.",
    ),
    not_yet("web.console.templates", Text, "consoles", "Directory of console templates.", NO_CONSOLES),
    not_yet(
        "web.console.libraries",
        Text,
        "console_libraries",
        "Directory of console libraries.",
        NO_CONSOLES,
    ),
    served(
        "web.page-title",
        Text,
        "Prometheus Time Series Collection and Processing Server",
        "Title of the pages.",
    ),
    served(
        "web.cors.origin",
        Text,
        ".*",
        "Regular expression, anchored, of origins that browsers may call from. Example: 'https?://(domain1|domain2)\\.com'",
    ),
    not_yet(
        "web.search.max-limit",
        Count,
        "10000",
        "Largest limit of the search API.",
        "the search API is not there yet",
    ),
    served(
        "push.enable",
        Switch,
        "false",
        "Take pushed metrics at /metrics/job/... as Pushgateway does, and scrape them as a job.",
    ),
    served(
        "push.job",
        Text,
        "pushgateway",
        "Job that pushed metrics are scraped as; where the configuration has a job of that name without targets, by its settings.",
    ),
    served(
        "push.ttl",
        Duration,
        "0s",
        "How long a group lives after its last push, unless the push says so with ?ttl=. 0: for ever.",
    ),
    served(
        "push.disable-consistency-check",
        Switch,
        "false",
        "Take pushes that contradict what other groups hold.",
    ),
    served(
        "push.enable-utf8-names",
        Switch,
        "false",
        "Read label names like U__a_2e_b in push paths as the names that they stand for.",
    ),
    served("push.enable-admin-api", Switch, "false", "Allow to delete all pushed groups over HTTP."),
    served("push.persistence.file", Text, "", "File that keeps pushed groups over a restart."),
    served(
        "push.persistence.interval",
        Duration,
        "5m",
        "How often changes of pushed groups are written to the file; they are at the end in any case.",
    ),
    served("storage.tsdb.path", Text, "data/", "Directory of the stored data."),
    served(
        "storage.tsdb.retention.time",
        Duration,
        "15d",
        "How long samples are kept. storage.tsdb.retention.time of the configuration comes before it.",
    ),
    served(
        "storage.tsdb.retention.size",
        Bytes,
        "0B",
        "Most bytes that stored data may take; the oldest goes first. Without a retention time there is then no limit of time. storage.tsdb.retention.size of the configuration comes before it.",
    ),
    meaningless(
        "storage.tsdb.no-lockfile",
        Switch,
        "false",
        "Accepted for compatibility.",
        "the kernel holds the lock on the data directory, so it cannot be left behind",
    ),
    meaningless(
        "storage.tsdb.head-chunks-write-queue-size",
        Count,
        "0",
        "Accepted for compatibility.",
        "it tunes a storage engine that this server does not have",
    ),
    not_yet(
        "storage.tsdb.delay-compact-file.path",
        Text,
        "",
        "Thanos shipper's meta file, which delays compaction.",
        "compaction does not wait for uploads yet",
    ),
    served(
        "storage.wal.ack",
        OneOf(&["synced", "written", "memory"]),
        "synced",
        "How durable a remote write is before it is acknowledged: on stable storage, handed to the kernel, or in memory.",
    ),
    served(
        "storage.wal.checkpoint-size",
        Bytes,
        "32MB",
        "How much log each shard writes before what it has in memory goes to a checkpoint, so that a start need not replay more. Smaller: quicker starts, more writing.",
    ),
    served(
        "storage.shards",
        Count,
        "0",
        "Shards of a new data directory; 0 means one for each core, rounded up to a power of two. A directory keeps its number.",
    ),
    served(
        "storage.io",
        OneOf(&["auto", "uring", "threads"]),
        "auto",
        "How the log is written where the medium is slow, and on what the shards run: io_uring where the kernel allows it and plain threads, io_uring for both (glommio), or plain calls and threads.",
    ),
    served(
        "storage.max-series",
        Count,
        "0",
        "Most series in memory. Here and below: new series beyond are refused, those that are there go on; 0 means no limit.",
    ),
    served("storage.max-series-per-metric", Count, "0", "Most series in memory with one metric name."),
    served(
        "storage.max-series-per-job",
        Count,
        "0",
        "Most series in memory with one value of the label job.",
    ),
    served("storage.max-new-series-per-hour", Count, "0", "Most series that come into being within an hour."),
    served(
        "storage.max-labels-per-series",
        Count,
        "0",
        "Most labels of a new series, its metric name included.",
    ),
    served("storage.max-label-name-length", Count, "0", "Most bytes of a new series' label name."),
    served("storage.max-label-value-length", Count, "0", "Most bytes of a new series' label value."),
    served(
        "storage.takeover.interval",
        Duration,
        "1m",
        "How often to look for blocks of Prometheus that were put into the data directory, or into the folder prometheus in there, while the server runs; 0s: only at the start.",
    ),
    served(
        "storage.takeover.originals",
        OneOf(&["keep", "remove"]),
        "keep",
        "Where the data directory is one of Prometheus': keep its files, in the folder prometheus in there, or remove each block once its samples are in Hearth's.",
    ),
    served(
        "storage.takeover.wait",
        Switch,
        "false",
        "Where the data directory is one of Prometheus': be ready only once all of its blocks are converted, instead of converting the older ones while serving.",
    ),
    not_yet("storage.agent.path", Text, "data-agent/", "Directory of the agent's data.", NO_AGENT),
    not_yet("storage.agent.wal-compression", Switch, "true", "Compress the agent's log.", NO_AGENT),
    not_yet(
        "storage.agent.retention.min-time",
        Duration,
        "5m",
        "Shortest time the agent keeps a sample.",
        NO_AGENT,
    ),
    not_yet(
        "storage.agent.retention.max-time",
        Duration,
        "4h",
        "Longest time the agent keeps a sample.",
        NO_AGENT,
    ),
    not_yet(
        "storage.agent.checkpoint-from-in-memory-series",
        Switch,
        "false",
        "How the agent makes checkpoints.",
        NO_AGENT,
    ),
    not_yet(
        "storage.agent.checkpoint-batch-size",
        Count,
        "1000",
        "Series in one batch of the agent's checkpoints.",
        NO_AGENT,
    ),
    not_yet(
        "storage.agent.no-lockfile",
        Switch,
        "false",
        "Create no lock file in the agent's directory.",
        NO_AGENT,
    ),
    not_yet(
        "storage.remote.flush-deadline",
        Duration,
        "1m",
        "How long to wait for samples to be sent at shutdown.",
        NO_REMOTE,
    ),
    not_yet(
        "storage.remote.read-sample-limit",
        Count,
        "50000000",
        "Most samples in one remote read.",
        NO_REMOTE,
    ),
    not_yet("storage.remote.read-concurrent-limit", Count, "10", "Most remote reads at one time.", NO_REMOTE),
    not_yet(
        "storage.remote.read-max-bytes-in-frame",
        Count,
        "1048576",
        "Bytes of one frame of a streamed remote read.",
        NO_REMOTE,
    ),
    not_yet(
        "rules.alert.for-outage-tolerance",
        Duration,
        "1h",
        "Longest outage after which an alert's \"for\" state is restored.",
        NO_RULES,
    ),
    not_yet(
        "rules.alert.for-grace-period",
        Duration,
        "10m",
        "Shortest time between a restored \"for\" state and the alert.",
        NO_RULES,
    ),
    not_yet(
        "rules.alert.resend-delay",
        Duration,
        "1m",
        "Shortest time before an alert is sent again.",
        NO_RULES,
    ),
    not_yet(
        "rules.max-concurrent-evals",
        Count,
        "4",
        "Most independent rules evaluated at one time.",
        NO_RULES,
    ),
    not_yet(
        "alertmanager.notification-queue-capacity",
        Count,
        "10000",
        "Most alerts that wait to be sent.",
        NO_ALERTS,
    ),
    not_yet("alertmanager.notification-batch-size", Count, "256", "Most alerts sent at once.", NO_ALERTS),
    not_yet(
        "alertmanager.drain-notification-queue-on-shutdown",
        Switch,
        "true",
        "Send waiting alerts at shutdown.",
        NO_ALERTS,
    ),
    served("query.lookback-delta", Duration, "5m", "How far back an instant selector looks for a sample."),
    served("query.timeout", Duration, "2m", "Longest time a query may take."),
    served("query.max-concurrency", Count, "20", "Most queries at one time."),
    served("query.max-samples", Count, "50000000", "Most samples that one query may hold in memory."),
    served(
        "query.max-memory",
        Bytes,
        "0B",
        "Most memory that all queries together may hold, kept results included; 0 means a quarter of the machine's or container's memory.",
    ),
    served(
        "query.max-memory-per-query",
        Bytes,
        "0B",
        "Most memory that one query may hold; 0 means half of what all together may.",
    ),
    served(
        "query.cache.size",
        Bytes,
        "256MiB",
        "Most memory for kept results of range queries, never more than a quarter of --query.max-memory; 0 keeps none.",
    ),
    served(
        "query.cache.recent",
        Duration,
        "2m",
        "Results for steps newer than this are computed every time: samples for them are still on their way, and would take a kept result back at once.",
    ),
    served(
        "query.replica-label",
        Texts,
        "",
        "Label that tells replicas of a series apart: queries see them as one series, unless they say dedup=false. Can be repeated. See docs/replicas.md.",
    ),
    served(
        "query.log-slower-than",
        Duration,
        "10s",
        "Queries that take this long are told of in the log, with what they cost; 0 tells of none.",
    ),
    served("enable-feature", Names, "", "Comma list of features to turn on. Can be repeated."),
    not_yet("agent", Switch, "false", "Run as an agent.", NO_AGENT),
    served(
        "log.level",
        OneOf(&["debug", "info", "warn", "error"]),
        "info",
        "Lowest severity that is logged. One of: [debug, info, warn, error]",
    ),
    served("log.format", OneOf(&["logfmt", "json"]), "logfmt", "Format of log lines. One of: [logfmt, json]"),
    hidden("storage.tsdb.min-block-duration", Duration, "2h"),
    hidden("storage.tsdb.max-block-duration", Duration, "0s"),
    hidden("storage.tsdb.max-block-chunk-segment-size", Bytes, "0B"),
    hidden("storage.tsdb.wal-segment-size", Bytes, "0B"),
    hidden("storage.tsdb.allow-overlapping-compaction", Switch, "true"),
    hidden("storage.tsdb.wal-compression", Switch, "true"),
    hidden("storage.tsdb.wal-compression-type", OneOf(&["snappy", "zstd"]), "snappy"),
    hidden("storage.tsdb.samples-per-chunk", Count, "120"),
    hidden("storage.tsdb.delayed-compaction.max-percent", Count, "10"),
    hidden("storage.tsdb.block-reload-interval", Duration, "1m"),
    hidden_agent("storage.agent.wal-segment-size", Bytes, "0B"),
    hidden_agent("storage.agent.wal-compression-type", OneOf(&["snappy", "zstd"]), "snappy"),
    hidden_agent("storage.agent.wal-truncate-frequency", Duration, "0s"),
    hidden_scrape("scrape.adjust-timestamps", Switch, "true"),
    hidden_scrape("scrape.timestamp-tolerance", Duration, "2ms"),
    hidden_scrape("scrape.discovery-reload-interval", Duration, "5s"),
];

pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

//! The names of `--enable-feature`: what they turn on here, and what to tell about those that turn on
//! nothing.

use super::Flags;

/// Names that turn something on.
const SERVED: &[&str] = &[
    "created-timestamp-zero-ingestion",
    "exemplar-storage",
    "extra-scrape-metrics",
    // Prometheus 3.9 and later want `scrape_native_histograms` said; here the flag says it for all jobs.
    "native-histograms",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-per-step-stats",
    "type-and-unit-labels",
];

/// Names whose behaviour Prometheus made the default, or dropped.
const ALWAYS_ON: &[&str] = &[
    "auto-reload-config",
    "promql-duration-expr",
    "ooo-native-histograms",
    "promql-at-modifier",
    "promql-negative-offset",
    "expand-external-labels",
    "no-default-scrape-port",
    "new-service-discovery-manager",
    "auto-gomaxprocs",
    "auto-gomemlimit",
];

/// Names that Prometheus knows and this server does not act on yet.
const NOT_YET: &[&str] = &[
    "agent",
    "concurrent-rule-eval",
    "delayed-compaction",
    "fast-startup",
    "histograms-st-encoding",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "old-ui",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "remote-write-receiver",
    "search-api",
    "st-storage",
    "st-synthesis",
    "use-start-timestamps",
    "use-uncached-io",
    "xor2-encoding",
];

/// What was asked for, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    pub experimental_functions: bool,
    pub extended_range_selectors: bool,
    pub fill_modifiers: bool,
    pub delayed_name_removal: bool,
    pub type_and_unit_labels: bool,
    pub created_zeros: bool,
    pub exemplar_storage: bool,
    pub extra_scrape_metrics: bool,
    pub native_histograms: bool,
    pub per_step_stats: bool,
    /// A text and the name it is about, for one log line each.
    pub warnings: Vec<(&'static str, String)>,
}

impl Features {
    pub fn of(flags: &Flags) -> Features {
        let mut features = Features::default();
        let names = flags.texts("enable-feature").iter().flat_map(|list| list.split(','));
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "promql-experimental-functions" => features.experimental_functions = true,
                "promql-extended-range-selectors" => features.extended_range_selectors = true,
                "promql-binop-fill-modifiers" => features.fill_modifiers = true,
                "promql-delayed-name-removal" => features.delayed_name_removal = true,
                "type-and-unit-labels" => features.type_and_unit_labels = true,
                "created-timestamp-zero-ingestion" => features.created_zeros = true,
                "exemplar-storage" => features.exemplar_storage = true,
                "extra-scrape-metrics" => features.extra_scrape_metrics = true,
                "native-histograms" => features.native_histograms = true,
                "promql-per-step-stats" => features.per_step_stats = true,
                _ => features.warnings.push((warning(name), name.to_owned())),
            }
        }
        debug_assert_eq!(SERVED.len(), 10, "a served feature has a field of its own");
        features
    }
}

fn warning(name: &str) -> &'static str {
    if name == "remote-write-receiver" {
        "This option for --enable-feature is not supported. Please use --web.enable-remote-write-receiver"
    } else if NOT_YET.contains(&name) {
        "This option for --enable-feature has no effect yet"
    } else if ALWAYS_ON.contains(&name) {
        "This option for --enable-feature is a no-op: the behaviour is the default or was dropped"
    } else {
        "Unknown option for --enable-feature"
    }
}

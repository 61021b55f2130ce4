//! The query engine over the store.

use crate::flags::Flags;
use hearth_promql::syntax::ParseOptions;
use hearth_promql::{Engine, EngineOptions, Query};
use std::sync::Arc;

/// The engine with the limits that the flags set. `default_subquery_step_ms` is the global evaluation
/// interval of the configuration at start.
pub fn engine(
    store: hearth_engine::Handle,
    flags: &Flags,
    parse: ParseOptions,
    default_subquery_step_ms: i64,
) -> Arc<dyn Query> {
    let options = EngineOptions {
        lookback_ms: i64::try_from(flags.duration("query.lookback-delta").as_millis()).unwrap_or(i64::MAX),
        max_samples: flags.count("query.max-samples") as u64,
        max_concurrency: flags.count("query.max-concurrency"),
        default_subquery_step_ms,
        parse,
        ..EngineOptions::default()
    };
    Arc::new(Engine::new(store, options))
}

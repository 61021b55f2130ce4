//! What is scraped: `targets`, `targets/metadata`, `scrape_pools` and `metadata`.

use crate::envelope::{LabelObject, success};
use crate::error::ApiError;
use crate::metadata::bounded;
use crate::params::Params;
use crate::state::{Backend, State};
use axum::extract::State as Held;
use axum::response::Response;
use hearth_model::Labels;
use hearth_model::metadata::MetricMetadata;
use hearth_model::relabel::relabel;
use hearth_promql::syntax::parse_metric_selector;
use hearth_scrape::config::{RelabelConfig, ScrapeConfig};
use hearth_scrape::status::{ActiveTarget, DroppedTarget, Metadata, PoolStatus};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Hosts that mean "this machine" only on this machine.
const LOCAL_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The time of something that never was, as Go prints it.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Active<'a> {
    discovered_labels: LabelObject<'a>,
    labels: LabelObject<'a>,
    scrape_pool: &'a str,
    scrape_url: &'a str,
    global_url: String,
    last_error: &'a str,
    last_scrape: String,
    last_scrape_duration: f64,
    health: &'static str,
    scrape_interval: String,
    scrape_timeout: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dropped<'a> {
    discovered_labels: LabelObject<'a>,
    scrape_pool: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery<'a> {
    active_targets: Vec<Active<'a>>,
    dropped_targets: Vec<Dropped<'a>>,
    dropped_target_counts: Option<BTreeMap<&'a str, usize>>,
}

pub async fn targets(Held(state): Held<Arc<State>>, backend: Backend, params: Params) -> Response {
    let wanted = params.get("state").to_lowercase();
    let any = wanted.is_empty() || wanted == "any";
    let pool = params.get("scrapePool");
    let pools = backend.scraper.status();
    let chosen = |p: &&PoolStatus| pool.is_empty() || *p.name == *pool;
    let mut discovery =
        Discovery { active_targets: Vec::new(), dropped_targets: Vec::new(), dropped_target_counts: None };
    if any || wanted == "active" {
        let targets = pools.iter().filter(chosen).flat_map(|p| &p.active);
        discovery.active_targets = targets.map(|t| active(t, &state)).collect();
    }
    if any || wanted == "dropped" {
        let targets = pools.iter().filter(chosen).flat_map(|p| &p.dropped);
        discovery.dropped_targets = targets.map(dropped).collect();
        discovery.dropped_target_counts = Some(pools.iter().map(|p| (&*p.name, p.dropped_count)).collect());
    }
    success(&discovery)
}

fn active<'a>(target: &'a ActiveTarget, state: &State) -> Active<'a> {
    let last_scrape = target.last_scrape_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    Active {
        discovered_labels: LabelObject(&target.discovered_labels),
        labels: LabelObject(&target.labels),
        scrape_pool: &target.scrape_pool,
        scrape_url: &target.scrape_url,
        global_url: global_url(&target.scrape_url, &state.options.external_url),
        last_error: &target.last_error,
        last_scrape: last_scrape.map_or(NEVER.to_owned(), |t| t.to_string()),
        last_scrape_duration: target.last_scrape_duration_seconds,
        health: target.health.as_str(),
        scrape_interval: target.scrape_interval.to_string(),
        scrape_timeout: target.scrape_timeout.to_string(),
    }
}

fn dropped(target: &DroppedTarget) -> Dropped<'_> {
    Dropped { discovered_labels: LabelObject(&target.discovered_labels), scrape_pool: &target.scrape_pool }
}

/// The target's URL as it is reached from elsewhere: a local host becomes the host under which this server
/// is reached; where even the port is this server's own, the scheme and port too.
fn global_url(url: &str, external_url: &str) -> String {
    let parts = |url: &'_ str| -> Option<(String, String, Option<u16>, String)> {
        let uri: http::Uri = url.parse().ok()?;
        let rest = uri.path_and_query().map_or("", |p| p.as_str()).to_owned();
        Some((uri.scheme_str()?.to_owned(), uri.host()?.to_owned(), uri.port_u16(), rest))
    };
    let (Some((scheme, host, port, rest)), Some((_, external_host, ..))) = (parts(url), parts(external_url))
    else {
        return url.to_owned();
    };
    if !LOCAL_HOSTS.contains(&host.as_str()) {
        return url.to_owned();
    }
    match port {
        Some(port) => format!("{scheme}://{external_host}:{port}{rest}"),
        None => format!("{scheme}://{external_host}{rest}"),
    }
}

pub async fn scrape_pools(backend: Backend) -> Response {
    let pools = backend.scraper.status();
    let names: Vec<&str> = pools.iter().map(|p| &*p.name).collect();
    success(&BTreeMap::from([("scrapePools", names)]))
}

/// The configuration of the pool that a request names.
async fn config_of(backend: &Backend, params: &Params) -> Result<ScrapeConfig, ApiError> {
    let pool = params.get("scrapePool");
    if pool.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    let missing =
        || ApiError::not_found(format!("error retrieving scrape config: scrape pool {pool:?} not found"));
    backend.scraper.config(pool).await.ok_or_else(missing)
}

/// What one job runs by, as YAML with defaults filled in and secrets hidden.
pub async fn pool_config(backend: Backend, params: Params) -> Result<Response, ApiError> {
    let config = config_of(&backend, &params).await?;
    let yaml = serde_yaml::to_string(&config).map_err(|error| ApiError::unavailable(error.to_string()))?;
    Ok(success(&BTreeMap::from([("yaml", yaml)])))
}

#[derive(Serialize)]
struct RelabelStep<'a> {
    rule: &'a RelabelConfig,
    output: LabelObject<'a>,
    keep: bool,
}

/// What each rule of a job does to the given labels.
pub async fn relabel_steps(backend: Backend, params: Params) -> Result<Response, ApiError> {
    let config = config_of(&backend, &params).await?;
    let text = params.get("labels");
    if text.is_empty() {
        return Err(ApiError::bad_data("no labels parameter provided"));
    }
    let given: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|error| ApiError::bad_data(format!("error parsing labels: {error}")))?;
    let mut labels = Some(Labels::from_pairs(given));
    let mut outputs = Vec::with_capacity(config.relabel_configs.len());
    for rule in &config.relabel_configs {
        let compiled = rule.rule().map_err(|error| ApiError::unavailable(error.to_string()))?;
        labels = labels.and_then(|labels| relabel(&labels, &[compiled]));
        outputs.push(labels.clone());
    }
    let nothing = Labels::empty();
    let steps: Vec<_> = config
        .relabel_configs
        .iter()
        .zip(&outputs)
        .map(|(rule, output)| RelabelStep {
            rule,
            output: LabelObject(output.as_ref().unwrap_or(&nothing)),
            keep: output.is_some(),
        })
        .collect();
    Ok(success(&BTreeMap::from([("steps", steps)])))
}

#[derive(Serialize)]
struct MetadataEntry<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    unit: &'a str,
    help: &'a str,
}

fn entry(metadata: &Metadata) -> MetadataEntry<'_> {
    MetadataEntry { kind: metadata.kind.name(), unit: &metadata.unit, help: &metadata.help }
}

/// A bound that is not there or negative bounds nothing.
fn count(params: &Params, name: &str, refusal: &str) -> Result<usize, ApiError> {
    match params.get(name) {
        "" => Ok(usize::MAX),
        text => match text.parse::<i64>() {
            Ok(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            Err(_) => Err(ApiError::bad_data(refusal)),
        },
    }
}

/// What the targets say of each metric, and of metrics that no target has now (of remote writes, and of the time
/// before a restart) what the store was told last.
pub async fn metadata(
    Held(state): Held<Arc<State>>,
    backend: Backend,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = count(&params, "limit", "limit must be a number")?;
    let refusal = "limit_per_metric must be a number";
    let per_metric = match count(&params, "limit_per_metric", refusal)? {
        0 => usize::MAX,
        bound => bound,
    };
    let metric = Some(params.get("metric")).filter(|name| !name.is_empty());
    let targets = backend.scraper.metadata(metric);
    let stored = stored_metadata(&state, &backend, metric).await?;
    let of_targets = targets.iter().flat_map(|t| &t.metrics);
    let scraped: BTreeSet<&str> = of_targets.clone().map(|(name, _)| &**name).collect();
    let others = stored.iter().filter(|(name, _)| !scraped.contains(&**name));
    let mut by_name: BTreeMap<&str, BTreeSet<&Metadata>> = BTreeMap::new();
    for (name, found) in of_targets.chain(others) {
        if by_name.len() < limit || by_name.contains_key(&**name) {
            let entries = by_name.entry(name).or_default();
            if entries.len() < per_metric {
                entries.insert(found);
            }
        }
    }
    let data: BTreeMap<&str, Vec<_>> =
        by_name.into_iter().map(|(name, found)| (name, found.into_iter().map(entry).collect())).collect();
    Ok(success(&data))
}

async fn stored_metadata(
    state: &State,
    backend: &Backend,
    metric: Option<&str>,
) -> Result<Vec<(Arc<str>, Metadata)>, ApiError> {
    let found = bounded(state, |context| backend.catalogue.metadata(context, metric.map(str::to_owned)));
    let entry = |MetricMetadata { name, kind, unit, help }| (name, Metadata { kind, help, unit });
    Ok(found.await?.into_iter().map(entry).collect())
}

#[derive(Serialize)]
struct TargetMetadataEntry<'a> {
    target: LabelObject<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    metric: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    help: &'a str,
    unit: &'a str,
}

pub async fn targets_metadata(backend: Backend, params: Params) -> Result<Response, ApiError> {
    let limit = count(&params, "limit", "limit must be a number")?;
    let matchers = match params.get("match_target") {
        "" => Vec::new(),
        text => parse_metric_selector(text).map_err(|error| ApiError::parameter("match_target", error))?,
    };
    let metric = params.get("metric");
    let targets = backend.scraper.metadata(Some(metric).filter(|name| !name.is_empty()));
    let mut out = Vec::new();
    for target in &targets {
        if !matchers.iter().all(|m| m.matches(target.labels.value(&m.name))) {
            continue;
        }
        for (name, found) in target.metrics.iter().take(limit - out.len()) {
            out.push(TargetMetadataEntry {
                target: LabelObject(&target.labels),
                metric: if metric.is_empty() { name } else { "" },
                kind: found.kind.name(),
                help: &found.help,
                unit: &found.unit,
            });
        }
    }
    Ok(success(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expect: &str) {
        assert_eq!(global_url(url, "http://vm:9090/prefix"), expect);
    }

    #[test]
    fn local_hosts_are_shown_as_others_reach_them() {
        check("http://127.0.0.1:1/foo?a=x&a=y", "http://vm:1/foo?a=x&a=y");
        check("https://localhost/m", "https://vm/m");
        check("http://[::1]:9100/metrics", "http://vm:9100/metrics");
        check("http://node:9100/metrics", "http://node:9100/metrics");
        check("nonsense", "nonsense");
    }
}

//! What a gateway holds, to be read: as the JSON that Pushgateway's API answers with, and as a page to scrape
//! from elsewhere.

use super::{Family, Group, Value};
use crate::grouping::{Role, place};
use hearth_model::number;
use hearth_wire::exposition::{pairs_of, print, write_bound};
use hearth_wire::metadata::MetricType;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn text(value: f64) -> String {
    let mut out = Vec::new();
    number::write_short(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

fn bound_text(value: f64) -> String {
    let mut out = Vec::new();
    write_bound(&mut out, value);
    String::from_utf8_lossy(&out).trim_end_matches(".0").to_owned()
}

fn labels_of(series: &[u8], skipped: &[&str]) -> Map<String, Json> {
    let pairs = pairs_of(series).filter(|(name, _)| name != "__name__" && !skipped.contains(&&**name));
    pairs.map(|(name, value)| (name.into_owned(), Json::String(value.into_owned()))).collect()
}

/// The metrics of a family whose samples are parts of them.
fn composed(name: &str, family: &Family) -> Vec<Json> {
    let mut metrics: Vec<Map<String, Json>> = Vec::new();
    let mut places: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut metric = Vec::new();
    for pushed in &family.samples {
        let Value::Float(value) = pushed.value else { continue };
        let Some(role) = place(&pushed.series, name, family.kind, &mut metric) else { continue };
        let at = *places.entry(metric.clone()).or_insert_with(|| {
            let labels = labels_of(&pushed.series, &["le", "quantile"]);
            metrics.push(Map::from_iter([("labels".to_owned(), Json::Object(labels))]));
            metrics.len() - 1
        });
        let parts = if family.kind == MetricType::Summary { "quantiles" } else { "buckets" };
        let into = &mut metrics[at];
        match role {
            Role::Count => drop(into.insert("count".into(), text(value).into())),
            Role::Sum => drop(into.insert("sum".into(), text(value).into())),
            Role::Bucket(_) | Role::Quantile => {
                let name = if family.kind == MetricType::Summary { "quantile" } else { "le" };
                let bound = pairs_of(&pushed.series).find(|(label, _)| label == name);
                let bound = bound.map_or(String::new(), |(_, text)| {
                    number::parse_float(text.as_bytes()).map_or(text.into_owned(), bound_text)
                });
                let part = into.entry(parts).or_insert_with(|| json!({}));
                part[bound.as_str()] = text(value).into();
            }
            Role::Total | Role::Created => {}
        }
    }
    metrics.into_iter().map(Json::Object).collect()
}

fn metrics(name: &str, family: &Family) -> Vec<Json> {
    let mut out = Vec::new();
    if matches!(family.kind, MetricType::Summary | MetricType::Histogram) {
        out = composed(name, family);
    }
    for pushed in &family.samples {
        let labels = labels_of(&pushed.series, &[]);
        match &pushed.value {
            Value::Float(value)
                if out.is_empty() || !matches!(family.kind, MetricType::Summary | MetricType::Histogram) =>
            {
                out.push(json!({"labels": labels, "value": text(*value)}));
            }
            Value::Float(_) => {}
            Value::Histogram(h) => out.push(json!({
                "labels": labels,
                "count": text(h.count),
                "sum": text(h.sum),
                "schema": h.schema,
            })),
        }
    }
    out
}

fn kind_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "COUNTER",
        MetricType::Gauge => "GAUGE",
        MetricType::Summary => "SUMMARY",
        MetricType::Histogram => "HISTOGRAM",
        MetricType::GaugeHistogram => "GAUGE_HISTOGRAM",
        _ => "UNTYPED",
    }
}

fn time_text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

/// `data` of `/api/v1/metrics`.
pub fn groups_json(groups: &[Arc<Group>]) -> Json {
    let group = |group: &Arc<Group>| {
        let mut out = Map::new();
        out.insert("labels".into(), json!(group.labels));
        out.insert("last_push_successful".into(), json!(group.pushed_ms >= group.failed_ms));
        if let Some(expires_ms) = group.expires_ms {
            out.insert("expires".into(), time_text(expires_ms).into());
        }
        for (name, family) in &group.families {
            let entry = json!({
                "time_stamp": time_text(family.pushed_ms),
                "type": kind_name(family.kind),
                "help": family.help,
                "metrics": metrics(name, family),
            });
            out.insert(name.clone(), entry);
        }
        for (name, help, series, value) in group.times() {
            let metric = json!({"labels": labels_of(series, &[]), "value": text(value)});
            let entry = json!({
                "time_stamp": time_text(group.pushed_ms.max(group.failed_ms).unwrap_or(0)),
                "type": "GAUGE",
                "help": help,
                "metrics": [metric],
            });
            out.insert(name.to_owned(), entry);
        }
        Json::Object(out)
    };
    groups.iter().map(group).collect()
}

/// Everything as one page of the text format, family by family. Of a native histogram only its classic parts
/// are there, where it was pushed with any: this format has no more.
pub fn exposition(groups: &[Arc<Group>]) -> Vec<u8> {
    let mut families: BTreeMap<&str, Vec<&Family>> = BTreeMap::new();
    for (name, family) in groups.iter().flat_map(|group| &group.families) {
        families.entry(name).or_default().push(family);
    }
    let mut out = Vec::new();
    let line = |out: &mut Vec<u8>, series: &[u8], value: f64| {
        out.extend_from_slice(series);
        out.push(b' ');
        number::write_short(out, value);
        out.push(b'\n');
    };
    for (name, members) in families {
        let first = members[0];
        print::write_help(&mut out, name, &first.help);
        print::write_type(&mut out, name, first.kind);
        for pushed in members.iter().flat_map(|family| &family.samples) {
            if let Value::Float(value) = pushed.value {
                line(&mut out, &pushed.series, value);
            }
        }
    }
    for (index, (name, help)) in super::group::TIMES.into_iter().enumerate() {
        if groups.is_empty() {
            break;
        }
        print::write_help(&mut out, name, help);
        print::write_type(&mut out, name, MetricType::Gauge);
        for (_, _, series, value) in groups.iter().filter_map(|group| group.times().nth(index)) {
            line(&mut out, series, value);
        }
    }
    out
}

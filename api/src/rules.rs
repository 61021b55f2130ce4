//! `rules`, `alerts` and `alertmanagers`. Rules are loaded and checked but not evaluated yet: their health
//! is unknown, and there is no alert.

use crate::envelope::success;
use crate::error::ApiError;
use crate::params::{Params, parse_int};
use crate::state::State;
use crate::targets::NEVER;
use axum::extract::State as Held;
use axum::response::Response;
use hearth_alerting::{Group, Rule, RuleFile, RuleKind};
use hearth_model::Matcher;
use hearth_promql::syntax::parse_metric_selector;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fields in the order in which Prometheus prints them; those of the other kind of rule are left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    name: &'a str,
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<LabelMap<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts: Option<[(); 0]>,
    health: &'static str,
    evaluation_time: u64,
    last_evaluation: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A rule's labels, printed as label sets are.
struct LabelMap<'a>(&'a BTreeMap<String, String>);

impl Serialize for LabelMap<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let labels = hearth_model::Labels::from_pairs(self.0);
        crate::envelope::LabelObject(&labels).serialize(serializer)
    }
}

/// Seconds; without a fraction where there is none.
struct Seconds(i64);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1_000 {
            0 => serializer.serialize_i64(self.0 / 1_000),
            _ => serializer.serialize_f64(self.0 as f64 / 1_000.0),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupObject<'a> {
    name: &'a str,
    file: &'a str,
    rules: Vec<RuleObject<'a>>,
    interval: Seconds,
    limit: i64,
    evaluation_time: u64,
    last_evaluation: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups<'a> {
    groups: Vec<GroupObject<'a>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    group_next_token: String,
}

/// Which rules a request wants.
struct Wanted<'p> {
    recording: bool,
    alerting: bool,
    names: Vec<&'p str>,
    groups: Vec<&'p str>,
    files: Vec<&'p str>,
    matchers: Vec<Vec<Matcher>>,
    alerts: bool,
}

impl<'p> Wanted<'p> {
    fn of(params: &'p Params) -> Result<Wanted<'p>, ApiError> {
        let kind = params.get("type").to_lowercase();
        if !["", "alert", "record"].contains(&kind.as_str()) {
            return Err(ApiError::parameter("type", format_args!("not supported value {kind:?}")));
        }
        let mut matchers = Vec::new();
        for text in params.all("match[]") {
            let parsed =
                parse_metric_selector(text).map_err(|error| ApiError::bad_data(error.to_string()))?;
            matchers.push(parsed);
        }
        Ok(Wanted {
            recording: kind != "alert",
            alerting: kind != "record",
            names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            matchers,
            alerts: !parse_bool(params, "exclude_alerts")?,
        })
    }

    fn group(&self, file: &RuleFile, group: &Group) -> bool {
        let among = |list: &[&str], name: &str| list.is_empty() || list.contains(&name);
        among(&self.files, &file.path) && among(&self.groups, &group.name)
    }

    fn rule(&self, rule: &Rule) -> bool {
        let kind = match rule.kind {
            RuleKind::Recording => self.recording,
            RuleKind::Alerting { .. } => self.alerting,
        };
        let value = |name: &str| rule.labels.get(name).map_or("", String::as_str);
        let all = |set: &Vec<Matcher>| set.iter().all(|m| m.matches(value(&m.name)));
        kind && (self.names.is_empty() || self.names.contains(&rule.name.as_str()))
            && (self.matchers.is_empty() || self.matchers.iter().any(all))
    }
}

/// A truth value with the words of Go's `strconv.ParseBool`.
fn parse_bool(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.get(name) {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(ApiError::parameter(
            name,
            format_args!("error converting {name}: strconv.ParseBool: parsing {other:?}: invalid syntax"),
        )),
    }
}

fn rule_object<'a>(rule: &'a Rule, alerts: bool) -> RuleObject<'a> {
    let labels = (!rule.labels.is_empty()).then_some(LabelMap(&rule.labels));
    let plain = RuleObject {
        state: None,
        name: &rule.name,
        query: &rule.expr,
        duration: None,
        keep_firing_for: None,
        labels,
        annotations: None,
        alerts: None,
        health: "unknown",
        evaluation_time: 0,
        last_evaluation: NEVER,
        kind: "recording",
    };
    match &rule.kind {
        RuleKind::Recording => plain,
        RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations } => RuleObject {
            state: Some("unknown"),
            duration: Some(Seconds(*for_ms)),
            keep_firing_for: Some(Seconds(*keep_firing_for_ms)),
            labels: Some(LabelMap(&rule.labels)),
            annotations: Some(annotations),
            alerts: alerts.then_some([]),
            kind: "alerting",
            ..plain
        },
    }
}

pub async fn rules(Held(state): Held<Arc<State>>, params: Params) -> Result<Response, ApiError> {
    let wanted = Wanted::of(&params)?;
    let (limit, token) = page(&params)?;
    let live = state.live.load();
    let mut groups = Vec::new();
    for file in &live.rules {
        for group in file.groups.iter().filter(|group| wanted.group(file, group)) {
            let rules: Vec<_> = group
                .rules
                .iter()
                .filter(|r| wanted.rule(r))
                .map(|r| rule_object(r, wanted.alerts))
                .collect();
            if rules.is_empty() {
                continue;
            }
            groups.push(GroupObject {
                name: &group.name,
                file: &file.path,
                rules,
                interval: Seconds(group.interval_ms.unwrap_or(live.evaluation_interval_ms)),
                limit: group.limit,
                evaluation_time: 0,
                last_evaluation: NEVER,
            });
        }
    }
    groups.sort_by(|a, b| (a.file, a.name).cmp(&(b.file, b.name)));
    let group_next_token = paginate(&mut groups, limit, token)?;
    Ok(success(&Groups { groups, group_next_token }))
}

/// `group_limit` and `group_next_token`.
fn page(params: &Params) -> Result<(usize, &str), ApiError> {
    let token = params.get("group_next_token");
    match params.get("group_limit") {
        "" if token.is_empty() => Ok((usize::MAX, "")),
        "" => Err(ApiError::parameter(
            "group_next_token",
            "group_limit needs to be present in order to paginate over the groups",
        )),
        text => {
            let limit = parse_int(text).map_err(|why| ApiError::parameter("group_limit", why))?;
            match usize::try_from(limit) {
                Ok(limit) if limit > 0 => Ok((limit, token)),
                _ => Err(ApiError::parameter("group_limit", "group_limit needs to be greater than 0")),
            }
        }
    }
}

/// Cuts the page that begins at the token's group; the token of the group after it, or nothing.
fn paginate(groups: &mut Vec<GroupObject<'_>>, limit: usize, token: &str) -> Result<String, ApiError> {
    if !token.is_empty() {
        let start = groups.iter().position(|g| token_of(g) == token).ok_or_else(|| {
            ApiError::parameter(
                "group_next_token",
                format_args!("invalid group_next_token '{token}'. were rule groups changed?"),
            )
        })?;
        groups.drain(..start);
    }
    let next = groups.get(limit).map(token_of).unwrap_or_default();
    groups.truncate(limit);
    Ok(next)
}

/// Stands for a group's place; opaque to clients.
fn token_of(group: &GroupObject<'_>) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!("{};{}", group.file, group.name));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub async fn alerts() -> Response {
    success(&BTreeMap::from([("alerts", [(); 0])]))
}

pub async fn alertmanagers() -> Response {
    success(&BTreeMap::from([("activeAlertmanagers", [(); 0]), ("droppedAlertmanagers", [])]))
}

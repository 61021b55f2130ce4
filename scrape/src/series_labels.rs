//! The labels that a scraped series ends up with: the target's joined in, rules applied, limits checked.
//! Runs once for each new spelling of a series; its result is cached as a key.

use crate::config::ScrapeConfig;
use crate::job::Job;
use hearth_model::label::{METRIC_NAME, is_classic_label_name, is_classic_metric_name};
use hearth_model::number;
use hearth_model::relabel;
use hearth_model::{Labels, LabelsBuilder};
use hearth_wire::exposition::write_bound;
use hearth_wire::metadata::MetricType;

/// Why a series fails its whole scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadSeries {
    /// One of the label limits.
    LabelLimit(String),
    Invalid(String),
}

/// What the target wrote wins, even an empty value, which removes the label.
fn join_honoring(labels: &mut LabelsBuilder, target: &Labels, writes: impl Fn(&str) -> bool) {
    for (name, value) in target {
        if !writes(name) {
            labels.set(name, value);
        }
    }
}

/// The target's labels win; what the target exposed under their names becomes `exported_…`.
fn join_overriding(labels: &mut LabelsBuilder, target: &Labels) {
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        let exposed = labels.get(name);
        if !exposed.is_empty() {
            conflicts.push((name.to_owned(), exposed.to_owned()));
        }
        labels.set(name, value);
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut renamed = format!("exported_{name}");
        while !labels.get(&renamed).is_empty() {
            renamed.insert_str(0, "exported_");
        }
        labels.set(&renamed, &value);
    }
}

/// The final labels of an exposed series; none where a rule drops it. `writes` tells whether the target
/// wrote a label, if only with an empty value.
pub fn resolve(
    job: &Job,
    target: &Labels,
    exposed: &Labels,
    writes: impl Fn(&str) -> bool,
) -> Result<Option<Labels>, BadSeries> {
    let mut labels = LabelsBuilder::from(exposed);
    if job.config.honor_labels {
        join_honoring(&mut labels, target, writes);
    } else {
        join_overriding(&mut labels, target);
    }
    if !job.metric_rules.is_empty() && !relabel::apply(&job.metric_rules, &mut labels) {
        return Ok(None);
    }
    let labels = labels.build();
    if labels.is_empty() {
        return Ok(None);
    }
    check(&job.config, &labels)?;
    Ok(Some(labels))
}

/// The labels with a bucket's or quantile's bound in OpenMetrics' spelling (`1.0` for `1`), so that targets
/// which write it differently make the same series. A bound that is no number stays as it is.
pub fn with_plain_bound(labels: Labels, name: &str) -> Labels {
    let Some(Ok(bound)) = labels.get(name).map(|text| number::parse_float(text.as_bytes())) else {
        return labels;
    };
    let mut text = Vec::new();
    write_bound(&mut text, bound);
    labels.with(name, &String::from_utf8_lossy(&text))
}

/// What a series' family says of itself, as labels; what the target wrote under their names is no
/// authority on them.
pub struct TypeAndUnit<'a> {
    pub kind: MetricType,
    pub unit: &'a str,
}

impl TypeAndUnit<'_> {
    pub fn label(&self, exposed: &Labels) -> Labels {
        let mut labels = LabelsBuilder::from(exposed);
        labels.set("__type__", if self.kind == MetricType::Unknown { "" } else { self.kind.name() });
        labels.set("__unit__", self.unit);
        labels.build()
    }
}

/// The labels of a synthetic series: never relabelled, never limited.
pub fn of_report(target: &Labels, name: &str) -> Labels {
    let mut labels = LabelsBuilder::default();
    labels.set(METRIC_NAME, name);
    join_overriding(&mut labels, target);
    labels.build()
}

fn is_valid(config: &ScrapeConfig, labels: &Labels) -> bool {
    config.metric_name_validation_scheme != "legacy"
        || labels.iter().all(|(name, value)| match name {
            METRIC_NAME => is_classic_metric_name(value),
            name => is_classic_label_name(name),
        })
}

fn head(text: &str) -> &str {
    text.char_indices().nth(50).map_or(text, |(i, _)| &text[..i])
}

fn check(config: &ScrapeConfig, labels: &Labels) -> Result<(), BadSeries> {
    let metric = labels.metric_name();
    if metric.is_empty() {
        return Err(BadSeries::Invalid("missing metric name (__name__ label)".into()));
    }
    if !is_valid(config, labels) {
        return Err(BadSeries::Invalid(format!("invalid metric name or label names: {labels}")));
    }
    let over = |limit: u64, length: usize| limit > 0 && length as u64 > limit;
    let limit = config.label_limit;
    if limit > 0 && over(limit, labels.len()) {
        return Err(BadSeries::LabelLimit(format!(
            "label_limit exceeded (metric: {}, number of labels: {}, limit: {limit})",
            head(metric),
            labels.len()
        )));
    }
    let (names, values) = (config.label_name_length_limit, config.label_value_length_limit);
    if names == 0 && values == 0 {
        return Ok(());
    }
    for (name, value) in labels {
        if over(names, name.len()) {
            return Err(BadSeries::LabelLimit(format!(
                "label_name_length_limit exceeded (metric: {}, label name: {}, length: {}, limit: {names})",
                head(metric),
                head(name),
                name.len()
            )));
        }
        if over(values, value.len()) {
            return Err(BadSeries::LabelLimit(format!(
                "label_value_length_limit exceeded (metric: {}, label name: {}, value: {:?}, length: {}, \
                 limit: {values})",
                head(metric),
                head(name),
                head(value),
                value.len()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GlobalConfig, resolve as resolve_config};

    fn pairs(text: &str) -> Labels {
        Labels::from_pairs(text.split_whitespace().filter_map(|pair| pair.split_once('=')))
    }

    /// A job's YAML, the target's and the exposed labels in; the series' labels or the error out.
    #[track_caller]
    fn check(yaml: &str, target: &str, exposed: &str, expect: &str) {
        let mut configs = vec![serde_yaml::from_str(&format!("job_name: j\n{yaml}")).expect(yaml)];
        resolve_config(&mut GlobalConfig::default(), &mut configs, std::path::Path::new("/")).expect(yaml);
        let job = Job::new(configs.remove(0), "test", None, None).expect("job");
        let writes =
            |name: &str| exposed.split_whitespace().any(|pair| pair.starts_with(&format!("{name}=")));
        let got = match resolve(&job, &pairs(target), &pairs(exposed), writes) {
            Ok(Some(labels)) => labels.to_string(),
            Ok(None) => "dropped".into(),
            Err(BadSeries::LabelLimit(text) | BadSeries::Invalid(text)) => text,
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn target_labels_join_and_conflicts_are_renamed() {
        check("", "job=j instance=i", "__name__=m a=1", r#"m{a="1", instance="i", job="j"}"#);
        check("", "job=j", "__name__=m job=x", r#"m{exported_job="x", job="j"}"#);
        check(
            "",
            "job=j exported_job=e",
            "__name__=m job=x exported_job=y",
            r#"m{exported_exported_exported_job="y", exported_exported_job="x", exported_job="e", job="j"}"#,
        );
        check("honor_labels: true", "job=j instance=i", "__name__=m job=x", r#"m{instance="i", job="x"}"#);
        check("honor_labels: true", "job=j instance=i", "__name__=m instance=", r#"m{job="j"}"#);
        check(
            "metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: m}]",
            "job=j",
            "__name__=m",
            "dropped",
        );
    }

    #[test]
    fn bounds_get_one_spelling() {
        let check = |text: &str, expect: &str| {
            assert_eq!(with_plain_bound(pairs(&format!("le={text}")), "le").value("le"), expect, "{text}");
        };
        check("1", "1.0");
        check("0.50", "0.5");
        check("-0", "-0.0");
        check("100000", "100000.0");
        check("1000000", "1e+06");
        check("1e-05", "1e-05");
        check("+Inf", "+Inf");
        check("x", "x");
    }

    #[test]
    fn limits_and_invalid_names_fail_the_scrape() {
        check(
            "label_limit: 2",
            "job=j",
            "__name__=m a=1",
            "label_limit exceeded (metric: m, number of labels: 3, limit: 2)",
        );
        check(
            "label_name_length_limit: 8",
            "job=j",
            "__name__=m longer_than_eight=1 a=1",
            "label_name_length_limit exceeded (metric: m, label name: longer_than_eight, length: 17, limit: 8)",
        );
        check(
            "label_value_length_limit: 3",
            "job=j",
            "__name__=m a=long",
            "label_value_length_limit exceeded (metric: m, label name: a, value: \"long\", length: 4, limit: 3)",
        );
        check(
            "metric_name_validation_scheme: legacy",
            "job=j",
            "__name__=m.n",
            "invalid metric name or label names: {__name__=\"m.n\", job=\"j\"}",
        );
        check(
            "metric_relabel_configs: [{action: labeldrop, regex: __name__}]",
            "job=j",
            "__name__=m",
            "missing metric name (__name__ label)",
        );
    }
}

//! Rule files: what they say, and what is wrong with them. [`parse`] is text in, groups or a list of
//! faults out; it reads no file and no clock.

mod check;
mod yaml;

use hearth_promql::syntax::ParseOptions;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// One file's groups.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFile {
    pub path: String,
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: String,
    /// The global evaluation interval where `None`.
    pub interval_ms: Option<i64>,
    pub query_offset_ms: Option<i64>,
    /// Most series or alerts of one rule; 0 or less for no bound.
    pub limit: i64,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub kind: RuleKind,
    /// The name of the series or of the alert.
    pub name: String,
    /// As the query language prints it.
    pub expr: String,
    /// The group's labels are among them already.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    Recording,
    Alerting { for_ms: i64, keep_firing_for_ms: i64, annotations: BTreeMap<String, String> },
}

impl RuleFile {
    pub fn rule_count(&self) -> usize {
        self.groups.iter().map(|group| group.rules.len()).sum()
    }
}

/// Everything that is wrong with one file; each fault opens with the file, and with line and column
/// where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFileError {
    pub faults: Vec<String>,
}

impl fmt::Display for RuleFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("\n"))
    }
}

impl std::error::Error for RuleFileError {}

/// Reads and parses a file.
pub fn load(path: &Path, options: &ParseOptions) -> Result<RuleFile, RuleFileError> {
    let shown = path.display().to_string();
    let fail = |why: String| RuleFileError { faults: vec![format!("{shown}: {why}")] };
    let metadata = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    let limit_bytes = crate::config::MAX_RULE_FILE_BYTES;
    if metadata.len() > limit_bytes {
        return Err(fail(format!("{} bytes, the limit is {limit_bytes}", metadata.len())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    parse(&shown, &text, options)
}

/// Parses the text of a file.
pub fn parse(path: &str, text: &str, options: &ParseOptions) -> Result<RuleFile, RuleFileError> {
    let read = yaml::read(text).map_err(|fault| RuleFileError { faults: vec![format!("{path}:{fault}")] })?;
    let faults = check::faults(&read, options);
    if !faults.is_empty() {
        return Err(RuleFileError { faults: faults.iter().map(|fault| format!("{path}:{fault}")).collect() });
    }
    Ok(RuleFile {
        path: path.to_owned(),
        groups: read.groups.into_iter().map(|g| group(g, options)).collect(),
    })
}

fn group(read: yaml::Group, options: &ParseOptions) -> Group {
    let labels = read.labels;
    let rules = read.rules.into_iter().map(|r| rule(r, &labels, options)).collect();
    Group {
        name: read.name.value,
        interval_ms: read.interval.map(|d| d.ms).filter(|&ms| ms > 0),
        query_offset_ms: read.query_offset.map(|d| d.ms),
        limit: read.limit,
        rules,
    }
}

fn rule(read: yaml::Rule, group_labels: &BTreeMap<String, String>, options: &ParseOptions) -> Rule {
    let expr = match hearth_promql::syntax::parse(&read.expr.value, options) {
        Ok(expr) => expr.to_string(),
        Err(_) => read.expr.value.clone(),
    };
    let mut labels = group_labels.clone();
    labels.extend(read.labels);
    let ms = |duration: Option<yaml::Duration>| duration.map_or(0, |d| d.ms);
    let alerting = !read.alert.value.is_empty();
    let kind = if alerting {
        RuleKind::Alerting {
            for_ms: ms(read.for_),
            keep_firing_for_ms: ms(read.keep_firing_for),
            annotations: read.annotations,
        }
    } else {
        RuleKind::Recording
    };
    Rule { kind, name: if alerting { read.alert.value } else { read.record.value }, expr, labels }
}

#[cfg(test)]
mod tests;

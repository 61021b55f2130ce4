//! A rule as it stands in YAML: defaults, checks with Prometheus' messages, and how it prints again.
//! A rule that was read is valid; one made by hand is checked when it is compiled.

use super::{Rule, Work};
use crate::matcher::capture::CaptureRegex;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// Why a rule is not valid, in Prometheus' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelabelError(String);

impl fmt::Display for RelabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RelabelError {}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Action {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    pub const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
        let Some(Text(text)) = Option::deserialize(deserializer)? else {
            return Err(D::Error::custom("relabel action cannot be empty"));
        };
        let found = Action::ALL.into_iter().find(|action| action.text() == text.to_lowercase());
        found.ok_or_else(|| D::Error::custom(format!("unknown relabel action {text:?}")))
    }
}

/// `<relabel_config>`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Plain")]
pub struct RelabelConfig {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub separator: String,
    /// As written, unanchored; none is `(.*)`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_regex")]
    pub regex: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub modulus: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub replacement: String,
    pub action: Action,
}

impl Default for RelabelConfig {
    fn default() -> RelabelConfig {
        RelabelConfig {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_owned(),
            regex: None,
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_owned(),
            action: Action::default(),
        }
    }
}

fn is_zero(modulus: &u64) -> bool {
    *modulus == 0
}

/// An empty expression prints as null, as Prometheus has it.
fn write_regex<S: Serializer>(regex: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match regex.as_deref() {
        None | Some("") => serializer.serialize_unit(),
        Some(text) => serializer.serialize_str(text),
    }
}

/// A scalar as its text, as it was written.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_str(Scalar)
    }
}

/// A text, or "" for null: a key that is there with null is not the same as one that is not there.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map_or_else(String::new, |text| text.0))
}

fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(Some)
}

fn default_separator() -> String {
    DEFAULT_SEPARATOR.to_owned()
}

fn default_replacement() -> String {
    DEFAULT_REPLACEMENT.to_owned()
}

/// The keys as they are read, before the checks that look at several of them.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    source_labels: Option<Vec<Option<Text>>>,
    #[serde(default = "default_separator", deserialize_with = "text")]
    separator: String,
    #[serde(default, deserialize_with = "some_text")]
    regex: Option<String>,
    modulus: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    target_label: String,
    #[serde(default = "default_replacement", deserialize_with = "text")]
    replacement: String,
    #[serde(default)]
    action: Action,
}

impl TryFrom<Plain> for RelabelConfig {
    type Error = RelabelError;

    fn try_from(plain: Plain) -> Result<RelabelConfig, RelabelError> {
        let names = plain.source_labels.unwrap_or_default().into_iter();
        let config = RelabelConfig {
            source_labels: names.map(|name| name.map_or_else(String::new, |name| name.0)).collect(),
            separator: plain.separator,
            regex: plain.regex,
            modulus: plain.modulus.unwrap_or(0),
            target_label: plain.target_label,
            replacement: plain.replacement,
            action: plain.action,
        };
        config.rule()?;
        Ok(config)
    }
}

impl RelabelConfig {
    /// Checks and compiles the rule.
    pub fn rule(&self) -> Result<Rule, RelabelError> {
        let source = self.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let regex = CaptureRegex::new(source).map_err(|error| RelabelError(error.to_string()))?;
        self.check()?;
        let target = self.target_label.clone();
        let work = match self.action {
            Action::Keep => Work::Keep(regex),
            Action::Drop => Work::Drop(regex),
            Action::KeepEqual => Work::KeepEqual { target },
            Action::DropEqual => Work::DropEqual { target },
            Action::Replace => {
                let (target, replacement) = (regex.template(&target), regex.template(&self.replacement));
                Work::Replace { regex, target, replacement }
            }
            Action::Lowercase => Work::Lowercase { target },
            Action::Uppercase => Work::Uppercase { target },
            Action::HashMod => Work::HashMod { modulus: self.modulus, target },
            Action::LabelMap => {
                let replacement = regex.template(&self.replacement);
                Work::LabelMap { regex, replacement }
            }
            Action::LabelDrop => Work::LabelDrop(regex),
            Action::LabelKeep => Work::LabelKeep(regex),
        };
        Ok(Rule { sources: self.source_labels.clone(), separator: self.separator.clone(), work })
    }

    /// The checks, in the order in which Prometheus makes them.
    fn check(&self) -> Result<(), RelabelError> {
        use Action::*;
        let fault = |text: String| Err(RelabelError(text));
        let name = self.action.text();
        if self.source_labels.iter().any(String::is_empty) {
            return fault("\"\" is not a valid label name".to_owned());
        }
        if self.action == HashMod && self.modulus == 0 {
            return fault("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        let writes_or_compares =
            matches!(self.action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if writes_or_compares && self.target_label.is_empty() {
            return fault(format!("relabel configuration for {name} action requires 'target_label' value"));
        }
        let plain_replacement = self.replacement == DEFAULT_REPLACEMENT;
        if matches!(self.action, Lowercase | Uppercase | KeepEqual | DropEqual) && !plain_replacement {
            return fault(format!("'replacement' can not be set for {name} action"));
        }
        if self.action == LabelMap && self.replacement.is_empty() {
            return fault(format!("\"\" is invalid 'replacement' for {name} action"));
        }
        let plain_separator = self.separator == DEFAULT_SEPARATOR;
        let plain = self.modulus == 0 && plain_separator && plain_replacement;
        if matches!(self.action, KeepEqual | DropEqual) && (self.regex.is_some() || !plain) {
            return fault(format!(
                "{name} action requires only 'source_labels' and `target_label`, and no other fields"
            ));
        }
        let named = !self.source_labels.is_empty() || !self.target_label.is_empty();
        if matches!(self.action, LabelDrop | LabelKeep) && (named || !plain) {
            return fault(format!("{name} action requires only 'regex', and no other fields"));
        }
        Ok(())
    }
}

//! The shape of a rule file. Unknown fields, repeated keys and a second document are faults with line and
//! column; what the values mean is checked elsewhere.

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    #[serde(deserialize_with = "or_default")]
    pub groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[serde(default = "nothing")]
    pub name: Spanned<String>,
    #[serde(default)]
    pub interval: Option<Duration>,
    #[serde(default)]
    pub query_offset: Option<Duration>,
    #[serde(default)]
    pub limit: i64,
    #[serde(default, deserialize_with = "texts")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default = "nothing")]
    pub record: Spanned<String>,
    #[serde(default = "nothing")]
    pub alert: Spanned<String>,
    #[serde(default = "nothing")]
    pub expr: Spanned<String>,
    #[serde(default, rename = "for")]
    pub for_: Option<Duration>,
    #[serde(default)]
    pub keep_firing_for: Option<Duration>,
    #[serde(default, deserialize_with = "texts")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "texts")]
    pub annotations: BTreeMap<String, String>,
}

/// A field that is not there; it has no line.
fn nothing() -> Spanned<String> {
    Spanned::new(String::new(), serde_saphyr::Location::UNKNOWN, serde_saphyr::Location::UNKNOWN)
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Labels and annotations; a value that is not written is empty.
fn texts<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    let read: Option<BTreeMap<String, Option<String>>> = Option::deserialize(d)?;
    Ok(read.into_iter().flatten().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration {
    pub ms: i64,
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let ms = hearth_model::parse_duration_ms(&text).map_err(serde::de::Error::custom)?;
        Ok(Duration { ms })
    }
}

/// Reads a file's text; a fault is `line:column: what`.
pub fn read(text: &str) -> Result<File, String> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let plain = error.without_snippet();
        match plain.location() {
            Some(at) => {
                let text = plain.to_string();
                let suffix = format!(" at line {}, column {}", at.line(), at.column());
                format!("{}:{}: {}", at.line(), at.column(), text.strip_suffix(&suffix).unwrap_or(&text))
            }
            None => format!(" {plain}"),
        }
    })
}

//! `label_replace` and `label_join`: values stay, labels change.

use crate::exec::labels::relabelled;
use crate::exec::tile::{RowLabels, Tile};
use crate::functions::LabelKind;
use crate::query::QueryError;
use hearth_model::LabelsBuilder;
use hearth_model::label::{MAX_PART_BYTES, METRIC_NAME};
use hearth_model::matcher::capture::CaptureRegex;

/// Changes the labels of every series; `texts` are the string arguments.
pub fn evaluate(kind: LabelKind, mut tile: Tile, texts: &[String]) -> Result<Tile, QueryError> {
    match kind {
        LabelKind::Replace => replace(&mut tile, texts)?,
        LabelKind::Join => join(&mut tile, texts)?,
    }
    relabelled(tile, |row| Ok(row.clone()))
}

/// A name comes out of the query, which is shorter than any label may be; a value is put together.
fn set(row: &mut RowLabels, name: &str, value: &str) -> Result<(), QueryError> {
    if value.len() > MAX_PART_BYTES {
        return Err(QueryError::Execution(format!(
            "value of label {name} would be longer than {MAX_PART_BYTES} bytes"
        )));
    }
    let mut builder = LabelsBuilder::from(&row.labels);
    builder.set(name, value);
    row.labels = builder.build();
    // A name that was set is meant to stay.
    row.drop_name &= name != METRIC_NAME;
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), QueryError> {
    if name.is_empty() { Err(QueryError::Execution(format!("invalid {what}: {name}"))) } else { Ok(()) }
}

fn replace(tile: &mut Tile, texts: &[String]) -> Result<(), QueryError> {
    let [to, replacement, from, source] = texts else { unreachable!("label_replace has four texts") };
    let regex = CaptureRegex::new(source).map_err(|_| {
        QueryError::Execution(format!("invalid regular expression in label_replace(): {source}"))
    })?;
    check_name("destination label name in label_replace()", to)?;
    let template = regex.template(replacement);
    let mut value = String::new();
    for row in 0..tile.len() {
        value.clear();
        let labels = tile.labels_mut(row);
        if regex.expand(labels.labels.value(from), &template, &mut value) {
            set(labels, to, &value)?;
        }
    }
    Ok(())
}

fn join(tile: &mut Tile, texts: &[String]) -> Result<(), QueryError> {
    let [to, separator, from @ ..] = texts else { unreachable!("label_join has two texts or more") };
    for name in from {
        check_name("source label name in label_join()", name)?;
    }
    check_name("destination label name in label_join()", to)?;
    for row in 0..tile.len() {
        let labels = tile.labels_mut(row);
        let parts: Vec<&str> = from.iter().map(|name| labels.labels.value(name)).collect();
        let value = parts.join(separator);
        set(labels, to, &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::Labels;

    /// A replacement that multiplies a value, nested, made a label that no label set can hold: a panic.
    #[test]
    fn a_value_too_long_for_a_label_is_an_error() {
        let labels = Labels::from_pairs([("a", "b")]);
        let mut row = RowLabels { labels: labels.clone(), drop_name: false };
        set(&mut row, "c", &"x".repeat(MAX_PART_BYTES)).expect("fits");
        assert_eq!(row.labels.value("c").len(), MAX_PART_BYTES);
        let mut row = RowLabels { labels, drop_name: false };
        let error = set(&mut row, "c", &"x".repeat(MAX_PART_BYTES + 1)).expect_err("too long");
        assert_eq!(error.to_string(), "value of label c would be longer than 1112063 bytes");
    }
}

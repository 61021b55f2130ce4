//! Which metric a line of a counter, summary or classic histogram belongs to: the name without what the
//! format hangs on it, and the labels without the bound.

use hearth_model::label::METRIC_NAME;
use hearth_model::number::parse_float;
use hearth_wire::exposition::{pairs_of, print};
use hearth_wire::metadata::MetricType;

/// What a line says of its metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// The count up to this bound.
    Bucket(f64),
    Sum,
    Count,
    /// Of a counter.
    Total,
    /// Of a summary.
    Quantile,
    /// When the metric began, in seconds.
    Created,
}

fn role(kind: MetricType, suffix: &str, bound: Option<&str>) -> Option<Role> {
    let parsed = || bound.and_then(|text| parse_float(text.as_bytes()).ok()).filter(|le| !le.is_nan());
    match (kind, suffix) {
        (MetricType::Histogram, "_bucket") => parsed().map(Role::Bucket),
        (MetricType::Histogram | MetricType::Summary, "_sum") => Some(Role::Sum),
        (MetricType::Histogram | MetricType::Summary, "_count") => Some(Role::Count),
        (MetricType::Counter, "_total") => Some(Role::Total),
        (MetricType::Summary, "") => Some(Role::Quantile),
        (MetricType::Histogram | MetricType::Summary | MetricType::Counter, "_created") => {
            Some(Role::Created)
        }
        _ => None,
    }
}

/// The role of a series within the family, and in `out` the metric's own series, spelled the same for
/// every line of the metric.
pub fn place(series: &[u8], family: &str, kind: MetricType, out: &mut Vec<u8>) -> Option<Role> {
    let bound_name = if kind == MetricType::Histogram { "le" } else { "quantile" };
    let (mut suffix, mut bound, mut labels) = (None, None, Vec::new());
    for (name, value) in pairs_of(series) {
        if name == METRIC_NAME {
            suffix = Some(value.strip_prefix(family)?.to_owned());
        } else if name == bound_name && kind != MetricType::Counter {
            bound = Some(value);
        } else {
            labels.push((name, value));
        }
    }
    let role = role(kind, &suffix?, bound.as_deref())?;
    labels.sort_unstable();
    out.clear();
    print::write_series(out, family, labels.iter().map(|(name, value)| (&**name, &**value)));
    Some(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_metric_share_a_series() {
        let check = |kind, series: &str, expect: Option<(Role, &str)>| {
            let mut out = Vec::new();
            let role = place(series.as_bytes(), "h", kind, &mut out);
            let got = role.map(|role| (role, std::str::from_utf8(&out).expect("text")));
            assert_eq!(got, expect, "{series}");
        };
        let histogram = MetricType::Histogram;
        check(histogram, r#"h_bucket{b="2",le="0.5",a="1"}"#, Some((Role::Bucket(0.5), r#"h{a="1",b="2"}"#)));
        check(histogram, r#"h_count{a="1"}"#, Some((Role::Count, r#"h{a="1"}"#)));
        check(histogram, r#"{"h_sum"}"#, Some((Role::Sum, "h")));
        check(histogram, r#"h_bucket{le="x"}"#, None);
        check(histogram, "h_bucket", None);
        check(histogram, "hh_sum", None);
        check(histogram, "other", None);
        check(MetricType::Summary, r#"h{quantile="1",a="b"}"#, Some((Role::Quantile, r#"h{a="b"}"#)));
        check(MetricType::Counter, r#"h_total{le="1"}"#, Some((Role::Total, r#"h{le="1"}"#)));
        check(MetricType::Counter, "h_created", Some((Role::Created, "h")));
    }
}

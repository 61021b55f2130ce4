//! What a scraped native histogram must be and may hold.

use crate::config::ScrapeConfig;
use hearth_model::Histogram;
use hearth_model::histogram::{MAX_EXPONENTIAL_SCHEMA, MIN_EXPONENTIAL_SCHEMA};

/// A histogram that has more buckets than allowed, and cannot be made coarser.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyBuckets;

/// The finest schema whose buckets grow by at least this factor.
pub fn schema_of_factor(factor: f64) -> i32 {
    if factor <= 1.0 {
        return MAX_EXPONENTIAL_SCHEMA;
    }
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(MIN_EXPONENTIAL_SCHEMA), f64::from(MAX_EXPONENTIAL_SCHEMA)) as i32
}

/// Makes the histogram as coarse as the job wants it.
pub fn fit(config: &ScrapeConfig, histogram: &mut Histogram) -> Result<(), TooManyBuckets> {
    let finest = schema_of_factor(config.native_histogram_min_bucket_factor);
    histogram.reduce_resolution(finest);
    let limit = config.native_histogram_bucket_limit;
    while limit > 0 && histogram.bucket_count() as u64 > limit {
        if !histogram.reduce_resolution(histogram.schema - 1) {
            return Err(TooManyBuckets);
        }
    }
    Ok(())
}

/// Shape, and for whole numbers that buckets and count say the same.
pub fn check(histogram: &Histogram) -> Result<(), String> {
    histogram.validate().map_err(|error| error.to_string())?;
    if !histogram.integer {
        return Ok(());
    }
    let counts = histogram.positive_counts.iter().chain(&histogram.negative_counts);
    let found = counts.sum::<f64>() + histogram.zero_count;
    let (wrong, why) = if histogram.sum.is_nan() {
        (
            found > histogram.count,
            "histogram's observation count should be at least the number of observations found in the buckets",
        )
    } else {
        (
            found != histogram.count,
            "histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)",
        )
    };
    if wrong {
        return Err(format!(
            "{found} observations found in buckets, but the Count field is {}: {why}",
            histogram.count
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;
    use hearth_model::Span;

    #[test]
    fn factors_choose_schemas() {
        let check = |factor: f64, expect: i32| assert_eq!(schema_of_factor(factor), expect, "{factor}");
        check(0.0, 8);
        check(1.001, 8);
        check(1.1, 2);
        check(2.0, 0);
        check(4.0, -1);
        check(1e9, -4);
    }

    fn histogram(counts: &[f64]) -> Histogram {
        Histogram {
            schema: 2,
            integer: true,
            count: counts.iter().sum(),
            sum: 0.0,
            positive_spans: vec![Span { offset: 1, length: counts.len() as u32 }],
            positive_counts: counts.to_vec(),
            ..Histogram::stale()
        }
    }

    #[test]
    fn limits_make_coarser_or_fail() {
        let check = |yaml: &str, expect: Result<(i32, Vec<f64>), TooManyBuckets>| {
            let mut h = histogram(&[1.0, 2.0, 3.0, 4.0]);
            let fitted = fit(&config(yaml, ""), &mut h);
            assert_eq!(fitted.map(|()| (h.schema, h.positive_counts)), expect, "{yaml}");
        };
        check("", Ok((2, vec![1.0, 2.0, 3.0, 4.0])));
        check("native_histogram_bucket_limit: 4", Ok((2, vec![1.0, 2.0, 3.0, 4.0])));
        check("native_histogram_bucket_limit: 3", Ok((1, vec![3.0, 7.0])));
        check("native_histogram_bucket_limit: 1", Ok((0, vec![10.0])));
        check("native_histogram_min_bucket_factor: 2", Ok((0, vec![10.0])));
        let mut wide = histogram(&[1.0]);
        wide.positive_spans = vec![Span { offset: -100_000, length: 1 }, Span { offset: 200_000, length: 1 }];
        wide.positive_counts = vec![1.0, 1.0];
        assert_eq!(fit(&config("native_histogram_bucket_limit: 1", ""), &mut wide), Err(TooManyBuckets));
    }

    #[test]
    fn counts_must_agree() {
        let mut h = histogram(&[1.0, 2.0]);
        assert_eq!(check(&h), Ok(()));
        h.count = 2.0;
        assert!(
            check(&h)
                .is_err_and(|e| e.starts_with("3 observations found in buckets, but the Count field is 2"))
        );
        (h.count, h.sum) = (4.0, f64::NAN);
        assert_eq!(check(&h), Ok(()));
    }
}

//! Parameters of a request: the query string and, for a POST or PUT, the form in its body; times, durations,
//! limits and selectors as Prometheus reads them. Nothing in here knows an endpoint.

use crate::config::FORM_LIMIT_BYTES;
use crate::error::ApiError;
use crate::state::State;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use hearth_model::store::MatcherSets;
use hearth_model::{TimeRange, parse_duration_ms};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::Arc;
use std::time::Duration;

/// Earliest and latest time a client can name: what Go's `time.Time` holds, as Prometheus clamps it.
const MIN_TIME_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";
pub const MIN_TIME_MS: i64 = (i64::MIN / 1_000 + SECONDS_TO_YEAR_ONE) * 1_000;
pub const MAX_TIME_MS: i64 = (i64::MAX / 1_000 - SECONDS_TO_YEAR_ONE) * 1_000 + 999;
/// Seconds between the year 1, where Go's times begin, and the Unix epoch.
const SECONDS_TO_YEAR_ONE: i64 = 62_135_596_801;

/// Name and value pairs in the order of the request: those of a form before those of the query string, so
/// that the form wins where a name is there twice.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    pub fn from_query(query: &str) -> Params {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Params { pairs }
    }

    /// The first value; "" where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A time that has to be there.
    pub fn time_ms(&self, name: &str) -> Result<i64, ApiError> {
        parse_time_ms(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    /// A time that need not be there.
    pub fn time_ms_or(&self, name: &str, default_ms: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            "" => Ok(default_ms),
            text => parse_time_ms(text).map_err(|why| {
                ApiError::parameter(name, format_args!("invalid time value for '{name}': {why}"))
            }),
        }
    }

    /// `start` and `end`, all of time where they are not given.
    pub fn range(&self) -> Result<TimeRange, ApiError> {
        let min_ms = self.time_ms_or("start", MIN_TIME_MS)?;
        Ok(TimeRange::new(min_ms, self.time_ms_or("end", MAX_TIME_MS)?))
    }

    pub fn duration_ms(&self, name: &str) -> Result<i64, ApiError> {
        parse_seconds_or_duration_ms(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    /// `limit`: 0 means none.
    pub fn limit(&self) -> Result<usize, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(0);
        }
        let limit = parse_int(text).map_err(|why| ApiError::parameter("limit", why))?;
        usize::try_from(limit).map_err(|_| ApiError::parameter("limit", "limit must be non-negative"))
    }

    /// `match[]`, each a selector that does not match everything.
    pub fn matcher_sets(&self) -> Result<MatcherSets, ApiError> {
        let sets = self.any_matcher_sets()?;
        if sets.iter().any(|matchers| matchers.iter().all(|m| m.matches_empty())) {
            let why = "match[] must contain at least one non-empty matcher";
            return Err(ApiError::parameter("match[]", why));
        }
        Ok(sets)
    }

    /// `match[]`, each any selector at all.
    pub fn any_matcher_sets(&self) -> Result<MatcherSets, ApiError> {
        let mut sets = MatcherSets::new();
        for text in self.all("match[]") {
            let matchers = hearth_promql::syntax::parse_metric_selector(text)
                .map_err(|error| ApiError::parameter("match[]", error))?;
            sets.push(Arc::from(matchers));
        }
        Ok(sets)
    }

    /// A switch, "" where it is not given, with Prometheus' words where it is none.
    pub fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            other => {
                let why =
                    format!("unable to parse boolean: strconv.ParseBool: parsing {other:?}: invalid syntax");
                Err(ApiError::parameter(name, why))
            }
        }
    }
}

/// A whole number with the words of Go's `strconv.Atoi` where it is none.
pub fn parse_int(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {why}")
    })
}

/// Seconds with a fraction, or RFC 3339.
pub fn parse_time_ms(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let (whole, fraction) = (seconds.trunc(), (seconds.fract() * 1_000.0).round());
        let ms = whole * 1_000.0 + fraction;
        if ms.is_finite() && ms.abs() < 9.2e18 {
            return Ok(ms as i64);
        }
    } else if let Ok(time) = text.parse::<jiff::Timestamp>() {
        if text.contains('T') {
            return Ok(time.as_millisecond());
        }
    } else if text == MIN_TIME_TEXT {
        return Ok(MIN_TIME_MS);
    } else if text == MAX_TIME_TEXT {
        return Ok(MAX_TIME_MS);
    }
    Err(format!("cannot parse {text:?} to a valid timestamp"))
}

/// Seconds with a fraction, or a duration with units.
pub fn parse_seconds_or_duration_ms(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let ns = seconds * 1e9;
        if ns > i64::MAX as f64 || ns < i64::MIN as f64 || ns.is_nan() {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok((ns / 1e6) as i64);
    }
    parse_duration_ms(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

/// A float as Go reads it, which is what Rust reads apart from `infinity`'s and `nan`'s spellings: both
/// read those without regard to case.
fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Reads a body of at most `limit_bytes` that arrives within `patience`.
pub async fn read_body(
    body: Body,
    limit_bytes: usize,
    patience: Duration,
) -> Result<bytes::Bytes, BodyError> {
    let collect = Limited::new(body, limit_bytes).collect();
    match tokio::time::timeout(patience, collect).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit_bytes }),
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum BodyError {
    TooLarge { limit_bytes: usize },
    TooSlow,
    Broken(String),
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BodyError::TooLarge { limit_bytes } => {
                write!(f, "request body too large: the limit is {limit_bytes} bytes")
            }
            BodyError::TooSlow => f.write_str("request body did not arrive in time"),
            BodyError::Broken(why) => write!(f, "reading the request body failed: {why}"),
        }
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

impl FromRequest<Arc<State>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Params, ApiError> {
        let mut params = Params::from_query(request.uri().query().unwrap_or(""));
        if [Method::POST, Method::PUT].contains(request.method()) && is_form(request.headers()) {
            let body = read_body(request.into_body(), FORM_LIMIT_BYTES, state.options.read_timeout)
                .await
                .map_err(|error| ApiError::bad_data(format!("error parsing form values: {error}")))?;
            let mut pairs: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
            pairs.append(&mut params.pairs);
            params.pairs = pairs;
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn time(text: &str, expect: Result<i64, &str>) {
        assert_eq!(parse_time_ms(text), expect.map_err(str::to_owned));
    }

    #[test]
    fn times() {
        time("1.5", Ok(1_500));
        time("1435781451.781", Ok(1_435_781_451_781));
        time("-1.0015", Ok(-1_002));
        time("2015-07-01T20:10:51.781Z", Ok(1_435_781_451_781));
        time("2015-07-01T22:10:51.781+02:00", Ok(1_435_781_451_781));
        time(MIN_TIME_TEXT, Ok(MIN_TIME_MS));
        time(MAX_TIME_TEXT, Ok(MAX_TIME_MS));
        time("foo", Err("cannot parse \"foo\" to a valid timestamp"));
        time("", Err("cannot parse \"\" to a valid timestamp"));
        time("NaN", Err("cannot parse \"NaN\" to a valid timestamp"));
        time("1e300", Err("cannot parse \"1e300\" to a valid timestamp"));
        time("2015-07-01", Err("cannot parse \"2015-07-01\" to a valid timestamp"));
    }

    #[test]
    fn durations() {
        assert_eq!(parse_seconds_or_duration_ms("1.5"), Ok(1_500));
        assert_eq!(parse_seconds_or_duration_ms("1m30s"), Ok(90_000));
        assert_eq!(
            parse_seconds_or_duration_ms("x"),
            Err("cannot parse \"x\" to a valid duration".to_owned())
        );
        let huge = "cannot parse \"1e30\" to a valid duration. It overflows int64".to_owned();
        assert_eq!(parse_seconds_or_duration_ms("1e30"), Err(huge));
    }

    #[test]
    fn the_form_wins_over_the_query_string() {
        let params = Params::from_query("a=1&b=%2B+x&match[]=up&match%5B%5D=down");
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), ("1", "+ x", ""));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["up", "down"]);
        assert_eq!(
            Params::from_query("limit=-1").limit().expect_err("refused").text,
            "invalid parameter \"limit\": limit must be non-negative"
        );
        assert_eq!(
            Params::from_query("limit=foo").limit().expect_err("refused").text,
            "invalid parameter \"limit\": strconv.Atoi: parsing \"foo\": invalid syntax"
        );
    }
}

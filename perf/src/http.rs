//! A blocking client of the servers' HTTP interface, with kept-alive connections and a deadline for every
//! request. It reports status codes as answers, never as errors: to a test a 400 is a result.

use serde_json::Value;
use std::time::Duration;

/// No request may take longer: a server that hangs fails the run instead of holding it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// An answer is read to at most this: the largest, a range query over many series, has some tens of MiB.
const MAX_ANSWER_BYTES: u64 = 1 << 30;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// `Retry-After`, where the answer has it in seconds.
    pub retry_after_s: Option<u64>,
}

/// A client of one server. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    /// `http://host:port`
    base: String,
}

fn data_of(asked: &str, answer: Answer) -> Result<Value, String> {
    let mut value: Value = serde_json::from_str(&answer.body)
        .map_err(|error| format!("{asked}: status {}, {error}: {}", answer.status, answer.body))?;
    if answer.status != 200 || value["status"] != "success" {
        return Err(format!("{asked}: status {}: {}", answer.status, answer.body));
    }
    Ok(value["data"].take())
}

impl Client {
    pub fn new(base: impl Into<String>) -> Client {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build()
            .new_agent();
        Client { agent, base: base.into() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, String> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.get(&url).query_pairs(query.iter().copied());
        answer(&url, request.call())
    }

    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<Answer, String> {
        let url = format!("{}{path}", self.base);
        answer(&url, self.agent.post(&url).send_form(form.iter().copied()))
    }

    /// Any request; one without a body where that is empty and the method has none.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, String> {
        let url = format!("{}{path}", self.base);
        let request = ureq::http::Request::builder().method(method).uri(&url);
        if body.is_empty() && ["GET", "DELETE"].contains(&method) {
            return answer(&url, self.agent.run(request.body(()).map_err(|error| error.to_string())?));
        }
        answer(&url, self.agent.run(request.body(body).map_err(|error| error.to_string())?))
    }

    /// The `data` of an answer to a GET.
    pub fn get_data(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        data_of(path, self.get(path, query)?)
    }

    /// Sends a remote-write 1.0 request: `body` is the snappy block.
    pub fn remote_write(&self, body: &[u8]) -> Result<Answer, String> {
        let url = format!("{}/api/v1/write", self.base);
        let request = self
            .agent
            .post(&url)
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .header("User-Agent", "hearth-perf");
        answer(&url, request.send(body))
    }

    /// The `data` of an answer of the query interface; an error answer is an `Err` with its text.
    pub fn data(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        data_of(&format!("{path} {form:?}"), self.post_form(path, form)?)
    }

    /// An instant query at a time in milliseconds.
    pub fn instant(&self, expression: &str, time_ms: i64) -> Result<Value, String> {
        self.data("/api/v1/query", &[("query", expression), ("time", &seconds(time_ms))])
    }

    /// A range query; times in milliseconds.
    pub fn range(&self, expression: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Value, String> {
        let form = [
            ("query", expression),
            ("start", &seconds(start_ms)),
            ("end", &seconds(end_ms)),
            ("step", &seconds(step_ms)),
        ];
        self.data("/api/v1/query_range", &form)
    }

    /// The value of an instant query that gives one number; none where it gives no series.
    pub fn number(&self, expression: &str, time_ms: i64) -> Result<Option<f64>, String> {
        let data = self.instant(expression, time_ms)?;
        let result = data["result"].as_array().ok_or_else(|| format!("{expression}: {data}"))?;
        match result.as_slice() {
            [] => Ok(None),
            [one] => {
                let text = one["value"][1].as_str().ok_or_else(|| format!("{expression}: {data}"))?;
                text.parse().map(Some).map_err(|_| format!("{expression}: {text:?} is not a number"))
            }
            _ => Err(format!("{expression}: {} series instead of one", result.len())),
        }
    }
}

/// Milliseconds since 1970 as the decimal seconds that the interface takes.
pub fn seconds(time_ms: i64) -> String {
    assert!(time_ms >= 0, "{time_ms} ms lie before 1970");
    format!("{}.{:03}", time_ms / 1000, time_ms % 1000)
}

type Response = ureq::http::Response<ureq::Body>;

fn answer(url: &str, response: Result<Response, ureq::Error>) -> Result<Answer, String> {
    let mut response = response.map_err(|error| format!("{url}: {error}"))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after_s = retry_after.and_then(|text| text.parse().ok());
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).lossy_utf8(true).read_to_string();
    Ok(Answer { status, retry_after_s, body: body.map_err(|error| format!("{url}: {error}"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_decimal_seconds() {
        assert_eq!(seconds(1_700_000_000_123), "1700000000.123");
        assert_eq!(seconds(5), "0.005");
    }
}

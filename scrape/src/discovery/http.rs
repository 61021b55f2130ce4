//! `http_sd_configs`: a list of target groups behind a URL.

use super::client::{Answer, Call, Client};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{HttpSdConfig, PromDuration, StaticConfig, WithHttp};
use crate::counters::{DiscoveryCounters, Tally};
use crate::discovery::static_list;
use std::sync::Arc;

/// One URL.
pub struct Http {
    config: HttpSdConfig,
    client: Client,
    counters: Arc<DiscoveryCounters>,
}

impl Http {
    pub fn new(config: &WithHttp<HttpSdConfig>, tools: &Tools) -> Http {
        let client = Client::new(&config.http, tools);
        Http { config: config.own.clone(), client, counters: Arc::clone(&tools.counters) }
    }

    async fn ask(&self) -> Result<Vec<TargetGroup>, String> {
        let seconds = self.config.refresh_interval.seconds().to_string();
        let call = Call::get(&self.config.url)
            .header("accept", "application/json")
            .header("x-prometheus-refresh-interval-seconds", &seconds);
        let answer = self.client.ask(call).await?;
        if answer.status != 200 {
            answer.success()?;
            return Err("server returned a status other than 200 OK".into());
        }
        check_type(&answer)?;
        groups(&answer.body, &self.config.url)
    }
}

fn check_type(answer: &Answer) -> Result<(), String> {
    let shown = answer.header("content-type");
    let (media, parameter) = shown.split_once(';').unwrap_or((shown, ""));
    let parameter = parameter.trim().to_ascii_lowercase();
    let utf8 = matches!(parameter.as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"");
    if media.eq_ignore_ascii_case("application/json") && utf8 {
        return Ok(());
    }
    Err(format!("unsupported content type {shown:?}"))
}

/// The groups in an answer of `url`.
pub fn groups(body: &[u8], url: &str) -> Result<Vec<TargetGroup>, String> {
    let entries: Option<Vec<Option<StaticConfig>>> =
        serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let entries = entries.unwrap_or_default().into_iter().enumerate();
    let group = |(i, entry): (usize, Option<StaticConfig>)| {
        let entry = entry.ok_or("nil target group item found")?;
        entry.check_labels()?;
        Ok(static_list::group(format!("{url}:{i}"), &entry, &[("__meta_url", url)]))
    };
    entries.map(group).collect()
}

impl Poll for Http {
    const MECHANISM: &'static str = "http";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        self.ask().await.inspect_err(|_| self.counters.tally(Tally::HttpFailures).add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, api, found, pages};

    #[tokio::test]
    async fn groups_behind_a_url_become_targets() {
        let address = pages(&[(
            "GET /t?x=1 HTTP/1.1\r\n",
            r#"[{"targets": ["a:1", "b:2"], "labels": {"l": "v", "__meta_own": "o"}}, {"targets": ["c:3"]}]"#,
        )])
        .await;
        let url = format!("http://{address}/t?x=1");
        let one = |host: &str, rest: &str| {
            format!(
                "{{__address__=\"{host}\", {rest}__meta_url=\"{url}\"{}",
                if rest.is_empty() { "}" } else { ", l=\"v\"}" }
            )
        };
        let own = "__meta_own=\"o\", ";
        let expect = [one("a:1", own), one("b:2", own), one("c:3", "")];
        assert_eq!(found("http", &format!("{{url: '{url}'}}")).await, expect);
    }

    #[tokio::test]
    async fn requests_say_what_prometheus_says() {
        let address = api(|request| {
            let lower = request.to_lowercase();
            let all = [
                "accept: application/json",
                "x-prometheus-refresh-interval-seconds: 90",
                "authorization: basic",
            ];
            let missing: Vec<&str> = all.into_iter().filter(|part| !lower.contains(part)).collect();
            Answer::json(&format!("[{{\"targets\": {missing:?}}}]"))
        })
        .await;
        let yaml = format!(
            "{{url: 'http://{address}/', refresh_interval: 90s, basic_auth: {{username: u, password: p}}}}"
        );
        assert_eq!(found("http", &yaml).await, [""; 0]);
    }

    #[test]
    fn answers_that_are_no_groups_are_refused() {
        let bad = |body: &str, expect: &str| {
            let got = groups(body.as_bytes(), "u").expect_err(body);
            assert!(got.contains(expect), "{got}");
        };
        bad("[null]", "nil target group item found");
        bad("{}", "invalid type: map");
        bad("[{\"tragets\": []}]", "unknown field `tragets`");
        bad("[{\"targets\": [], \"labels\": {\"\": \"x\"}}]", "is not a valid label name");
        bad("[{\"targets\": []}] x", "trailing characters");
        bad(&"[".repeat(100_000), "");
        assert_eq!(groups(b"null", "u"), Ok(Vec::new()));
        let answer = |content_type: &str| {
            let headers = [("content-type".parse().expect("name"), content_type.parse().expect("value"))];
            Answer_ { status: 200, headers: headers.into_iter().collect(), body: Vec::new() }
        };
        use crate::discovery::client::Answer as Answer_;
        for good in
            ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""]
        {
            assert_eq!(check_type(&answer(good)), Ok(()));
        }
        assert_eq!(check_type(&answer("text/html")), Err("unsupported content type \"text/html\"".into()));
        assert!(check_type(&answer("application/json; charset=latin1")).is_err());
    }
}

//! The subcommands that ask a server or look at an expression, with promtool's words and output:
//!
//! ```text
//! hearth query instant|range|series|labels SERVER …
//! hearth promql format|parse|explain …
//! hearth check service-discovery …
//! ```
//!
//! Nothing in here starts a server or touches data.

use hearth_promql::syntax::{self, ParseOptions, json};
use hearth_wire::exposition::Escaping;
use serde_json::Value;
use std::time::Duration;

/// Longest time one request may take: longer than a server lets a query run by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);
/// Bytes of an answer that are read.
const ANSWER_LIMIT_BYTES: u64 = 1 << 30;
/// Points of a range query where no step is given, as with promtool.
const DEFAULT_POINTS: f64 = 250.0;

const USAGE: &str = "usage:
  hearth query instant SERVER EXPR [--time=TIME]
  hearth query range SERVER EXPR [--start=TIME] [--end=TIME] [--step=DURATION]
  hearth query series SERVER --match=SELECTOR... [--start=TIME] [--end=TIME]
  hearth query labels SERVER NAME [--match=SELECTOR...] [--start=TIME] [--end=TIME]
  hearth check service-discovery CONFIG JOB [--timeout=DURATION]
  hearth promql format EXPR
  hearth promql parse EXPR
  hearth promql explain SERVER EXPR [--analyze] [--time=TIME | --start=TIME --end=TIME --step=DURATION]

SERVER is a URL such as http://localhost:9090; TIME is RFC 3339 or seconds since 1970. The series, labels and
query commands take --format=json to print the server's answer as it is.
";

/// What went wrong, and the exit code that goes with it.
type Failure = (String, u8);

/// The answer to the arguments, where they name a subcommand.
pub fn run(arguments: &[String]) -> Option<Result<String, Failure>> {
    let group = arguments.first()?.as_str();
    if !matches!(group, "query" | "promql" | "check") {
        return None;
    }
    if arguments.iter().any(|a| a == "-h" || a == "--help") {
        return Some(Ok(USAGE.to_owned()));
    }
    let outcome = Arguments::read(&arguments[1..]).and_then(|mut arguments| {
        let command = arguments.next("a command")?;
        arguments.only(flags_of(group, &command))?;
        match (group, command.as_str()) {
            ("check", "service-discovery") => {
                let (file, job) = (arguments.next("a configuration file")?, arguments.next("a job")?);
                arguments.end()?;
                crate::check_discovery::service_discovery(&file, &job, arguments.flag("timeout"))
            }
            ("promql", "format") => format(&mut arguments),
            ("promql", "parse") => parse(&mut arguments),
            ("promql", "explain") => explain(&mut arguments),
            ("query", "instant" | "range") => query(&command, &mut arguments),
            ("query", "series" | "labels") => list(&command, &mut arguments),
            (_, other) => Err(usage(&format!("unknown command {group} {other}"))),
        }
    });
    Some(outcome)
}

fn usage(what: &str) -> Failure {
    (format!("{what}\n{USAGE}"), 2)
}

/// Words and `--name=value` flags.
struct Arguments {
    words: std::vec::IntoIter<String>,
    flags: Vec<(String, String)>,
}

/// The flags that a command knows.
fn flags_of(group: &str, command: &str) -> &'static [&'static str] {
    match (group, command) {
        ("check", "service-discovery") => &["timeout"],
        ("promql", "explain") => &["time", "start", "end", "step", "analyze"],
        ("query", "instant") => &["time", "format"],
        ("query", "range") => &["start", "end", "step", "format"],
        ("query", "series" | "labels") => &["match", "start", "end", "format"],
        _ => &[],
    }
}

impl Arguments {
    fn read(arguments: &[String]) -> Result<Arguments, Failure> {
        let (mut words, mut flags) = (Vec::new(), Vec::new());
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(flag) = argument.strip_prefix("--") else {
                words.push(argument.clone());
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if flag == "analyze" => (flag, "true".to_owned()),
                None => match rest.next() {
                    Some(value) => (flag, value.clone()),
                    None => return Err(usage(&format!("expected argument for flag '--{flag}'"))),
                },
            };
            flags.push((name.to_owned(), value));
        }
        Ok(Arguments { words: words.into_iter(), flags })
    }

    fn next(&mut self, what: &str) -> Result<String, Failure> {
        self.words.next().ok_or_else(|| usage(&format!("required argument missing: {what}")))
    }

    /// A flag that would be ignored is refused.
    fn only(&self, known: &[&str]) -> Result<(), Failure> {
        if let Some((name, _)) = self.flags.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(usage(&format!("unknown long flag '--{name}'")));
        }
        match self.flag("format") {
            None | Some("json" | "promql") => Ok(()),
            Some(other) => Err(usage(&format!("--format: {other:?} is neither promql nor json"))),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.words.next().map_or(Ok(()), |extra| Err(usage(&format!("unexpected {extra}"))))
    }

    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn is_json(&self) -> bool {
        self.flag("format") == Some("json")
    }

    /// Flags that are parameters of the request under the same name.
    fn pass(&self, names: &[&str], form: &mut Vec<(String, String)>) {
        let given = self.flags.iter().filter(|(name, _)| names.contains(&name.as_str()));
        form.extend(given.cloned());
    }
}

fn parsed(arguments: &mut Arguments) -> Result<syntax::Expr, Failure> {
    let text = arguments.next("an expression")?;
    arguments.end()?;
    syntax::parse(&text, &ParseOptions::ALL).map_err(|error| (error.to_string(), 1))
}

fn format(arguments: &mut Arguments) -> Result<String, Failure> {
    Ok(format!("{}\n", syntax::format(&parsed(arguments)?)))
}

fn parse(arguments: &mut Arguments) -> Result<String, Failure> {
    Ok(format!("{}\n", json::to_json(&parsed(arguments)?)))
}

fn explain(arguments: &mut Arguments) -> Result<String, Failure> {
    let (server, expr) = (arguments.next("a server")?, arguments.next("an expression")?);
    arguments.end()?;
    let mut form = vec![("query".to_owned(), expr), ("format".to_owned(), "text".to_owned())];
    arguments.pass(&["time", "start", "end", "step"], &mut form);
    let endpoint = if arguments.flag("analyze").is_some() { "analyze_query" } else { "explain_query" };
    let (status, body) = ask(&server, endpoint, &form)?;
    if status == 200 { Ok(body) } else { Err(told(&body)) }
}

fn query(command: &str, arguments: &mut Arguments) -> Result<String, Failure> {
    let (server, expr) = (arguments.next("a server")?, arguments.next("an expression")?);
    arguments.end()?;
    let mut form = vec![("query".to_owned(), expr)];
    let endpoint = if command == "instant" {
        arguments.pass(&["time"], &mut form);
        "query"
    } else {
        range(arguments, &mut form)?;
        "query_range"
    };
    let answer = data(&server, endpoint, &form)?;
    if arguments.is_json() {
        return Ok(format!("{}\n", answer["result"]));
    }
    Ok(shown(&answer))
}

/// As promtool: the last five minutes, in 250 points, where nothing else is said.
fn range(arguments: &Arguments, form: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1_000.0;
    let time = |name: &str, default: f64| match arguments.flag(name) {
        None => Ok(default),
        Some(text) => seconds(text).ok_or_else(|| (format!("error parsing {name} time: {text:?}"), 1)),
    };
    let end = time("end", now)?;
    let start = time("start", end - 300.0)?;
    if end < start {
        return Err(("start time is not before end time".to_owned(), 1));
    }
    let step = match arguments.flag("step") {
        Some(step) => step.to_owned(),
        None => ((end - start) / DEFAULT_POINTS).floor().max(1.0).to_string(),
    };
    let times = [("start", start.to_string()), ("end", end.to_string()), ("step", step)];
    form.extend(times.map(|(name, value)| (name.to_owned(), value)));
    Ok(())
}

fn seconds(text: &str) -> Option<f64> {
    let time = || text.parse::<jiff::Timestamp>().ok();
    text.parse().ok().or_else(|| Some(time()?.as_millisecond() as f64 / 1_000.0))
}

fn list(command: &str, arguments: &mut Arguments) -> Result<String, Failure> {
    let server = arguments.next("a server")?;
    let mut form = Vec::new();
    let matchers = arguments.flags.iter().filter(|(name, _)| name == "match");
    form.extend(matchers.map(|(_, selector)| ("match[]".to_owned(), selector.clone())));
    arguments.pass(&["start", "end"], &mut form);
    let endpoint = if command == "series" {
        if form.iter().all(|(name, _)| name != "match[]") {
            return Err(usage("required flag --match not provided"));
        }
        "series".to_owned()
    } else {
        // The server undoes this: a name may hold what a path may not.
        format!("label/{}/values", Escaping::Values.escape(&arguments.next("a label name")?))
    };
    arguments.end()?;
    let answer = data(&server, &endpoint, &form)?;
    if arguments.is_json() {
        return Ok(format!("{answer}\n"));
    }
    let lines = answer.as_array().into_iter().flatten().map(|entry| match entry {
        Value::String(text) => format!("{text}\n"),
        labels => format!("{}\n", braced(labels)),
    });
    Ok(lines.collect())
}

/// The `data` of an answer.
fn data(server: &str, endpoint: &str, form: &[(String, String)]) -> Result<Value, Failure> {
    let (status, body) = ask(server, endpoint, form)?;
    if status != 200 {
        return Err(told(&body));
    }
    let mut answer: Value =
        serde_json::from_str(&body).map_err(|error| (format!("query error: bad answer: {error}"), 1))?;
    let notes = ["warnings", "infos"].map(|kind| answer[kind].as_array().cloned().unwrap_or_default());
    for note in notes.iter().flatten().filter_map(Value::as_str) {
        eprintln!("{note}");
    }
    Ok(answer["data"].take())
}

/// A failed request, as promtool words it.
fn told(body: &str) -> Failure {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    match (answer["errorType"].as_str(), answer["error"].as_str()) {
        (Some(kind), Some(text)) => (format!("query error: {kind}: {text}"), 1),
        _ => (format!("query error: {}", body.trim()), 1),
    }
}

fn ask(server: &str, endpoint: &str, form: &[(String, String)]) -> Result<(u16, String), Failure> {
    let url = match server {
        server if server.starts_with("http://") => server.to_owned(),
        server if server.contains("://") => {
            return Err((format!("{server}: only http:// is supported"), 1));
        }
        server => format!("http://{server}"),
    };
    let url = format!("{}/api/v1/{endpoint}", url.trim_end_matches('/'));
    let fail = |error: ureq::Error| (format!("query error: {url}: {error}"), 1);
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_TIMEOUT))
        .build()
        .new_agent();
    let pairs = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Label values are read with GET only.
    let mut response = match endpoint.starts_with("label/") {
        true => agent.get(&url).query_pairs(pairs).call().map_err(fail)?,
        false => agent.post(&url).send_form(pairs).map_err(fail)?,
    };
    let body = response.body_mut().with_config().limit(ANSWER_LIMIT_BYTES).read_to_string().map_err(fail)?;
    Ok((response.status().as_u16(), body))
}

/// A result as promtool prints it.
fn shown(data: &Value) -> String {
    let point = |point: &Value| {
        let value = point[1].as_str().map_or_else(|| point[1].to_string(), str::to_owned);
        format!("{value} @[{}]", point[0])
    };
    let entries = data["result"].as_array().map_or(&[][..], Vec::as_slice);
    match data["resultType"].as_str() {
        Some("scalar") => format!("scalar: {}\n", point(&data["result"])),
        Some("string") => format!("{}\n", data["result"][1].as_str().unwrap_or_default()),
        Some("vector") => entries
            .iter()
            .map(|e| {
                let value = if e["value"].is_null() { &e["histogram"] } else { &e["value"] };
                format!("{} => {}\n", metric(&e["metric"]), point(value))
            })
            .collect(),
        _ => entries
            .iter()
            .map(|e| {
                let points =
                    [&e["values"], &e["histograms"]].map(|p| p.as_array().cloned().unwrap_or_default());
                let points: Vec<String> = points.iter().flatten().map(point).collect();
                format!("{} =>\n{}\n", metric(&e["metric"]), points.join("\n"))
            })
            .collect(),
    }
}

/// `name{label="value", …}`
fn metric(labels: &Value) -> String {
    let name = labels["__name__"].as_str().unwrap_or_default();
    let rest = pairs(labels, |label| label != "__name__");
    match (name.is_empty(), rest.is_empty()) {
        (false, true) => name.to_owned(),
        _ => format!("{name}{{{rest}}}"),
    }
}

fn braced(labels: &Value) -> String {
    format!("{{{}}}", pairs(labels, |_| true))
}

fn pairs(labels: &Value, keep: impl Fn(&str) -> bool) -> String {
    let all = labels.as_object().into_iter().flatten().filter(|(label, _)| keep(label));
    let texts: Vec<String> = all.map(|(label, value)| format!("{label}={value}")).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(words: &[&str], expect: Result<&str, u8>) {
        let arguments: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let got = run(&arguments).expect("a subcommand");
        assert_eq!(got.as_deref().map_err(|(_, code)| *code), expect, "{got:?}");
    }

    #[test]
    fn expressions_are_formatted_and_refused() {
        check(&["promql", "format", "sum( rate(x[5m]) )by(a)"], Ok("sum by (a) (rate(x[5m]))\n"));
        check(&["promql", "format", "sum("], Err(1));
        check(&["promql", "format"], Err(2));
        check(&["promql", "rename", "x"], Err(2));
        check(&["query", "series", "localhost:1"], Err(2));
        check(&["query", "instant", "localhost:1", "up", "extra"], Err(2));
        check(&["query", "instant", "localhost:1", "up", "--nope=1"], Err(2));
        check(&["query", "instant", "localhost:1", "up", "--step=1"], Err(2));
        check(&["promql", "format", "up", "--time=1"], Err(2));
        check(&["query", "labels", "localhost:1", "job", "--format=xml"], Err(2));
        check(&["query", "instant", "https://localhost:1", "up"], Err(1));
        assert!(run(&["--config.file=x".to_owned()]).is_none() && run(&[]).is_none());
    }

    #[test]
    fn results_look_like_those_of_promtool() {
        let up = json!({"__name__": "up", "job": "a\"b"});
        let vector = json!({"resultType": "vector", "result": [{"metric": up, "value": [1.5, "1"]}]});
        assert_eq!(shown(&vector), "up{job=\"a\\\"b\"} => 1 @[1.5]\n");
        let matrix = json!({"resultType": "matrix", "result": [
            {"metric": {"__name__": "up"}, "values": [[1, "1"], [2, "0"]]},
            {"metric": {}, "values": [[1, "NaN"]]},
        ]});
        assert_eq!(shown(&matrix), "up =>\n1 @[1]\n0 @[2]\n{} =>\nNaN @[1]\n");
        assert_eq!(shown(&json!({"resultType": "scalar", "result": [5, "2"]})), "scalar: 2 @[5]\n");
        assert_eq!(braced(&up), "{__name__=\"up\", job=\"a\\\"b\"}");
    }
}

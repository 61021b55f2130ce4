//! From a discovered label set to a target: defaults, relabelling, checks, URL, identity.
//!
//! 1. The target's labels, then its group's, then the job's defaults fill one set: what was discovered.
//! 2. Relabelling changes it or drops the target.
//! 3. The special labels of the result say where and how often to scrape; what starts with `__` is then
//!    left out of the labels that samples get.

use crate::config::{BEATS_PER_INTERVAL, MAX_BEAT_MS, PromDuration, ScrapeConfig, check_address};
use crate::discovery::TargetGroup;
use hearth_model::relabel::{self, Rule};
use hearth_model::{Labels, LabelsBuilder};
use hearth_wire::exposition::Histograms;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One thing to scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Of the labels and the URL: two targets with the same are one.
    pub identity: u64,
    pub discovered: Labels,
    /// What every sample gets.
    pub labels: Labels,
    pub url: String,
    /// Where to connect to, in the place of the URL's host.
    pub unix_socket: Option<String>,
    pub histograms: HistogramChoice,
    pub interval: PromDuration,
    pub timeout: PromDuration,
}

/// What a target's own labels say about its histograms otherwise than its job; none where they agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistogramChoice {
    native: Option<bool>,
    always_classic: Option<bool>,
    convert: Option<bool>,
}

impl HistogramChoice {
    fn of(labels: &LabelsBuilder, config: &ScrapeConfig) -> Result<HistogramChoice, String> {
        let [native, always_classic, convert] = of_job(config).map(|(name, job)| {
            let chosen = match labels.get(name) {
                "" => return Ok(None),
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                other => return Err(format!("error parsing {name}: {other:?} is neither true nor false")),
            };
            Ok(Some(chosen).filter(|chosen| *chosen != job))
        });
        Ok(HistogramChoice { native: native?, always_classic: always_classic?, convert: convert? })
    }

    /// Whether native histograms are taken, where the job says otherwise.
    pub fn own_native(self) -> Option<bool> {
        self.native
    }

    /// Whether native histograms are taken.
    pub fn native(self, config: &ScrapeConfig) -> bool {
        self.native.or(config.scrape_native_histograms) == Some(true)
    }

    /// Whether classic histograms are taken beside their native form.
    pub fn always_classic(self, config: &ScrapeConfig) -> bool {
        self.always_classic.or(config.always_scrape_classic_histograms) == Some(true)
    }

    /// In which forms histograms of protobuf are taken.
    pub fn forms(self, config: &ScrapeConfig) -> Histograms {
        Histograms { native: self.native(config), always_classic: self.always_classic(config) }
    }

    /// Whether classic histograms become native ones with their buckets.
    pub fn converts(self, config: &ScrapeConfig) -> bool {
        self.convert.or(config.convert_classic_histograms_to_nhcb) == Some(true)
    }
}

/// What became of a discovered label set.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Active(Target),
    Dropped { discovered: Labels },
}

const RESERVED: &str = "__";
const META: &str = "__meta_";
const PARAM: &str = "__param_";
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const UNIX_SOCKET: &str = "__unix_socket__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const NATIVE: &str = "__scrape_native_histograms__";
const ALWAYS_CLASSIC: &str = "__always_scrape_classic_histograms__";
const CONVERT: &str = "__convert_classic_histograms_to_nhcb__";

/// What the job says, by the labels that say it of a target.
fn of_job(config: &ScrapeConfig) -> [(&'static str, bool); 3] {
    [
        (NATIVE, config.scrape_native_histograms),
        (ALWAYS_CLASSIC, config.always_scrape_classic_histograms),
        (CONVERT, config.convert_classic_histograms_to_nhcb),
    ]
    .map(|(name, said)| (name, said == Some(true)))
}

/// Step 1.
fn discovered(config: &ScrapeConfig, target: &Labels, group: &TargetGroup) -> LabelsBuilder {
    let mut labels = LabelsBuilder::from(target);
    let mut default = |name: &str, value: &str| {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    };
    group.labels.iter().for_each(|(name, value)| default(name, value));
    default("job", &config.job_name);
    default(INTERVAL, &config.scrape_interval.to_string());
    default(TIMEOUT, &config.scrape_timeout.to_string());
    default(PATH, &config.metrics_path);
    default(SCHEME, &config.scheme);
    of_job(config).into_iter().for_each(|(name, said)| default(name, if said { "true" } else { "false" }));
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM}{name}"), first);
        }
    }
    labels
}

fn duration(labels: &LabelsBuilder, name: &str, what: &str) -> Result<PromDuration, String> {
    let value: PromDuration =
        labels.get(name).parse().map_err(|e| format!("error parsing scrape {what}: {e}"))?;
    if value.is_zero() { Err(format!("scrape {what} cannot be 0")) } else { Ok(value) }
}

/// What was discovered, and what relabelling and the defaults made of it; none where it was dropped.
pub fn relabelled(
    config: &ScrapeConfig,
    rules: &[Rule],
    target: &Labels,
    group: &TargetGroup,
) -> (Labels, Result<Option<LabelsBuilder>, String>) {
    let mut labels = discovered(config, target, group);
    let discovered = labels.build();
    if !relabel::apply(rules, &mut labels) {
        return (discovered, Ok(None));
    }
    let checked = check(&labels).map(|()| {
        labels.retain(|name| !name.starts_with(META));
        if labels.get("instance").is_empty() {
            let address = labels.get(ADDRESS).to_owned();
            labels.set("instance", &address);
        }
        Some(labels)
    });
    (discovered, checked)
}

fn check(labels: &LabelsBuilder) -> Result<(), String> {
    let address = labels.get(ADDRESS);
    if address.is_empty() {
        return Err("no address".into());
    }
    check_address(address)?;
    let (interval, timeout) =
        (duration(labels, INTERVAL, "interval")?, duration(labels, TIMEOUT, "timeout")?);
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval (\"{timeout}\" > \"{interval}\")"
        ));
    }
    Ok(())
}

/// All steps for one member of a group.
pub fn find(
    config: &ScrapeConfig,
    rules: &[Rule],
    target: &Labels,
    group: &TargetGroup,
) -> Result<Found, String> {
    let (discovered, relabelled) = relabelled(config, rules, target, group);
    let Some(mut labels) = relabelled? else { return Ok(Found::Dropped { discovered }) };
    let interval = duration(&labels, INTERVAL, "interval")?;
    let timeout = duration(&labels, TIMEOUT, "timeout")?;
    let url = url(config, &labels, labels.get(ADDRESS));
    let unix_socket = Some(labels.get(UNIX_SOCKET).to_owned()).filter(|path| !path.is_empty());
    let histograms = HistogramChoice::of(&labels, config)?;
    labels.retain(|name| !name.starts_with(RESERVED));
    let labels = labels.build();
    let mut identity = identity(&labels, &url);
    if let Some(path) = &unix_socket {
        identity = xxh3_64_with_seed(path.as_bytes(), identity);
    }
    if histograms != HistogramChoice::default() {
        identity = xxh3_64_with_seed(format!("{histograms:?}").as_bytes(), identity);
    }
    let target = Target { identity, discovered, labels, url, unix_socket, histograms, interval, timeout };
    Ok(Found::Active(target))
}

fn identity(labels: &Labels, url: &str) -> u64 {
    let hash = labels.iter().fold(0, |hash, (name, value)| {
        xxh3_64_with_seed(value.as_bytes(), xxh3_64_with_seed(name.as_bytes(), hash))
    });
    xxh3_64_with_seed(url.as_bytes(), hash)
}

fn url(config: &ScrapeConfig, labels: &LabelsBuilder, address: &str) -> String {
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &config.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for (name, value) in labels.iter() {
        if let Some(name) = name.strip_prefix(PARAM) {
            match params.entry(name).or_default().as_mut_slice() {
                [first, ..] => *first = value,
                [] => drop(params.insert(name, vec![value])),
            }
        }
    }
    let path = labels.get(PATH);
    let mut url = format!("{}://{address}", labels.get(SCHEME));
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    escape(&mut url, path, b"-_.~$&+,/:;=@%");
    let mut separator = '?';
    for (name, value) in params.iter().flat_map(|(name, values)| values.iter().map(move |v| (name, v))) {
        url.push(separator);
        separator = '&';
        escape_query(&mut url, name);
        url.push('=');
        escape_query(&mut url, value);
    }
    url
}

fn escape(out: &mut String, text: &str, keep: &[u8]) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || (keep.contains(&byte) && byte != b'%') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn escape_query(out: &mut String, text: &str) {
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push('+');
        }
        escape(out, part, b"-_.~");
    }
}

impl Target {
    /// Milliseconds from `now_ms` to the target's next turn. Turns lie at a fixed place within the
    /// interval, given by the identity and the seed alone, so that neither a restart nor a reload shifts
    /// them, and targets spread evenly over the beats of their interval.
    pub fn offset_ms(&self, now_ms: i64, seed: u64) -> u64 {
        let interval = self.interval.ms;
        let beat_ms = (interval / BEATS_PER_INTERVAL).clamp(1, MAX_BEAT_MS);
        let place = ((self.identity ^ seed) % interval as u64) as i64 / beat_ms * beat_ms;
        (place - now_ms).rem_euclid(interval) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GlobalConfig, RelabelConfig, resolve};

    fn config(yaml: &str) -> ScrapeConfig {
        let mut configs = vec![serde_yaml::from_str(yaml).expect(yaml)];
        resolve(&mut GlobalConfig::default(), &mut configs, std::path::Path::new("/")).expect(yaml);
        configs.remove(0)
    }

    /// A job's YAML and a target's labels in; URL and labels, or the error, out.
    #[track_caller]
    fn check(yaml: &str, target: &[(&str, &str)], expect: &str) {
        let config = config(&format!("job_name: j\n{yaml}"));
        let rules: Vec<Rule> =
            config.relabel_configs.iter().map(RelabelConfig::rule).collect::<Result<_, _>>().expect("rules");
        let group = TargetGroup {
            source: "0".into(),
            targets: Vec::new(),
            labels: Labels::from_pairs([("group", "g"), ("__meta_x", "m")]),
        };
        let got = match find(&config, &rules, &Labels::from_pairs(target.iter().copied()), &group) {
            Ok(Found::Active(t)) => format!("{} {} {}/{}", t.url, t.labels, t.interval, t.timeout),
            Ok(Found::Dropped { .. }) => "dropped".into(),
            Err(error) => error,
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn labels_become_a_target() {
        let a = &[("__address__", "h:1")];
        check("", a, r#"http://h:1/metrics {group="g", instance="h:1", job="j"} 1m/10s"#);
        check(
            "scheme: https\nmetrics_path: a b\nparams: {m: [x y, z], n: []}",
            &[("__address__", "h:1"), ("__param_m", "w&"), ("__param_q", "1"), ("instance", "i")],
            r#"https://h:1/a%20b?m=w%26&m=z&q=1 {group="g", instance="i", job="j"} 1m/10s"#,
        );
        check("", &[], "no address");
        check("", &[("__address__", "h/x")], "\"h/x\" is not a valid hostname");
        let with = |name, value| [("__address__", "h:1"), (name, value)];
        check(
            "",
            &with("__scrape_native_histograms__", "yes"),
            "error parsing __scrape_native_histograms__: \"yes\" is neither true nor false",
        );
        check(
            "",
            &with("__scrape_interval__", "x"),
            "error parsing scrape interval: not a valid duration string: \"x\"",
        );
        check("", &with("__scrape_timeout__", "0s"), "scrape timeout cannot be 0");
        check(
            "",
            &with("__scrape_timeout__", "2m"),
            "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")",
        );
    }

    #[test]
    fn what_the_job_says_of_histograms_is_shown_and_what_the_target_says_otherwise_counts() {
        let config = config("job_name: j\nscrape_native_histograms: true");
        let of = |labels: &[(&str, &str)]| {
            let labels = [("__address__", "h:1")].iter().chain(labels);
            let target = Labels::from_pairs(labels.copied());
            match find(&config, &[], &target, &TargetGroup::default()) {
                Ok(Found::Active(target)) => target,
                other => panic!("{other:?}"),
            }
        };
        let silent = of(&[]);
        let shown = [NATIVE, ALWAYS_CLASSIC, CONVERT].map(|name| silent.discovered.value(name).to_owned());
        assert_eq!(shown, ["true", "false", "false"]);
        assert_eq!(silent.histograms, HistogramChoice::default());
        let same = of(&[(NATIVE, "1"), (CONVERT, "F")]);
        assert_eq!((same.histograms, same.identity), (silent.histograms, silent.identity));
        let other = of(&[(NATIVE, "false"), (ALWAYS_CLASSIC, "true")]);
        assert!(!other.histograms.native(&config) && other.histograms.always_classic(&config));
        assert!(!other.histograms.converts(&config) && other.identity != silent.identity);
    }

    #[test]
    fn relabelling_moves_and_drops_targets() {
        let a = &[("__address__", "h:1")];
        check("relabel_configs: [{action: drop, source_labels: [__meta_x], regex: m}]", a, "dropped");
        check(
            "relabel_configs: [{target_label: __scrape_interval__, replacement: 15s},
              {source_labels: [__meta_x], target_label: kept}]",
            a,
            r#"http://h:1/metrics {group="g", instance="h:1", job="j", kept="m"} 15s/10s"#,
        );
    }

    #[test]
    fn offsets_are_fixed_places_within_the_interval() {
        let target = Target {
            unix_socket: None,
            histograms: HistogramChoice::default(),
            identity: 7_777,
            discovered: Labels::empty(),
            labels: Labels::empty(),
            url: String::new(),
            interval: PromDuration::from_secs(1),
            timeout: PromDuration::from_secs(1),
        };
        let at = |now_ms: i64| (now_ms + target.offset_ms(now_ms, 5) as i64).rem_euclid(1_000);
        assert!(
            [0, 1, 999, 123_456_789, -5]
                .iter()
                .all(|now| at(*now) == at(0) && target.offset_ms(*now, 5) < 1_000)
        );
        assert_ne!(target.offset_ms(0, 5), target.offset_ms(0, 500));
        assert_eq!(at(0) % 20, 0, "on a beat");
    }
}

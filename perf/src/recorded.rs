//! Data as it was: pages that a real exporter served, recorded at real intervals, played by many hosts for longer than
//! they were recorded.
//!
//! 1. A series that is not on every page is left out: what a recording is played for again has to join.
//! 2. Each host begins at another page. Behind the last page comes the first: a gauge goes on with the value there, a
//!    counter (and the clock) from where it was, by what it grew by from page to page; over the joint by what it grew
//!    by before it.
//! 3. What an exporter made of an integer (milliseconds times 0.001) is made so again, with the same digits.

use crate::prepared::Source;
use crate::process::{Kind, Launch};
use crate::request::label_bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Floats have no more digits than that which mean anything.
const MOST_DECIMALS: i32 = 17;

/// Floats below it hold every integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// How an exporter makes a float of an integer: each way rounds in its own manner.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    /// By ten to this power.
    Divided(i32),
    /// By the float nearest to a power of ten.
    Multiplied(f64),
    /// Divided by a thousand, and again.
    Twice,
}

impl Made {
    /// The way in which all these values were made, with the fewest digits.
    fn of(values: &[f64]) -> Option<Made> {
        let comes_back = |made: &Made, value: f64| {
            let integer = made.integer(value);
            integer.abs() < EXACT_MAX && made.value(integer) == value
        };
        let fits = |made: &Made| values.iter().all(|value| comes_back(made, *value));
        let powers = || 0..=MOST_DECIMALS;
        let factors = powers().filter_map(|power| format!("1e-{power}").parse().ok());
        let mut ways = powers().map(Made::Divided).chain([Made::Twice]).chain(factors.map(Made::Multiplied));
        ways.find(fits)
    }

    fn value(self, integer: f64) -> f64 {
        match self {
            Made::Divided(power) => integer / 10f64.powi(power),
            Made::Multiplied(factor) => integer * factor,
            Made::Twice => integer / 1000.0 / 1000.0,
        }
    }

    fn integer(self, value: f64) -> f64 {
        match self {
            Made::Divided(power) => (value * 10f64.powi(power)).round(),
            Made::Multiplied(factor) => (value / factor).round(),
            Made::Twice => (value * 1e6).round(),
        }
    }
}

/// What grows, in the integers that its values were made of.
#[derive(Debug)]
struct Growth {
    made: Made,
    /// On each page.
    integers: Vec<f64>,
    /// From a page to the next; the last one over the joint.
    steps: Vec<f64>,
}

/// One series of the recording.
#[derive(Debug)]
struct Series {
    labels: Vec<(String, String)>,
    values: Vec<f64>,
    /// None for what goes on with the values themselves.
    growth: Option<Growth>,
}

/// A recording.
#[derive(Debug)]
pub struct Recording {
    series: Vec<Series>,
    pub pages: usize,
}

/// Runs the exporter and keeps a page each interval, in files of a folder.
pub fn record(binary: &Path, folder: &Path, pages: usize, interval: Duration) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(fail)?;
    let home = tempfile::tempdir().map_err(fail)?;
    let launch = Launch::new(Kind::NodeExporter, binary.to_path_buf(), home.path()).flag("--log.level=error");
    let (exporter, began) = (launch.start()?, Instant::now());
    for page in 0..pages {
        std::thread::sleep((interval * page as u32).saturating_sub(began.elapsed()));
        let answer = exporter.client.get("/metrics", &[])?;
        std::fs::write(folder.join(format!("{page:06}.prom")), answer.body).map_err(fail)?;
    }
    // It keeps nothing, and takes no notice of being asked to end.
    exporter.kill()
}

impl Recording {
    /// Reads the pages of a folder (`*.prom`), in the order of their names.
    pub fn read(folder: &Path) -> Result<Recording, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
        let entries = std::fs::read_dir(folder).map_err(fail)?.flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "prom")).collect();
        paths.sort();
        let pages: Result<Vec<String>, _> = paths.iter().map(std::fs::read_to_string).collect();
        Recording::parse(&pages.map_err(fail)?)
    }

    pub fn parse(pages: &[String]) -> Result<Recording, String> {
        let mut found = BTreeMap::<&str, Vec<&str>>::new();
        let mut counters = BTreeSet::from(["node_time_seconds"]);
        for (at, page) in pages.iter().enumerate() {
            for line in page.lines() {
                if let Some(kind) = line.strip_prefix("# TYPE ") {
                    let (name, kind) = kind.split_once(' ').unwrap_or_default();
                    if kind != "gauge" && kind != "untyped" {
                        counters.insert(name);
                    }
                } else if let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))
                {
                    let values = found.entry(series).or_default();
                    if values.len() == at {
                        values.push(value);
                    }
                }
            }
        }
        let whole = found.into_iter().filter(|(_, values)| values.len() == pages.len());
        let series: Result<Vec<Series>, String> =
            whole.map(|(text, values)| series(text, &values, &counters)).collect();
        match series? {
            series if series.is_empty() || pages.len() < 2 => {
                Err("there are not two pages with series".into())
            }
            series => Ok(Recording { series, pages: pages.len() }),
        }
    }
}

fn series(text: &str, values: &[&str], counters: &BTreeSet<&str>) -> Result<Series, String> {
    let labels = labels(text).ok_or_else(|| format!("{text}: is no series"))?;
    let numbers: Result<Vec<f64>, _> = values.iter().map(|value| value.parse::<f64>()).collect();
    let numbers = numbers.map_err(|error| format!("{text}: {error}"))?;
    let decimals = values.iter().map(|value| decimals(value)).max().unwrap_or(0);
    let name = labels[0].1.as_str();
    let parts = ["_bucket", "_count", "_sum"];
    let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
    // A summary's quantiles move as they like; so does what began anew.
    let grows = (counters.contains(name) || family != name && counters.contains(family))
        && labels.iter().all(|(name, _)| name != "quantile")
        && numbers.is_sorted();
    let growth = grows.then(|| {
        let made = Made::of(&numbers).unwrap_or(Made::Divided(decimals));
        let integers: Vec<f64> = numbers.iter().map(|value| made.integer(*value)).collect();
        let mut steps: Vec<f64> = integers.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.extend(steps.last().copied());
        Growth { made, integers, steps }
    });
    Ok(Series { labels, values: numbers, growth })
}

/// Digits behind the point once the exponent is worked in.
fn decimals(value: &str) -> i32 {
    let (digits, exponent) = value.split_once(['e', 'E']).unwrap_or((value, "0"));
    let behind = digits.split_once('.').map_or(0, |(_, rest)| rest.len()) as i32;
    (behind - exponent.parse::<i32>().unwrap_or(0)).clamp(0, MOST_DECIMALS)
}

/// `name{label="value",…}`; the name comes first.
fn labels(text: &str) -> Option<Vec<(String, String)>> {
    let (name, mut rest) = text.split_once('{').unwrap_or((text, "}"));
    let mut labels = vec![("__name__".to_owned(), name.to_owned())];
    while rest != "}" {
        let (name, quoted) = rest.split_once("=\"")?;
        let (mut value, mut characters) = (String::new(), quoted.char_indices());
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &quoted[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(labels)
}

/// Hosts that play a recording.
pub struct Player {
    recording: Recording,
    labels: Vec<Vec<u8>>,
    /// Of each host's series.
    values: Vec<f64>,
    /// What the values of those that grow are made of.
    integers: Vec<f64>,
    /// The page that each host is at.
    at: Vec<usize>,
}

impl Player {
    pub fn new(recording: Recording, hosts: usize) -> Player {
        let (mut labels, mut values, mut integers) = (Vec::new(), Vec::new(), Vec::new());
        let at: Vec<usize> = (0..hosts).map(|host| host * recording.pages / hosts).collect();
        for (host, page) in at.iter().enumerate() {
            let (instance, job) = (format!("10.0.{}.{}:9100", host / 250, host % 250), "node".to_owned());
            for one in &recording.series {
                let mut all = one.labels.clone();
                all.extend([("instance".to_owned(), instance.clone()), ("job".to_owned(), job.clone())]);
                all.sort();
                labels.push(label_bytes(all.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
                values.push(one.values[*page]);
                integers.push(one.growth.as_ref().map_or(0.0, |growth| growth.integers[*page]));
            }
        }
        Player { recording, labels, values, integers, at }
    }
}

impl Source for Player {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self, number: usize) -> &[u8] {
        &self.labels[number]
    }

    fn value(&self, number: usize) -> f64 {
        self.values[number]
    }

    fn advance(&mut self) {
        let of_host = self.recording.series.len();
        let hosts = self.values.chunks_mut(of_host).zip(self.integers.chunks_mut(of_host));
        for (at, (values, integers)) in self.at.iter_mut().zip(hosts) {
            let before = *at;
            *at = (before + 1) % self.recording.pages;
            for ((series, value), integer) in self.recording.series.iter().zip(values).zip(integers) {
                *value = match &series.growth {
                    Some(growth) => {
                        *integer += growth.steps[before];
                        growth.made.value(*integer)
                    }
                    None => series.values[*at],
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_behind_the_point_are_counted_in_any_form() {
        for (value, expect) in [
            ("1", 0),
            ("-1.25", 2),
            ("1.7958416771234e+09", 4),
            ("2.5e+06", 0),
            ("2.5e-07", 8),
            ("NaN", 0),
            ("+Inf", 0),
        ] {
            assert_eq!(decimals(value), expect, "{value}");
        }
    }

    #[test]
    fn what_an_exporter_made_of_integers_is_made_so_again() {
        let made = |values: [f64; 3]| Made::of(&values);
        assert_eq!(made([1.0, 2.0, 30.0]), Some(Made::Divided(0)));
        assert_eq!(made([1.25, 2.0, 0.5]), Some(Made::Divided(2)));
        assert_eq!(made([2799.1150000000002, 5739.6320000000005, 1.5]), Some(Made::Multiplied(0.001)));
        assert_eq!(made([380.51555699999994, 383.40439899999996, 2.0]), Some(Made::Twice));
        assert_eq!(made([std::f64::consts::PI, 0.1 + 0.2, 1e300 / 3.0]), None);
    }

    #[test]
    fn counters_go_on_where_the_recording_ends() {
        let page = |count: &str, gauge: &str, sum: &str| {
            format!(
                "# HELP a b\n# TYPE a counter\na{{x=\"1\\\"\",y=\"2\"}} {count}\n# TYPE g gauge\ng {gauge}\n\
                 # TYPE s summary\ns{{quantile=\"0.5\"}} 1\ns_sum {sum}\n"
            )
        };
        let mut pages = [page("1.5", "7", "1"), page("1.75", "3", "1"), page("2", "9", "4")];
        pages[1] += "only_here 1\n";
        let recording = Recording::parse(&pages).expect("parses");
        assert_eq!((recording.series.len(), recording.pages), (4, 3));
        assert_eq!(recording.series[0].labels[1], ("x".to_owned(), "1\"".to_owned()));
        let mut player = Player::new(recording, 3);
        assert_eq!(player.len(), 12);
        let mut lines = Vec::new();
        for _ in 0..4 {
            lines.push(format!("{:?}", &player.values[..4]));
            player.advance();
        }
        let expect = [
            "[1.5, 7.0, 1.0, 1.0]",
            "[1.75, 3.0, 1.0, 1.0]",
            "[2.0, 9.0, 4.0, 1.0]",
            "[2.25, 7.0, 7.0, 1.0]",
        ];
        let order = |line: &str| {
            let mut numbers: Vec<&str> = line.trim_matches(['[', ']']).split(", ").collect();
            numbers.sort_unstable();
            numbers.join(" ")
        };
        let all = |lines: Vec<&str>| lines.into_iter().map(order).collect::<Vec<_>>();
        assert_eq!(all(lines.iter().map(String::as_str).collect()), all(expect.to_vec()));
        assert!(Recording::parse(&pages[..1]).is_err());
    }
}

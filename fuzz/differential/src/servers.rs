//! The two servers: started or found, fed with the same bytes, asked the same questions.

use crate::answer;
use crate::arguments::Arguments;
use crate::data::{Dataset, END_MS, START_MS};
use hearth_perf::http::{Answer, Client, seconds};
use hearth_perf::process::{Kind, Launch, Server};
use hearth_promql::functions::FUNCTIONS;
use hearth_wire::remote_write::Encoder;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// The data lies years back, which only a retention by the newest sample would forgive.
const RETENTION: &str = "--storage.tsdb.retention.time=100y";

/// A query with the times it is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    pub query: String,
    pub start_ms: i64,
    /// End and step of a range query; without them, an instant query at the start.
    pub range: Option<(i64, i64)>,
}

/// What came of a question.
#[derive(Debug)]
pub struct Verdict {
    /// What Prometheus answered, in a word.
    pub outcome: &'static str,
    /// What differs; empty where nothing does.
    pub findings: Vec<String>,
}

/// Both servers; those that it started end with it.
pub struct Servers {
    hearth: Client,
    prometheus: RefCell<Client>,
    started: Option<Started>,
}

struct Started {
    _hearth: Server,
    /// Away only while it is started anew.
    prometheus: RefCell<Option<Server>>,
    _folder: tempfile::TempDir,
}

impl Question {
    /// At a random time within the data or a little outside, on and off the samples' grid.
    pub fn random(random: &mut fastrand::Rng, query: String) -> Question {
        let mut start_ms = random.i64(START_MS - 120_000..END_MS + 400_000);
        if random.bool() {
            start_ms -= start_ms % 15_000;
        }
        let range = random.bool().then(|| {
            let step_ms = [1_000, 7_000, 15_000, 30_000, 60_000, 300_000][random.usize(0..6)];
            let rest_ms = (END_MS + 400_000 - start_ms).max(0);
            (start_ms + random.i64(0..=rest_ms.min(step_ms * 60)), step_ms)
        });
        Question { query, start_ms, range }
    }

    fn ask(&self, client: &Client) -> Result<Answer, String> {
        let start = seconds(self.start_ms);
        match self.range {
            None => client.post_form("/api/v1/query", &[("query", &self.query), ("time", &start)]),
            Some((end_ms, step_ms)) => client.post_form(
                "/api/v1/query_range",
                &[
                    ("query", self.query.as_str()),
                    ("start", &start),
                    ("end", &seconds(end_ms)),
                    ("step", &seconds(step_ms)),
                ],
            ),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @ {}", self.query, seconds(self.start_ms))?;
        match self.range {
            None => Ok(()),
            Some((end_ms, step_ms)) => write!(f, "..{} step {}", seconds(end_ms), seconds(step_ms)),
        }
    }
}

impl Servers {
    pub fn open(arguments: &Arguments) -> Result<Servers, String> {
        if let Some((hearth, prometheus)) = &arguments.urls {
            let (hearth, prometheus) = (Client::new(hearth.as_str()), Client::new(prometheus.as_str()));
            return Ok(Servers { hearth, prometheus: RefCell::new(prometheus), started: None });
        }
        let variable = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("neither --hearth nor ${name}"))
        };
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let start = |kind, name: &str, binary: &Path| {
            Launch::new(kind, binary.to_path_buf(), &folder.path().join(name))
                .flag("--web.enable-remote-write-receiver")
                .flag("--enable-feature=promql-experimental-functions,native-histograms,promql-duration-expr")
                .flag(RETENTION)
                .start()
        };
        let hearth = start(Kind::Hearth, "hearth", &variable("HEARTH_BIN")?)?;
        let binary = variable("HEARTH_PEERS")?.join("bin").join("prometheus");
        let prometheus = start(Kind::Prometheus, "prometheus", &binary)?;
        let (ours, theirs) = (hearth.client.clone(), prometheus.client.clone());
        let prometheus = RefCell::new(Some(prometheus));
        let started = Some(Started { _hearth: hearth, prometheus, _folder: folder });
        Ok(Servers { hearth: ours, prometheus: RefCell::new(theirs), started })
    }

    /// A Prometheus that has not been asked anything, over the same data: 3.5 keeps the memory of native
    /// histograms from query to query, and now and then mixes them up. Says whether there is one.
    pub fn start_anew(&self) -> Result<bool, String> {
        let Some(started) = &self.started else { return Ok(false) };
        let Some(old) = started.prometheus.borrow_mut().take() else { return Ok(false) };
        let launch = old.launch().clone();
        old.stop()?;
        let new = launch.start()?;
        self.prometheus.replace(new.client.clone());
        started.prometheus.replace(Some(new));
        Ok(true)
    }

    /// Sends the data to both.
    pub fn load(&self, dataset: &Dataset) -> Result<(), String> {
        let (mut encoder, mut body) = (Encoder::default(), Vec::new());
        for batch in &dataset.batches {
            encoder.encode(batch, &[], &mut body);
            for client in [&self.hearth, &*self.prometheus.borrow()] {
                let answer = client.remote_write(&body)?;
                if answer.status / 100 != 2 {
                    return Err(format!("{}: status {}: {}", client.base(), answer.status, answer.body));
                }
            }
        }
        Ok(())
    }

    pub fn compare(&self, question: &Question) -> Result<Verdict, String> {
        let ask =
            |name, client| question.ask(client).map_err(|error| format!("{name} asked {question}: {error}"));
        let ours = ask("Hearth", &self.hearth)?;
        let theirs = ask("Prometheus", &*self.prometheus.borrow())?;
        answer::compare(&question.query, &ours, &theirs)
    }

    /// The functions of our table that this Prometheus is too old for.
    pub fn unknown_functions(&self) -> Result<BTreeSet<&'static str>, String> {
        let mut unknown = BTreeSet::new();
        for function in &FUNCTIONS {
            let query = format!("{}()", function.name);
            let question = Question { query, start_ms: START_MS, range: None };
            let answer = question.ask(&self.prometheus.borrow())?;
            if answer.status != 200 && answer.body.contains("unknown function") {
                unknown.insert(function.name);
            }
        }
        Ok(unknown)
    }
}

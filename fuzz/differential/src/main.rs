//! The differential test: the same data into Hearth and into the real Prometheus, random well-typed
//! queries to both, every difference printed with the smallest query that still shows it.
//!
//!     differential [--seed N] [--queries N] [--native] [--broken] [--hearth URL --prometheus URL]
//!
//! `--native` puts native histograms into the data and the queries, `--broken` something wrong into each
//! query, so that the words of errors are compared. Without URLs it starts both itself: the binaries are
//! $HEARTH_BIN and $HEARTH_PEERS/bin/prometheus. A failure is repeated by its seed: the data and the n-th
//! query depend on nothing else. Exit status 1 means differences, 2 that the test itself could not run.
//!
//! It never judges who is right: Prometheus is, by definition.
#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod damage;
mod data;
mod generate;
mod minimise;
mod servers;
mod versions;

use arguments::Arguments;
use generate::Generator;
use servers::{Question, Servers};
use std::collections::BTreeMap;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns how many queries differed.
fn run() -> Result<usize, String> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    println!("differential: --seed {} --queries {}", arguments.seed, arguments.queries);
    let servers = Servers::open(&arguments)?;
    let dataset = data::dataset(arguments.seed, arguments.native);
    servers.load(&dataset)?;
    if let Some(query) = &arguments.query {
        return ask_one(&servers, query, arguments.seed);
    }
    let unknown = servers.unknown_functions()?;
    println!("differential: Prometheus does not know {unknown:?}; left out");
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let (mut differing, mut forgotten) = (0, 0);
    let mut outcomes: BTreeMap<&'static str, usize> = BTreeMap::new();
    for number in 0..arguments.queries {
        let mut query = Generator::new(&mut random, &unknown, arguments.native).query();
        if arguments.broken {
            query = damage::damaged(&mut random, &query);
        }
        let question = Question::random(&mut random, query);
        let verdict = servers.compare(&question)?;
        *outcomes.entry(verdict.outcome).or_default() += 1;
        if verdict.findings.is_empty() {
            continue;
        }
        if arguments.native && servers.start_anew()? && servers.compare(&question)?.findings.is_empty() {
            forgotten += 1;
            continue;
        }
        differing += 1;
        let (smallest, findings) = minimise::smallest(&servers, &question, verdict.findings)?;
        println!("--- query {number}: {question}\n    smallest: {smallest}");
        findings.iter().for_each(|finding| println!("    {finding}"));
    }
    println!(
        "differential: {differing} of {} queries differ; Prometheus answered {outcomes:?}",
        arguments.queries
    );
    if forgotten > 0 {
        println!("differential: {forgotten} more differed until Prometheus was started anew");
    }
    Ok(differing)
}

/// `--query`: the answers to one text at several times, without reducing it.
fn ask_one(servers: &Servers, query: &str, seed: u64) -> Result<usize, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut differing = 0;
    for _ in 0..10 {
        let question = Question::random(&mut random, query.to_string());
        let findings = servers.compare(&question)?.findings;
        if !findings.is_empty() {
            differing += 1;
            println!("--- {question}");
            findings.iter().for_each(|finding| println!("    {finding}"));
        }
    }
    Ok(differing)
}

//! A whole load, encoded to a file before any server runs: every server gets the same bytes, the memory
//! needed does not grow with the load, and no encoding runs while a server is measured.

use crate::request::Encoder;
use crate::series::Fleet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What to prepare.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub series: usize,
    /// Samples a series.
    pub rounds: usize,
    pub interval_ms: i64,
    pub samples_per_request: usize,
    /// The time of the last round.
    pub end_ms: i64,
    pub seed: u64,
}

impl Plan {
    /// The time of the first round.
    pub fn start_ms(&self) -> i64 {
        self.end_ms - (self.rounds as i64 - 1) * self.interval_ms
    }

    pub fn samples(&self) -> usize {
        self.series * self.rounds
    }

    fn requests_per_round(&self) -> usize {
        self.series.div_ceil(self.samples_per_request)
    }
}

/// Where series and their values come from.
pub trait Source {
    /// Series.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The encoded labels of a series.
    fn labels(&self, number: usize) -> &[u8];
    fn value(&self, number: usize) -> f64;
    /// Moves every series on by one scrape.
    fn advance(&mut self);
}

/// Where a request stands in the file.
#[derive(Debug, Clone, Copy)]
struct Span {
    offset: u64,
    bytes: usize,
    samples: usize,
}

/// A load on disk.
#[derive(Debug)]
pub struct Prepared {
    pub plan: Plan,
    file: File,
    /// Round after round.
    requests: Vec<Span>,
}

impl Prepared {
    /// Encodes the load generator's mix into a new file at `path`.
    pub fn write(plan: Plan, path: &Path) -> Result<Prepared, String> {
        Prepared::of(plan, &mut Fleet::new(plan.series, plan.seed), path)
    }

    /// The same of another source, which moves on with every round.
    pub fn of(plan: Plan, fleet: &mut dyn Source, path: &Path) -> Result<Prepared, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path);
        let file = file.map_err(fail)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.try_clone().map_err(fail)?);
        let mut encoder = Encoder::default();
        let mut requests = Vec::with_capacity(plan.rounds * plan.requests_per_round());
        let mut offset = 0;
        for round in 0..plan.rounds {
            let time_ms = plan.start_ms() + round as i64 * plan.interval_ms;
            for first in (0..plan.series).step_by(plan.samples_per_request) {
                let last = (first + plan.samples_per_request).min(plan.series);
                for number in first..last {
                    encoder.push(fleet.labels(number), &[(time_ms, fleet.value(number))]);
                }
                let body = encoder.finish()?;
                out.write_all(body).map_err(fail)?;
                requests.push(Span { offset, bytes: body.len(), samples: last - first });
                offset += body.len() as u64;
            }
            fleet.advance();
        }
        out.flush().map_err(fail)?;
        Ok(Prepared { plan, file, requests })
    }

    /// All requests' bytes together.
    pub fn bytes(&self) -> u64 {
        self.requests.last().map_or(0, |last| last.offset + last.bytes as u64)
    }

    /// How many requests there are, in the order of their times.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// The numbers of the requests that connection `of` of `all` sends, in order: always the same part of
    /// the series, so that each series' samples arrive in the order of their times.
    pub fn of_connection(&self, of: usize, all: usize) -> impl Iterator<Item = usize> + use<> {
        let per_round = self.plan.requests_per_round();
        (0..self.requests.len()).filter(move |number| number % per_round % all == of)
    }

    /// Reads a request's body into `body`; returns its samples.
    pub fn read(&self, number: usize, body: &mut Vec<u8>) -> Result<usize, String> {
        let span = self.requests[number];
        body.resize(span.bytes, 0);
        self.file.read_exact_at(body, span.offset).map_err(|error| error.to_string())?;
        Ok(span.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_sample_once() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            series: 25,
            rounds: 4,
            interval_ms: 1000,
            samples_per_request: 10,
            end_ms: 10_000,
            seed: 1,
        };
        let prepared = Prepared::write(plan, &folder.path().join("load")).unwrap();
        assert_eq!(prepared.requests.len(), 12);
        let (mut body, mut samples, mut seen) = (Vec::new(), 0, Vec::new());
        for connection in 0..2 {
            for number in prepared.of_connection(connection, 2) {
                samples += prepared.read(number, &mut body).unwrap();
                assert!(snap::raw::Decoder::new().decompress_vec(&body).is_ok());
                seen.push(number);
            }
        }
        seen.sort();
        assert_eq!((samples, seen), (plan.samples(), (0..12).collect()));
    }
}

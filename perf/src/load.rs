//! Sends a prepared load over kept-alive connections and times every request. A request that the server
//! asks to have repeated (429, 5xx) is repeated, as every sender does; any other refusal ends the load.

use crate::http::Client;
use crate::prepared::Prepared;
use std::time::{Duration, Instant};

/// A request is repeated this often before the load gives up.
const MAX_TRIES: usize = 50;

/// Between two tries of a request.
const BACKOFF: Duration = Duration::from_millis(50);

/// What a load took, as its sender saw it.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub samples: usize,
    pub requests: usize,
    /// Repeated because the server asked for it.
    pub repeated: usize,
    pub wall_s: f64,
    /// Of each request's last try, ascending.
    latencies_us: Vec<u64>,
}

impl Sent {
    /// The latency that `share` of the requests stay under, in milliseconds.
    pub fn latency_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies_us.get(at).map_or(f64::NAN, |latency_us| *latency_us as f64 / 1000.0)
    }
}

/// Sends everything to the server at `base` over that many connections.
pub fn send(prepared: &Prepared, base: &str, connections: usize) -> Result<Sent, String> {
    let began = Instant::now();
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|connection| scope.spawn(move || send_part(prepared, base, connection, connections)))
            .collect();
        let joined =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a sender panicked".to_string()));
        joined.map(|part| part.and_then(|part| part)).collect::<Result<Vec<Sent>, String>>()
    })?;
    let mut all = Sent { wall_s: began.elapsed().as_secs_f64(), ..Sent::default() };
    for part in parts {
        all.samples += part.samples;
        all.requests += part.requests;
        all.repeated += part.repeated;
        all.latencies_us.extend(part.latencies_us);
    }
    all.latencies_us.sort_unstable();
    Ok(all)
}

fn send_part(prepared: &Prepared, base: &str, connection: usize, connections: usize) -> Result<Sent, String> {
    send_some(prepared, base, prepared.of_connection(connection, connections), None)
}

/// Sends these requests over one connection, one after the other; with `every` one begins each time that
/// has passed, or later where those before took longer.
pub fn send_some(
    prepared: &Prepared,
    base: &str,
    numbers: impl IntoIterator<Item = usize>,
    every: Option<Duration>,
) -> Result<Sent, String> {
    // A client of its own: connections are not shared between workers.
    let client = Client::new(base);
    let (mut sent, mut body, started) = (Sent::default(), Vec::new(), Instant::now());
    for number in numbers {
        if let Some(every) = every {
            std::thread::sleep((every * sent.requests as u32).saturating_sub(started.elapsed()));
        }
        sent.samples += prepared.read(number, &mut body)?;
        sent.requests += 1;
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let answer = client.remote_write(&body)?;
            tries += 1;
            match answer.status {
                200..300 => {
                    sent.latencies_us.push(began.elapsed().as_micros() as u64);
                    break;
                }
                429 | 500..600 if tries < MAX_TRIES => {
                    sent.repeated += 1;
                    std::thread::sleep(BACKOFF);
                }
                status => return Err(format!("request {number}: status {status}: {}", answer.body)),
            }
        }
    }
    sent.wall_s = started.elapsed().as_secs_f64();
    sent.latencies_us.sort_unstable();
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_the_sorted_latencies() {
        let sent = Sent { latencies_us: (0..=100).map(|n| n * 1000).collect(), ..Sent::default() };
        assert_eq!((sent.latency_ms(0.5), sent.latency_ms(0.99)), (50.0, 99.0));
        assert!(Sent::default().latency_ms(0.5).is_nan());
    }
}

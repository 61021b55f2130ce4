//! Realistic data, the same for every server from the same seed: instances with about eleven labels a
//! series, and values mixed as on a real fleet: 30 % constants, 40 % integer counters, 20 % gauges with
//! two decimals, 10 % floats of full precision. One of the counters is a histogram's buckets.

use crate::prepared::Source;
use crate::request::label_bytes;
use fastrand::Rng;

/// How a metric's values move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    Constant,
    Counter,
    /// A counter that the next larger bucket counts, too.
    Bucket,
    /// Two decimals.
    Gauge,
    /// All 53 bits of the mantissa.
    Precise,
}

/// One metric in ten of each row below gives the mix: 3 + 4 + 2 + 1 of ten.
const METRICS: &[(&str, Motion)] = &[
    ("node_network_info", Motion::Constant),
    ("node_filesystem_size_bytes", Motion::Constant),
    ("container_spec_memory_limit_bytes", Motion::Constant),
    ("http_requests_total", Motion::Counter),
    ("http_response_bytes_total", Motion::Counter),
    ("node_network_receive_packets_total", Motion::Counter),
    ("node_disk_reads_completed_total", Motion::Counter),
    ("node_cpu_temperature_celsius", Motion::Gauge),
    ("queue_fill_percent", Motion::Gauge),
    ("request_latency_mean_seconds", Motion::Precise),
    ("kube_pod_status_ready", Motion::Constant),
    ("kube_pod_container_resource_limits", Motion::Constant),
    ("process_max_fds", Motion::Constant),
    ("grpc_server_handling_seconds_bucket", Motion::Bucket),
    ("node_network_transmit_packets_total", Motion::Counter),
    ("container_cpu_cfs_periods_total", Motion::Counter),
    ("cache_lookups_total", Motion::Counter),
    ("node_hwmon_power_watt", Motion::Gauge),
    ("connection_pool_use_percent", Motion::Gauge),
    ("gc_pause_mean_seconds", Motion::Precise),
];

const DEVICES: usize = 10;
/// Takes the devices' place in the metric with buckets.
const BOUNDS: [&str; DEVICES] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];
const MODES: [&str; 4] = ["read", "write", "sync", "idle"];

/// Series that one instance exposes.
pub const SERIES_PER_INSTANCE: usize = METRICS.len() * DEVICES * MODES.len();

/// A value in motion.
#[derive(Debug, Clone, Copy)]
struct Track {
    motion: Motion,
    value: f64,
    pace: f64,
}

/// A set of series whose values advance round by round.
pub struct Fleet {
    labels: Vec<Vec<u8>>,
    tracks: Vec<Track>,
    rng: Rng,
}

impl Fleet {
    /// `series` series, instance after instance, the last instance cut short.
    pub fn new(series: usize, seed: u64) -> Fleet {
        let mut rng = Rng::with_seed(seed);
        let (mut labels, mut tracks) = (Vec::with_capacity(series), Vec::with_capacity(series));
        for number in 0..series {
            let (metric, motion) = METRICS[number % SERIES_PER_INSTANCE / (DEVICES * MODES.len())];
            labels.push(labels_of(number, metric));
            let value = match motion {
                Motion::Constant => [0.0, 1.0, 1024.0, 8_589_934_592.0][rng.usize(0..4)],
                Motion::Counter => rng.u32(0..1_000_000).into(),
                // All from the same, so that a larger bucket never holds less.
                Motion::Bucket => 0.0,
                Motion::Gauge => f64::from(rng.u32(2_000..8_000)) / 100.0,
                Motion::Precise => rng.f64(),
            };
            tracks.push(Track { motion, value, pace: f64::from(rng.u32(1..400)) });
        }
        Fleet { labels, tracks, rng }
    }
}

impl Source for Fleet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self, number: usize) -> &[u8] {
        &self.labels[number]
    }

    fn value(&self, number: usize) -> f64 {
        self.tracks[number].value
    }

    fn advance(&mut self) {
        // What the buckets of the bound before grew by, of each mode.
        let mut below = [0.0; MODES.len()];
        for (number, track) in self.tracks.iter_mut().enumerate() {
            let grown = (self.rng.f64() * 2.0 * track.pace).floor();
            match track.motion {
                Motion::Constant => {}
                Motion::Counter => track.value += grown,
                Motion::Bucket => {
                    let within = number % (DEVICES * MODES.len());
                    let below = &mut below[within % MODES.len()];
                    *below = if within < MODES.len() { grown } else { *below + grown };
                    track.value += *below;
                }
                Motion::Gauge => {
                    let moved = track.value + (self.rng.f64() - 0.5) * 4.0;
                    track.value = (moved.clamp(0.0, 100.0) * 100.0).round() / 100.0;
                }
                Motion::Precise => track.value = self.rng.f64(),
            }
        }
    }
}

fn labels_of(number: usize, metric: &str) -> Vec<u8> {
    let instance = number / SERIES_PER_INSTANCE;
    let within = number % (DEVICES * MODES.len());
    let device = within / MODES.len();
    let dimension = if metric.ends_with("_bucket") {
        ("le", BOUNDS[device].to_string())
    } else {
        ("device", format!("dev{device}"))
    };
    let mut labels = [
        ("__name__", metric),
        ("cluster", ["eu-1", "us-1"][instance % 2]),
        // Tells the metrics apart once a function has dropped their names.
        ("collector", metric.split_once('_').map_or(metric, |(_, rest)| rest)),
        (dimension.0, &dimension.1),
        ("environment", "production"),
        ("instance", &format!("10.{}.{}.{}:9100", instance / 62_500, instance / 250 % 250, instance % 250)),
        ("job", "node"),
        ("mode", MODES[within % MODES.len()]),
        ("namespace", &format!("team-{:02}", instance % 17)),
        ("node", &format!("node-{instance:05}")),
        ("pod", &format!("server-{:08x}-{instance:05}", (instance as u32).wrapping_mul(2_654_435_761))),
    ];
    labels.sort_unstable();
    label_bytes(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_as_promised() {
        let share =
            |wanted| METRICS.iter().filter(|(_, motion)| *motion == wanted).count() * 100 / METRICS.len();
        let shares =
            [Motion::Constant, Motion::Counter, Motion::Bucket, Motion::Gauge, Motion::Precise].map(share);
        assert_eq!(shares, [30, 35, 5, 20, 10]);
    }

    #[test]
    fn series_differ_and_replay_from_their_seed() {
        let (mut one, mut two) = (Fleet::new(2_000, 7), Fleet::new(2_000, 7));
        let mut labels: Vec<_> = (0..one.len()).map(|number| one.labels(number).to_vec()).collect();
        labels.sort();
        labels.dedup();
        assert_eq!(labels.len(), 2_000);
        for _ in 0..10 {
            one.advance();
            two.advance();
        }
        assert!((0..2_000).all(|number| one.value(number) == two.value(number)));
    }

    #[test]
    fn a_larger_bucket_never_holds_less() {
        let mut fleet = Fleet::new(SERIES_PER_INSTANCE, 1);
        (0..20).for_each(|_| fleet.advance());
        let buckets: Vec<_> = fleet.tracks.iter().filter(|t| t.motion == Motion::Bucket).collect();
        assert_eq!(buckets.len(), DEVICES * MODES.len());
        for (smaller, larger) in buckets.iter().zip(&buckets[MODES.len()..]) {
            assert!(smaller.value <= larger.value);
        }
    }

    #[test]
    fn counters_never_fall_and_gauges_keep_two_decimals() {
        let mut fleet = Fleet::new(SERIES_PER_INSTANCE, 1);
        for _ in 0..20 {
            let before: Vec<_> = fleet.tracks.iter().map(|track| track.value).collect();
            fleet.advance();
            for (track, before) in fleet.tracks.iter().zip(before) {
                match track.motion {
                    Motion::Constant => assert_eq!(track.value, before),
                    Motion::Counter | Motion::Bucket => {
                        assert!(track.value >= before && track.value.fract() == 0.0);
                    }
                    Motion::Gauge => assert_eq!((track.value * 100.0).round() / 100.0, track.value),
                    Motion::Precise => assert!((0.0..1.0).contains(&track.value)),
                }
            }
        }
    }
}

//! What the kernel says of this process, from `/proc`; where there is none, nothing is shown.

use super::page::Family;
use std::fs;

/// Ticks a second in which `/proc` counts processor time: a constant of Linux' interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// A number after a key in a file of `key  number …` lines.
fn number(file: &str, key: &str) -> Option<f64> {
    let line = file.lines().find_map(|line| line.strip_prefix(key))?;
    match line.split_whitespace().find(|word| *word != ":")? {
        "unlimited" => Some(u64::MAX as f64),
        word => word.parse().ok(),
    }
}

/// Seconds of processor time that the process used.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in brackets and may hold blanks; user and system time are the 12th and
    // 13th after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// Octets received and sent over IP in the process' network namespace.
fn network_bytes() -> Option<(f64, f64)> {
    let netstat = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut rows = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (rows.next()?, rows.next()?);
    let find = |name| {
        let at = names.split_whitespace().position(|n| n == name)?;
        values.split_whitespace().nth(at)?.parse().ok()
    };
    Some((find("InOctets")?, find("OutOctets")?))
}

/// Threads of this process, at least one.
pub fn threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number(&status, "Threads:").map_or(1, |n| n as usize)
}

pub(super) fn families(start_time_seconds: f64) -> Vec<Family> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    let (received, sent) = network_bytes().unzip();
    let kib = |key| number(&status, key).map(|kib| kib * 1_024.0);
    let gauges = [
        ("process_max_fds", "Maximum number of open file descriptors.", number(&limits, "Max open files")),
        ("process_open_fds", "Number of open file descriptors.", open_fds),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", kib("VmRSS:")),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            Some(start_time_seconds),
        ),
        ("process_threads", "Number of threads of the process.", number(&status, "Threads:")),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", kib("VmSize:")),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            number(&limits, "Max address space"),
        ),
    ];
    let counters = [
        ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu_seconds()),
        (
            "process_network_receive_bytes_total",
            "Number of bytes received by the process over the network.",
            received,
        ),
        (
            "process_network_transmit_bytes_total",
            "Number of bytes sent by the process over the network.",
            sent,
        ),
    ];
    let gauges = gauges.into_iter().filter_map(|(name, help, value)| Some(Family::gauge(name, help, value?)));
    let counters =
        counters.into_iter().filter_map(|(name, help, value)| Some(Family::counter_f64(name, help, value?)));
    gauges.chain(counters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_proc() {
        assert_eq!(number("VmRSS:\t  123 kB\n", "VmRSS:"), Some(123.0));
        assert_eq!(
            number("Max open files            20000   20000  files\n", "Max open files"),
            Some(20000.0)
        );
        assert!(number("Max address space  unlimited  unlimited\n", "Max address space") > Some(1e19));
        assert_eq!(number("", "VmRSS:"), None);
    }
}

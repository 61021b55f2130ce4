//! Fifty queries as the dashboards of a node ask them, over the series of a real node_exporter.

/// Windows are short because the test records a minute.
pub const QUERIES: &[&str] = &[
    // Who is there, and since when.
    r#"up{job="node"}"#,
    r#"node_uname_info{job="node"}"#,
    r#"count by (release, machine) (node_uname_info{job="node"})"#,
    r#"node_time_seconds{job="node"} - node_boot_time_seconds{job="node"}"#,
    r#"node_exporter_build_info{job="node"} * on (instance) group_left (nodename) node_uname_info{job="node"}"#,
    // Processors.
    r#"count by (instance) (count by (instance, cpu) (node_cpu_seconds_total{job="node"}))"#,
    r#"sum by (mode) (rate(node_cpu_seconds_total{job="node"}[30s]))"#,
    r#"100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{job="node",mode="idle"}[30s])))"#,
    r#"sum by (instance, mode) (irate(node_cpu_seconds_total{job="node",mode!~"idle|iowait|steal"}[20s]))"#,
    r#"max without (mode) (rate(node_cpu_seconds_total{job="node",mode=~"user|system"}[30s]))"#,
    r#"topk(3, sum by (cpu) (increase(node_cpu_seconds_total{job="node",mode!="idle"}[40s])))"#,
    r#"quantile(0.9, rate(node_cpu_seconds_total{job="node",mode="user"}[30s]))"#,
    r#"sum(rate(node_cpu_guest_seconds_total{job="node"}[30s])) or sum(node_cpu_seconds_total{job="node"}) * 0"#,
    // Load and processes.
    r#"node_load1{job="node"}"#,
    r#"node_load1{job="node"} / on (instance) count by (instance) (node_cpu_seconds_total{job="node",mode="idle"})"#,
    r#"max_over_time(node_load5{job="node"}[40s]) - min_over_time(node_load5{job="node"}[40s])"#,
    r#"node_procs_running{job="node"} + node_procs_blocked{job="node"}"#,
    r#"rate(node_forks_total{job="node"}[30s])"#,
    r#"rate(node_context_switches_total{job="node"}[30s]) / rate(node_intr_total{job="node"}[30s])"#,
    // Memory.
    r#"node_memory_MemTotal_bytes{job="node"} - node_memory_MemAvailable_bytes{job="node"}"#,
    r#"100 * (1 - node_memory_MemAvailable_bytes{job="node"} / node_memory_MemTotal_bytes{job="node"})"#,
    r#"node_memory_MemTotal_bytes{job="node"} - node_memory_MemFree_bytes{job="node"} - (node_memory_Cached_bytes{job="node"} + node_memory_Buffers_bytes{job="node"})"#,
    r#"(node_memory_SwapTotal_bytes{job="node"} - node_memory_SwapFree_bytes{job="node"}) / (node_memory_SwapTotal_bytes{job="node"} > 0) or node_memory_SwapTotal_bytes{job="node"}"#,
    r#"avg_over_time(node_memory_Active_bytes{job="node"}[30s]) / 1024 ^ 2"#,
    r#"delta(node_memory_Dirty_bytes{job="node"}[30s])"#,
    r#"{__name__=~"node_memory_(Slab|SReclaimable|SUnreclaim)_bytes",job="node"}"#,
    r#"rate(node_vmstat_pgmajfault{job="node"}[30s])"#,
    r#"increase(node_vmstat_oom_kill{job="node"}[50s]) > bool 0"#,
    // Disks and file systems.
    r#"sum by (device) (rate(node_disk_read_bytes_total{job="node"}[30s]))"#,
    r#"sum by (device) (rate(node_disk_written_bytes_total{job="node",device!~"loop.*|ram.*"}[30s]))"#,
    r#"rate(node_disk_io_time_seconds_total{job="node"}[30s]) * 100"#,
    r#"rate(node_disk_read_time_seconds_total{job="node"}[30s]) / rate(node_disk_reads_completed_total{job="node"}[30s])"#,
    r#"rate(node_disk_io_time_weighted_seconds_total{job="node"}[30s])"#,
    r#"100 - 100 * node_filesystem_avail_bytes{job="node",fstype!~"tmpfs|overlay"} / node_filesystem_size_bytes{job="node",fstype!~"tmpfs|overlay"}"#,
    r#"sum by (instance) (node_filesystem_size_bytes{job="node"}) - sum by (instance) (node_filesystem_free_bytes{job="node"})"#,
    r#"node_filesystem_files_free{job="node"} / node_filesystem_files{job="node"} < 0.99"#,
    r#"node_filesystem_readonly{job="node"} == 0"#,
    // The network.
    r#"rate(node_network_receive_bytes_total{job="node",device!="lo"}[30s]) * 8"#,
    r#"sum by (instance) (rate(node_network_transmit_bytes_total{job="node"}[30s]))"#,
    r#"sum without (device) (rate(node_network_receive_packets_total{job="node"}[30s]) + rate(node_network_transmit_packets_total{job="node"}[30s]))"#,
    r#"sum by (device) (increase(node_network_receive_drop_total{job="node"}[40s])) + sum by (device) (increase(node_network_transmit_drop_total{job="node"}[40s]))"#,
    r#"node_network_up{job="node"} == 1 unless on (device) node_network_info{job="node",operstate="down"}"#,
    r#"node_sockstat_TCP_alloc{job="node"} or node_sockstat_TCP_inuse{job="node"}"#,
    r#"rate(node_netstat_Tcp_InSegs{job="node"}[30s]) and on (instance) node_netstat_Tcp_CurrEstab{job="node"} >= 0"#,
    r#"node_nf_conntrack_entries{job="node"} / node_nf_conntrack_entries_limit{job="node"}"#,
    // The rest of the machine.
    r#"node_filefd_allocated{job="node"} / ignoring (cluster) node_filefd_maximum{job="node"}"#,
    r#"count_over_time(node_load1{job="node"}[30s])"#,
    r#"last_over_time(node_entropy_available_bits{job="node"}[10s] offset 5s)"#,
    r#"label_replace(sum by (device) (node_network_mtu_bytes{job="node"}), "port", "$1-$1", "device", "([a-z]+).*")"#,
    r#"sum by (collector) (node_scrape_collector_success{job="node"}) == 0 or avg(node_scrape_collector_duration_seconds{job="node"})"#,
];

#[test]
fn fifty() {
    assert_eq!(QUERIES.len(), 50);
}

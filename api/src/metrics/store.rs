//! The store's figures under Prometheus' names, and under our own where Prometheus has none.

use super::page::Family;
use hearth_model::Refusal;
use hearth_model::store::StoreFigures;
use hearth_wire::MetricType;

pub(super) fn families(f: &StoreFigures) -> Vec<Family> {
    let mut out = head(f);
    out.extend(refusals(f));
    out.extend(wal(f));
    out.extend(exemplars(f));
    out.extend(blocks(f));
    out.extend(compactions(f));
    out.extend(own(f));
    out
}

fn head(f: &StoreFigures) -> Vec<Family> {
    let appended = [("float", f.samples_appended), ("histogram", f.histograms_appended)];
    let mut out = bounds(f);
    out.extend([
        Family::gauge(
            "prometheus_tsdb_head_series",
            "Total number of series in the head block.",
            f.series as f64,
        ),
        Family::counter(
            "prometheus_tsdb_head_series_created_total",
            "Total number of series created in the head",
            f.series_created,
        ),
        Family::counter(
            "prometheus_tsdb_head_series_removed_total",
            "Total number of series removed in the head",
            f.series_removed,
        ),
        Family::gauge(
            "prometheus_tsdb_head_chunks",
            "Total number of chunks in the head block.",
            f.chunks as f64,
        ),
        Family::counter(
            "prometheus_tsdb_head_chunks_created_total",
            "Total number of chunks created in the head",
            f.chunks_created,
        ),
        Family::counters(
            "prometheus_tsdb_head_samples_appended_total",
            "Total number of appended samples.",
            "type",
            &appended,
        ),
        Family::counters(
            "prometheus_tsdb_head_out_of_order_samples_appended_total",
            "Total number of appended out of order samples.",
            "type",
            &[("float", f.samples_late)],
        ),
    ]);
    out
}

/// The times that the head holds; nothing while it holds none.
fn bounds(f: &StoreFigures) -> Vec<Family> {
    let (Some(min_ms), Some(max_ms)) = (f.min_ms, f.max_ms) else { return Vec::new() };
    let seconds = |ms: i64| ms.div_euclid(1_000) as f64;
    vec![
        Family::gauge(
            "prometheus_tsdb_head_min_time",
            "Minimum time bound of the head block. The unit is decided by the library consumer.",
            min_ms as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_head_min_time_seconds",
            "Minimum time bound of the head block.",
            seconds(min_ms),
        ),
        Family::gauge(
            "prometheus_tsdb_head_max_time",
            "Maximum timestamp of the head block. The unit is decided by the library consumer.",
            max_ms as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_head_max_time_seconds",
            "Maximum timestamp of the head block.",
            seconds(max_ms),
        ),
        Family::gauge(
            "prometheus_tsdb_lowest_timestamp",
            "Lowest timestamp value stored in the database. The unit is decided by the library consumer.",
            min_ms as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_lowest_timestamp_seconds",
            "Lowest timestamp value stored in the database.",
            seconds(min_ms),
        ),
    ]
}

fn refusals(f: &StoreFigures) -> Vec<Family> {
    let refused =
        |reason: Refusal| Refusal::ALL.iter().position(|r| *r == reason).map_or(0, |index| f.refused[index]);
    let mut by_reason = Family::new(
        "hearth_refused_samples_total",
        MetricType::Counter,
        "Samples that the store did not take, by reason.",
    );
    for (reason, name) in [
        (Refusal::OutOfOrder, "out_of_order"),
        (Refusal::DuplicateTimestamp, "duplicate_timestamp"),
        (Refusal::TooOld, "too_old"),
        (Refusal::OutOfBounds, "out_of_bounds"),
        (Refusal::InvalidLabels, "invalid_labels"),
        (Refusal::InvalidHistogram, "invalid_histogram"),
        (Refusal::SeriesLimit, "series_limit"),
        (Refusal::MetricSeriesLimit, "metric_series_limit"),
        (Refusal::JobSeriesLimit, "job_series_limit"),
        (Refusal::NewSeriesLimit, "new_series_limit"),
        (Refusal::LabelCountLimit, "label_count_limit"),
        (Refusal::LabelNameLimit, "label_name_limit"),
        (Refusal::LabelValueLimit, "label_value_limit"),
    ] {
        by_reason.point("", &[("reason", name)], refused(reason) as f64);
    }
    vec![
        Family::counters(
            "prometheus_tsdb_out_of_order_samples_total",
            "Total number of out of order samples ingestion failed attempts due to out of order being disabled.",
            "type",
            &[("float", refused(Refusal::OutOfOrder))],
        ),
        Family::counters(
            "prometheus_tsdb_out_of_bound_samples_total",
            "Total number of out of bound samples ingestion failed attempts with out of order support disabled.",
            "type",
            &[("float", refused(Refusal::OutOfBounds))],
        ),
        Family::counters(
            "prometheus_tsdb_too_old_samples_total",
            "Total number of out of order samples ingestion failed attempts with out of support enabled, but sample outside of time window.",
            "type",
            &[("float", refused(Refusal::TooOld))],
        ),
        by_reason,
    ]
}

fn wal(f: &StoreFigures) -> Vec<Family> {
    let mut syncs = Family::new(
        "prometheus_tsdb_wal_fsync_duration_seconds",
        MetricType::Summary,
        "Duration of write log fsync.",
    );
    syncs.point("_sum", &[], f.wal_sync_seconds);
    syncs.point("_count", &[], f.wal_syncs as f64);
    vec![
        syncs,
        Family::counter(
            "prometheus_tsdb_wal_corruptions_total",
            "Total number of WAL corruptions.",
            f.wal_corruptions,
        ),
        Family::gauge(
            "prometheus_tsdb_wal_segment_current",
            "Write log segment index that TSDB is currently writing to.",
            f.wal_segment as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_wal_storage_size_bytes",
            "Size of the write log directory.",
            f.wal_bytes as f64,
        ),
        Family::counter(
            "prometheus_tsdb_wal_writes_failed_total",
            "Total number of write log writes that failed.",
            f.wal_failures,
        ),
        Family::gauge(
            "prometheus_tsdb_data_replay_duration_seconds",
            "Time taken to replay the data on disk.",
            f.replay_seconds,
        ),
    ]
}

fn exemplars(f: &StoreFigures) -> Vec<Family> {
    vec![
        Family::counter(
            "prometheus_tsdb_exemplar_exemplars_appended_total",
            "Total number of appended exemplars.",
            f.exemplars_appended,
        ),
        Family::gauge(
            "prometheus_tsdb_exemplar_exemplars_in_storage",
            "Number of exemplars currently in circular storage.",
            f.exemplars as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_exemplar_series_with_exemplars_in_storage",
            "Number of series with exemplars currently in circular storage.",
            f.exemplar_series as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_exemplar_last_exemplars_timestamp_seconds",
            "The timestamp of the oldest exemplar stored in circular storage. Useful to check for what time range the current exemplar buffer limit allows. This usually means the last timestamp for all exemplars for a typical setup. This is not true though if one of the series timestamp is in future compared to rest series.",
            f.exemplar_oldest_ms.map_or(0.0, |ms| ms as f64 / 1_000.0),
        ),
        Family::gauge(
            "prometheus_tsdb_exemplar_max_exemplars",
            "Total number of exemplars the exemplar storage can store, resizeable.",
            f.max_exemplars as f64,
        ),
        Family::counter(
            "prometheus_tsdb_exemplar_out_of_order_exemplars_total",
            "Total number of out of order exemplar ingestion failed attempts.",
            f.exemplars_out_of_order,
        ),
    ]
}

fn blocks(f: &StoreFigures) -> Vec<Family> {
    // Without a limit there is none to show, as in Prometheus.
    let retention_ms = if f.retention_ms == i64::MAX { 0 } else { f.retention_ms };
    vec![
        Family::gauge(
            "prometheus_tsdb_retention_limit_seconds",
            "How long to retain samples in storage.",
            retention_ms as f64 / 1_000.0,
        ),
        Family::gauge(
            "prometheus_tsdb_retention_limit_bytes",
            "Max number of bytes to be retained in the tsdb blocks, configured 0 means disabled",
            f.retention_bytes as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_retention_limit_percentage",
            "Max percentage of total storage space to be retained in the tsdb blocks, configured 0 means disabled",
            f.retention_percent,
        ),
        Family::gauge(
            "prometheus_tsdb_blocks_loaded",
            "Number of currently loaded data blocks",
            f.blocks as f64,
        ),
        Family::gauge(
            "prometheus_tsdb_storage_blocks_bytes",
            "The number of bytes that are currently used for local storage by all blocks.",
            f.block_bytes as f64,
        ),
        Family::counter(
            "prometheus_tsdb_time_retentions_total",
            "The number of times that blocks were deleted because the maximum time limit was exceeded.",
            f.blocks_expired,
        ),
        Family::counter(
            "prometheus_tsdb_size_retentions_total",
            "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
            f.blocks_crowded_out,
        ),
        Family::gauge(
            "hearth_blocks_set_aside",
            "Blocks that could not be read: their files are in the shards' quarantine directories.",
            f.blocks_set_aside as f64,
        ),
        Family::gauge(
            "hearth_block_damages",
            "Damaged places found in blocks; what they held is missing from answers.",
            f.block_damages as f64,
        ),
    ]
}

/// How blocks are made.
fn compactions(f: &StoreFigures) -> Vec<Family> {
    vec![
        Family::counter(
            "prometheus_tsdb_compactions_total",
            "Total number of compactions that were executed for the partition.",
            f.blocks_flushed + f.blocks_compacted,
        ),
        Family::counter(
            "prometheus_tsdb_compactions_failed_total",
            "Total number of compactions that failed for the partition.",
            f.block_failures,
        ),
        Family::counter(
            "prometheus_tsdb_compactions_triggered_total",
            "Total number of triggered compactions for the partition.",
            f.blocks_flushed + f.blocks_compacted + f.block_failures,
        ),
        Family::counter(
            "prometheus_tsdb_reloads_total",
            "Number of times the database reloaded block data from disk.",
            f.blocks_flushed + f.blocks_compacted,
        ),
        Family::counter(
            "prometheus_tsdb_reloads_failures_total",
            "Number of times the database failed to reload block data from disk: blocks that were set aside, and damaged \
             places found in others.",
            f.blocks_set_aside + f.block_damages,
        ),
        Family::counter(
            "prometheus_tsdb_head_truncations_total",
            "Total number of head truncations attempted.",
            f.blocks_flushed,
        ),
    ]
}

fn own(f: &StoreFigures) -> Vec<Family> {
    vec![
        Family::gauge(
            "prometheus_tsdb_clean_start",
            "0: whoever had the data directory before did not close it. 1: it was closed, or is new.",
            f64::from(u8::from(f.clean_start)),
        ),
        Family::gauge("hearth_shards", "Shards of the data directory.", f.shards as f64),
        Family::gauge(
            "hearth_storage_read_only",
            "1 while the store refuses writes because its medium failed or is full.",
            f64::from(u8::from(f.read_only)),
        ),
        Family::gauge("hearth_head_bytes", "Memory that the head holds.", f.head_bytes as f64),
        Family::counter("hearth_wal_commits_total", "Group commits of the write-ahead log.", f.wal_commits),
        Family::counter(
            "hearth_repeated_samples_total",
            "Samples that were stored already with the same value.",
            f.samples_repeated,
        ),
        Family::gauge(
            "hearth_takeover_blocks_pending",
            "Blocks of Prometheus' that are still to be converted.",
            f.takeover_blocks_pending as f64,
        ),
        Family::counter(
            "hearth_takeover_blocks_converted_total",
            "Blocks of Prometheus' that were converted.",
            f.takeover_blocks_converted,
        ),
        Family::counter(
            "hearth_takeover_blocks_damaged_total",
            "Blocks of Prometheus' that could not be read, or not as a whole.",
            f.takeover_blocks_damaged,
        ),
    ]
}

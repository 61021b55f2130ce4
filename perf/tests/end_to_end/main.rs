//! End-to-end tests: the real binary, beside the real Prometheus, promtool and node_exporter, over real
//! sockets. Each test owns its processes, ports and folders, so all of them run beside each other.
//!
//! `scripts/test` runs them; alone: `cargo nextest run --profile everything -p hearth-perf -E
//! 'binary(end_to_end)'`, after a release build and `scripts/peers`. `HEARTH_BIN` tests another binary
//! (Prometheus itself passes), `HEARTH_PEERS` names another folder of peers, `E2E_MINUTES` shortens the
//! long one. No test here asserts how fast anything is.

mod bad_input;
mod counted;
mod dashboard;
mod deleted;
mod described;
mod discovered;
mod exemplars;
mod exporter;
mod faults;
mod idle;
mod kept;
mod killed;
mod misbehaving;
mod moved;
mod pages;
mod probed;
mod promtool;
mod pushed;
mod recorded;
mod reloaded;
mod remote_written;
mod scraped;
mod setup;
mod stopped;

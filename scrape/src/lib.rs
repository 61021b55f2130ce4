//! The pull side: discovery -> targets -> scrape loops -> write batches -> a store.
//!
//! [`config`] holds what `prometheus.yml` says about scraping, [`Scraper`] runs it, [`status`] is what it
//! tells about itself. Nothing here knows how samples are stored, or serves HTTP.
#![forbid(unsafe_code)]

mod absorb;
mod cache;
pub mod check;
mod classic;
pub mod config;
mod context;
mod counters;
mod created;
mod cycle;
mod discovery;
mod failure_log;
mod families;
mod fetch;
mod grouping;
mod job;
mod metadata;
mod native;
mod page_shape;
mod pool;
pub mod push;
mod report;
mod scrape_loop;
mod scraper;
mod series_labels;
pub mod status;
mod target;
#[cfg(test)]
mod testing;
mod trail;

pub use discovery::payload;
pub use scraper::{Clock, Features, Options, Plan, Scraper};

//! The pull side: discovery -> targets -> scrape loops -> write batches -> a store.
//!
//! [`config`] holds what `prometheus.yml` says about scraping, [`Scraper`] runs it, [`status`] is what it
//! tells about itself. Nothing here knows how samples are stored, or serves HTTP.
#![forbid(unsafe_code)]

pub mod config;
mod scraper;
pub mod status;

pub use scraper::{Clock, Options, Plan, Scraper};

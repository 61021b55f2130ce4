//! hearth-scrape

//! Every byte of a data directory, checked: what is damaged is named, with its file and place. Nothing is changed,
//! and a server may run meanwhile.

mod hearth;
mod prometheus;

use super::MovingError;
use super::read::{Nature, nature};
use super::switch::PROMETHEUS_ASIDE;
use crate::prometheus::directory;
use std::fmt;
use std::path::{Path, PathBuf};

/// Findings that are listed; more are counted.
const LISTED: usize = 10_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    pub offset: Option<u64>,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{}: at byte {offset}: {}", self.path.display(), self.what),
            None => write!(f, "{}: {}", self.path.display(), self.what),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub files: u64,
    pub bytes: u64,
    pub series: u64,
    pub samples: u64,
    /// Data that is lost or cannot be read.
    pub damages: Vec<Finding>,
    /// What a crash leaves and a start puts right, and what belongs to nobody.
    pub notes: Vec<Finding>,
    pub more: u64,
}

impl Report {
    fn file(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    fn add(&mut self, note: bool, path: &Path, offset: Option<u64>, what: impl Into<String>) {
        let list = if note { &mut self.notes } else { &mut self.damages };
        if list.len() < LISTED {
            list.push(Finding { path: path.to_owned(), offset, what: what.into() });
        } else {
            self.more += 1;
        }
    }

    fn damage(&mut self, path: &Path, offset: impl Into<Option<u64>>, what: impl Into<String>) {
        self.add(false, path, offset.into(), what);
    }

    fn note(&mut self, path: &Path, offset: impl Into<Option<u64>>, what: impl Into<String>) {
        self.add(true, path, offset.into(), what);
    }

    /// A file's bytes; what cannot be read is a damage.
    fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        match std::fs::read(path) {
            Ok(bytes) => {
                self.file(bytes.len() as u64);
                Some(bytes)
            }
            Err(error) => {
                self.damage(path, None, error.to_string());
                None
            }
        }
    }
}

/// Checks a data directory of either kind, with what a takeover has set aside in it.
pub fn verify(path: &Path) -> Result<Report, MovingError> {
    let mut report = Report::default();
    match nature(path)? {
        Nature::Prometheus => prometheus::directory(path, &mut report)?,
        Nature::Hearth => {
            hearth::directory(path, &mut report)?;
            let aside = path.join(PROMETHEUS_ASIDE);
            if directory::holds_data(&aside)? {
                prometheus::directory(&aside, &mut report)?;
            }
        }
    }
    Ok(report)
}

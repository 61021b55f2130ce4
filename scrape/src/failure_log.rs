//! `scrape_failure_log_file`: one JSON line for each failed scrape. Opened anew on every reload, so that it
//! can be rotated.

use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// An open log; jobs that name the same path share it.
pub struct FailureLog {
    path: String,
    file: Mutex<File>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    msg: &'a str,
    job_name: &'a str,
    target: &'a str,
}

impl FailureLog {
    pub fn open(path: &str) -> Result<FailureLog, String> {
        let file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|e| format!("cannot open scrape failure log {path}: {e}"))?;
        Ok(FailureLog { path: path.to_owned(), file: Mutex::new(file) })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn write(&self, now_ms: i64, job: &str, target: &str, error: &str) {
        let time = jiff::Timestamp::from_millisecond(now_ms).map(|t| t.to_string()).unwrap_or_default();
        let line = Line { time, level: "ERROR", msg: error, job_name: job, target };
        let written = serde_json::to_vec(&line).map_err(std::io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
        });
        if let Err(error) = written {
            tracing::error!(path = self.path, %error, "cannot write the scrape failure log");
        }
    }
}

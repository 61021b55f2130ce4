//! `hearth check service-discovery`: looks at what a job finds without starting a server, with promtool's output.

use crate::config::{self, Reading, Source};
use hearth_model::Labels;
use hearth_promql::syntax::ParseOptions;
use hearth_scrape::check::{Checked, discover};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long discovery may take where nothing else is said: promtool's number.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(30);

type Failure = (String, u8);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The targets of one job, as JSON.
pub fn service_discovery(file: &str, job: &str, timeout: Option<&str>) -> Result<String, Failure> {
    let timeout = match timeout {
        None => DISCOVERY_TIMEOUT,
        Some(text) => hearth_model::parse_duration_ms(text)
            .map(|ms| Duration::from_millis(ms.max(0) as u64))
            .map_err(|error| (format!("--timeout: {error}"), 2))?,
    };
    let reading = Reading { parse: ParseOptions::ALL, ..Reading::default() };
    let loaded = config::load(&Source::File(PathBuf::from(file)), &reading)
        .map_err(|error| (format!("Cannot load config {error}"), 1))?;
    let Some(scrape) = loaded.scrapes.iter().find(|scrape| scrape.job_name == job) else {
        let names: String = loaded.scrapes.iter().map(|scrape| format!("\t{}\n", scrape.job_name)).collect();
        return Err((format!("Job {job} not found. Select one of:\n{names}"), 1));
    };
    let failed = |error: String| (format!("Could not discover: {error}"), 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let agent = format!("Hearth/{}", env!("CARGO_PKG_VERSION"));
    let found = runtime.block_on(discover(scrape, &agent, timeout)).map_err(failed)?;
    let shown = |checked: &Checked| Shown {
        discovered_labels: map(&checked.discovered),
        labels: map(&checked.labels),
        error: checked.error.clone(),
    };
    let list: Vec<Shown> = found.iter().map(shown).collect();
    let json = serde_json::to_string_pretty(&list).map_err(|error| failed(error.to_string()))?;
    // Go's JSON hides what HTML could read; none of these can stand outside a text.
    Ok(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

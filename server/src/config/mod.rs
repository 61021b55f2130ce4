//! `prometheus.yml`: read strictly, with file and line in every fault, all of it checked before any of it
//! is applied. Reading is a pure step from files to [`Config`]; who applies it is `reload`.

mod environment;
mod shown;
mod source;
pub mod storage;
mod unserved;

pub use source::Source;

use hearth_alerting::RuleFile;
use hearth_promql::syntax::ParseOptions;
use hearth_scrape::config::{GlobalConfig, ScrapeConfig, StaticConfig, resolve};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::fmt;
use std::path::{Path, PathBuf};
use storage::StorageConfig;

/// Bytes of one configuration file: generated ones with thousands of jobs stay below.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub global: GlobalConfig,
    pub scrapes: Vec<ScrapeConfig>,
    pub rules: Vec<RuleFile>,
    /// The patterns of `rule_files`.
    pub rule_files: Vec<String>,
    pub storage: StorageConfig,
    /// The whole of it with defaults, secrets hidden.
    pub yaml: String,
    /// What the file asks for and does not get; each names the place.
    pub warnings: Vec<String>,
}

/// What is wrong with the configuration: `file:line:column: what`, one fault a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A section that is not served yet.
type Section = serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    global: Option<Spanned<GlobalConfig>>,
    runtime: Section,
    rule_files: Option<Vec<Spanned<String>>>,
    scrape_config_files: Option<Vec<Spanned<String>>>,
    scrape_configs: Option<Vec<Spanned<ScrapeConfig>>>,
    alerting: Section,
    remote_write: Section,
    remote_read: Section,
    storage: Option<Spanned<StorageConfig>>,
    tracing: Section,
    otlp: Section,
}

/// A file named by `scrape_config_files`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScrapeFile {
    scrape_configs: Option<Vec<Spanned<ScrapeConfig>>>,
}

/// Where a scrape configuration stands, for faults that are found later.
struct Place {
    file: String,
    line: u64,
    column: u64,
}

impl Place {
    fn of<T>(file: &str, value: &Spanned<T>) -> Place {
        let at = value.referenced;
        Place { file: file.to_owned(), line: at.line(), column: at.column() }
    }

    fn fault(&self, what: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{}:{}:{}: {what}", self.file, self.line, self.column))
    }
}

/// Parses YAML; a fault says where.
fn parse<T: Default + serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        // The snippet that the parser would add could show a secret.
        let plain = error.without_snippet();
        let text = plain.to_string();
        match plain.location() {
            Some(at) => {
                let suffix = format!(" at line {}, column {}", at.line(), at.column());
                let what = text.strip_suffix(&suffix).unwrap_or(&text);
                ConfigError(format!("{file}:{}:{}: {what}", at.line(), at.column()))
            }
            None => ConfigError(format!("{file}: {text}")),
        }
    })
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let fail = |why: String| ConfigError(format!("{}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > MAX_FILE_BYTES {
        return Err(fail(format!("{length} bytes, the limit is {MAX_FILE_BYTES}")));
    }
    std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))
}

/// The files that a pattern names, relative to the configuration's directory.
fn matching(pattern: &str, directory: &Path, place: &Place) -> Result<Vec<PathBuf>, ConfigError> {
    let full = directory.join(pattern);
    let paths = glob::glob(&full.to_string_lossy())
        .map_err(|error| place.fault(format_args!("pattern {pattern:?}: {error}")))?;
    let mut out = Vec::new();
    for path in paths {
        out.push(path.map_err(|error| place.fault(format_args!("pattern {pattern:?}: {error}")))?);
    }
    Ok(out)
}

/// How the target of pushed metrics is called: it has no address.
const PUSHED_TARGET: &str = "built-in";

/// What flags say of how a configuration is read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The job that scrapes what was pushed to this server.
    pub push_job: Option<String>,
    pub parse: ParseOptions,
    /// Rule files are left to who asks.
    pub rules_apart: bool,
    /// What `global` says of these where it says nothing.
    pub native_histograms: bool,
    pub extra_scrape_metrics: bool,
}

/// Reads the configuration and everything it names.
pub fn load(source: &Source, reading: &Reading) -> Result<Config, ConfigError> {
    let (name, text) = source.text()?;
    read(&name, &text, &source.directory(), reading, &|name| std::env::var(name).ok())
}

/// The same on given text; `environment` looks up a variable.
fn read(
    name: &str,
    text: &str,
    directory: &Path,
    reading: &Reading,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let file: File = parse(name, text)?;
    let mut warnings = Vec::new();
    let (mut global, global_place) = match file.global {
        Some(global) => (global.value.clone(), Place::of(name, &global)),
        None => (GlobalConfig::default(), Place { file: name.to_owned(), line: 1, column: 1 }),
    };
    expand(&mut global, environment, &mut warnings);
    if reading.native_histograms && global.scrape_native_histograms.is_none() {
        global.scrape_native_histograms = Some(true);
    }
    if reading.extra_scrape_metrics && global.extra_scrape_metrics.is_none() {
        global.extra_scrape_metrics = Some(true);
    }
    let mut jobs = Jobs::default();
    jobs.take(name, file.scrape_configs);
    let scrape_patterns = jobs.include(name, file.scrape_config_files, directory)?;
    if let Some(job) = &reading.push_job {
        jobs.add_pushed(job, name)?;
    }
    let Jobs { mut scrapes, places } = jobs;
    resolve(&mut global, &mut scrapes, directory).map_err(|error| {
        let place = error.scrape_config.and_then(|index| places.get(index)).unwrap_or(&global_place);
        place.fault(&error)
    })?;
    let storage = storage(name, file.storage, &mut warnings)?;
    let shown_storage = serde_json::to_value(&storage).unwrap_or_default();
    let sections = [
        ("runtime", &file.runtime),
        ("alerting", &file.alerting),
        ("remote_write", &file.remote_write),
        ("remote_read", &file.remote_read),
        ("storage", if storage == StorageConfig::default() { &Section::Null } else { &shown_storage }),
        ("tracing", &file.tracing),
        ("otlp", &file.otlp),
    ];
    for (section, value) in sections {
        unserved::check(section, value).map_err(|what| ConfigError(format!("{name}: {what}")))?;
        warnings.extend(unserved::warning(section, value));
    }
    let not_served = scrapes.iter().flat_map(ScrapeConfig::unserved);
    warnings.extend(not_served.map(|what| format!("not served yet: {what}")));
    let (rules, rule_patterns) = if reading.rules_apart {
        (Vec::new(), file.rule_files.into_iter().flatten().map(|pattern| pattern.value).collect())
    } else {
        rules(name, file.rule_files, directory, &reading.parse, &mut warnings)?
    };
    let yaml = shown::yaml(&shown::Parts {
        global: &global,
        rule_files: &rule_patterns,
        scrape_config_files: &scrape_patterns,
        scrapes: &scrapes,
        sections: &sections,
    });
    Ok(Config { global, scrapes, rules, rule_files: rule_patterns, storage, yaml, warnings })
}

/// The section of that name, checked.
fn storage(
    name: &str,
    section: Option<Spanned<StorageConfig>>,
    warnings: &mut Vec<String>,
) -> Result<StorageConfig, ConfigError> {
    let Some(section) = section else { return Ok(StorageConfig::default()) };
    let place = Place::of(name, &section);
    section.value.check().map_err(|what| place.fault(what))?;
    warnings.extend(section.value.warnings());
    Ok(section.value)
}

/// Puts environment variables into the external labels.
fn expand(
    global: &mut GlobalConfig,
    environment: &dyn Fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) {
    for value in global.external_labels.values_mut() {
        *value = environment::expand(value, &mut |variable| {
            environment(variable).filter(|text| !text.is_empty()).unwrap_or_else(|| {
                warnings.push(format!("global.external_labels: environment variable {variable} is empty"));
                String::new()
            })
        });
    }
}

/// Scrape configurations of all files, each with its place.
#[derive(Default)]
struct Jobs {
    scrapes: Vec<ScrapeConfig>,
    places: Vec<Place>,
}

impl Jobs {
    fn take(&mut self, file: &str, configs: Option<Vec<Spanned<ScrapeConfig>>>) {
        for config in configs.into_iter().flatten() {
            self.places.push(Place::of(file, &config));
            self.scrapes.push(config.value);
        }
    }

    /// Gives the job of pushed metrics its one target; adds the job where no file has it.
    fn add_pushed(&mut self, job: &str, file: &str) -> Result<(), ConfigError> {
        let index = self.scrapes.iter().position(|config| config.job_name == job);
        let index = match index {
            Some(index) if self.scrapes[index].names_targets() => {
                let why = "scrapes what is pushed to this server (--push.job) and must name no targets";
                return Err(self.places[index].fault(format_args!("job {job:?} {why}")));
            }
            Some(index) => index,
            None => {
                let text = serde_json::json!({"job_name": job, "honor_labels": true}).to_string();
                let config = serde_saphyr::from_str(&text);
                self.scrapes.push(config.map_err(|error| ConfigError(format!("{file}: {error}")))?);
                self.places.push(Place { file: file.to_owned(), line: 1, column: 1 });
                self.scrapes.len() - 1
            }
        };
        let targets = vec![PUSHED_TARGET.to_owned()];
        self.scrapes[index].static_configs = vec![StaticConfig { targets, ..StaticConfig::default() }];
        Ok(())
    }

    /// Reads the files that `scrape_config_files` names; returns the patterns.
    fn include(
        &mut self,
        name: &str,
        patterns: Option<Vec<Spanned<String>>>,
        directory: &Path,
    ) -> Result<Vec<String>, ConfigError> {
        let mut shown = Vec::new();
        for pattern in patterns.into_iter().flatten() {
            let place = Place::of(name, &pattern);
            for path in matching(&pattern.value, directory, &place)? {
                let file = path.display().to_string();
                let more: ScrapeFile = parse(&file, &read_file(&path)?)?;
                self.take(&file, more.scrape_configs);
            }
            shown.push(pattern.value);
        }
        Ok(shown)
    }
}

/// Every rule file that the patterns name, all faults of all files at once.
fn rules(
    name: &str,
    patterns: Option<Vec<Spanned<String>>>,
    directory: &Path,
    options: &ParseOptions,
    warnings: &mut Vec<String>,
) -> Result<(Vec<RuleFile>, Vec<String>), ConfigError> {
    let (mut files, mut shown, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for pattern in patterns.into_iter().flatten() {
        let place = Place::of(name, &pattern);
        let paths = matching(&pattern.value, directory, &place)?;
        if paths.is_empty() {
            warnings.push(place.fault(format_args!("rule_files: no file matches {:?}", pattern.value)).0);
        }
        for path in paths {
            match hearth_alerting::load(&path, options) {
                Ok(file) => files.push(file),
                Err(error) => faults.extend(error.faults),
            }
        }
        shown.push(pattern.value);
    }
    if !faults.is_empty() {
        return Err(ConfigError(faults.join("\n")));
    }
    let count: usize = files.iter().map(RuleFile::rule_count).sum();
    if count > 0 {
        warnings.push(format!(
            "{count} rules are loaded and checked but not evaluated yet: rule evaluation is not there"
        ));
    }
    Ok((files, shown))
}

#[cfg(test)]
mod tests;

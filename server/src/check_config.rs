//! `hearth check config`: whether this server would start with a configuration, with promtool's words, output
//! and exit codes. Reads files and nothing else.

use crate::config::{self, Config, Reading, Source};
use hearth_alerting::RuleFile;
use hearth_promql::syntax::ParseOptions;
use hearth_scrape::config::ScrapeConfig;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const USAGE: &str = "usage:
  hearth check config [--syntax-only] FILE...

Exit codes: 0 where every file is valid, 1 where one is not, 2 where the arguments are wrong.
";

/// What is printed, and how the process ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub out: String,
    pub err: String,
    pub exit_code: u8,
}

/// The report on the arguments, where they ask for a check.
pub fn run(arguments: &[String]) -> Option<Report> {
    if arguments.first()? != "check" || arguments.get(1)? != "config" {
        return None;
    }
    if arguments.iter().any(|a| a == "-h" || a == "--help") {
        return Some(Report { out: USAGE.to_owned(), ..Report::default() });
    }
    let wrong = |what: &str| Report { err: format!("{what}\n{USAGE}"), exit_code: 2, ..Report::default() };
    let (flags, files): (Vec<&String>, Vec<&String>) =
        arguments[2..].iter().partition(|argument| argument.starts_with("--"));
    if let Some(flag) = flags.iter().find(|flag| **flag != "--syntax-only") {
        return Some(wrong(&format!("unknown long flag '{flag}'")));
    }
    if files.is_empty() {
        return Some(wrong("required argument 'config-files' not provided"));
    }
    let mut report = Report::default();
    for file in files {
        report.config(file, !flags.is_empty());
    }
    Some(report)
}

/// Files that must be there for the scrapes to work.
fn missing_file(config: &ScrapeConfig) -> Option<String> {
    let http = config.http();
    let mut files: Vec<String> = http.tls_config.files().map(str::to_owned).collect();
    if let Some(authorization) = &http.authorization {
        files.push(authorization.credentials_file.clone());
    }
    if let Some(basic) = &http.basic_auth {
        files.extend([basic.username_file.clone(), basic.password_file.clone()]);
    }
    files.retain(|file| !file.is_empty());
    let job = &config.job_name;
    files.iter().find_map(|file| {
        let error = std::fs::metadata(file).err()?;
        Some(format!("job {job:?}: error checking file {file:?}: {error}"))
    })
}

impl Report {
    fn fail(&mut self, why: &str) {
        let _ = writeln!(self.err, "  FAILED: {why}");
        self.exit_code = 1;
    }

    fn config(&mut self, file: &str, syntax_only: bool) {
        let _ = writeln!(self.out, "Checking {file}");
        let reading = Reading { parse: ParseOptions::ALL, rules_apart: true, ..Reading::default() };
        let checked = config::load(&Source::File(file.into()), &reading)
            .map_err(|error| error.to_string())
            .and_then(|config| self.files(config, file, syntax_only));
        let rules = checked.unwrap_or_else(|why| {
            self.fail(&why);
            Vec::new()
        });
        self.out.push('\n');
        for path in &rules {
            self.rules(path);
        }
    }

    /// Looks at the files that a configuration names which is valid in itself; returns the rule files.
    fn files(&mut self, config: Config, file: &str, syntax_only: bool) -> Result<Vec<PathBuf>, String> {
        let mut rules = Vec::new();
        if !syntax_only {
            let directory = Path::new(file).parent().unwrap_or(Path::new(""));
            for pattern in &config.rule_files {
                let full = directory.join(pattern);
                let paths = glob::glob(&full.to_string_lossy()).map_err(|error| error.to_string())?;
                let before = rules.len();
                rules.extend(paths.filter_map(Result::ok));
                if rules.len() == before && !pattern.contains('*') {
                    return Err(format!("{pattern:?} does not point to an existing file"));
                }
            }
            if let Some(why) = config.scrapes.iter().find_map(missing_file) {
                return Err(why);
            }
            for scrape in &config.scrapes {
                for name in scrape.file_sd_configs.iter().flat_map(|section| &section.files) {
                    if !name.contains('*') && !Path::new(name).exists() {
                        let job = &scrape.job_name;
                        let _ = writeln!(
                            self.out,
                            "  WARNING: file {name:?} for file_sd in scrape job {job:?} does not exist"
                        );
                    }
                }
            }
            if !rules.is_empty() {
                let _ = writeln!(self.out, "  SUCCESS: {} rule files found", rules.len());
            }
        }
        for warning in &config.warnings {
            let _ = writeln!(self.out, "  WARNING: {warning}");
        }
        let _ = writeln!(self.out, " SUCCESS: {file} is valid prometheus config file syntax");
        Ok(rules)
    }

    fn rules(&mut self, path: &Path) {
        let _ = writeln!(self.out, "Checking {}", path.display());
        match hearth_alerting::load(path, &ParseOptions::ALL) {
            Ok(file) => {
                let _ = writeln!(self.out, "  SUCCESS: {} rules found\n", RuleFile::rule_count(&file));
            }
            Err(error) => {
                let _ = writeln!(self.err, "  FAILED:\n{}", error.faults.join("\n"));
                self.exit_code = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], out: &str, err: &str, exit_code: u8) {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let report = run(&arguments).expect("a check");
        assert_eq!((report.out.as_str(), report.exit_code), (out, exit_code), "{}", report.err);
        assert!(report.err.starts_with(err) && report.err.is_empty() == err.is_empty(), "{}", report.err);
    }

    #[test]
    fn reports_are_promtools() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let rules = write("r.yml", "groups: [{name: g, rules: [{record: a, expr: up}]}]\n");
        let good = write("p.yml", "rule_files: [r.yml]\nscrape_configs: [{job_name: a}]\n");
        let expect = format!(
            "Checking {good}\n  SUCCESS: 1 rule files found\n SUCCESS: {good} is valid prometheus config file \
             syntax\n\nChecking {rules}\n  SUCCESS: 1 rules found\n\n"
        );
        check(&["check", "config", &good], &expect, "", 0);
        let expect = format!("Checking {good}\n SUCCESS: {good} is valid prometheus config file syntax\n\n");
        check(&["check", "config", "--syntax-only", &good], &expect, "", 0);
        let bad = write("bad.yml", "foo: 1\n");
        check(&["check", "config", &bad], &format!("Checking {bad}\n\n"), "  FAILED: ", 1);
        let absent = write("q.yml", "rule_files: [nope.yml]\n");
        let why = "  FAILED: \"nope.yml\" does not point to an existing file\n";
        check(&["check", "config", &absent], &format!("Checking {absent}\n\n"), why, 1);
        let secret = write("s.yml", "scrape_configs: [{job_name: a, basic_auth: {password_file: nope}}]\n");
        check(
            &["check", "config", &secret],
            &format!("Checking {secret}\n\n"),
            "  FAILED: job \"a\": error",
            1,
        );
        write("r.yml", "groups: [{name: g, rules: [{record: a, expr: up +}]}]\n");
        let expect = format!(
            "Checking {good}\n  SUCCESS: 1 rule files found\n SUCCESS: {good} is valid prometheus config file \
             syntax\n\nChecking {rules}\n"
        );
        check(&["check", "config", &good], &expect, "  FAILED:\n", 1);
        check(&["check", "config"], "", "required argument", 2);
        assert_eq!(run(&["check".to_owned(), "rules".to_owned()]), None);
        check(&["check", "config", "--x"], "", "unknown long flag '--x'", 2);
        assert_eq!(run(&["query".to_owned()]), None);
    }
}

//! The binary `hearth`: flags, configuration, and the parts wired in the order in which data flows. Nothing
//! in here does a part's work.

mod allocator;
mod check_config;
mod check_discovery;
mod client;
mod config;
mod flags;
mod lanes;
mod listen;
mod pushed;
mod query;
mod query_log;
mod reload;
mod request_line;
mod run;
mod settings;
mod signals;
mod telemetry;
mod tsdb;

use flags::{Features, Flags, Parsed};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(report) = check_config::run(&arguments) {
        eprint!("{}", report.err);
        print(&report.out);
        return ExitCode::from(report.exit_code);
    }
    if let Some(exit_code) = tsdb::run(&arguments) {
        return ExitCode::from(exit_code);
    }
    if let Some(outcome) = client::run(&arguments) {
        return match outcome {
            Ok(text) => print(&text),
            Err((text, exit_code)) => {
                eprintln!("{}", text.trim_end());
                ExitCode::from(exit_code)
            }
        };
    }
    let flags = match flags::parse(arguments) {
        Ok(Parsed::Run(flags)) => flags,
        Ok(Parsed::Help(text)) => return print(&text),
        Ok(Parsed::Version) => return print(&settings::version_text()),
        Err(error) => {
            eprintln!("Error parsing command line arguments: {}\nhearth: try 'hearth --help'", error.text);
            return ExitCode::from(error.exit_code);
        }
    };
    let format = match flags.text("log.format") {
        "json" => telemetry::Format::Json,
        _ => telemetry::Format::Logfmt,
    };
    telemetry::start(flags.text("log.level"), format);
    allocator::tune();
    let features = Features::of(&flags);
    warn(&flags, &features);
    match serve(&flags, &features) {
        Ok(()) => {
            tracing::info!("See you next time!");
            ExitCode::SUCCESS
        }
        Err(run::Failure { text, exit_code }) => {
            tracing::error!(err = %text, "Server stopped");
            ExitCode::from(exit_code)
        }
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    // A reader that has seen enough (`hearth --help | head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// One line for everything that was asked for and has no effect.
fn warn(flags: &Flags, features: &Features) {
    for (name, why) in flags.without_effect() {
        tracing::warn!(flag = %format!("--{name}"), reason = why, "This flag is accepted but has no effect");
    }
    for (text, name) in &features.warnings {
        tracing::warn!(option = %name, "{text}");
    }
}

fn serve(flags: &Flags, features: &Features) -> Result<(), run::Failure> {
    if !flags.text("web.config.file").is_empty() {
        // Serving without the protection that was asked for would be worse than not serving.
        return Err(run::Failure::usage(
            "--web.config.file is not supported yet: refusing to start without the TLS or authentication it asks for",
        ));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()
        .map_err(|error| run::Failure::run(format!("starting the control threads: {error}")))?;
    let queries = query::threads(flags)
        .map_err(|error| run::Failure::run(format!("starting the query threads: {error}")))?;
    let scraping = lanes::Lanes::scraping()
        .map_err(|error| run::Failure::run(format!("starting the scraping threads: {error}")))?;
    let serving = lanes::Lanes::serving()
        .map_err(|error| run::Failure::run(format!("starting the serving threads: {error}")))?;
    let threads = run::Threads {
        queries: queries.handle().clone(),
        scraping: scraping.handles(),
        serving: serving.handles(),
    };
    let outcome = runtime.block_on(run::run(flags, features, threads));
    queries.shutdown_background();
    scraping.stop();
    serving.stop();
    // What still blocks (a slow disk) must not keep the process.
    runtime.shutdown_timeout(run::LAST_PATIENCE);
    outcome
}

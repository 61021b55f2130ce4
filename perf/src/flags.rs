//! The flags of this crate's binaries: `--name value` and `--name=value`, each with a default, so that a
//! run without any does the standard thing and an unknown one is an error.

use std::collections::BTreeMap;
use std::process::ExitCode;

/// A flag: name, default, what it is.
pub type Flag = (&'static str, &'static str, &'static str);

/// What the command line says.
#[derive(Debug)]
pub struct Flags {
    values: BTreeMap<&'static str, String>,
}

/// What a program ends with that came to this; an error is printed.
pub fn ended(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Flags {
    /// Reads the arguments. An error is what to print before giving up, `--help` included.
    pub fn parse(known: &[Flag], arguments: impl IntoIterator<Item = String>) -> Result<Flags, String> {
        let mut values: BTreeMap<_, _> =
            known.iter().map(|(name, default, _)| (*name, default.to_string())).collect();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let said = argument.strip_prefix("--").ok_or_else(|| help(known, &argument))?;
            let (name, value) = match said.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (said, None),
            };
            let Some((name, ..)) = known.iter().find(|(known, ..)| *known == name) else {
                return Err(help(known, &argument));
            };
            let value =
                value.or_else(|| arguments.next()).ok_or_else(|| format!("--{name} needs a value"))?;
            values.insert(name, value);
        }
        Ok(Flags { values })
    }

    /// # Panics
    /// Where no flag has that name: a mistake in this crate.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or_else(|| panic!("no flag is called --{name}"), String::as_str)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.text(name);
        text.parse().map_err(|_| format!("--{name}: {text:?} is not such a number"))
    }
}

fn help(known: &[Flag], argument: &str) -> String {
    let lines = known.iter().map(|(name, default, what)| format!("  --{name:<22} {what} [{default}]\n"));
    format!("{argument}: not a flag of this program; it knows\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[("series", "10", "how many"), ("url", "", "where to")];

    fn parse(arguments: &[&str]) -> Result<Flags, String> {
        Flags::parse(KNOWN, arguments.iter().map(|argument| argument.to_string()))
    }

    #[test]
    fn values_replace_defaults() {
        let flags = parse(&["--url=a=b", "--series", "5"]).unwrap();
        assert_eq!((flags.number("series"), flags.text("url")), (Ok(5), "a=b"));
        assert_eq!(parse(&[]).unwrap().number("series"), Ok(10));
    }

    #[test]
    fn what_is_unknown_is_said() {
        assert!(parse(&["--help"]).unwrap_err().contains("--series"));
        assert!(parse(&["series"]).is_err() && parse(&["--series"]).is_err());
        assert!(parse(&["--series", "x"]).unwrap().number::<usize>("series").is_err());
    }
}

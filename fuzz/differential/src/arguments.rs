//! The command line.

/// What was asked for.
#[derive(Debug)]
pub struct Arguments {
    pub seed: u64,
    pub queries: usize,
    /// Native histograms in the data and in the queries too.
    pub native: bool,
    /// Queries with something wrong in them.
    pub broken: bool,
    /// Only this query, at random times.
    pub query: Option<String>,
    /// Servers that run already and are empty: Hearth's URL and Prometheus'.
    pub urls: Option<(String, String)>,
}

/// Enough to meet every function some times.
const DEFAULT_QUERIES: usize = 2000;

impl Arguments {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments {
            seed: fastrand::u64(..),
            queries: DEFAULT_QUERIES,
            native: false,
            broken: false,
            query: None,
            urls: None,
        };
        let (mut hearth, mut prometheus) = (None, None);
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
            match word.as_str() {
                "--seed" => arguments.seed = number(value()?)?,
                "--queries" => arguments.queries = number(value()?)? as usize,
                "--native" => arguments.native = true,
                "--broken" => arguments.broken = true,
                "--query" => arguments.query = Some(value()?),
                "--hearth" => hearth = Some(value()?),
                "--prometheus" => prometheus = Some(value()?),
                _ => return Err(format!("{word:?} is not an argument")),
            }
        }
        arguments.urls = match (hearth, prometheus) {
            (Some(hearth), Some(prometheus)) => Some((hearth, prometheus)),
            (None, None) => None,
            _ => return Err("--hearth and --prometheus go together".to_string()),
        };
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Result<(u64, usize), &str>) {
        let read = Arguments::read(line.split_whitespace().map(String::from));
        assert_eq!(read.map(|a| (a.seed, a.queries)), expect.map_err(String::from));
    }

    #[test]
    fn arguments_are_read_strictly() {
        check("--seed 5 --queries 10", Ok((5, 10)));
        check("--seed 5", Ok((5, DEFAULT_QUERIES)));
        check("--seed", Err("--seed needs a value"));
        check("--seed 5 --hearth http://h", Err("--hearth and --prometheus go together"));
        check("--sed 5", Err("\"--sed\" is not an argument"));
    }
}

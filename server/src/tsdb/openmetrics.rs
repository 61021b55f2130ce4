//! A file in the OpenMetrics text format as a source of samples: read in parts, as often as asked.

use hearth_engine::moving::MovingError;
use hearth_engine::moving::backfill::Source;
use hearth_model::Labels;
use hearth_wire::config::Limits;
use hearth_wire::exposition::{Entry, Format, Parser, labels_of};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// What is read at once; a line is at most as long as the parser's limit, which is less.
const PART_BYTES: usize = 8 << 20;
/// Series whose labels are remembered from line to line.
const KNOWN_SERIES: usize = 1 << 20;
const END: &[u8] = b"# EOF\n";

/// See the module's head.
pub struct OpenMetrics {
    path: PathBuf,
    part_bytes: usize,
}

type Sink<'a> = dyn FnMut(&Labels, i64, f64) -> Result<(), MovingError> + 'a;

impl OpenMetrics {
    pub fn new(path: PathBuf) -> OpenMetrics {
        OpenMetrics { path, part_bytes: PART_BYTES }
    }

    fn refused(&self, line: usize, what: impl std::fmt::Display) -> MovingError {
        MovingError::Refused(format!("{}: line {line}: {what}", self.path.display()))
    }

    /// Reads a part that ends as a whole body does; `before` lines stand before it.
    fn part(
        &self,
        body: &[u8],
        before: usize,
        known: &mut HashMap<Box<[u8]>, Labels>,
        sink: &mut Sink<'_>,
    ) -> Result<(), MovingError> {
        let mut parser = Parser::new(Format::OpenMetrics, body, &Limits::default());
        loop {
            let entry = parser.next().map_err(|error| {
                let what = error.to_string();
                let what = what.split_once(": ").map_or(what.as_str(), |(_, what)| what);
                self.refused(before + error.line, what)
            })?;
            let line = match entry {
                Entry::Sample(line) => line,
                Entry::Eof => return Ok(()),
                _ => continue,
            };
            let place = || {
                let at = line.series.as_ptr().addr() - body.as_ptr().addr();
                before + 1 + body[..at].iter().filter(|byte| **byte == b'\n').count()
            };
            if !known.contains_key(line.series) {
                let labels = labels_of(line.series).map_err(|error| self.refused(place(), error))?;
                if known.len() >= KNOWN_SERIES {
                    known.clear();
                }
                known.insert(line.series.into(), labels);
            }
            let Some(time) = line.timestamp_ms else {
                let series = String::from_utf8_lossy(line.series);
                return Err(
                    self.refused(place(), format!("expected timestamp for series {series}, got none"))
                );
            };
            if let Some(labels) = known.get(line.series) {
                sink(labels, time, line.value)?;
            }
        }
    }
}

impl Source for OpenMetrics {
    fn each(&mut self, sink: &mut Sink<'_>) -> Result<(), MovingError> {
        let mut file = File::open(&self.path).map_err(MovingError::io(&self.path))?;
        let (mut known, mut buffer, mut lines) = (HashMap::new(), Vec::new(), 0);
        loop {
            let wanted = (self.part_bytes - buffer.len().min(self.part_bytes)) as u64 + 1;
            let read = file.by_ref().take(wanted).read_to_end(&mut buffer);
            if read.map_err(MovingError::io(&self.path))? < wanted as usize {
                return self.part(&buffer, lines, &mut known, sink);
            }
            // The last byte may be the file's last: the line that it ends stays.
            let Some(end) = buffer[..buffer.len() - 1].iter().rposition(|byte| *byte == b'\n') else {
                return Err(self.refused(lines + 1, format!("longer than {} bytes", self.part_bytes)));
            };
            let rest = buffer.split_off(end + 1);
            let count = buffer.iter().filter(|byte| **byte == b'\n').count();
            buffer.extend_from_slice(END);
            self.part(&buffer, lines, &mut known, sink)?;
            (buffer, lines) = (rest, lines + count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, part_bytes: usize) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        let mut source = OpenMetrics { path: file.path().to_owned(), part_bytes };
        let mut out = Vec::new();
        let name = file.path().display().to_string();
        let read = source.each(&mut |labels, time, value| {
            out.push(format!("{labels} {value} {time}"));
            Ok(())
        });
        read.map(|()| out).map_err(|error| error.to_string().replace(&name, "FILE"))
    }

    #[test]
    fn parts_of_any_length_are_the_whole() {
        let text =
            "# TYPE a counter\na_total{x=\"1\"} 1 1\na_total{x=\"2\"} 2.5 1.5\n# HELP b c\nb 3 -7\n# EOF\n";
        let expect = ["a_total{x=\"1\"} 1 1000", "a_total{x=\"2\"} 2.5 1500", "b 3 -7000"];
        for part_bytes in (24..120).step_by(7) {
            assert_eq!(read(text, part_bytes).expect("reads"), expect, "{part_bytes}");
        }
        assert_eq!(read("# EOF\n", 100), Ok(Vec::new()));
    }

    #[test]
    fn errors_name_the_line() {
        for part_bytes in [16, 1_000] {
            let check = |text: &str, expect: &str| assert_eq!(read(text, part_bytes), Err(expect.to_owned()));
            check("a 1 1\nb 2\n# EOF\n", "FILE: line 2: expected timestamp for series b, got none");
            check("a 1 1\nb x 1\n# EOF\n", "FILE: line 2: invalid float, found \"x\"");
            check("a 1 1\na 2 2\n", "FILE: line 3: expected # EOF at the end of the data, found the end");
            let behind = read("a 1 1\n# EOF\na 2 2\n", part_bytes).expect_err("is not the end");
            assert!(behind.contains("unexpected data after # EOF"), "{behind}");
        }
        assert_eq!(
            read("a 1 1\nlonger_than_a_part 2 2\n# EOF\n", 16),
            Err("FILE: line 2: longer than 16 bytes".to_owned())
        );
    }
}

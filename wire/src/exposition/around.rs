//! A page that has the shape of the one before but for some lines: what is as it was is read by comparing bytes, and
//! each other line for itself.
//!
//! 1. Values are read until something differs.
//! 2. The next line is looked up. Where it is a series from further on, those before it are absent; where it is none of
//!    the page, it is a stray, and the line behind it is looked at.
//! 3. A line that is as it was but for an exemplar is parsed, and the exemplar noted.
//! 4. Metadata must be the same, and in the same place: a page where they differ, or where series have changed places, is
//!    left to the parser.

use super::content_type::Format;
use super::parser::Parser;
use super::shape::{Readings, Shape};
use super::{Entry, ExemplarPart, SampleLine};
use crate::config::Limits;
use std::ops::Range;

/// How a page differs from a shape.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    /// Samples of the shape that the page has not, ascending.
    pub absent: Vec<u32>,
    /// Samples of the page that the shape has not.
    pub strays: Vec<Stray>,
    /// Exemplars of samples of the shape, by the sample's number, ascending.
    pub exemplars: Vec<(u32, Noted)>,
}

/// An exemplar.
#[derive(Debug, PartialEq)]
pub struct Noted {
    /// Where its labels stand in the body, as [`ExemplarPart::labels`].
    pub labels: Range<usize>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

impl Noted {
    fn of(body: &[u8], exemplar: &ExemplarPart<'_>) -> Noted {
        let start = exemplar.labels.as_ptr().addr() - body.as_ptr().addr();
        let labels = start..start + exemplar.labels.len();
        Noted { labels, value: exemplar.value, timestamp_ms: exemplar.timestamp_ms }
    }

    /// Of that body.
    pub fn part<'a>(&self, body: &'a [u8]) -> Option<ExemplarPart<'a>> {
        let labels = body.get(self.labels.clone())?;
        Some(ExemplarPart { labels, value: self.value, timestamp_ms: self.timestamp_ms })
    }
}

/// A sample that a shape has not.
#[derive(Debug, PartialEq)]
pub struct Stray {
    /// Where its series stands in the body.
    pub series: Range<usize>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
    pub exemplar: Option<Noted>,
    /// The metadata in force are those of this sample of the shape, or none yet.
    pub family_of: Option<u32>,
}

/// Where the walk is: before sample `next`, in the body at `at`.
struct Walk<'a, F> {
    shape: &'a Shape,
    format: Format,
    body: &'a [u8],
    find: F,
    most: usize,
    next: usize,
    at: usize,
    found: Differences,
}

impl Shape {
    /// As [`Shape::read`], for a page that differs in `most` lines at most; a sample that is absent has any value. `find`
    /// knows the number of each series of the shape. `None` where the page is another one: `into` then holds a part
    /// of it.
    pub fn read_around(
        &self,
        format: Format,
        body: &[u8],
        most: usize,
        find: impl FnMut(&[u8]) -> Option<usize>,
        into: &mut Readings<'_>,
    ) -> Option<Differences> {
        if body.is_empty() {
            return None;
        }
        into.values.reserve(self.len());
        into.times.reserve(if self.is_timed() { self.len() } else { 0 });
        let found = Differences::default();
        let mut walk = Walk { shape: self, format, body, find, most, next: 0, at: 0, found };
        loop {
            let (next, rest) = self.run(walk.next, &body[walk.at..], into);
            if next == self.len() && rest == self.tail() {
                return Some(walk.found);
            }
            (walk.next, walk.at) = (next, body.len() - rest.len());
            if walk.difference(into)? {
                return Some(walk.found);
            }
        }
    }
}

impl<'a, F: FnMut(&[u8]) -> Option<usize>> Walk<'a, F> {
    /// Steps over what differs, and reads the sample behind it; whether the page ends there.
    fn difference(&mut self, into: &mut Readings<'_>) -> Option<bool> {
        if self.next > 0 {
            self.body[self.at..].starts_with(b"\n").then_some(())?;
            self.at += 1;
        }
        let mut in_family = self.has_no_head(self.next);
        loop {
            let rest = &self.body[self.at..];
            if in_family && self.ends(rest) {
                self.skip_to(self.shape.len(), into)?;
                return Some(true);
            }
            if !in_family && rest.starts_with(self.shape.head(self.next)) {
                self.at += self.shape.head(self.next).len();
                in_family = true;
                continue;
            }
            if in_family
                && self.next < self.shape.len()
                && let Some(behind) = rest.strip_prefix(self.shape.lead(self.next))
            {
                let length = match self.shape.read_one(self.next, behind, into) {
                    Some(length) => length,
                    None => self.with_exemplar(into)?,
                };
                self.at = self.body.len() - behind.len() + length;
                self.next += 1;
                return Some(false);
            }
            if matches!(rest.first()?, b'#' | b'\n' | b' ' | b'\t') {
                // The rest of the family is absent.
                let family = (self.next + 1..self.shape.len()).find(|number| !self.has_no_head(*number))?;
                (in_family && rest.starts_with(self.shape.head(family))).then_some(())?;
                self.skip_to(family, into)?;
                in_family = false;
                continue;
            }
            self.line(in_family, into)?;
        }
    }

    /// The next sample's line, which has an exemplar; how much of it is behind the series.
    fn with_exemplar(&mut self, into: &mut Readings<'_>) -> Option<usize> {
        let sample = self.parse()?;
        let (exemplar, series) = (sample.exemplar?, self.shape.series_at(self.next));
        let plain = sample.series == series && sample.timestamp_ms.is_none() && !self.shape.is_timed();
        plain.then_some(())?;
        into.values.push(sample.value);
        self.found.exemplars.push((self.next as u32, Noted::of(self.body, &exemplar)));
        let length = memchr::memchr(b'\n', &self.body[self.at..])?;
        Some(length - series.len() - 1)
    }

    /// The sample that is the next line.
    fn parse(&self) -> Option<SampleLine<'a>> {
        let length = 1 + memchr::memchr(b'\n', &self.body[self.at..])?;
        let line = &self.body[self.at..self.at + length];
        let mut parser = Parser::new(self.format, line, &Limits::default());
        match parser.next() {
            Ok(Entry::Sample(sample)) if parser.offset() == length => Some(sample),
            _ => None,
        }
    }

    fn has_no_head(&self, number: usize) -> bool {
        number >= self.shape.len() || self.shape.head(number).is_empty()
    }

    /// Whether the page ends with this rest of it, the line break before it left out.
    fn ends(&self, rest: &[u8]) -> bool {
        self.shape.tail().strip_prefix(b"\n") == Some(rest)
            && (self.next + 1..self.shape.len()).all(|number| self.has_no_head(number))
    }

    /// A line that is not of the next sample.
    fn line(&mut self, in_family: bool, into: &mut Readings<'_>) -> Option<()> {
        let sample = self.parse()?;
        match (self.find)(sample.series) {
            Some(number) => {
                let plain = || (self.next + 1..=number).all(|number| self.has_no_head(number));
                (in_family && number > self.next && plain()).then_some(())?;
                self.skip_to(number, into)
            }
            None => {
                let start = sample.series.as_ptr().addr() - self.body.as_ptr().addr();
                let family_of = match in_family {
                    true => Some(self.next.min(self.shape.len().saturating_sub(1)) as u32),
                    false => self.next.checked_sub(1).map(|before| before as u32),
                };
                self.found.strays.push(Stray {
                    series: start..start + sample.series.len(),
                    value: sample.value,
                    timestamp_ms: sample.timestamp_ms,
                    exemplar: sample.exemplar.as_ref().map(|exemplar| Noted::of(self.body, exemplar)),
                    family_of,
                });
                self.at += 1 + memchr::memchr(b'\n', &self.body[self.at..])?;
                self.bounded()
            }
        }
    }

    fn skip_to(&mut self, number: usize, into: &mut Readings<'_>) -> Option<()> {
        self.found.absent.extend(self.next as u32..number as u32);
        self.bounded()?;
        into.values.resize(number, f64::NAN);
        if self.shape.is_timed() {
            into.times.resize(number, into.at_ms);
        }
        self.next = number;
        Some(())
    }

    fn bounded(&self) -> Option<()> {
        (self.found.absent.len() + self.found.strays.len() <= self.most).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# TYPE a counter\na 1\na{x=\"1\"} 2\na{x=\"2\"} 3\n# TYPE b gauge\nb 4\nb{y=\"1\"} 5\n";

    fn shape(format: Format, page: &str) -> (Shape, Vec<String>) {
        let mut series = Vec::new();
        let shape = Shape::of(format, page.as_bytes(), &Limits::default(), |entry| {
            if let Entry::Sample(line) = entry {
                series.push(String::from_utf8_lossy(line.series).into_owned());
            }
            true
        });
        (shape.expect("a shape"), series)
    }

    /// Values, `-` where a sample is absent, with their times where there are some; strays with the number of the sample
    /// whose family they are in; exemplars with that of their sample.
    fn read(format: Format, page: &str, body: &str, most: usize) -> Option<String> {
        let (shape, series) = shape(format, page);
        let find = |raw: &[u8]| series.iter().position(|series| series.as_bytes() == raw);
        let (mut values, mut times) = (Vec::new(), Vec::new());
        let mut into = Readings { values: &mut values, times: &mut times, at_ms: 7 };
        let found = shape.read_around(format, body.as_bytes(), most, find, &mut into)?;
        assert_eq!(
            (values.len(), times.len()),
            (shape.len(), if shape.is_timed() { shape.len() } else { 0 })
        );
        let time = |at: usize| times.get(at).map_or(String::new(), |time| format!("@{time}"));
        let mut words: Vec<_> =
            values.iter().enumerate().map(|(at, value)| format!("{value}{}", time(at))).collect();
        for absent in &found.absent {
            "-".clone_into(&mut words[*absent as usize]);
        }
        words.extend(found.strays.iter().map(|stray| {
            let family = stray.family_of.map_or("none".into(), |number| number.to_string());
            let time = stray.timestamp_ms.map_or(String::new(), |time| format!("@{time}"));
            let exemplar = stray.exemplar.as_ref().map_or(String::new(), |noted| print(body, noted));
            format!("{}={}{time}{exemplar} in {family}", &body[stray.series.clone()], stray.value)
        }));
        words.extend(found.exemplars.iter().map(|(number, noted)| format!("{number}{}", print(body, noted))));
        Some(words.join(" "))
    }

    fn print(body: &str, noted: &Noted) -> String {
        let part = noted.part(body.as_bytes()).expect("stands in the body");
        let time = part.timestamp_ms.map_or(String::new(), |time| format!("@{time}"));
        format!(":{}={}{time}", String::from_utf8_lossy(part.labels), part.value)
    }

    #[track_caller]
    fn check(from: &str, to: &str, expect: Option<&str>) {
        assert!(PAGE.contains(from), "{from}");
        let body = PAGE.replacen(from, to, 1);
        assert_eq!(read(Format::Text, PAGE, &body, 8).as_deref(), expect, "{body}");
    }

    #[test]
    fn lines_that_differ_are_told_apart() {
        check("a 1", "a 7", Some("7 2 3 4 5"));
        check("a{x=\"1\"} 2\n", "", Some("1 - 3 4 5"));
        check("a{x=\"1\"} 2\n", "a{x=\"3\"} 9\n", Some("1 - 3 4 5 a{x=\"3\"}=9 in 1"));
        check("a{x=\"1\"} 2\na{x=\"2\"} 3\n", "c 9\nd 8\n", Some("1 - - 4 5 c=9 in 1 d=8 in 1"));
        check("a 1\n", "", Some("- 2 3 4 5"));
        check("a 1\n", "c 9\na 1\n", Some("1 2 3 4 5 c=9 in 0"));
        check("# TYPE b", "c 9\n# TYPE b", Some("1 2 3 4 5 c=9 in 2"));
        check("b 4\n", "c 9\n", Some("1 2 3 - 5 c=9 in 3"));
        check("b{y=\"1\"} 5\n", "", Some("1 2 3 4 -"));
        check("b{y=\"1\"} 5\n", "c 9\n", Some("1 2 3 4 - c=9 in 4"));
        check("b{y=\"1\"} 5\n", "b{y=\"1\"} 5\nc 9\n", Some("1 2 3 4 5 c=9 in 4"));
        check("# TYPE a", "c 9\n# TYPE a", Some("1 2 3 4 5 c=9 in none"));
        check("a 1\n", "c 1 500\na 1\n", Some("1 2 3 4 5 c=1@500 in 0"));
    }

    #[test]
    fn times_are_read_where_samples_had_some() {
        let page = "a 1 500\na{x=\"1\"} 2\nb 3 600\n";
        let check = |body: &str, expect: Option<&str>| {
            assert_eq!(read(Format::Text, page, body, 8).as_deref(), expect, "{body}");
        };
        check("a 4 501\na{x=\"1\"} 5\nb 6 601\n", Some("4@501 5@7 6@601"));
        check("a 4 501\nb 6 601\n", Some("4@501 - 6@601"));
        check("a 4 501\nc 1 2\nd 3\nb 6 601\n", Some("4@501 - 6@601 c=1@2 in 1 d=3 in 1"));
        check("a 4\na{x=\"1\"} 5\nb 6 601\n", None);
        check("a 4 501\na{x=\"1\"} 5 501\nb 6 601\n", None);
        check("a 4 501\na{x=\"1\"} 5\nb 6 601 \n", None);
    }

    #[test]
    fn exemplars_come_and_go() {
        let page = "# TYPE a counter\na_total 1\na_total{x=\"1\"} 2\n# EOF\n";
        let check = |body: &str, expect: Option<&str>| {
            assert_eq!(read(Format::OpenMetrics, page, body, 8).as_deref(), expect, "{body}");
        };
        let head = "# TYPE a counter\n";
        check(
            &format!("{head}a_total 3 # {{t=\"u\"}} 0.5 1.5\na_total{{x=\"1\"}} 4 # {{}} 7\n# EOF\n"),
            Some("3 4 0:{t=\"u\"}=0.5@1500 1:{}=7"),
        );
        check(&format!("{head}a_total{{x=\"1\"}} 4 # {{t=\"u\"}} 7\n# EOF\n"), Some("- 4 1:{t=\"u\"}=7"));
        check(&format!("{head}a_total 3 5 # {{t=\"u\"}} 7\na_total{{x=\"1\"}} 4\n# EOF\n"), None);
        check(&format!("{head}a_total 3 # {{t=\"u\" 7\na_total{{x=\"1\"}} 4\n# EOF\n"), None);
        check(&format!("{head}a_total 3 # {{t=\"u\"}} x\na_total{{x=\"1\"}} 4\n# EOF\n"), None);
        // Another series than the one whose bytes it begins with.
        check(&format!("{head}a_total {{x=\"2\"}} 3 # {{t=\"u\"}} 7\n# EOF\n"), None);
    }

    #[test]
    fn what_differs_in_more_is_left_to_the_parser() {
        for (from, to) in [
            ("a{x=\"1\"} 2\na{x=\"2\"} 3\n", "a{x=\"2\"} 3\na{x=\"1\"} 2\n"),
            ("# TYPE b gauge", "# TYPE b counter"),
            ("# TYPE b gauge\nb 4\nb{y=\"1\"} 5\n", ""),
            ("b 4\n", "b 4\n# HELP b B.\n"),
            ("a 1\n", "a 1\na 1\n"),
            ("a 1\n", "a 1 500\n"),
            ("a 1\n", "a x\n"),
            ("a 1\n", "a  1\n"),
            ("a 1\n", "c{ 1\na 1\n"),
            ("a 1\n", "c  1 \na  1\n"),
            ("b{y=\"1\"} 5\n", "b{y=\"1\"} 5\nc 9"),
            ("b{y=\"1\"} 5\n", "b{y=\"1\"} 5\n\n"),
        ] {
            check(from, to, None);
        }
        let body = PAGE.replacen("a 1\n", "c 1\nd 1\n", 1);
        assert_eq!(read(Format::Text, PAGE, &body, 2), None);
        assert_eq!(read(Format::Text, PAGE, "", 8), None);
    }

    #[test]
    fn openmetrics_keeps_its_end() {
        let page = "# TYPE a gauge\na 1\na{x=\"1\"} 2\n# EOF\n";
        let check = |body: &str, expect: Option<&str>| {
            assert_eq!(read(Format::OpenMetrics, page, body, 8).as_deref(), expect, "{body}");
        };
        check("# TYPE a gauge\na 1\n# EOF\n", Some("1 -"));
        check("# TYPE a gauge\na 1\nc 2\n# EOF\n", Some("1 - c=2 in 1"));
        check("# TYPE a gauge\na 1\n", None);
        check("# TYPE a gauge\na 1\nc 2 # {t=\"u\"} 1\n# EOF\n", Some("1 - c=2:{t=\"u\"}=1 in 1"));
        check("# TYPE a gauge\na 1\nc 2 1.5\na{x=\"1\"} 2\n# EOF\n", Some("1 2 c=2@1500 in 1"));
        check("# TYPE a gauge\na 1\nc 2 # {t=\"u\" 1\n# EOF\n", None);
    }
}

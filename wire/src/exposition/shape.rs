//! What stays the same from one page of a target to the next: everything but the values. A page that has the shape of
//! the one before is read by comparing bytes, and nothing of it is parsed but its numbers.
//!
//! Only pages whose samples are a series, one blank, a value and a line break each have a shape. In the text format one
//! blank and the sample's time may stand behind the value, of the same samples each time. In OpenMetrics an exemplar
//! may, which is no part of the shape: it comes and goes, and its line is parsed ([`super::around`]).

use super::content_type::Format;
use super::parser::Parser;
use super::{Entry, SampleLine};
use crate::config::Limits;
use hearth_model::number::parse_float;
use std::ops::Range;

/// See the module's head. What [`Shape::read`] accepts, a [`Parser`] of the same format reads as the same samples.
#[derive(Debug, Default, PartialEq)]
pub struct Shape {
    /// What stands before each value, one piece after the other: the line break of the sample before, metadata, the
    /// series and its blank. Then what stands behind the last value.
    text: Vec<u8>,
    /// Where each piece ends within `text`.
    ends: Vec<u32>,
    /// Where its series begins.
    series: Vec<u32>,
    /// Whether a time stands behind its value; empty where none does.
    timed: Vec<bool>,
}

/// What is read of a page, in its order.
pub struct Readings<'a> {
    pub values: &'a mut Vec<f64>,
    /// The time of each sample where the shape has some; else empty.
    pub times: &'a mut Vec<i64>,
    /// The time of samples without one.
    pub at_ms: i64,
}

/// What stands behind a series and its blank.
#[derive(Clone, Copy)]
struct Reading {
    value: f64,
    time_ms: Option<i64>,
    length: usize,
}

/// Longer values are left to the parser, which knows the limit of a line.
const MAX_VALUE_BYTES: usize = 64;
/// No number of so many digits is too large for a time.
const MAX_TIME_DIGITS: usize = 18;

impl Shape {
    /// Of a page that parses; `None` where it has none. `each` gets every entry, in the order of the page, and may say
    /// that it does not want a shape of that.
    pub fn of(
        format: Format,
        body: &[u8],
        limits: &Limits,
        mut each: impl FnMut(&Entry<'_>) -> bool,
    ) -> Option<Shape> {
        let mut parser = Parser::new(format, body, limits);
        let (mut shape, mut from) = (Shape::default(), 0);
        if u32::try_from(body.len()).is_err() {
            return None;
        }
        loop {
            let entry = parser.next().ok()?;
            if entry == Entry::Eof {
                break;
            }
            if !each(&entry) {
                return None;
            }
            let Entry::Sample(line) = entry else { continue };
            let varies = varying_part(format, body, &line, parser.offset())?;
            shape.text.extend_from_slice(&body[from..varies.start]);
            shape.series.push((shape.text.len() - line.series.len() - 1) as u32);
            shape.ends.push(shape.text.len() as u32);
            shape.timed.push(line.timestamp_ms.is_some());
            from = varies.end;
        }
        shape.text.extend_from_slice(&body[from..]);
        if !shape.timed.contains(&true) {
            shape.timed = Vec::new();
        }
        shape.timed.shrink_to_fit();
        shape.text.shrink_to_fit();
        shape.ends.shrink_to_fit();
        shape.series.shrink_to_fit();
        Some(shape)
    }

    /// Samples of a page.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn size_bytes(&self) -> usize {
        self.text.capacity() + 4 * (self.ends.capacity() + self.series.capacity()) + self.timed.capacity()
    }

    /// The series of the page, as [`Parser`] gives them out.
    pub fn series(&self) -> impl Iterator<Item = &[u8]> {
        // The blank behind it is the piece's last byte.
        (0..self.len()).map(|number| self.series_at(number))
    }

    pub fn series_at(&self, number: usize) -> &[u8] {
        &self.text[self.series[number] as usize..self.ends[number] as usize - 1]
    }

    /// Whether samples have times.
    pub fn is_timed(&self) -> bool {
        !self.timed.is_empty()
    }

    /// Whether that sample has one.
    pub fn has_time(&self, number: usize) -> bool {
        self.timed.get(number) == Some(&true)
    }

    /// Reads a page of this shape without exemplars. False where it has another one, or is not valid: `into` then holds
    /// a part of it.
    pub fn read(&self, body: &[u8], into: &mut Readings<'_>) -> bool {
        let (reached, rest) = self.run(0, body, into);
        reached == self.len() && rest == self.tail()
    }

    /// Reads samples as long as all else is as it was, from sample `from` on, whose piece begins where the body does; to
    /// which sample it got, and the body from its piece on.
    pub(super) fn run<'a>(&self, from: usize, body: &'a [u8], into: &mut Readings<'_>) -> (usize, &'a [u8]) {
        match self.is_timed() {
            true => self.run_as::<true>(from, body, into),
            false => self.run_as::<false>(from, body, into),
        }
    }

    fn run_as<'a, const TIMED: bool>(
        &self,
        from: usize,
        body: &'a [u8],
        into: &mut Readings<'_>,
    ) -> (usize, &'a [u8]) {
        let (mut start, mut rest) = (self.start(from), body);
        for (number, &end) in self.ends.iter().enumerate().skip(from) {
            let piece = &self.text[start..end as usize];
            let Some(behind) = rest.strip_prefix(piece) else { return (number, rest) };
            let length = if TIMED {
                let Some(reading) = self.reading(number, behind) else { return (number, rest) };
                into.push(true, reading)
            } else {
                let Some((value, length)) = leading_value(behind) else { return (number, rest) };
                into.values.push(value);
                length
            };
            (start, rest) = (end as usize, &behind[length..]);
        }
        (self.len(), rest)
    }

    /// Reads that sample, whose series and blank stand before these bytes; its length.
    pub(super) fn read_one(&self, number: usize, behind: &[u8], into: &mut Readings<'_>) -> Option<usize> {
        self.reading(number, behind).map(|reading| into.push(self.is_timed(), reading))
    }

    #[inline]
    fn reading(&self, number: usize, behind: &[u8]) -> Option<Reading> {
        if self.has_time(number) {
            return timed_value(behind);
        }
        let (value, length) = leading_value(behind)?;
        Some(Reading { value, time_ms: None, length })
    }

    /// Where the piece of that sample begins.
    fn start(&self, number: usize) -> usize {
        number.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// What stands behind the last value.
    pub(super) fn tail(&self) -> &[u8] {
        &self.text[self.start(self.len())..]
    }

    /// What stands between the line of the sample before and that sample's series: metadata, mostly nothing.
    pub(super) fn head(&self, number: usize) -> &[u8] {
        &self.text[self.start(number) + usize::from(number > 0)..self.series[number] as usize]
    }

    /// The series of that sample and the blank behind it.
    pub(super) fn lead(&self, number: usize) -> &[u8] {
        &self.text[self.series[number] as usize..self.ends[number] as usize]
    }
}

impl Readings<'_> {
    #[inline(always)]
    fn push(&mut self, timed: bool, reading: Reading) -> usize {
        self.push_value_at(timed, reading.value, reading.time_ms.unwrap_or(self.at_ms));
        reading.length
    }

    #[inline(always)]
    pub(super) fn push_value(&mut self, timed: bool, value: f64) {
        self.push_value_at(timed, value, self.at_ms);
    }

    /// `timed`: the page has times.
    #[inline(always)]
    pub(super) fn push_value_at(&mut self, timed: bool, value: f64, time_ms: i64) {
        self.values.push(value);
        if timed {
            self.times.push(time_ms);
        }
    }
}

/// The part of a line, between the blank behind its series and the line break, that may be another one in the next
/// page: value, time and exemplar. The line ends before `end`; `None` where a shape cannot have it.
fn varying_part(format: Format, body: &[u8], line: &SampleLine<'_>, end: usize) -> Option<Range<usize>> {
    if line.exemplar.is_none() {
        return value_of(format, body, line, end);
    }
    let (start, part) = behind_series(body, line.series, end)?;
    let plain = line.timestamp_ms.is_none() && !part.starts_with(b" ");
    plain.then_some(start..start + part.len())
}

/// Where value and time of a line stand, a part of the body that ends before `end`; `None` where the line has more to it
/// than these and one blank each.
pub(super) fn value_of(
    format: Format,
    body: &[u8],
    line: &SampleLine<'_>,
    end: usize,
) -> Option<Range<usize>> {
    let (start, part) = behind_series(body, line.series, end)?;
    let length = match line.timestamp_ms {
        Some(_) if format == Format::Text => timed_value(part)?.length,
        // In seconds, with or without a fraction: left to the parser.
        Some(_) => return None,
        None => leading_value(part)?.1,
    };
    (length == part.len()).then_some(start..start + length)
}

/// What stands between the blank behind a series of the body and the line break, and where it begins.
fn behind_series<'a>(body: &'a [u8], series: &[u8], end: usize) -> Option<(usize, &'a [u8])> {
    let start = (series.as_ptr().addr() - body.as_ptr().addr()) + series.len() + 1;
    let line = body.get(start..end)?;
    (body[start - 1] == b' ').then_some((start, line.strip_suffix(b"\n").unwrap_or(line)))
}

/// The value and, behind a blank, the time in milliseconds that ends at the line break, or at the end of all.
#[inline(always)]
fn timed_value(bytes: &[u8]) -> Option<Reading> {
    let (value, time_at) = match leading_digits(bytes) {
        // Below 2^53, and so exact.
        (number, at @ 1..=15) if bytes.get(at) == Some(&b' ') => (number as f64, at + 1),
        _ => {
            let near = &bytes[..bytes.len().min(MAX_VALUE_BYTES + 1)];
            let at = near.iter().position(|byte| *byte == b' ')?;
            (parse_float(&near[..at]).ok()?, at + 1)
        }
    };
    let behind = &bytes[time_at..];
    let (time_ms, digits) = leading_digits(behind);
    let ends = matches!(behind.get(digits), None | Some(b'\n'));
    let whole = (1..=MAX_TIME_DIGITS).contains(&digits) && ends;
    whole.then_some(Reading { value, time_ms: Some(time_ms as i64), length: time_at + digits })
}

/// The number of the leading digits, where there are at most 19, and how many there are.
#[inline(always)]
fn leading_digits(bytes: &[u8]) -> (u64, usize) {
    let (mut number, mut at) = (0u64, 0);
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (number, at)
}

/// The number that ends at the line break, or at the end of all, and its length.
#[inline(always)]
pub(super) fn leading_value(bytes: &[u8]) -> Option<(f64, usize)> {
    // Digits alone are what most values are: a counter, a gauge of bytes.
    let (number, at) = leading_digits(bytes);
    // Below 2^53, and so exact.
    if (1..=15).contains(&at) && bytes.get(at) == Some(&b'\n') {
        return Some((number as f64, at));
    }
    any_value(bytes)
}

#[inline]
fn any_value(bytes: &[u8]) -> Option<(f64, usize)> {
    let near = &bytes[..bytes.len().min(MAX_VALUE_BYTES + 1)];
    let length = match near.iter().position(|byte| *byte == b'\n') {
        Some(length) => length,
        None if bytes.len() <= MAX_VALUE_BYTES => bytes.len(),
        None => return None,
    };
    Some((parse_float(&bytes[..length]).ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(format: Format, body: &str) -> Option<Shape> {
        Shape::of(format, body.as_bytes(), &Limits::default(), |_| true)
    }

    /// Values and times; samples without a time are of 7.
    fn read(shape: &Shape, body: &str) -> Option<(Vec<f64>, Vec<i64>)> {
        let (mut values, mut times) = (Vec::new(), Vec::new());
        let mut into = Readings { values: &mut values, times: &mut times, at_ms: 7 };
        shape.read(body.as_bytes(), &mut into).then_some((values, times))
    }

    /// The values of `body` by the shape of `first`.
    #[track_caller]
    fn check(first: &str, body: &str, expect: Option<&[f64]>) {
        let shape = shape(Format::Text, first).expect("a shape");
        let (values, _) = read(&shape, body).unzip();
        assert_eq!(values.as_deref(), expect, "{body:?}");
    }

    #[test]
    fn pages_of_one_shape_differ_in_values_alone() {
        let page = "# TYPE a counter\na{b=\"c\"} 1\nd 2.5\n\n# note\ne NaN\n";
        let with = |a: &str, d: &str| page.replace("} 1\n", &format!("}} {a}\n")).replace("2.5", d);
        let (values, _) =
            read(&shape(Format::Text, page).expect("a shape"), &with("7", "-1e3")).expect("reads");
        assert_eq!((&values[..2], values[2].is_nan()), (&[7.0, -1000.0][..], true));
        for (a, d) in
            [("", "1"), (" 1", "1"), ("1 ", "1"), ("1 1500", "1"), ("x", "1"), ("{} 1", "1"), ("1", "2\r")]
        {
            check(page, &with(a, d), None);
        }
        check(
            "a 1\nb 2\n",
            "a 0018446744073709551616\nb 999999999999999999\n",
            Some(&[18446744073709551616.0, 1e18]),
        );
        check("a 1\nb 2\n", "b 1\na 2\n", None);
        check("a 1\nb 2\n", "a 1\nb 2\nc 3\n", None);
        check("a 1\nb 2\n", "a 1\n", None);
        check("a 1\nb 2\n", "a 1\nb 2", None);
        check("a 1\nb 2", "a 3\nb -Inf", Some(&[3.0, f64::NEG_INFINITY]));
        check("a 1\n", &format!("a {}1\n", "0".repeat(100)), None);
    }

    #[test]
    fn times_stand_behind_the_same_samples() {
        let page = "a 1 1500\nb 2\nc 0.5 1600";
        let shape = shape(Format::Text, page).expect("a shape");
        let check = |body: &str, expect: Option<(&[f64], &[i64])>| {
            let got = read(&shape, body);
            assert_eq!(got.as_ref().map(|(values, times)| (&values[..], &times[..])), expect, "{body:?}");
        };
        check(page, Some((&[1.0, 2.0, 0.5], &[1500, 7, 1600])));
        check(
            "a -Inf 0\nb 1e3\nc 1 999999999999999999",
            Some((&[f64::NEG_INFINITY, 1e3, 1.0], &[0, 7, 999_999_999_999_999_999])),
        );
        for body in [
            "a 1\nb 2\nc 3 1600",
            "a 1 1500\nb 2 1500\nc 3 1600",
            "a 1  1500\nb 2\nc 3 1600",
            "a 1 -1500\nb 2\nc 3 1600",
            "a 1 1500 \nb 2\nc 3 1600",
            "a 1 15.0\nb 2\nc 3 1600",
            "a 1 1500\nb 2\nc 3 ",
            "a 1 1500\nb 2\nc 3 1000000000000000000",
            "a 1 1500\nb 2\nc x 1600",
        ] {
            check(body, None);
        }
    }

    #[test]
    fn an_exemplar_is_no_part_of_a_shape() {
        let with = shape(Format::OpenMetrics, "a_total 1 # {t=\"u\"} 1 5\nb 2\n# EOF\n").expect("a shape");
        assert_eq!(Some(&with), shape(Format::OpenMetrics, "a_total 1\nb 2\n# EOF\n").as_ref());
        assert_eq!(read(&with, "a_total 3\nb 4\n# EOF\n"), Some((vec![3.0, 4.0], vec![])));
    }

    #[test]
    fn a_shape_knows_its_series() {
        let shape = shape(Format::Text, "# HELP a b\na 1\nb{c=\"d\"} 2\n# x\n e 3\n").expect("a shape");
        assert_eq!(shape.series().collect::<Vec<_>>(), [&b"a"[..], b"b{c=\"d\"}", b"e"]);
    }

    #[test]
    fn what_says_more_than_values_has_no_shape() {
        for body in
            ["a 1  1500\n", "a 1 1500 \n", "a 1 -5\n", "a  1\n", "a 1 \n", "a\t1\n", "a 1\nb\n", "a{ 1\n"]
        {
            assert_eq!(shape(Format::Text, body), None, "{body:?}");
        }
        for line in ["a_total 1 1500", "a_total 1 1.5 # {t=\"u\"} 1", "a_total  1 # {t=\"u\"} 1"] {
            assert_eq!(shape(Format::OpenMetrics, &format!("{line}\n# EOF\n")), None, "{line}");
        }
        assert_eq!(shape(Format::OpenMetrics, "a 1\n"), None, "no end");
        assert_eq!(shape(Format::OpenMetrics, "a 1\n# EOF\n").map(|shape| shape.len()), Some(1));
        assert_eq!(
            Shape::of(
                Format::Text,
                b"a 1\nb 2\n",
                &Limits::default(),
                |entry| !matches!(entry, Entry::Sample(line) if *line.series == *b"b")
            ),
            None
        );
    }

    proptest! {
        /// Whatever stands in the place of values and times: what the shape accepts, the parser reads as the same
        /// samples.
        #[test]
        fn the_shape_reads_what_the_parser_reads(
            first in prop::collection::vec((0..6usize, "([-0-9.eE]{1,3}|[+-]?Inf|NaN|[0-9]{1,20})( [0-9]{1,20})?"), 1..8),
            second in prop::collection::vec("[-+0-9.eE_xInaf {}\t]{0,5}|[0-9]{1,25}( [0-9]{1,19})?", 8),
        ) {
            let series = ["a", "b{c=\"d\"}", "# HELP e f\ne", "\n{\"g h\"}", "i{j=\"k\\n\"}", "# x\n\nl:m"];
            let page = |values: &[String]| {
                let lines = first.iter().zip(values).map(|((at, _), value)| format!("{} {value}\n", series[*at]));
                lines.collect::<String>()
            };
            let values: Vec<String> = first.iter().map(|(_, value)| value.clone()).collect();
            let Some(shape) = shape(Format::Text, &page(&values)) else { return Ok(()) };
            let body = page(&second);
            let Some((values, times)) = read(&shape, &body) else { return Ok(()) };
            let (mut parser, mut parsed) = (Parser::new(Format::Text, body.as_bytes(), &Limits::default()), Vec::new());
            loop {
                match parser.next().expect("it parses") {
                    Entry::Eof => break,
                    Entry::Sample(line) => parsed.push((line.value.to_bits(), line.timestamp_ms.unwrap_or(7))),
                    _ => {}
                }
            }
            let times = if shape.is_timed() { times } else { vec![7; values.len()] };
            let read: Vec<_> = values.iter().map(|value| value.to_bits()).zip(times).collect();
            prop_assert_eq!(read, parsed);
        }
    }
}

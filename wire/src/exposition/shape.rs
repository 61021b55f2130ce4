//! What stays the same from one page of a target to the next: everything but the values. A page that has the shape of
//! the one before is read by comparing bytes, and nothing of it is parsed but its numbers.
//!
//! Only pages whose samples are a series, one blank, a value and a line break each have a shape; one with a timestamp
//! or an exemplar has none.

use super::Entry;
use super::content_type::Format;
use super::parser::Parser;
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
}

/// Longer values are left to the parser, which knows the limit of a line.
const MAX_VALUE_BYTES: usize = 64;

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
            let value = value_of(body, line.series, parser.offset())?;
            shape.text.extend_from_slice(&body[from..value.start]);
            shape.series.push((shape.text.len() - line.series.len() - 1) as u32);
            shape.ends.push(shape.text.len() as u32);
            from = value.end;
        }
        shape.text.extend_from_slice(&body[from..]);
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
        self.text.capacity() + 4 * (self.ends.capacity() + self.series.capacity())
    }

    /// The series of the page, as [`Parser`] gives them out.
    pub fn series(&self) -> impl Iterator<Item = &[u8]> {
        // The blank behind it is the piece's last byte.
        (0..self.len()).map(|number| self.series_at(number))
    }

    pub fn series_at(&self, number: usize) -> &[u8] {
        &self.text[self.series[number] as usize..self.ends[number] as usize - 1]
    }

    /// The values of a page of this shape, behind those that are in `values` already, in the order of the page. False
    /// where it has another one, or is not valid: `values` then holds some of them.
    pub fn read(&self, body: &[u8], values: &mut Vec<f64>) -> bool {
        values.reserve(self.ends.len());
        let (reached, rest) = self.run(0, body, values);
        reached == self.len() && rest == self.tail()
    }

    /// Reads values as long as all else is as it was, from sample `from` on, whose piece begins where the body does; to
    /// which sample it got, and the body from its piece on.
    pub(super) fn run<'a>(&self, from: usize, body: &'a [u8], values: &mut Vec<f64>) -> (usize, &'a [u8]) {
        let (mut start, mut rest) = (self.start(from), body);
        for (number, &end) in self.ends.iter().enumerate().skip(from) {
            let piece = &self.text[start..end as usize];
            let read = rest.strip_prefix(piece).and_then(|behind| Some((behind, leading_value(behind)?)));
            let Some((behind, (value, length))) = read else { return (number, rest) };
            values.push(value);
            (start, rest) = (end as usize, &behind[length..]);
        }
        (self.len(), rest)
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

/// Where the value of a line stands whose series, a part of the body, is followed by a blank, the value and the line
/// break before `end`, or the end of the body; `None` where the line has more to it.
pub(super) fn value_of(body: &[u8], series: &[u8], end: usize) -> Option<Range<usize>> {
    let start = (series.as_ptr().addr() - body.as_ptr().addr()) + series.len() + 1;
    let line = body.get(start..end)?;
    let value = line.strip_suffix(b"\n").unwrap_or(line);
    let plain =
        body[start - 1] == b' ' && leading_value(line).is_some_and(|(_, length)| length == value.len());
    plain.then_some(start..start + value.len())
}

/// The number that ends at the line break, or at the end of all, and its length.
#[inline(always)]
pub(super) fn leading_value(bytes: &[u8]) -> Option<(f64, usize)> {
    // Digits alone are what most values are: a counter, a gauge of bytes.
    let (mut number, mut at) = (0u64, 0);
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
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

    /// The values of `body` by the shape of `first`.
    #[track_caller]
    fn check(first: &str, body: &str, expect: Option<&[f64]>) {
        let shape = shape(Format::Text, first).expect("a shape");
        let mut values = Vec::new();
        let read = shape.read(body.as_bytes(), &mut values);
        assert_eq!(read.then_some(&values[..]), expect, "{body:?}");
    }

    #[test]
    fn pages_of_one_shape_differ_in_values_alone() {
        let page = "# TYPE a counter\na{b=\"c\"} 1\nd 2.5\n\n# note\ne NaN\n";
        let with = |a: &str, d: &str| page.replace("} 1\n", &format!("}} {a}\n")).replace("2.5", d);
        let mut values = Vec::new();
        assert!(shape(Format::Text, page).expect("a shape").read(with("7", "-1e3").as_bytes(), &mut values));
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
    fn a_shape_knows_its_series() {
        let shape = shape(Format::Text, "# HELP a b\na 1\nb{c=\"d\"} 2\n# x\n e 3\n").expect("a shape");
        assert_eq!(shape.series().collect::<Vec<_>>(), [&b"a"[..], b"b{c=\"d\"}", b"e"]);
    }

    #[test]
    fn what_says_more_than_values_has_no_shape() {
        for body in ["a 1 1500\n", "a  1\n", "a 1 \n", "a\t1\n", "a 1\nb\n", "a{ 1\n"] {
            assert_eq!(shape(Format::Text, body), None, "{body:?}");
        }
        assert_eq!(shape(Format::OpenMetrics, "a_total 1 # {t=\"u\"} 1\n# EOF\n"), None);
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
        /// Whatever stands in the place of the values: what the shape accepts, the parser reads as the same samples.
        #[test]
        fn the_shape_reads_what_the_parser_reads(
            first in prop::collection::vec((0..6usize, "[-0-9.eE]{1,3}|[+-]?Inf|NaN|[0-9]{1,20}"), 1..8),
            second in prop::collection::vec("[-+0-9.eE_xInaf {}\t]{0,5}|[0-9]{1,25}", 8),
        ) {
            let series = ["a", "b{c=\"d\"}", "# HELP e f\ne", "\n{\"g h\"}", "i{j=\"k\\n\"}", "# x\n\nl:m"];
            let page = |values: &[String]| {
                let lines = first.iter().zip(values).map(|((at, _), value)| format!("{} {value}\n", series[*at]));
                lines.collect::<String>()
            };
            let values: Vec<String> = first.iter().map(|(_, value)| value.clone()).collect();
            let Some(shape) = shape(Format::Text, &page(&values)) else { return Ok(()) };
            let (body, mut read) = (page(&second), Vec::new());
            if shape.read(body.as_bytes(), &mut read) {
                let (mut parser, mut parsed) = (Parser::new(Format::Text, body.as_bytes(), &Limits::default()), Vec::new());
                loop {
                    match parser.next().expect("it parses") {
                        Entry::Eof => break,
                        Entry::Sample(line) => {
                            prop_assert_eq!(line.timestamp_ms, None);
                            parsed.push(line.value.to_bits());
                        }
                        _ => {}
                    }
                }
                prop_assert_eq!(read.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), parsed);
            }
        }
    }
}

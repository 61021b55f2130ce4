//! RE2's dialect as Go's `regexp/syntax` reads it, parsed into the tree that the regex crates compile.
//!
//! The dialect of the regex crates differs in many small ways (what `\d` means, set operators inside
//! `[]`, more flags and escapes, other limits), and a pattern that is refused has to be refused in the
//! words a Prometheus user knows. So nothing is translated from text to text: this parser reads the
//! pattern itself and builds [`Hir`].
//!
//! Invariants: no recursion (open groups are a list, see [`Frame`]); every list has a limit; whatever
//! the input, the answer is a tree or an [`Error`].

mod class;
mod escape;

use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// Longest pattern, in bytes: an enumeration of ten thousand pods fits many times over.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Deepest nesting of a pattern's tree, as in Go. Later stages recurse over the tree and rely on it.
const MAX_DEPTH: u32 = 1000;
/// Largest count of one repetition, and of nested repetitions multiplied, as in Go.
const MAX_REPEAT: u32 = 1000;
/// Most nodes of a tree, a class counting one for each of its ranges: bounds memory and time before
/// anything is compiled.
const MAX_NODES: usize = 200_000;
/// Longest excerpt of a pattern in an error, in bytes.
const MAX_EXCERPT_BYTES: usize = 1_000;

/// What is wrong with a pattern, in RE2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    MissingParen,
    UnexpectedParen,
    MissingBracket,
    CharRange,
    Escape,
    TrailingBackslash,
    NestedRepetition,
    MissingArgument,
    RepeatCount,
    PerlSyntax,
    NamedCapture,
    Depth,
    Size,
}

impl Fault {
    fn text(self) -> &'static str {
        match self {
            Fault::MissingParen => "missing closing )",
            Fault::UnexpectedParen => "unexpected )",
            Fault::MissingBracket => "missing closing ]",
            Fault::CharRange => "invalid character class range",
            Fault::Escape => "invalid escape sequence",
            Fault::TrailingBackslash => "trailing backslash at end of expression",
            Fault::NestedRepetition => "invalid nested repetition operator",
            Fault::MissingArgument => "missing argument to repetition operator",
            Fault::RepeatCount => "invalid repeat count",
            Fault::PerlSyntax => "invalid or unsupported Perl syntax",
            Fault::NamedCapture => "invalid named capture",
            Fault::Depth => "expression nests too deeply",
            Fault::Size => "expression too large",
        }
    }
}

/// Why a pattern does not compile, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    fault: Fault,
    excerpt: String,
}

impl Error {
    pub(super) fn new(fault: Fault, excerpt: &str) -> Error {
        let cut = excerpt.floor_char_boundary(MAX_EXCERPT_BYTES);
        let mut text = excerpt[..cut].to_owned();
        if cut < excerpt.len() {
            text.push_str("...");
        }
        Error { fault, excerpt: text }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.fault.text(), self.excerpt)
    }
}

impl std::error::Error for Error {}

/// A pattern's tree, and the names of its groups (group 0 is the whole match).
#[derive(Debug)]
pub(super) struct Parsed {
    pub hir: Hir,
    pub groups: Vec<Option<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    non_greedy: bool,
}

/// A finished part of the tree.
struct Node {
    hir: Hir,
    height: u32,
    /// The smallest limit on multiplied repetitions that this part keeps.
    repeats: u32,
}

impl Node {
    fn leaf(hir: Hir) -> Node {
        Node { hir, height: 1, repeats: 0 }
    }
}

/// Parts that follow one another; `text` holds the plain characters since the last node.
#[derive(Default)]
struct Sequence {
    nodes: Vec<Node>,
    text: String,
}

impl Sequence {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.nodes.push(Node::leaf(Hir::literal(std::mem::take(&mut self.text).into_bytes())));
        }
    }

    fn push(&mut self, node: Node) {
        self.flush();
        self.nodes.push(node);
    }

    /// What a repetition operator repeats: the last character or node.
    fn pop(&mut self) -> Option<Node> {
        let Some(last) = self.text.pop() else { return self.nodes.pop() };
        self.flush();
        Some(Node::leaf(Hir::literal(last.to_string().into_bytes())))
    }

    fn finish(mut self) -> Node {
        self.flush();
        join(self.nodes, Hir::concat)
    }
}

/// One node from many, in sequence or as alternatives.
fn join(mut nodes: Vec<Node>, make: fn(Vec<Hir>) -> Hir) -> Node {
    match nodes.len() {
        0 => Node::leaf(Hir::empty()),
        1 => nodes.remove(0),
        _ => {
            let height = nodes.iter().map(|n| n.height).max().unwrap_or(0) + 1;
            let repeats = nodes.iter().map(|n| n.repeats).max().unwrap_or(0);
            Node { hir: make(nodes.into_iter().map(|n| n.hir).collect()), height, repeats }
        }
    }
}

/// An open group: what stands before its last `|`, and what follows.
struct Frame {
    /// The number of a capturing group.
    capture: Option<u32>,
    /// Flags to go back to where the group ends.
    outer: Flags,
    branches: Vec<Node>,
    sequence: Sequence,
}

impl Frame {
    fn open(capture: Option<u32>, outer: Flags) -> Frame {
        Frame { capture, outer, branches: Vec::new(), sequence: Sequence::default() }
    }

    fn close(mut self) -> Node {
        self.branches.push(self.sequence.finish());
        join(self.branches, Hir::alternation)
    }
}

struct Parser<'s> {
    source: &'s str,
    at: usize,
    flags: Flags,
    /// Groups around the open one, outermost first.
    outer: Vec<Frame>,
    open: Frame,
    groups: Vec<Option<String>>,
    nodes: usize,
    /// Where the repetition operator just before began.
    last_repeat: Option<usize>,
    /// Where the last `:]` stands, so that no `[:` searches the whole pattern for nothing.
    last_posix_end: usize,
    /// Unicode's classes that were named so far: each is searched for once.
    tables: HashMap<&'s str, Rc<ClassUnicode>>,
}

/// Reads a pattern. `dot_newline` is whether `.` matches a newline from the start.
pub(super) fn parse(source: &str, dot_newline: bool) -> Result<Parsed, Error> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error::new(Fault::Size, source));
    }
    let flags = Flags { dot_newline, ..Flags::default() };
    let mut parser = Parser {
        source,
        at: 0,
        flags,
        outer: Vec::new(),
        open: Frame::open(None, flags),
        groups: vec![None],
        nodes: 0,
        last_repeat: None,
        last_posix_end: source.rfind(":]").unwrap_or(0),
        tables: HashMap::new(),
    };
    while parser.at < source.len() {
        let repeat = parser.step()?;
        parser.last_repeat = repeat;
        if parser.nodes > MAX_NODES {
            return Err(Error::new(Fault::Size, source));
        }
    }
    if !parser.outer.is_empty() {
        return Err(Error::new(Fault::MissingParen, source));
    }
    let node = parser.open.close();
    if node.height > MAX_DEPTH {
        return Err(Error::new(Fault::Depth, source));
    }
    Ok(Parsed { hir: node.hir, groups: parser.groups })
}

impl<'s> Parser<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Skips `text` if it comes next.
    fn skip(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// A fault whose excerpt reaches from `from` to here.
    fn fault(&self, fault: Fault, from: usize) -> Error {
        Error::new(fault, &self.source[from..self.at])
    }

    fn push(&mut self, hir: Hir) {
        self.nodes += 1;
        self.open.sequence.push(Node::leaf(hir));
    }

    fn push_class(&mut self, class: ClassUnicode) {
        self.nodes += class.ranges().len();
        self.push(Hir::class(Class::Unicode(class)));
    }

    /// Reads one element; returns where it began when it was a repetition operator.
    fn step(&mut self) -> Result<Option<usize>, Error> {
        let start = self.at;
        let Some(c) = self.take() else { return Ok(None) };
        match c {
            '(' => self.open_group(start)?,
            ')' => self.close_group()?,
            '|' => {
                self.nodes += 1;
                let done = std::mem::take(&mut self.open.sequence).finish();
                self.open.branches.push(done);
            }
            '^' => self.push(Hir::look(if self.flags.multi_line { Look::StartLF } else { Look::Start })),
            '$' => self.push(Hir::look(if self.flags.multi_line { Look::EndLF } else { Look::End })),
            '.' => self.push_class(any(self.flags.dot_newline)),
            '[' => {
                let class = self.parse_class(start)?;
                self.push_class(class);
            }
            '\\' => self.parse_backslash(start)?,
            '*' | '+' | '?' => {
                let (min, max) = match c {
                    '*' => (0, None),
                    '+' => (1, None),
                    _ => (0, Some(1)),
                };
                return self.repeat(start, min, max, false);
            }
            '{' => match self.repeat_bounds() {
                Some((min, max)) => return self.counted_repeat(start, min, max),
                None => self.literal('{' as u32),
            },
            c => self.literal(c as u32),
        }
        Ok(None)
    }

    /// A plain character. A surrogate, which only an escape can write, is in no valid text.
    fn literal(&mut self, code: u32) {
        let Some(c) = char::from_u32(code) else { return self.push(Hir::fail()) };
        if self.flags.fold_case && (c.is_ascii_alphabetic() || !c.is_ascii()) {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            fold(&mut class);
            if class.ranges().len() > 1 {
                return self.push_class(class);
            }
        }
        self.open.sequence.text.push(c);
    }

    fn open_group(&mut self, start: usize) -> Result<(), Error> {
        if self.outer.len() >= MAX_DEPTH as usize {
            return Err(Error::new(Fault::Depth, self.source));
        }
        if self.peek() == Some('?') {
            return self.parse_perl_group(start);
        }
        self.open_frame(true, None, self.flags);
        Ok(())
    }

    fn open_frame(&mut self, captures: bool, name: Option<String>, inner: Flags) {
        let capture = captures.then_some(self.groups.len() as u32);
        if captures {
            self.groups.push(name);
        }
        let frame = Frame::open(capture, self.flags);
        self.flags = inner;
        self.outer.push(std::mem::replace(&mut self.open, frame));
    }

    fn close_group(&mut self) -> Result<(), Error> {
        let Some(around) = self.outer.pop() else {
            return Err(Error::new(Fault::UnexpectedParen, self.source));
        };
        let frame = std::mem::replace(&mut self.open, around);
        let (capture, outer) = (frame.capture, frame.outer);
        let mut node = frame.close();
        self.flags = outer;
        self.nodes += 1;
        if let Some(index) = capture {
            // Numbered only: names may repeat, and are kept beside the tree.
            node.hir = Hir::capture(Capture { index, name: None, sub: Box::new(node.hir) });
            node.height += 1;
        }
        if node.height > MAX_DEPTH {
            return Err(Error::new(Fault::Depth, self.source));
        }
        self.open.sequence.push(node);
        Ok(())
    }

    fn counted_repeat(&mut self, start: usize, min: u32, max: Option<u32>) -> Result<Option<usize>, Error> {
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || min > max) {
            return Err(self.fault(Fault::RepeatCount, start));
        }
        self.repeat(start, min, max, true)
    }

    fn repeat(
        &mut self,
        start: usize,
        min: u32,
        max: Option<u32>,
        counted: bool,
    ) -> Result<Option<usize>, Error> {
        let lazy = self.skip("?");
        if let Some(last) = self.last_repeat {
            return Err(self.fault(Fault::NestedRepetition, last));
        }
        let Some(sub) = self.open.sequence.pop() else {
            return Err(self.fault(Fault::MissingArgument, start));
        };
        let mut repeats = sub.repeats;
        if counted {
            let times = max.unwrap_or(min);
            repeats = match max {
                Some(0) => 0,
                _ => times.max(times.max(1).saturating_mul(sub.repeats)),
            };
            if times >= 2 && repeats > MAX_REPEAT {
                return Err(self.fault(Fault::RepeatCount, start));
            }
        }
        let greedy = lazy == self.flags.non_greedy;
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(sub.hir) });
        self.nodes += 1;
        let height = sub.height + 1;
        if height > MAX_DEPTH {
            return Err(Error::new(Fault::Depth, self.source));
        }
        self.open.sequence.push(Node { hir, height, repeats });
        Ok(Some(start))
    }
}

/// Every character, or every one but the newline.
fn any(newline: bool) -> ClassUnicode {
    if newline {
        return ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]);
    }
    let (before, after) = ('\u{9}', '\u{b}');
    ClassUnicode::new([ClassUnicodeRange::new('\0', before), ClassUnicodeRange::new(after, char::MAX)])
}

/// Adds every character that differs only in case.
fn fold(class: &mut ClassUnicode) {
    // Fails only where the tables are compiled out, and then no letter has another case.
    let _ = class.try_case_fold_simple();
}

#[cfg(test)]
mod tests;

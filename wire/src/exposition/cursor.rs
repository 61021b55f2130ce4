//! A position in a body, and the tokens both formats share. Every method moves forward or fails; none
//! looks at a byte twice without need.

use super::error::ParseError;

/// What a byte may be part of.
const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        class[byte] = match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER,
            b':' => COLON,
            b'0'..=b'9' => DIGIT,
            b' ' | b'\t' => BLANK,
            _ => 0,
        };
        byte += 1;
    }
    class
};
const LETTER: u8 = 1;
const COLON: u8 = 2;
const DIGIT: u8 = 4;
const BLANK: u8 = 8;

#[inline(always)]
fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub body: &'a [u8],
    pub at: usize,
    /// The whole body is known to be valid UTF-8, so no part of it needs a check of its own.
    pub all_utf8: bool,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        &self.body[self.at..]
    }

    #[inline(always)]
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.body[start..self.at]
    }

    #[inline(always)]
    pub fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// An error about what stands at the cursor, up to the end of its line.
    #[cold]
    pub fn expected(&self, what: &'static str) -> ParseError {
        let rest = self.rest();
        let line = memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..=end]);
        ParseError::at(self.body, self.at, what, line)
    }

    /// An error about what has been read since `start`.
    #[cold]
    pub fn wrong(&self, start: usize, what: &'static str) -> ParseError {
        ParseError::at(self.body, start, what, self.since(start))
    }

    #[inline(always)]
    pub fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|b| is(b, BLANK)) {
            self.at += 1;
        }
    }

    /// Steps over `[a-zA-Z_][a-zA-Z0-9_]*`; false where none starts here.
    #[inline(always)]
    pub fn label_name(&mut self) -> bool {
        self.name(LETTER)
    }

    /// Steps over `[a-zA-Z_:][a-zA-Z0-9_:]*`; false where none starts here.
    #[inline(always)]
    pub fn metric_name(&mut self) -> bool {
        self.name(LETTER | COLON)
    }

    #[inline(always)]
    fn name(&mut self, first: u8) -> bool {
        if !self.peek().is_some_and(|b| is(b, first)) {
            return false;
        }
        self.at += 1;
        while self.peek().is_some_and(|b| is(b, first | DIGIT)) {
            self.at += 1;
        }
        true
    }

    /// Steps over digits.
    pub fn digits(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|b| is(b, DIGIT)) {
            self.at += 1;
        }
        self.since(start)
    }

    /// Steps over a text in double quotes; false where it is not closed, the cursor then stays. A
    /// backslash takes the next byte with it, but for a line break.
    #[inline(always)]
    pub fn quoted(&mut self, line_breaks: bool) -> bool {
        debug_assert_eq!(self.peek(), Some(b'"'));
        let mut at = self.at + 1;
        loop {
            at += plain_run(&self.body[at..]);
            match self.body.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return true;
                }
                Some(b'\\') if self.body.get(at + 1).is_some_and(|&b| b != b'\n') => at += 2,
                Some(b'\n') if line_breaks => at += 1,
                _ => return false,
            }
        }
    }

    /// Steps over what is not one of `ends`, nor a line break.
    #[inline(always)]
    pub fn until(&mut self, ends: &[u8]) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|b| b != b'\n' && !ends.contains(&b)) {
            self.at += 1;
        }
        self.since(start)
    }

    /// Steps over the rest of the line, its line break left out; false where there is no line break.
    pub fn line_rest(&mut self) -> (&'a [u8], bool) {
        let rest = self.rest();
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.at += end;
                (&rest[..end], true)
            }
            None => {
                self.at = self.body.len();
                (rest, false)
            }
        }
    }

    /// As text, or an error that says `what`.
    #[inline(always)]
    pub fn text(&self, part: &'a [u8], start: usize, what: &'static str) -> Result<&'a str, ParseError> {
        std::str::from_utf8(part).map_err(|_| self.wrong(start, what))
    }
}

/// Bytes before the first `"`, `\` or line break: eight at a time, with the zero-byte test on words.
#[inline(always)]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // The lowest mark is exact; marks above it may be false, and are not looked at.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let marks = zero(word ^ (ONES * b'"' as u64))
            | zero(word ^ (ONES * b'\\' as u64))
            | zero(word ^ (ONES * b'\n' as u64));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|b| !matches!(b, b'"' | b'\\' | b'\n')).count()
}

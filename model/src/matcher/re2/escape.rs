//! What follows a backslash, a `(?` or a `{`.

use super::{Error, Fault, Flags, Parser};
use regex_syntax::hir::{Hir, Look};

impl Parser<'_> {
    /// An element that starts with a backslash, which has been read.
    pub(super) fn parse_backslash(&mut self, start: usize) -> Result<(), Error> {
        let look = match self.peek() {
            Some('A') => Some(Look::Start),
            Some('z') => Some(Look::End),
            Some('b') => Some(Look::WordAscii),
            Some('B') => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.at += 1;
            self.push(Hir::look(look));
            return Ok(());
        }
        if self.skip("C") {
            return Err(self.fault(Fault::Escape, start));
        }
        if self.skip("Q") {
            self.quoted();
            return Ok(());
        }
        if let Some(class) = self.parse_group_escape(start)? {
            self.push_class(class);
            return Ok(());
        }
        let code = self.parse_escape(start)?;
        self.literal(code);
        Ok(())
    }

    /// Characters as they are, up to `\E` or the end.
    fn quoted(&mut self) {
        let rest = self.rest();
        let (text, length) = match rest.split_once("\\E") {
            Some((text, _)) => (text, text.len() + 2),
            None => (rest, rest.len()),
        };
        for c in text.chars() {
            self.literal(c as u32);
        }
        self.at += length;
    }

    /// The code point that an escape stands for; its backslash has been read.
    pub(super) fn parse_escape(&mut self, start: usize) -> Result<u32, Error> {
        let Some(c) = self.take() else {
            return Err(Error::new(Fault::TrailingBackslash, ""));
        };
        let code = match c {
            '0' => Some(self.octal(0)),
            '1'..='7' if self.peek().is_some_and(|c| c.is_digit(8)) => Some(self.octal(c as u32 - 0x30)),
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c as u32),
            _ => None,
        };
        code.ok_or_else(|| self.fault(Fault::Escape, start))
    }

    /// Up to two more octal digits.
    fn octal(&mut self, first: u32) -> u32 {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.at += 1;
        }
        code
    }

    /// Two hexadecimal digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        if !self.skip("{") {
            let (high, low) = (self.take(), self.take());
            return Some(high?.to_digit(16)? * 16 + low?.to_digit(16)?);
        }
        let mut code = None;
        loop {
            match self.take()? {
                '}' => return code,
                c => {
                    let value = code.unwrap_or(0) * 16 + c.to_digit(16)?;
                    if value > char::MAX as u32 {
                        return None;
                    }
                    code = Some(value);
                }
            }
        }
    }

    /// A group that starts with `(?`, of which `(` has been read: a name, or flags.
    pub(super) fn parse_perl_group(&mut self, start: usize) -> Result<(), Error> {
        let rest = &self.source[start..];
        let named = (rest.len() > 4 && rest.starts_with("(?P<")).then_some(4);
        let named = named.or((rest.len() > 3 && rest.starts_with("(?<")).then_some(3));
        match named {
            Some(prefix) => self.parse_named_group(start, prefix),
            None => self.parse_flags(start),
        }
    }

    fn parse_named_group(&mut self, start: usize, prefix: usize) -> Result<(), Error> {
        let rest = &self.source[start..];
        let Some(end) = rest.find('>') else {
            return Err(Error::new(Fault::NamedCapture, rest));
        };
        let name = &rest[prefix..end];
        self.at = start + end + 1;
        if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
            return Err(self.fault(Fault::NamedCapture, start));
        }
        self.open_frame(true, Some(name.to_owned()), self.flags);
        Ok(())
    }

    fn parse_flags(&mut self, start: usize) -> Result<(), Error> {
        self.at = start + 2;
        let mut flags = self.flags;
        let (mut value, mut seen) = (true, false);
        while let Some(c) = self.take() {
            match c {
                'i' => flags.fold_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                'U' => flags.non_greedy = value,
                '-' if value => {
                    (value, seen) = (false, false);
                    continue;
                }
                ':' | ')' if value || seen => {
                    self.enter_flags(c == ':', flags);
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        Err(self.fault(Fault::PerlSyntax, start))
    }

    fn enter_flags(&mut self, group: bool, flags: Flags) {
        if group {
            self.open_frame(false, None, flags);
        } else {
            self.flags = flags;
        }
    }

    /// The bounds of `{n}`, `{n,}` or `{n,m}`, of which `{` has been read. Anything else is no repetition,
    /// and the brace stands for itself.
    pub(super) fn repeat_bounds(&mut self) -> Option<(u32, Option<u32>)> {
        let start = self.at;
        let bounds = self.try_repeat_bounds();
        if bounds.is_none() {
            self.at = start;
        }
        bounds
    }

    fn try_repeat_bounds(&mut self) -> Option<(u32, Option<u32>)> {
        let min = self.number()?;
        if self.skip("}") {
            return Some((min, Some(min)));
        }
        if !self.skip(",") {
            return None;
        }
        if self.skip("}") {
            return Some((min, None));
        }
        let max = self.number()?;
        self.skip("}").then_some((min, Some(max)))
    }

    /// A decimal number without leading zeros; one that is too large for its type is too large for
    /// every limit, and becomes the largest.
    fn number(&mut self) -> Option<u32> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let text = &self.rest()[..digits];
        if digits == 0 || (digits > 1 && text.starts_with('0')) {
            return None;
        }
        self.at += digits;
        Some(text.parse().unwrap_or(u32::MAX))
    }
}

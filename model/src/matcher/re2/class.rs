//! Character classes: brackets, Perl's and POSIX' names (ASCII only), and Unicode's.

use super::{Error, Fault, Parser, any, fold};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};
use std::collections::HashSet;
use std::rc::Rc;

/// Unicode's general categories, as they may be named.
pub(super) const CATEGORIES: &str = "C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps \
    S Sc Sk Sm So Z Zl Zp Zs";

/// Unicode's scripts, as they may be named: exactly so, unlike in the regex crates.
pub(super) const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali \
    Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian \
    Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret \
    Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Garay \
    Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Gurung_Khema Han Hangul \
    Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi \
    Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi \
    Khitan_Small_Script Khmer Khojki Khudawadi Kirat_Rai Lao Latin Lepcha Limbu Linear_A Linear_B \
    Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi \
    Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian \
    Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu \
    Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Ol_Onal Old_Hungarian Old_Italic Old_North_Arabian \
    Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya \
    Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan \
    Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese \
    Sunuwar Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut \
    Telugu Thaana Thai Tibetan Tifinagh Tirhuta Todhri Toto Tulu_Tigalari Ugaritic Vai Vithkuqi \
    Wancho Warang_Citi Yezidi Yi Zanabazar_Square";

/// A class that is named rather than listed.
struct Named {
    class: Rc<ClassUnicode>,
    negated: bool,
}

fn ascii(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(from, to)| ClassUnicodeRange::new(from, to)))
}

/// `\d`, `\s`, `\w` by their letter.
fn perl_class(letter: char) -> Option<ClassUnicode> {
    Some(match letter {
        'd' => ascii(&[('0', '9')]),
        's' => ascii(&[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')]),
        'w' => ascii(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        _ => return None,
    })
}

fn posix_class(name: &str) -> Option<ClassUnicode> {
    Some(match name {
        "alnum" => ascii(&[('0', '9'), ('A', 'Z'), ('a', 'z')]),
        "alpha" => ascii(&[('A', 'Z'), ('a', 'z')]),
        "ascii" => ascii(&[('\0', '\u{7f}')]),
        "blank" => ascii(&[('\t', '\t'), (' ', ' ')]),
        "cntrl" => ascii(&[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
        "digit" => ascii(&[('0', '9')]),
        "graph" => ascii(&[('!', '~')]),
        "lower" => ascii(&[('a', 'z')]),
        "print" => ascii(&[(' ', '~')]),
        "punct" => ascii(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
        "space" => ascii(&[('\t', '\r'), (' ', ' ')]),
        "upper" => ascii(&[('A', 'Z')]),
        "word" => ascii(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        "xdigit" => ascii(&[('0', '9'), ('A', 'F'), ('a', 'f')]),
        _ => return None,
    })
}

/// The characters of a category or script.
fn unicode_class(name: &str) -> Option<ClassUnicode> {
    let pattern = match name {
        "Any" => return Some(any(true)),
        // No valid text holds a surrogate.
        "Cs" => return Some(ClassUnicode::empty()),
        // A name has no space in it, or it would find two neighbours.
        name if name.contains(' ') || name.is_empty() => return None,
        name if CATEGORIES.split(' ').any(|known| known == name) => format!(r"\p{{gc={name}}}"),
        name if SCRIPTS.split(' ').any(|known| known == name) => format!(r"\p{{sc={name}}}"),
        _ => return None,
    };
    match regex_syntax::parse(&pattern).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A class of one character comes as its text.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(ClassUnicode::new(text.chars().map(|c| ClassUnicodeRange::new(c, c))))
        }
        _ => None,
    }
}

impl Named {
    /// The class itself; case is folded before it is negated.
    fn resolve(self, fold_case: bool) -> ClassUnicode {
        let mut class = Rc::unwrap_or_clone(self.class);
        if fold_case {
            fold(&mut class);
        }
        if self.negated {
            class.negate();
        }
        class
    }
}

/// The members of a bracket expression while it is read.
#[derive(Default)]
struct Members<'s> {
    listed: Vec<ClassUnicodeRange>,
    named: Vec<ClassUnicodeRange>,
    /// Named classes that are in already, as they were written: each is large, and counts once.
    seen: HashSet<&'s str>,
}

impl<'s> Parser<'s> {
    /// A bracket expression, of which `[` has been read.
    pub(super) fn parse_class(&mut self, start: usize) -> Result<ClassUnicode, Error> {
        let negated = self.skip("^");
        let mut members: Members<'s> = Members::default();
        let mut first = true;
        loop {
            if !first && self.skip("]") {
                break;
            }
            first = false;
            let item = self.at;
            if let Some(named) = self.named_member(item)? {
                if members.seen.insert(&self.source[item..self.at]) {
                    let class = named.resolve(self.flags.fold_case);
                    members.named.extend_from_slice(class.ranges());
                }
                continue;
            }
            members.listed.extend(self.parse_range(start, item)?);
        }
        let mut class = ClassUnicode::new(members.listed);
        if self.flags.fold_case {
            fold(&mut class);
        }
        class.union(&ClassUnicode::new(members.named));
        if negated {
            class.negate();
        }
        Ok(class)
    }

    fn named_member(&mut self, start: usize) -> Result<Option<Named>, Error> {
        if self.rest().starts_with("[:") {
            return self.parse_posix(start);
        }
        if self.skip("\\") {
            let named = self.parse_named_escape(start)?;
            if named.is_none() {
                self.at = start;
            }
            return Ok(named);
        }
        Ok(None)
    }

    /// `[:alpha:]` or `[:^alpha:]`; without its end, the bracket stands for itself.
    fn parse_posix(&mut self, start: usize) -> Result<Option<Named>, Error> {
        if self.last_posix_end < start + 2 {
            return Ok(None);
        }
        let Some(length) = self.rest()[2..].find(":]") else { return Ok(None) };
        let name = &self.rest()[2..2 + length];
        self.at += length + 4;
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (true, name),
            None => (false, name),
        };
        let class = posix_class(name).ok_or_else(|| self.fault(Fault::CharRange, start))?;
        Ok(Some(Named { class: Rc::new(class), negated }))
    }

    /// One character, or a range of them; `None` where it holds nothing but surrogates.
    fn parse_range(&mut self, class: usize, start: usize) -> Result<Option<ClassUnicodeRange>, Error> {
        let from = self.parse_member(class)?;
        let mut to = from;
        let ahead = self.rest().as_bytes();
        if ahead.len() >= 2 && ahead[0] == b'-' && ahead[1] != b']' {
            self.at += 1;
            to = self.parse_member(class)?;
            if to < from {
                return Err(self.fault(Fault::CharRange, start));
            }
        }
        // Ends that are surrogates move to the nearest character inside the range.
        let from = char::from_u32(from).unwrap_or('\u{e000}');
        let to = char::from_u32(to).unwrap_or('\u{d7ff}');
        Ok((from <= to).then(|| ClassUnicodeRange::new(from, to)))
    }

    fn parse_member(&mut self, class: usize) -> Result<u32, Error> {
        let start = self.at;
        match self.take() {
            None => Err(self.fault(Fault::MissingBracket, class)),
            Some('\\') => self.parse_escape(start),
            Some(c) => Ok(c as u32),
        }
    }

    /// A class such as `\d` or `\pL`, outside of brackets; its backslash has been read.
    pub(super) fn parse_group_escape(&mut self, start: usize) -> Result<Option<ClassUnicode>, Error> {
        let named = self.parse_named_escape(start)?;
        Ok(named.map(|named| named.resolve(self.flags.fold_case)))
    }

    fn parse_named_escape(&mut self, start: usize) -> Result<Option<Named>, Error> {
        let Some(letter) = self.peek() else { return Ok(None) };
        if letter == 'p' || letter == 'P' {
            self.at += 1;
            return self.parse_unicode(start, letter == 'P').map(Some);
        }
        let Some(class) = perl_class(letter.to_ascii_lowercase()) else { return Ok(None) };
        self.at += 1;
        Ok(Some(Named { class: Rc::new(class), negated: letter.is_ascii_uppercase() }))
    }

    /// `\pN`, `\p{Greek}`, `\p{^Greek}`, of which `\p` has been read.
    fn parse_unicode(&mut self, start: usize, mut negated: bool) -> Result<Named, Error> {
        let begin = self.at;
        let source: &'s str = self.source;
        let name = if self.skip("{") {
            let Some(length) = self.rest().find('}') else {
                self.at = self.source.len();
                return Err(self.fault(Fault::CharRange, start));
            };
            self.at += length + 1;
            &source[begin + 1..self.at - 1]
        } else {
            let _ = self.take();
            &source[begin..self.at]
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                negated = !negated;
                name
            }
            None => name,
        };
        if let Some(class) = self.tables.get(name) {
            return Ok(Named { class: class.clone(), negated });
        }
        let class = unicode_class(name).ok_or_else(|| self.fault(Fault::CharRange, start))?;
        let class = Rc::new(class);
        self.tables.insert(name, class.clone());
        Ok(Named { class, negated })
    }
}

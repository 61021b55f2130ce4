//! Plain words inside a pattern's tree.
//!
//! * [`Words`]: the whole pattern is words and gaps (`a|b`, `foo.*`, `.*(foo|bar).+`): matched by comparing
//!   strings alone.
//! * [`Hints`]: words that a matching value must start with, end with and contain, whatever the rest says.
//!
//! All recursion here is over a tree whose depth the parser has bounded.

use super::regex::Shape;
use hashbrown::HashTable;
use memchr::memmem::Finder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Most values that a part which does not list them (`a[bc]d`, `(a|b)(c|d)`) is expanded into: as
/// Prometheus has it.
const MAX_EXPANDED: usize = 256;
/// Most bytes of all values that a pattern does not list, each with its overhead: bounds the memory and
/// the time of an analysis, whatever the pattern.
const MAX_EXPANDED_BYTES: usize = 1 << 20;
const WAY_BYTES: usize = 64;
/// A hint is about so long at most: a longer one rules out nothing more, and costs.
const MAX_HINT_BYTES: usize = 256;
/// From so many values on, a set is looked up by hash.
const MIN_HASHED: usize = 16;
/// Most alternatives with gaps that are tried one after the other; beyond, an automaton is faster.
const MAX_GAPPED: usize = 16;

/// One way through a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// At least so many characters, any.
    Gap(u32),
}

type Way = Vec<Piece>;

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

/// The parts of a tree in sequence, without what says again that a value is matched as a whole: `^` in
/// front and `$` behind.
pub(super) fn unanchored(hir: &Hir) -> &[Hir] {
    let mut parts = match hir.kind() {
        HirKind::Concat(parts) => &parts[..],
        HirKind::Capture(capture) => return unanchored(&capture.sub),
        _ => std::slice::from_ref(hir),
    };
    while let [first, rest @ ..] = parts
        && is_look(first, Look::Start)
    {
        parts = rest;
    }
    while let [rest @ .., last] = parts
        && is_look(last, Look::End)
    {
        parts = rest;
    }
    parts
}

/// At least how many characters a gap of the form `.*`, `.+`, `.{n,}` stands for.
fn gap(hir: &Hir) -> Option<u32> {
    let HirKind::Repetition(repetition) = hir.kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = repetition.sub.kind() else { return None };
    let [range] = class.ranges() else { return None };
    let all = range.start() == '\0' && range.end() == char::MAX;
    (all && repetition.max.is_none()).then_some(repetition.min)
}

/// Whether this is `.*`, `.+` or the like.
pub(super) fn is_gap(hir: &Hir) -> bool {
    gap(hir).is_some()
}

/// Finds every way through a tree, where there are few.
#[derive(Default)]
struct Expander {
    /// What the ways cost that no alternative of the pattern lists.
    spent_bytes: usize,
}

impl Expander {
    fn spend(&mut self, count: usize, bytes: usize) -> Option<()> {
        self.spent_bytes = self.spent_bytes.checked_add(count.checked_mul(WAY_BYTES)?)?.checked_add(bytes)?;
        (self.spent_bytes <= MAX_EXPANDED_BYTES).then_some(())
    }

    fn ways(&mut self, hir: &Hir) -> Option<Vec<Way>> {
        if let Some(min) = gap(hir) {
            return Some(vec![vec![Piece::Gap(min)]]);
        }
        match hir.kind() {
            HirKind::Empty => Some(vec![Vec::new()]),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).ok()?;
                Some(vec![vec![Piece::Text(text.to_owned())]])
            }
            HirKind::Class(class) => self.members(class),
            HirKind::Look(_) => None,
            HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
                (0, Some(1)) => {
                    let mut found = self.ways(&repetition.sub)?;
                    found.push(Vec::new());
                    Some(found)
                }
                (min, Some(max)) if min == max && min as usize <= MAX_EXPANDED => {
                    let sub = self.ways(&repetition.sub)?;
                    (0..min).try_fold(vec![Vec::new()], |all, _| self.product(all, sub.clone()))
                }
                _ => None,
            },
            HirKind::Capture(capture) => self.ways(&capture.sub),
            HirKind::Concat(parts) => self.in_sequence(parts.iter()),
            HirKind::Alternation(branches) => {
                let mut all: Vec<Way> = Vec::new();
                for branch in branches {
                    let mut more = self.ways(branch)?;
                    // Their order does not matter; the long list stays in place.
                    if all.len() < more.len() {
                        std::mem::swap(&mut all, &mut more);
                    }
                    all.append(&mut more);
                }
                Some(all)
            }
        }
    }

    fn in_sequence<'h>(&mut self, parts: impl IntoIterator<Item = &'h Hir>) -> Option<Vec<Way>> {
        parts.into_iter().try_fold(vec![Vec::new()], |all, part| {
            let more = self.ways(part)?;
            self.product(all, more)
        })
    }

    fn members(&mut self, class: &Class) -> Option<Vec<Way>> {
        let class = match class {
            Class::Unicode(class) => class,
            // The empty class may come as bytes; no other does.
            Class::Bytes(class) => return class.ranges().is_empty().then(Vec::new),
        };
        let count: usize = class.iter().map(|r| r.end() as usize - r.start() as usize + 1).sum();
        if count > MAX_EXPANDED {
            return None;
        }
        self.spend(count, 0)?;
        let chars = class.iter().flat_map(|range| range.start()..=range.end());
        Some(chars.map(|c| vec![Piece::Text(c.to_string())]).collect())
    }

    /// Every way of the first followed by every way of the second.
    fn product(&mut self, mut first: Vec<Way>, second: Vec<Way>) -> Option<Vec<Way>> {
        if let [way] = &first[..]
            && way.is_empty()
        {
            return Some(second);
        }
        if let ([head], [tail]) = (&mut first[..], &second[..]) {
            extend(head, tail);
            return Some(first);
        }
        let count = first.len().checked_mul(second.len())?;
        let bytes = size_bytes(&first).checked_mul(second.len())?;
        self.spend(count, bytes.checked_add(size_bytes(&second).checked_mul(first.len())?)?)?;
        if first.len().min(second.len()) > 1 && count > MAX_EXPANDED {
            return None;
        }
        let mut all = Vec::with_capacity(count);
        for head in &first {
            for tail in &second {
                let mut way = head.clone();
                extend(&mut way, tail);
                all.push(way);
            }
        }
        Some(all)
    }
}

fn size_bytes(ways: &[Way]) -> usize {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Gap(_) => 1,
    };
    ways.iter().flatten().map(piece).sum()
}

/// Appends pieces so that texts and gaps alternate.
fn extend(way: &mut Way, tail: &[Piece]) {
    for piece in tail {
        match (way.last_mut(), piece) {
            (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(more),
            (Some(Piece::Gap(min)), Piece::Gap(more)) => *min = min.saturating_add(*more),
            _ => way.push(piece.clone()),
        }
    }
}

/// Words and at least one gap between or beside them.
#[derive(Debug)]
pub(super) struct Gapped {
    prefix: String,
    /// Each gap before a word in the middle, and the word.
    middles: Vec<(u32, Finder<'static>)>,
    last_gap: u32,
    suffix: String,
}

impl Gapped {
    fn new(way: Way) -> Gapped {
        let mut gapped =
            Gapped { prefix: String::new(), middles: Vec::new(), last_gap: 0, suffix: String::new() };
        let mut open = None;
        let last = way.len().saturating_sub(1);
        for (i, piece) in way.into_iter().enumerate() {
            match (piece, open) {
                (Piece::Gap(min), _) => open = Some(min),
                (Piece::Text(text), None) => gapped.prefix = text,
                (Piece::Text(text), Some(_)) if i == last => gapped.suffix = text,
                (Piece::Text(text), Some(min)) => {
                    gapped.middles.push((min, Finder::new(&text).into_owned()));
                }
            }
        }
        gapped.last_gap = open.unwrap_or(0);
        gapped
    }

    /// The first place for each word leaves the most to the others, so none has to be tried again.
    fn matches(&self, value: &str) -> bool {
        let Some(mut rest) = value.strip_prefix(self.prefix.as_str()) else { return false };
        for (gap, finder) in &self.middles {
            let Some(after) = skip_chars(rest, *gap) else { return false };
            let Some(at) = finder.find(after.as_bytes()) else { return false };
            // A word found in valid text ends at a character's end.
            rest = &after[at + finder.needle().len()..];
        }
        rest.strip_suffix(self.suffix.as_str()).is_some_and(|free| skip_chars(free, self.last_gap).is_some())
    }

    /// The longest word that is not at the start.
    fn inner_word(&self) -> String {
        let middle = self.middles.iter().map(|(_, finder)| finder.needle());
        let words = middle.chain([self.suffix.as_bytes()]);
        let longest = words.max_by_key(|word| word.len()).unwrap_or_default();
        String::from_utf8_lossy(longest).into_owned()
    }
}

/// What follows the first `count` characters.
fn skip_chars(text: &str, count: u32) -> Option<&str> {
    match count {
        0 => Some(text),
        _ => {
            let (at, c) = text.char_indices().nth(count as usize - 1)?;
            Some(&text[at + c.len_utf8()..])
        }
    }
}

/// A set of values, looked up.
pub(super) struct Set {
    values: Vec<String>,
    /// Places in `values`, by hash; empty where the set is small.
    places: HashTable<u32>,
    hasher: ahash::RandomState,
}

impl Set {
    fn new(mut values: Vec<String>) -> Set {
        values.sort_unstable();
        values.dedup();
        // A set is bounded and read only: nothing can be gained by guessing its seeds.
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut places = HashTable::new();
        if values.len() >= MIN_HASHED {
            let hash = |place: &u32| hasher.hash_one(values[*place as usize].as_str());
            for place in 0..values.len() as u32 {
                places.insert_unique(hash(&place), place, hash);
            }
        }
        Set { values, places, hasher }
    }

    fn contains(&self, value: &str) -> bool {
        if self.values.len() < MIN_HASHED {
            return self.values.iter().any(|known| known == value);
        }
        let found = |place: &u32| self.values[*place as usize] == value;
        self.places.find(self.hasher.hash_one(value), found).is_some()
    }
}

/// A pattern that is words and gaps alone.
pub(super) enum Words {
    Any,
    NotEmpty,
    Mixed { set: Set, gapped: Vec<Gapped> },
}

impl Words {
    /// A pattern without any sign that means something, but for `|` between words: no tree is needed.
    pub(super) fn listed(source: &str) -> Option<Words> {
        const SIGNS: &[u8] = br"\.+*?()[]{}^$";
        if source.bytes().any(|byte| SIGNS.contains(&byte)) {
            return None;
        }
        let values = source.split('|').map(str::to_owned).collect();
        Some(Words::Mixed { set: Set::new(values), gapped: Vec::new() })
    }

    pub(super) fn find(hir: &Hir) -> Option<Words> {
        let ways = Expander::default().in_sequence(unanchored(hir))?;
        let is_gap = |way: &Way, min| way[..] == [Piece::Gap(min)];
        if ways.iter().any(|way| is_gap(way, 0)) {
            return Some(Words::Any);
        }
        if ways.iter().any(|way| is_gap(way, 1)) {
            let empty = ways.iter().any(Vec::is_empty);
            return Some(if empty { Words::Any } else { Words::NotEmpty });
        }
        let (mut values, mut gapped) = (Vec::new(), Vec::new());
        for mut way in ways {
            match way.pop() {
                None => values.push(String::new()),
                Some(Piece::Text(text)) if way.is_empty() => values.push(text),
                Some(last) => {
                    way.push(last);
                    gapped.push(way);
                }
            }
        }
        (gapped.len() <= MAX_GAPPED).then(|| Words::Mixed {
            set: Set::new(values),
            gapped: gapped.into_iter().map(Gapped::new).collect(),
        })
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        match self {
            Words::Any => true,
            Words::NotEmpty => !value.is_empty(),
            Words::Mixed { set, gapped } => {
                set.contains(value) || gapped.iter().any(|gapped| gapped.matches(value))
            }
        }
    }

    pub(super) fn shape(&self) -> Shape {
        let (set, gapped) = match self {
            Words::Any => return Shape::Any,
            Words::NotEmpty => return Shape::NotEmpty,
            Words::Mixed { set, gapped } => (set, gapped),
        };
        if gapped.is_empty() {
            return Shape::Set(set.values.clone());
        }
        let starts = set.values.iter().chain(gapped.iter().map(|g| &g.prefix));
        let prefix = starts.map(String::as_str).reduce(common_prefix).unwrap_or_default();
        match &gapped[..] {
            _ if !prefix.is_empty() => Shape::Prefix(prefix.to_owned()),
            [only] if set.values.is_empty() => contains(only.inner_word()),
            _ => Shape::Unknown,
        }
    }
}

fn contains(word: String) -> Shape {
    if word.is_empty() { Shape::Unknown } else { Shape::Contains(word) }
}

fn common_prefix<'t>(a: &'t str, b: &str) -> &'t str {
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y);
    &a[..same.map(|(c, _)| c.len_utf8()).sum()]
}

fn common_suffix<'t>(a: &'t str, b: &str) -> &'t str {
    let same = a.chars().rev().zip(b.chars().rev()).take_while(|(x, y)| x == y);
    &a[a.len() - same.map(|(c, _)| c.len_utf8()).sum::<usize>()..]
}

/// Which end of a value a word stands at.
#[derive(Clone, Copy)]
enum End {
    Start,
    Finish,
}

/// The word at one end of everything that a tree matches, and whether it is all that the tree matches.
fn edge(hir: &Hir, end: End) -> (String, bool) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (String::new(), true),
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) if text.len() <= MAX_HINT_BYTES => (text.to_owned(), true),
            Ok(text) if matches!(end, End::Start) => {
                (text[..text.floor_char_boundary(MAX_HINT_BYTES)].to_owned(), false)
            }
            Ok(text) => (text[text.ceil_char_boundary(text.len() - MAX_HINT_BYTES)..].to_owned(), false),
            Err(_) => (String::new(), false),
        },
        HirKind::Class(_) => (String::new(), false),
        HirKind::Repetition(repetition) if repetition.min > 0 => (edge(&repetition.sub, end).0, false),
        HirKind::Repetition(_) => (String::new(), false),
        HirKind::Capture(capture) => edge(&capture.sub, end),
        HirKind::Concat(parts) => {
            let mut word = String::new();
            let mut at = 0..parts.len();
            while let Some(i) = if matches!(end, End::Start) { at.next() } else { at.next_back() } {
                let (more, whole) = edge(&parts[i], end);
                word = if matches!(end, End::Start) { word + &more } else { more + &word };
                if !whole || word.len() > MAX_HINT_BYTES {
                    return (word, false);
                }
            }
            (word, true)
        }
        HirKind::Alternation(branches) => {
            let common = if matches!(end, End::Start) { common_prefix } else { common_suffix };
            let words = branches.iter().map(|branch| edge(branch, end).0);
            let word = words.reduce(|a, b| common(&a, &b).to_owned()).unwrap_or_default();
            (word, false)
        }
    }
}

/// The longest word that a tree's sequence holds at any place.
fn inner_word(parts: &[Hir]) -> &str {
    let words = parts.iter().map(|part| match part.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).unwrap_or_default(),
        HirKind::Capture(capture) => inner_word(unanchored(&capture.sub)),
        _ => "",
    });
    words.max_by_key(|word| word.len()).unwrap_or_default()
}

/// What every matching value holds, where the rest needs an automaton.
pub(super) struct Hints {
    prefix: String,
    suffix: String,
    /// A word anywhere, where it is longer than the other two.
    inner: Option<Finder<'static>>,
}

impl Hints {
    pub(super) fn find(hir: &Hir) -> Hints {
        let (prefix, suffix) = (edge(hir, End::Start).0, edge(hir, End::Finish).0);
        let inner = inner_word(unanchored(hir));
        let longer = inner.len() > prefix.len().max(suffix.len());
        Hints { inner: longer.then(|| Finder::new(inner).into_owned()), prefix, suffix }
    }

    /// Whether the value may match at all.
    pub(super) fn allow(&self, value: &str) -> bool {
        value.starts_with(self.prefix.as_str())
            && value.ends_with(self.suffix.as_str())
            && self.inner.as_ref().is_none_or(|finder| finder.find(value.as_bytes()).is_some())
    }

    pub(super) fn shape(&self) -> Shape {
        if !self.prefix.is_empty() {
            return Shape::Prefix(self.prefix.clone());
        }
        let inner = self.inner.as_ref().map(|f| String::from_utf8_lossy(f.needle()).into_owned());
        contains(inner.unwrap_or_else(|| self.suffix.clone()))
    }
}

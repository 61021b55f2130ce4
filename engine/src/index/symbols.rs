//! Interned strings: each distinct label name or value once, in one arena, named by a dense number.

use hashbrown::HashTable;

/// Number of an interned string.
pub type Symbol = u32;

/// See the module's head. A string that nobody holds any more is forgotten, its number given again.
#[derive(Debug)]
pub struct Symbols {
    text: String,
    /// Start and length of each string in `text`.
    spans: Vec<(u32, u32)>,
    /// How many hold each string.
    holders: Vec<u32>,
    free: Vec<Symbol>,
    garbage_bytes: usize,
    table: HashTable<Symbol>,
    hasher: ahash::RandomState,
}

/// The arena is written anew when more than this and more than half of it is garbage.
const GARBAGE_BYTES: usize = 1 << 16;

impl Default for Symbols {
    fn default() -> Self {
        Symbols {
            text: String::new(),
            spans: Vec::new(),
            holders: Vec::new(),
            free: Vec::new(),
            garbage_bytes: 0,
            table: HashTable::new(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Symbols {
    pub fn text(&self, symbol: Symbol) -> &str {
        let (start, length) = self.spans[symbol as usize];
        &self.text[start as usize..start as usize + length as usize]
    }

    /// Numbers are below this.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    pub fn find(&self, text: &str) -> Option<Symbol> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |&s| self.text(s) == text).copied()
    }

    /// Whether `bytes` more of text fit: the arena's offsets are 32 bits wide.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.text.len() + bytes <= u32::MAX as usize
    }

    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.find(text) {
            return symbol;
        }
        let span = (self.text.len() as u32, text.len() as u32);
        self.text.push_str(text);
        let symbol = self.free.pop().unwrap_or(self.spans.len() as Symbol);
        if symbol as usize == self.spans.len() {
            self.spans.push(span);
            self.holders.push(0);
        } else {
            self.spans[symbol as usize] = span;
        }
        let hash = self.hasher.hash_one(text);
        let (hasher, arena, spans) = (&self.hasher, &self.text, &self.spans);
        self.table.insert_unique(hash, symbol, |&s| {
            let (start, length) = spans[s as usize];
            hasher.hash_one(&arena[start as usize..start as usize + length as usize])
        });
        symbol
    }

    /// One more holds the string.
    pub fn hold(&mut self, symbol: Symbol) {
        self.holders[symbol as usize] += 1;
    }

    /// One holds it no more; after the last one it is forgotten.
    pub fn release(&mut self, symbol: Symbol) {
        let holders = &mut self.holders[symbol as usize];
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        let hash = self.hasher.hash_one(self.text(symbol));
        if let Ok(entry) = self.table.find_entry(hash, |s| *s == symbol) {
            entry.remove();
        }
        let (_, length) = std::mem::take(&mut self.spans[symbol as usize]);
        self.garbage_bytes += length as usize;
        self.free.push(symbol);
        if self.garbage_bytes > GARBAGE_BYTES && self.garbage_bytes > self.text.len() / 2 {
            self.rewrite();
        }
    }

    fn rewrite(&mut self) {
        let mut text = String::with_capacity(self.text.len() - self.garbage_bytes);
        for (start, length) in &mut self.spans {
            let from = *start as usize;
            *start = text.len() as u32;
            text.push_str(&self.text[from..from + *length as usize]);
        }
        self.text = text;
        self.garbage_bytes = 0;
    }

    /// Strings that somebody holds.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        self.spans.len() - self.free.len()
    }

    pub fn size_bytes(&self) -> usize {
        self.text.capacity()
            + self.spans.capacity() * 12
            + self.free.capacity() * 4
            + self.table.capacity() * 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_a_number() {
        let mut symbols = Symbols::default();
        let names: Vec<String> = (0..1000).map(|i| format!("value-{}", i % 300)).collect();
        let numbers: Vec<Symbol> = names.iter().map(|n| symbols.intern(n)).collect();
        assert_eq!(numbers[0], numbers[300]);
        for (name, number) in names.iter().zip(&numbers) {
            assert_eq!(symbols.text(*number), name);
            assert_eq!(symbols.find(name), Some(*number));
        }
        assert_eq!(symbols.intern(""), 300);
        assert_eq!(symbols.find("absent"), None);
    }
}

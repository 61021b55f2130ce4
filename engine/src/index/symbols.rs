//! Interned strings: each distinct label name or value once, in one arena, named by a dense number.

use hashbrown::HashTable;

/// Number of an interned string.
pub type Symbol = u32;

/// See the module's head. Strings are never removed; the table goes with its head.
#[derive(Debug)]
pub struct Symbols {
    text: String,
    /// End of each string in `text`; it starts where the one before ends.
    ends: Vec<u32>,
    table: HashTable<Symbol>,
    hasher: ahash::RandomState,
}

impl Default for Symbols {
    fn default() -> Self {
        Symbols {
            text: String::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Symbols {
    pub fn text(&self, symbol: Symbol) -> &str {
        let at = symbol as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }

    /// Numbers are below this.
    pub fn count(&self) -> usize {
        self.ends.len()
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
        let symbol = self.ends.len() as Symbol;
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        let hash = self.hasher.hash_one(text);
        let (hasher, arena, ends) = (&self.hasher, &self.text, &self.ends);
        self.table.insert_unique(hash, symbol, |&s| {
            let start = (s as usize).checked_sub(1).map_or(0, |before| ends[before]);
            hasher.hash_one(&arena[start as usize..ends[s as usize] as usize])
        });
        symbol
    }

    pub fn size_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4 + self.table.capacity() * 5
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

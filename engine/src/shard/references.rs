//! Which series a reference in the log names, for as long as the log is replayed.
//!
//! References are given one after the other, so a table of pages finds them without hashing, and what a long
//! life left out costs no memory.

/// References in a page.
const PAGE: usize = 1 << 10;
/// A place where nothing is known.
const NONE: u32 = u32::MAX;

/// See the module's head.
#[derive(Debug, Default)]
pub struct References {
    /// Page number -> place of the page, or [`NONE`].
    places: Vec<u32>,
    pages: Vec<u32>,
}

impl References {
    #[inline]
    pub fn get(&self, reference: u32) -> Option<u32> {
        let place = *self.places.get(reference as usize / PAGE)?;
        if place == NONE {
            return None;
        }
        let id = self.pages[place as usize * PAGE + reference as usize % PAGE];
        (id != NONE).then_some(id)
    }

    pub fn set(&mut self, reference: u32, id: u32) {
        let page = reference as usize / PAGE;
        if page >= self.places.len() {
            self.places.resize(page + 1, NONE);
        }
        if self.places[page] == NONE {
            self.places[page] = (self.pages.len() / PAGE) as u32;
            self.pages.resize(self.pages.len() + PAGE, NONE);
        }
        self.pages[self.places[page] as usize * PAGE + reference as usize % PAGE] = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_found_and_nothing_else() {
        let mut references = References::default();
        let set = [0, 1, 1023, 1024, 5_000_000, u32::MAX];
        set.iter().enumerate().for_each(|(id, reference)| references.set(*reference, id as u32));
        for (id, reference) in set.iter().enumerate() {
            assert_eq!(references.get(*reference), Some(id as u32));
        }
        for other in [2, 1025, 4_999_999, u32::MAX - 1] {
            assert_eq!(references.get(other), None);
        }
        references.set(1, 9);
        assert_eq!(references.get(1), Some(9));
    }
}

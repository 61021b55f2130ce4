//! Who reads a shard now: so that what a reader may still look at is not taken away under it.
//!
//! A reader enters and takes a number; a change to what readers see takes the next number, and what the
//! change made superfluous goes once no reader with an earlier number is left. Readers that come later see
//! the change already.

use crate::signal::Signal;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The readers of a shard.
#[derive(Default)]
pub struct Readers {
    now: Cell<u64>,
    present: RefCell<BTreeMap<u64, u32>>,
    left: Signal,
}

/// A reader, until it is dropped.
pub struct Reader {
    readers: Rc<Readers>,
    number: u64,
}

impl Readers {
    pub fn enter(self: &Rc<Self>) -> Reader {
        let number = self.now.get();
        *self.present.borrow_mut().entry(number).or_default() += 1;
        Reader { readers: self.clone(), number }
    }

    /// Waits until all who entered before this call have left. One task at a time.
    pub async fn earlier_left(&self) {
        let change = self.now.get() + 1;
        self.now.set(change);
        self.left.until(|| self.present.borrow().keys().next().is_none_or(|first| *first >= change)).await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut present = self.readers.present.borrow_mut();
        if let Some(count) = present.get_mut(&self.number) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.number);
            }
        }
        drop(present);
        self.readers.left.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn only_earlier_readers_are_waited_for() {
        let readers = Rc::new(Readers::default());
        let (first, second) = (readers.enter(), readers.enter());
        let mut wait = Box::pin(readers.earlier_left());
        assert!(wait.as_mut().now_or_never().is_none());
        let later = readers.enter();
        drop(first);
        assert!(wait.as_mut().now_or_never().is_none());
        drop(second);
        assert!(wait.as_mut().now_or_never().is_some());
        drop(later);
    }
}

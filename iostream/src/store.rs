//! Boxes that are kept for whoever needs one next.

use std::cell::{Cell, RefCell};

/// How many a store keeps.
pub(crate) const KEEP: usize = 64;

/// The one that was put back last has a place of its own: mostly one is in use at a time, and then it costs a look to take it and
/// one to put it back.
pub(crate) struct Store<T> {
    last: Cell<Option<Box<T>>>,
    others: RefCell<Vec<Box<T>>>,
}

impl<T> Store<T> {
    pub(crate) const fn new() -> Store<T> {
        Store { last: Cell::new(None), others: RefCell::new(Vec::new()) }
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.last.take().or_else(|| self.others.borrow_mut().pop())
    }

    #[inline]
    pub(crate) fn put(&self, spare: Box<T>) {
        if let Some(other) = self.last.replace(Some(spare)) {
            self.keep(other);
        }
    }

    #[cold]
    fn keep(&self, other: Box<T>) {
        let mut others = self.others.borrow_mut();
        if others.len() + 1 < KEEP {
            others.push(other);
        }
    }

    /// Gives all of them back to the allocator.
    pub(crate) fn clear(&self) {
        drop((self.last.take(), self.others.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_kept_as_may_be_and_the_last_comes_first() {
        let store = Store::new();
        (0..2 * KEEP).for_each(|number| store.put(Box::new(number)));
        assert_eq!(store.take().as_deref(), Some(&(2 * KEEP - 1)));
        assert_eq!(std::iter::from_fn(|| store.take()).count(), KEEP - 1);
        (0..3).for_each(|number| store.put(Box::new(number)));
        store.clear();
        assert!(store.take().is_none());
    }
}

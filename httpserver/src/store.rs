//! Boxes that are kept for whoever needs one next.

use std::cell::{Cell, RefCell};

/// How many a store keeps.
const KEEP: usize = 64;

/// The one that was put back last has a place of its own: mostly one is in use at a time, and then it costs a look to take it and
/// one to put it back.
pub(crate) struct Store<T> {
    last: Cell<Option<Box<T>>>,
    others: RefCell<Vec<Box<T>>>,
}

impl<T> Store<T> {
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
}

impl<T> Default for Store<T> {
    fn default() -> Store<T> {
        Store { last: Cell::default(), others: RefCell::default() }
    }
}

impl<T> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_kept_as_may_be_and_the_last_comes_first() {
        let store = Store::default();
        (0..2 * KEEP).for_each(|number| store.put(Box::new(number)));
        assert_eq!(store.take().as_deref(), Some(&(2 * KEEP - 1)));
        assert_eq!(std::iter::from_fn(|| store.take()).count(), KEEP - 1);
    }
}

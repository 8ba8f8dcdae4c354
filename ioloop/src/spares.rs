//! Boxes that are kept for whoever needs one next.

use std::cell::{Cell, RefCell};
use std::fmt;

/// Boxes that are kept for whoever needs one next, so that memory needed again and again is not asked of the allocator each time:
/// what a task borrows while it works and gives back before it waits, for instance. As its owner left it: nothing is cleared
/// between two uses.
///
/// Belongs to one thread, as all of a loop does. Keeps [`KEEP`](Spares::KEEP) boxes at most; [`clear`](Spares::clear) gives them
/// back, for after a spike.
pub struct Spares<T> {
    /// Mostly one is in use at a time, and then it costs a look to take it and one to put it back.
    last: Cell<Option<Box<T>>>,
    others: RefCell<Vec<Box<T>>>,
}

impl<T> Spares<T> {
    /// How many are kept; what is put to as many is dropped.
    pub const KEEP: usize = 64;

    /// None yet.
    #[must_use]
    pub const fn new() -> Spares<T> {
        Spares { last: Cell::new(None), others: RefCell::new(Vec::new()) }
    }

    /// The one that was put here last, if any is left.
    #[inline]
    pub fn take(&self) -> Option<Box<T>> {
        self.last.take().or_else(|| self.others.borrow_mut().pop())
    }

    /// Keeps `spare` for the next who takes one.
    #[inline]
    pub fn put(&self, spare: Box<T>) {
        if let Some(other) = self.last.replace(Some(spare)) {
            self.keep(other);
        }
    }

    #[cold]
    fn keep(&self, other: Box<T>) {
        let mut others = self.others.borrow_mut();
        if others.len() + 1 < Spares::<T>::KEEP {
            others.push(other);
        }
    }

    /// Drops all of them, and the room for them.
    pub fn clear(&self) {
        drop((self.last.take(), self.others.take()));
    }
}

impl<T> Default for Spares<T> {
    fn default() -> Spares<T> {
        Spares::new()
    }
}

impl<T> fmt::Debug for Spares<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::rc::Rc;

    use super::*;

    const KEEP: usize = Spares::<usize>::KEEP;

    #[test]
    fn as_many_are_kept_as_may_be_and_the_last_comes_first() {
        let spares = Spares::new();
        (0..2 * KEEP).for_each(|number| spares.put(Box::new(number)));
        assert_eq!(spares.take().as_deref(), Some(&(2 * KEEP - 1)));
        assert_eq!(iter::from_fn(|| spares.take()).count(), KEEP - 1);
    }

    #[test]
    fn none_is_left_when_they_are_cleared() {
        let one = Rc::new(());
        let spares = Spares::new();
        (0..KEEP).for_each(|_| spares.put(Box::new(one.clone())));
        assert_eq!(Rc::strong_count(&one), KEEP + 1);
        spares.clear();
        assert_eq!(Rc::strong_count(&one), 1);
        assert!(spares.take().is_none());
    }
}

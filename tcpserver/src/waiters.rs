//! Tasks that wait for something to change, any number of them. One that gives up leaves nothing behind.

use std::cell::RefCell;
use std::task::{Context, Waker};

use slab::Slab;

/// Places that are kept for the next to wait.
const KEPT_PLACES: usize = 64;

/// Who waits. A place is kept from the first wait until its task gives it up; its waker is used once.
#[derive(Default)]
pub(crate) struct Waiters {
    places: RefCell<Slab<Option<Waker>>>,
}

/// One task's place; the default has none yet.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<usize>);

impl Waiters {
    /// Has the task woken by the next [`wake_all`](Waiters::wake_all).
    pub(crate) fn wait(&self, place: &mut Place, cx: &Context<'_>) {
        let waker = Some(cx.waker().clone()); // outside the borrow, as the drop below is: both may be foreign code
        let mut places = self.places.borrow_mut();
        let replaced = match place.0 {
            Some(key) => std::mem::replace(&mut places[key], waker),
            None => {
                place.0 = Some(places.insert(waker));
                None
            }
        };
        drop(places);
        drop(replaced);
    }

    /// Must be called before a place is dropped.
    pub(crate) fn give_up(&self, place: &mut Place) {
        let Some(key) = place.0.take() else { return };
        let mut places = self.places.borrow_mut();
        let given_up = places.remove(key);
        if places.is_empty() && places.capacity() > KEPT_PLACES {
            *places = Slab::new(); // a crowd has left
        }
        drop(places);
        drop(given_up);
    }

    pub(crate) fn wake_all(&self) {
        let waiting: Vec<_> =
            self.places.borrow_mut().iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_has_waited_leaves_no_memory_behind() {
        let waiters = Waiters::default();
        let mut crowd: Vec<_> = (0..10_000).map(|_| Place::default()).collect();
        crowd.iter_mut().for_each(|place| waiters.wait(place, &Context::from_waker(Waker::noop())));
        crowd.iter_mut().for_each(|place| waiters.give_up(place));
        assert!(waiters.places.borrow().capacity() <= KEPT_PLACES);
    }
}

//! What a loop runs at present, in one word that other threads can read: what the watchdog looks at.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use crate::io_loop::with_current;
use crate::origin::{Origin, Place};

/// The word of a loop that waits in its poll, or does not run.
pub(crate) const IDLE: u64 = 0;

/// Set in every other word.
const BUSY: u32 = 1 << 31;

/// The part that other threads see.
#[derive(Default)]
pub(crate) struct Running {
    /// The number of the dispatch, then its place; so two looks that see the same word saw the same piece of work.
    word: AtomicU64,
    /// How many watchdogs sleep until the loop has something to do.
    asleep: AtomicUsize,
    watchdogs: Mutex<Vec<Thread>>,
}

/// The loop's side.
pub(crate) struct Dispatch {
    number: Cell<u32>,
    running: Arc<Running>,
}

impl Dispatch {
    pub(crate) fn new() -> Dispatch {
        Dispatch { number: Cell::new(0), running: Arc::default() }
    }

    /// Says what runs from now on. This is on the path of every callback and every poll of a task.
    pub(crate) fn began(&self, place: Place) {
        let number = self.number.get().wrapping_add(1);
        self.number.set(number);
        self.say(u64::from(number | BUSY) << 32 | u64::from(place.0));
    }

    /// The same dispatch goes on in another place.
    fn goes_on(&self, place: Place) {
        self.say(u64::from(self.number.get() | BUSY) << 32 | u64::from(place.0));
    }

    pub(crate) fn idle(&self) {
        self.say(IDLE);
    }

    /// Leaves the poll: the loop itself is at work. Wakes the watchdogs that sleep.
    pub(crate) fn awake(&self) {
        self.began(Place::NONE);
        // The fence pairs with the one in `Running::sleep_while_idle`: either the watchdog sees this word, or this
        // sees that it sleeps.
        if Arc::strong_count(&self.running) > 1 {
            fence(Ordering::SeqCst);
            if self.running.asleep.load(Ordering::Relaxed) > 0 {
                self.running.wake_watchdogs();
            }
        }
    }

    fn say(&self, word: u64) {
        self.running.word.store(word, Ordering::Relaxed);
    }

    /// What runs now, if somebody in particular has added it.
    pub(crate) fn origin(&self) -> Option<Origin> {
        origin_in(self.running.look())
    }

    pub(crate) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }
}

impl Running {
    pub(crate) fn look(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Parks this thread until the loop has something to do, or somebody unparks it; may also return for nothing.
    pub(crate) fn sleep_while_idle(&self) {
        self.lock().push(std::thread::current());
        self.asleep.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.look() == IDLE {
            std::thread::park();
        }
        self.asleep.fetch_sub(1, Ordering::Relaxed);
        let this = std::thread::current().id();
        self.lock().retain(|thread| thread.id() != this);
    }

    #[cold]
    fn wake_watchdogs(&self) {
        self.lock().iter().for_each(Thread::unpark);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Thread>> {
        self.watchdogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The origin that a word names.
pub(crate) fn origin_in(word: u64) -> Option<Origin> {
    Place(word as u32).origin()
}

/// Calls the work that runs at present `label`, from here to its end: the end of the callback, or of this poll of a task.
///
/// Reports of what blocks a loop ([`IoLoop::watch_blocking`](crate::IoLoop::watch_blocking)) and of what failed
/// ([`IoLoop::set_error_hook`](crate::IoLoop::set_error_hook)) then carry it in the place of the function's name. Costs one
/// look-up under a lock of the process. Does nothing outside of a running loop.
pub fn label(label: &'static str) {
    with_current(|inner| inner.dispatch.relabel(label));
}

impl Dispatch {
    fn relabel(&self, label: &'static str) {
        let word = self.running.look();
        if word != IDLE {
            self.goes_on(Place(word as u32).labelled(label));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_sleeps_beside_an_idle_loop_and_is_woken_by_the_next_work() {
        let dispatch = Dispatch::new();
        dispatch.idle();
        let running = dispatch.running();
        let watchdog = std::thread::spawn(move || {
            while running.look() == IDLE {
                running.sleep_while_idle();
            }
            running.look()
        });
        while dispatch.running.asleep.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        dispatch.awake();
        assert_ne!(watchdog.join().unwrap(), IDLE);
        assert!(dispatch.running.lock().is_empty(), "who is awake is not on the list");
    }

    #[test]
    fn each_dispatch_has_a_word_of_its_own_and_a_label_keeps_its_number() {
        let dispatch = Dispatch::new();
        dispatch.relabel("nothing runs");
        assert_eq!(dispatch.running.look(), IDLE);
        dispatch.began(Place(7));
        let first = dispatch.running.look();
        dispatch.relabel("no origin has this number");
        assert_eq!(dispatch.running.look() >> 32, first >> 32);
        dispatch.began(Place(7));
        assert_ne!(dispatch.running.look(), first);
        assert_ne!(dispatch.running.look(), IDLE);
    }
}

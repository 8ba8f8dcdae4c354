//! Whom to ask for memory when it is short.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use ioloop::IoLoop;

use crate::budget::MemoryBudget;

/// Whoever is asked may have to look at thousands of connections, and is not asked more often than this.
const PAUSE: Duration = Duration::from_millis(100);

thread_local! {
    static CALLBACKS: RefCell<Vec<Weak<dyn Fn()>>> = const { RefCell::new(Vec::new()) };
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Has `callback` called, as long as somebody has another reference to it, when memory is [short](MemoryBudget::is_short) and
/// somebody waits for some, or [`relieve_memory`] is called: ten times a second at most. It is to give back what it can do
/// without, until that is over; `tcpserver` closes idle connections. If it panics, the loop reports that, and the others are asked all the same.
pub fn on_memory_shortage(callback: &Rc<dyn Fn()>) {
    CALLBACKS.with_borrow_mut(|callbacks| {
        callbacks.retain(|callback| callback.strong_count() > 0);
        callbacks.push(Rc::downgrade(callback));
    });
}

/// If memory is short, asks those who have said [so](on_memory_shortage) to give some back. Whether new work may begin: not if the
/// [`MemoryBudget`] is [exhausted](MemoryBudget::is_exhausted) all the same.
#[must_use]
#[inline]
pub fn relieve_memory() -> bool {
    !MemoryBudget::is_short() || relieve()
}

#[cold]
pub(crate) fn relieve() -> bool {
    let now = IoLoop::current().now();
    // Of two loops with virtual clocks the later may be at an earlier time.
    let is_soon = |last| now.checked_duration_since(last).is_some_and(|passed| passed < PAUSE);
    if MemoryBudget::is_short() && !LAST.get().is_some_and(is_soon) {
        LAST.set(Some(now));
        // Outside the borrow: they are foreign code.
        let callbacks = CALLBACKS.with_borrow(Clone::clone);
        for callback in callbacks.iter().filter_map(Weak::upgrade) {
            if !MemoryBudget::is_short() {
                break;
            }
            // The others are asked all the same; the loop tells of it, as of any callback that panics.
            if let Err(panic) = ioloop::caught(|| callback()) {
                IoLoop::current().add_callback(|| resume_unwind(Box::new(panic)));
            }
        }
    }
    !MemoryBudget::is_exhausted()
}

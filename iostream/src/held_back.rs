//! Who is not read from because memory is scarce, and how they go on.
//!
//! Whoever would hold more than is left waits here, smallest first. When memory is given back, those go on for whom
//! what is left has become enough: their registrations are made ready, as if something had come.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use ioloop::{IoLoop, Notifier, Ready};

use crate::budget::{self, MemoryBudget};

/// What a stream may hold however scarce memory is: a head, or a line, in which it says what it wants.
pub(crate) const ALWAYS_BYTES: usize = 8 * 1024;

/// While somebody waits, who has waited for too long is looked for so often in the time of the patience.
const LOOKS: u32 = 16;

thread_local! {
    static HELD_BACK: RefCell<HeldBack> = RefCell::default();
}

#[derive(Default)]
struct HeldBack {
    /// By what each needs, and which it is.
    order: BTreeSet<(usize, StreamId)>,
    streams: HashMap<StreamId, Waiting>,
    is_looked_after: bool,
}

/// The address of a stream's state. A stream is forgotten when it closes, before another can have its place.
pub(crate) type StreamId = usize;

struct Waiting {
    needs: usize,
    since: Instant,
    /// Somebody had to go, and it is this one; it has not heard so yet.
    must_fail: bool,
    notifier: Notifier,
}

/// Whether a stream that would hold `needs` bytes may, with so many left.
pub(crate) fn is_allowed(needs: usize, left: usize) -> bool {
    needs <= left.max(ALWAYS_BYTES)
}

/// Has a stream wait until it may hold `needs` bytes. `false` if it has waited for too long.
pub(crate) fn wait(
    stream: StreamId,
    needs: usize,
    now: Instant,
    notifier: Notifier,
    io_loop: &IoLoop,
) -> bool {
    let begins = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        let before = held_back.remove(stream);
        if before.as_ref().is_some_and(|before| before.must_fail) {
            return None;
        }
        let since = before.map_or(now, |before| before.since);
        held_back.order.insert((needs, stream));
        held_back.streams.insert(stream, Waiting { needs, since, must_fail: false, notifier });
        budget::watch(true);
        Some(!std::mem::replace(&mut held_back.is_looked_after, true))
    });
    match begins {
        Ok(Some(true)) => look_after(io_loop),
        Ok(Some(false)) => {}
        Ok(None) => return false,
        Err(_) => return false, // the thread is being torn down
    }
    true
}

/// The stream does not wait, or not any more.
#[cold]
pub(crate) fn forget(stream: StreamId) {
    let _ = HELD_BACK.try_with(|held_back| drop(held_back.borrow_mut().remove(stream)));
}

/// Has the stream look again, if it waits: it may need less than before.
#[cold]
pub(crate) fn look_again(stream: StreamId) {
    let _ = HELD_BACK.try_with(|held_back| {
        if let Some(waiting) = held_back.borrow().streams.get(&stream) {
            waiting.notifier.set_ready(Ready::READABLE);
        }
    });
}

/// Called when memory has been given back. Runs nobody's code: who goes on is told after the next poll.
#[cold]
pub(crate) fn wake_who_may_go_on() {
    let left = budget::scarce();
    let _ = HELD_BACK.try_with(|held_back| {
        let mut held_back = held_back.borrow_mut();
        while let Some(&(needs, stream)) = held_back.order.first()
            && left.is_none_or(|left| is_allowed(needs, left))
        {
            if let Some(waiting) = held_back.remove(stream) {
                waiting.notifier.set_ready(Ready::READABLE);
            }
        }
        if left.is_none() {
            held_back.streams.clear(); // those that were to fail need not
        }
    });
}

impl HeldBack {
    fn remove(&mut self, stream: StreamId) -> Option<Waiting> {
        let waiting = self.streams.remove(&stream)?;
        self.order.remove(&(waiting.needs, stream));
        if self.order.is_empty() {
            budget::watch(false);
        }
        Some(waiting)
    }

    /// Has the one that holds most fail, if it has waited for so long.
    fn end_largest(&mut self, now: Instant, patience: Duration) {
        let Some(&(needs, stream)) = self.order.last() else { return };
        let Some(waiting) = self.streams.get_mut(&stream) else { return };
        if now.saturating_duration_since(waiting.since) >= patience {
            waiting.must_fail = true;
            waiting.notifier.set_ready(Ready::READABLE);
            self.order.remove(&(needs, stream));
        }
    }
}

/// Looks after those who wait, as long as there are any.
fn look_after(io_loop: &IoLoop) {
    let under_care = UnderCare;
    io_loop.call_later(MemoryBudget::current().patience / LOOKS, move || {
        // What another thread has given back is only found out here.
        wake_who_may_go_on();
        let io_loop = IoLoop::current();
        let any = HELD_BACK.try_with(|held_back| {
            let mut held_back = held_back.borrow_mut();
            held_back.end_largest(io_loop.now(), MemoryBudget::current().patience);
            !held_back.order.is_empty()
        });
        drop(under_care);
        if any == Ok(true) {
            let _ = HELD_BACK.try_with(|held_back| held_back.borrow_mut().is_looked_after = true);
            look_after(&io_loop);
        }
    });
}

/// Goes with the callback, be it called or dropped with its loop.
struct UnderCare;

impl Drop for UnderCare {
    fn drop(&mut self) {
        let _ = HELD_BACK.try_with(|held_back| held_back.borrow_mut().is_looked_after = false);
    }
}

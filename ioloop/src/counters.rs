//! What the loop counts, without a syscall: for tests that assert costs, and for operators.

use std::cell::Cell;

use crate::io_loop::Inner;

/// A snapshot of a loop's counters. All but the last three only ever grow. Reading it takes the lock of the inbox once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Polls of the operating system: one a turn, or less while many small turns follow each other.
    pub polls: u64,
    /// Events that polls have returned.
    pub events: u64,
    /// What other threads have sent: callbacks, stops, and wakes of tasks, of which a task has one under way at most.
    pub messages: u64,
    /// Times that a message had to wake the loop, a syscall each. Those that find one on its way ride along.
    pub wakeups: u64,
    /// Sources registered with the operating system (`epoll_ctl` ADD). A socket is registered once in its life.
    pub registrations: u64,
    /// Changes of interest (`epoll_ctl` MOD). Streams never need one.
    pub reregistrations: u64,
    /// Timers inserted. A kept-alive request needs none.
    pub timers_inserted: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Times a task was polled.
    pub task_polls: u64,
    /// Callbacks, handlers and tasks that panicked.
    pub panics: u64,
    /// Tasks that are alive now.
    pub tasks: usize,
    /// Timers that wait now.
    pub timers: usize,
    /// Sources that are watched now.
    pub sources: usize,
}

/// The counters while they grow.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) turns: Cell<u64>,
    pub(crate) polls: Cell<u64>,
    pub(crate) events: Cell<u64>,
    pub(crate) messages: Cell<u64>,
    pub(crate) registrations: Cell<u64>,
    pub(crate) reregistrations: Cell<u64>,
    pub(crate) timers_inserted: Cell<u64>,
    pub(crate) timers_fired: Cell<u64>,
    pub(crate) task_polls: Cell<u64>,
    pub(crate) panics: Cell<u64>,
}

pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl Inner {
    pub(crate) fn counters(&self) -> Counters {
        let tally = &self.tally;
        Counters {
            turns: tally.turns.get(),
            polls: tally.polls.get(),
            events: tally.events.get(),
            messages: tally.messages.get(),
            wakeups: self.shared.inbox.wakeups(),
            registrations: tally.registrations.get(),
            reregistrations: tally.reregistrations.get(),
            timers_inserted: tally.timers_inserted.get(),
            timers_fired: tally.timers_fired.get(),
            task_polls: tally.task_polls.get(),
            panics: tally.panics.get(),
            tasks: self.tasks.borrow().len(),
            timers: self.timers.borrow().len(),
            sources: self.sources.borrow().len(),
        }
    }
}

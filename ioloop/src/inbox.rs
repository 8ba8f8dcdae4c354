//! What crosses threads, and nothing else: an inbox that is emptied whole, with one wake of the loop for many posts,
//! and one post for many wakes of a task.
//!
//! There is no poller and no task in here, so that a model checker can run it in every order of its steps:
//! `scripts/ci.d/40-loom.sh` does, with `inbox/models.rs`.

#[cfg(all(loom, test))]
mod models;

use std::sync::PoisonError;
use std::time::Instant;

#[cfg(all(loom, test))]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(all(loom, test)))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// Messages on their way to a loop, first in first out.
pub(crate) struct Inbox<T> {
    content: Mutex<Content<T>>,
}

struct Content<T> {
    messages: Vec<T>,
    /// When the first of them came.
    since: Option<Instant>,
    closed: bool,
    wakeups: u64,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox {
            content: Mutex::new(Content { messages: Vec::new(), since: None, closed: false, wakeups: 0 }),
        }
    }

    /// Queues a message; the first into an empty inbox wakes the loop, the others ride along.
    /// When it is closed the message is dropped silently (IL12).
    pub(crate) fn post(&self, message: T, wake: impl FnOnce()) {
        let first = {
            let mut content = self.lock();
            if content.closed {
                return;
            }
            content.messages.push(message);
            let first = content.messages.len() == 1;
            if first {
                content.since = Some(Instant::now());
                content.wakeups += 1;
            }
            first
        };
        if first {
            wake();
        }
    }

    /// Swaps the messages with `empty`, whole, so that the lock is held for a few moves; says when the first one came.
    pub(crate) fn swap(&self, empty: &mut Vec<T>) -> Option<Instant> {
        debug_assert!(empty.is_empty());
        let mut content = self.lock();
        std::mem::swap(&mut content.messages, empty);
        content.since.take()
    }

    /// How often a post has woken the loop.
    pub(crate) fn wakeups(&self) -> u64 {
        self.lock().wakeups
    }

    /// Refuses what comes from now on and gives out what has come, to be dropped outside the lock: dropping a
    /// callback runs its owner's code.
    #[must_use]
    pub(crate) fn close(&self) -> Vec<T> {
        let mut content = self.lock();
        content.closed = true;
        std::mem::take(&mut content.messages)
    }

    /// No code of ours or the user's runs while the lock is held, so a poisoned lock has whole data.
    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a task's wake is on its way to the loop, so that a thousand of them are one message.
pub(crate) struct Posted(AtomicBool);

impl Posted {
    pub(crate) fn new() -> Posted {
        Posted(AtomicBool::new(false))
    }

    /// Calls `post`, unless an earlier wake is on its way: that one is received after this call, and what this
    /// thread did before it will be seen then.
    pub(crate) fn send(&self, post: impl FnOnce()) {
        if !self.0.swap(true, Ordering::AcqRel) {
            post();
        }
    }

    /// The message has arrived. A wake that comes after the swap posts again; one that came before it is covered by
    /// `schedule`, which therefore must not come first.
    pub(crate) fn receive(&self, schedule: impl FnOnce()) {
        self.0.swap(false, Ordering::AcqRel);
        schedule();
    }
}

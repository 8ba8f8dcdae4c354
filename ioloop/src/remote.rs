//! The one thing that crosses threads: an inbox, emptied whole, with one wake for many posts.

use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::IoLoop;
use crate::io_loop::Inner;
use crate::origin::{Place, WorkKind};
use crate::wake::TaskWaker;

/// What another thread can ask of a loop.
pub(crate) enum Message {
    Call(Box<dyn FnOnce(&Inner) + Send>),
    Wake(Arc<TaskWaker>),
    Stop,
}

/// The part of a loop that other threads see.
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    waker: mio::Waker,
}

#[derive(Default)]
struct Inbox {
    messages: Vec<Message>,
    /// When the first of them came.
    since: Option<Instant>,
    closed: bool,
    wakeups: u64,
}

impl Shared {
    pub(crate) fn new(waker: mio::Waker) -> Shared {
        Shared { inbox: Mutex::default(), waker }
    }

    /// Queues a message; the first into an empty inbox wakes the loop, the others ride along.
    /// On a closed loop the message is dropped silently (IL12).
    pub(crate) fn post(&self, message: Message) {
        let first = {
            let mut inbox = self.lock();
            if inbox.closed {
                return;
            }
            inbox.messages.push(message);
            let first = inbox.messages.len() == 1;
            if first {
                inbox.since = Some(Instant::now());
            }
            inbox.wakeups += u64::from(first);
            first
        };
        if first && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake the loop");
        }
    }

    /// Swaps the inbox with `empty`, whole, so that the lock is held for a few moves; says when the first message came.
    pub(crate) fn swap(&self, empty: &mut Vec<Message>) -> Option<Instant> {
        debug_assert!(empty.is_empty());
        let mut inbox = self.lock();
        std::mem::swap(&mut inbox.messages, empty);
        inbox.since.take()
    }

    pub(crate) fn wakeups(&self) -> u64 {
        self.lock().wakeups
    }

    /// Refuses what comes from now on and gives out what has come, to be dropped outside the lock: dropping a
    /// callback runs its owner's code.
    #[must_use]
    pub(crate) fn close(&self) -> Vec<Message> {
        let mut inbox = self.lock();
        inbox.closed = true;
        std::mem::take(&mut inbox.messages)
    }

    /// No code of ours or the user's runs while the lock is held, so a poisoned lock has whole data.
    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reaches a loop from any thread: `Send`, `Sync`, cheap to clone.
///
/// On a loop that has closed every call is dropped silently, from any thread (IL12).
#[derive(Clone)]
pub struct Remote {
    pub(crate) shared: Arc<Shared>,
}

impl Remote {
    /// Runs `callback` on the loop's thread in a later turn and wakes the loop if it sleeps.
    ///
    /// Callbacks from one thread run in the order they were added (IL10). A panic in it is logged and stops
    /// nothing (IL13).
    #[track_caller]
    pub fn add_callback<F: FnOnce() + Send + 'static>(&self, callback: F) {
        let place = Place::of::<F>(WorkKind::Callback, Location::caller());
        self.shared.post(Message::Call(Box::new(move |inner| {
            inner.dispatch.began(place);
            callback();
        })));
    }

    /// Builds a future on the loop's thread and runs it there as a task.
    ///
    /// The future need not be `Send`: only the function that makes it crosses the thread. A panic is logged with
    /// the place of this call.
    #[track_caller]
    pub fn spawn<F>(&self, make: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let place = Place::of::<F>(WorkKind::Task, Location::caller());
        self.shared.post(Message::Call(Box::new(move |inner| {
            inner.dispatch.began(place);
            IoLoop::current().spawn_in_place(make(), place);
        })));
    }

    /// Stops the loop at the end of the turn in which the message arrives, as [`IoLoop::stop`] does.
    pub fn stop(&self) {
        self.shared.post(Message::Stop);
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

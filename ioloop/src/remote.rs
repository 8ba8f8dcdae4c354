//! The way in from other threads: what they may ask of a loop, and the handle they ask by.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use crate::inbox::Inbox;
use crate::io_loop::Inner;
use crate::origin::{Place, WorkKind};
use crate::panics::logged;
use crate::wake::TaskWaker;

/// What another thread can ask of a loop.
pub(crate) enum Message {
    Call(Box<dyn FnOnce(&Inner) + Send>),
    Wake(Arc<TaskWaker>),
    Stop,
}

/// The part of a loop that other threads see.
pub(crate) struct Shared {
    pub(crate) inbox: Inbox<Message>,
    waker: mio::Waker,
}

impl Shared {
    pub(crate) fn new(waker: mio::Waker) -> Shared {
        Shared { inbox: Inbox::new(), waker }
    }

    /// Queues a message, and wakes the loop if there was none before it.
    pub(crate) fn post(&self, message: Message) {
        self.inbox.post(message, || {
            if let Err(error) = self.waker.wake() {
                logged(|| tracing::error!(%error, "cannot wake the loop"));
            }
        });
    }
}

/// Reaches a loop from any thread: `Send`, `Sync`, cheap to clone.
///
/// On a loop that has closed every call is dropped silently, from any thread (IL12).
#[derive(Clone)]
pub struct Remote {
    pub(crate) shared: Arc<Shared>,
}

/// Those of one loop are equal.
impl PartialEq for Remote {
    fn eq(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Remote {}

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
            inner.spawn_in_place(make(), place);
        })));
    }

    /// Stops the loop at the end of the turn in which the message arrives, as [`IoLoop::stop`](crate::IoLoop::stop) does.
    pub fn stop(&self) {
        self.shared.post(Message::Stop);
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

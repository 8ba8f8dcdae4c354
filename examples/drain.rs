//! An end without a loss: every connection answers what it has received before the program goes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ioloop::{IoLoop, RunError};
use tcpserver::{HandleStream, TcpServer};

/// Who is to be told when the server is to end.
#[derive(Default)]
pub struct Drain {
    has_begun: Cell<bool>,
    guests: RefCell<BTreeMap<u64, Waker>>,
    entered: Cell<u64>,
    all_gone: RefCell<Option<Waker>>,
}

/// A connection, as long as it is served.
pub struct Guest {
    drain: Rc<Drain>,
    id: u64,
}

impl Drain {
    /// The calling task serves a connection from now on.
    pub async fn enter(self: &Rc<Drain>) -> Guest {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let id = self.entered.get() + 1;
        self.entered.set(id);
        self.guests.borrow_mut().insert(id, waker);
        Guest { drain: Rc::clone(self), id }
    }

    /// Tells every guest to come to an end, and waits until all have left.
    pub async fn run(&self) {
        self.has_begun.set(true);
        self.guests.borrow().values().for_each(Waker::wake_by_ref);
        poll_fn(|cx| {
            self.all_gone.replace(Some(cx.waker().clone()));
            if self.guests.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Guest {
    /// No two have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for `future`, by which a connection waits for input; `None` as soon as it would wait and the server is to
    /// end. That comes soon for a peer that sends without end, too, for a stream reads so much in a turn and then waits.
    pub async fn unless_draining<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Pending if self.drain.has_begun.get() => Poll::Ready(None),
            poll => poll.map(Some),
        })
        .await
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.drain.guests.borrow_mut();
        guests.remove(&self.id);
        if guests.is_empty()
            && let Some(waker) = self.drain.all_gone.take()
        {
            waker.wake();
        }
    }
}

/// Ends a server whose loop has been stopped: no new connections, and `grace` for those that are there.
///
/// # Errors
///
/// When they take longer, or the loop is stopped once more.
pub fn drain<H: HandleStream>(server: &TcpServer<H>, drain: &Drain, grace: Duration) -> Result<(), RunError> {
    server.stop();
    IoLoop::current().run_sync_timeout(grace, drain.run())
}

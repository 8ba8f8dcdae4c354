//! The futures that serve requests. Each is made once; it serves a burst of requests on one connection, then one on another.
//!
//! ```text
//!   connection   idles ──bytes──▶ hands its session over             has it back, and idles again
//!                                           │                              ▲
//!   worker       waits                      ▼ requests, their handlers … ──┘               waits for another
//! ```
//!
//! What a request under way needs is large: an idle connection must not carry it, and to ask for its memory anew with every
//! request would cost more than many a handler does.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::session::{Arrival, Session};

/// One such future, and what a connection has to do with it.
pub(crate) struct Worker {
    work: Pin<Box<dyn Future<Output = Infallible>>>,
    desk: Rc<Desk>,
}

/// What a worker makes of a burst: the session again, and whether the connection may idle.
pub(crate) struct Served {
    pub(crate) session: Session,
    pub(crate) may_idle: bool,
}

/// Where the two meet.
#[derive(Default)]
pub(crate) struct Desk {
    begun: Cell<Option<(Session, Arrival)>>,
    served: Cell<Option<Served>>,
}

impl Worker {
    /// `work` takes sessions from the desk and puts them back, one at a time, for ever.
    pub(crate) fn new<F>(work: impl FnOnce(Rc<Desk>) -> F) -> Worker
    where
        F: Future<Output = Infallible> + 'static,
    {
        let desk = Rc::<Desk>::default();
        Worker { work: Box::pin(work(Rc::clone(&desk))), desk }
    }

    /// Gives the worker a session on which something has arrived. It is to be polled until it gives it back; dropped before,
    /// it takes the session along.
    pub(crate) fn begin(&self, session: Session, arrival: Arrival) {
        self.desk.begun.set(Some((session, arrival)));
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Served> {
        match self.work.as_mut().poll(cx) {
            Poll::Ready(never) => match never {},
            Poll::Pending => self.desk.served.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl Desk {
    /// Waits for the next session. Nobody is told of one: whoever puts it here polls.
    pub(crate) async fn next(&self) -> (Session, Arrival) {
        poll_fn(|_| self.begun.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    pub(crate) fn put_back(&self, served: Served) {
        self.served.set(Some(served));
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

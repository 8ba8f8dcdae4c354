//! The futures that serve requests. Each is made once; it serves a burst of requests on one connection, then one on another.
//!
//! ```text
//!   connection   idles ──bytes──▶ lays its session down             has it back, and idles again
//!                                           │                              ▲
//!   worker       waits                      ▼ requests, their handlers … ──┘               waits for another
//! ```
//!
//! What a request under way needs is large: an idle connection must not carry it, and to ask for its memory anew with every
//! request would cost more than many a handler does.

use std::cell::{Cell, Ref, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::session::{Arrival, Session};

/// Where a session is: one or the other, so that an idle connection has no room for a worker beside it.
pub(crate) enum Place {
    Here(Session),
    /// On the desk of this worker; without one there is none.
    With(Option<Box<Worker>>),
}

impl Default for Place {
    fn default() -> Place {
        Place::With(None)
    }
}

/// One such future, and what a connection has to do with it.
pub(crate) struct Worker {
    work: Pin<Box<dyn Future<Output = Infallible>>>,
    desk: Rc<Desk>,
}

/// Where the two meet.
#[derive(Default)]
pub(crate) struct Desk {
    /// Lies here while it is served, and is lent: it is moved twice a burst and no more.
    place: RefCell<Place>,
    begun: Cell<Option<Arrival>>,
    served: Cell<Option<bool>>,
}

impl Worker {
    /// `work` serves the sessions that it finds on the desk, one after the other, for ever.
    pub(crate) fn new<F>(work: impl FnOnce(Rc<Desk>) -> F) -> Box<Worker>
    where
        F: Future<Output = Infallible> + 'static,
    {
        let desk = Rc::<Desk>::default();
        Box::new(Worker { work: Box::pin(work(Rc::clone(&desk))), desk })
    }

    /// Gives the worker the session that is here in `place`, on which something has arrived. It is to be polled until it is done with it;
    /// dropped before, it takes the session along.
    #[inline]
    pub(crate) fn begin(&self, place: &mut Place, arrival: Arrival) {
        self.trade(place);
        self.desk.begun.set(Some(arrival));
    }

    /// Puts the session that was served back into its `place`.
    #[inline]
    pub(crate) fn end(&self, place: &mut Place) {
        self.trade(place);
    }

    #[inline]
    fn trade(&self, place: &mut Place) {
        std::mem::swap(&mut *self.desk.place.borrow_mut(), place);
    }

    /// Ready when the session is served and can be [put back](Worker::end): `true` if its connection may idle.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.work.as_mut().poll(cx) {
            Poll::Ready(never) => match never {},
            Poll::Pending => self.desk.served.take().map_or(Poll::Pending, Poll::Ready),
        }
    }

    /// Shows the session that is being served.
    pub(crate) fn with_session(&self, look: impl FnOnce(&Session)) {
        look(&self.desk.session());
    }
}

impl Desk {
    /// Waits for the next session, which is then in its place, and for what has arrived on it. Nobody is told of one: whoever
    /// lays it down polls.
    pub(crate) async fn next(&self) -> Arrival {
        poll_fn(|_| self.begun.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The session that was laid down. To be given back before it is [`served`](Desk::served).
    pub(crate) fn session(&self) -> Ref<'_, Session> {
        Ref::map(self.place.borrow(), |place| match place {
            Place::Here(session) => session,
            Place::With(_) => panic!("no session was laid down"),
        })
    }

    pub(crate) fn served(&self, may_idle: bool) {
        self.served.set(Some(may_idle));
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

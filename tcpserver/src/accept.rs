//! Accepting: as many as there are, but not more in one turn than is fair, and calmly when descriptors run out.
//! Step 3 of path 1 through the house (see ARCHITECTURE.md).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ioloop::{Deadline, Interest, IoLoop, Ready, Registration};

use crate::listener::{Connection, Listener};
use crate::peer::PeerAddr;

/// Connections accepted in one turn before the loop sees to the others (NU3.2).
pub const ACCEPTS_PER_TURN: usize = 128;

/// The first and the longest pause after an accept that failed for want of something. The longest is short enough
/// that nobody waits long once descriptors are free again, and long enough that trying costs nothing.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Calls `callback` on the current loop for each connection that arrives at `listener`, in the order of arrival
/// (NU3.1).
///
/// At most [`ACCEPTS_PER_TURN`] are accepted before the loop goes on, and each is handed over before the next is
/// accepted, so that processes which share a listener get their share (NU3.2). A callback that panics is logged and
/// costs its own connection (NU3.5). A connection that went away while it queued is skipped (NU3.3). When
/// descriptors or memory run out, accepting pauses, at first for 5 and at most for 100 milliseconds, and resumes by
/// itself; that is logged once per episode (NU3.4).
///
/// # Errors
///
/// When the poller refuses the listener, which is then dropped.
#[doc(alias = "netutil.add_accept_handler")]
pub fn add_accept_handler<F>(listener: impl Into<Listener>, callback: F) -> io::Result<AcceptHandle>
where
    F: FnMut(Connection, PeerAddr) + 'static,
{
    let io_loop = IoLoop::current();
    let mut listener = listener.into();
    let registration = Registration::new(&io_loop);
    listener.attach(&registration)?;
    let accepting =
        Rc::new(Accepting { registration, listener: RefCell::new(Some(listener)), failing: Cell::new(None) });
    let handle = AcceptHandle { accepting: Rc::clone(&accepting) };
    io_loop.spawn_detached(accepting.run(callback));
    Ok(handle)
}

/// Ends what [`add_accept_handler`] began. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct AcceptHandle {
    accepting: Rc<Accepting>,
}

impl AcceptHandle {
    /// Stops accepting at once, even from inside the callback with more connections queued (NU3.6), and gives the
    /// listener back, still open (NU3.7). `None` if it was removed before.
    #[must_use = "dropping the listener closes it"]
    pub fn remove(&self) -> Option<Listener> {
        let mut listener = self.accepting.listener.take()?;
        if let Err(error) = listener.detach(&self.accepting.registration) {
            tracing::debug!(%error, "a listener could not be deregistered");
        }
        self.accepting.registration.close(); // ends the task
        Some(listener)
    }
}

struct Accepting {
    registration: Registration,
    /// Gone when accepting has ended.
    listener: RefCell<Option<Listener>>,
    /// The pause to make after the next failure, while failures last.
    failing: Cell<Option<Duration>>,
}

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepting").field("listener", &self.listener.borrow()).finish_non_exhaustive()
    }
}

impl Accepting {
    async fn run(self: Rc<Self>, mut callback: impl FnMut(Connection, PeerAddr)) {
        let mut pause = Deadline::new(&self.registration.io_loop());
        poll_fn(|cx| self.poll_accept(cx, &mut pause, &mut callback)).await;
    }

    /// Ready when there is no listener any more.
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
        pause: &mut Deadline,
        callback: &mut impl FnMut(Connection, PeerAddr),
    ) -> Poll<()> {
        if pause.deadline().is_some() {
            std::task::ready!(pause.poll(cx));
            pause.set(None);
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = match self.listener.borrow().as_ref() {
                Some(listener) => listener.accept(),
                None => return Poll::Ready(()),
            };
            match accepted {
                Ok((connection, peer)) => {
                    self.note_success();
                    hand_over(callback, connection, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.registration.clear(Ready::READABLE);
                    if self.registration.poll_ready(cx, Interest::READ).is_pending() {
                        return Poll::Pending;
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    pause.set(Some(self.registration.now() + self.note_failure(&error)));
                    let _pending = pause.poll(cx);
                    return Poll::Pending;
                }
            }
        }
        // The poller reports nothing about what is still queued: come back by ourselves.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn note_success(&self) {
        if self.failing.take().is_some() {
            tracing::info!("accepting connections again");
        }
    }

    /// Logs the first failure of an episode. Gives the pause to make.
    fn note_failure(&self, error: &io::Error) -> Duration {
        let (first, longest) = PAUSES;
        let pause = self.failing.get().unwrap_or_else(|| {
            tracing::error!(%error, "cannot accept connections; trying again until it works");
            first
        });
        self.failing.set(Some((pause * 2).min(longest)));
        pause
    }
}

fn hand_over(callback: &mut impl FnMut(Connection, PeerAddr), connection: Connection, peer: PeerAddr) {
    if catch_unwind(AssertUnwindSafe(|| callback(connection, peer))).is_err() {
        tracing::error!("an accept callback panicked; its connection is closed");
    }
}

/// Errors of a connection that went wrong while it queued, after which the next may well be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

//! Accepting: as many as there are, but not more in one turn than is fair, and calmly when descriptors run out.
//! Step 3 of path 1 through the house (see ARCHITECTURE.md).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ioloop::{Interest, IoLoop, Ready, Registration, caught};

use crate::admission::Admission;
use crate::backoff::{Backoff, PAUSES};
use crate::entrance::Entrance;
use crate::error::ListenError;
use crate::eviction::Lack;
use crate::listener::{Connection, Listener};
use crate::log::logged;
use crate::peer::PeerAddr;

/// Connections accepted in one turn before the loop sees to the others (NU3.2).
pub const ACCEPTS_PER_TURN: usize = 128;

/// Connections that are accepted at most once accepting is to end with an empty queue: a queue is seldom allowed to be
/// longer (`net.core.somaxconn`), and one that fills as fast as it is emptied must end too.
const LAST_ONES: u32 = 4096;

/// Connections that are closed in one go for want of a descriptor, before a pause.
const SHED_PER_PAUSE: u64 = 32;

/// Calls `callback` on the current loop for each connection that arrives at `listener`, in the order of arrival
/// (NU3.1).
///
/// At most [`ACCEPTS_PER_TURN`] are accepted before the loop goes on, and each is handed over before the next is
/// accepted, so that processes which share a listener get their share (NU3.2). A callback that panics is logged and
/// costs its own connection (NU3.5). A connection that went away while it queued is skipped (NU3.3). When
/// descriptors or memory run out, accepting pauses, at first for 20 and at most for 100 milliseconds, and resumes by
/// itself; that is logged once per episode, which lasts until the queue is empty and nothing has failed for two seconds
/// (NU3.4).
///
/// The listener closes with the loop, unless it was [removed](AcceptHandle::remove) before.
///
/// # Errors
///
/// When the listener cannot be made non-blocking, or the poller refuses it; it is then closed.
#[doc(alias = "netutil.add_accept_handler")]
pub fn add_accept_handler<F>(
    listener: impl TryInto<Listener, Error: Into<ListenError>>,
    callback: F,
) -> Result<AcceptHandle, ListenError>
where
    F: FnMut(Connection, PeerAddr) + 'static,
{
    let listener = listener.try_into().map_err(Into::into)?;
    accept_admitted(listener, Entrance::unlimited(), callback)
}

/// [`add_accept_handler`], which accepts when there is room behind `entrance`.
pub(crate) fn accept_admitted<F>(
    mut listener: Listener,
    entrance: Rc<Entrance>,
    callback: F,
) -> Result<AcceptHandle, ListenError>
where
    F: FnMut(Connection, PeerAddr) + 'static,
{
    let io_loop = IoLoop::current();
    let registration = Registration::new(&io_loop);
    listener.attach(&registration)?;
    let accepting = Rc::new(Accepting {
        registration,
        listener: RefCell::new(Some(listener)),
        entrance,
        last_ones: Cell::default(),
        stuck: Cell::default(),
        waited: Cell::default(),
        round: Cell::default(),
        waiting: Cell::default(),
    });
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
    /// listener back, still open (NU3.7): it can be added again. `None` if it was removed before, or the loop has closed.
    #[must_use = "dropping the listener closes it"]
    pub fn remove(&self) -> Option<Listener> {
        let listener = self.accepting.take_listener()?;
        // Either ends the task, whatever it waits for.
        self.accepting.registration.close();
        self.accepting.admission().wake_waiting();
        Some(listener)
    }

    /// Accepts those who are in the queue, 4096 at most, and closes the listener then: the kernel has told them that their
    /// connections stand.
    pub(crate) fn remove_when_empty(&self) {
        self.accepting.last_ones.set(Some(LAST_ONES));
        self.accepting.registration.set_ready(Ready::READABLE);
        self.accepting.admission().wake_waiting();
    }

    /// A descriptor more for the listener, if it is still there and its entrance is one of those.
    #[cfg(target_os = "linux")]
    pub(crate) fn duplicate(&self, of: impl FnOnce(&Rc<Entrance>) -> bool) -> Option<io::Result<OwnedFd>> {
        let listener = self.accepting.listener.borrow();
        let listener = listener.as_ref().filter(|_| of(&self.accepting.entrance))?;
        Some(listener.as_fd().try_clone_to_owned())
    }

    /// Whether both are the handle of one listener.
    pub(crate) fn is(&self, other: &AcceptHandle) -> bool {
        Rc::ptr_eq(&self.accepting, &other.accepting)
    }

    /// Whether the last ones have to wait until there is room for them.
    pub(crate) fn is_stuck(&self) -> bool {
        self.accepting.stuck.get()
    }

    /// Waits until accepting has ended, or is stuck. The latest task to ask is told.
    pub(crate) fn poll_removed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.accepting.listener.borrow().is_none() {
            return Poll::Ready(());
        }
        let replaced = self.accepting.waiting.replace(Some(cx.waker().clone()));
        drop(replaced);
        Poll::Pending
    }
}

struct Accepting {
    registration: Registration,
    /// Gone when accepting has ended.
    listener: RefCell<Option<Listener>>,
    entrance: Rc<Entrance>,
    /// How many may still come, when accepting is to end as soon as the queue is empty.
    last_ones: Cell<Option<u32>>,
    /// Whether they have to wait.
    stuck: Cell<bool>,
    /// Whether it has waited for somebody, and nobody has come since.
    waited: Cell<bool>,
    /// While there is no room: when others were last told to leave, and what came of it.
    round: Cell<Option<Round>>,
    /// Who waits for the end.
    waiting: Cell<Option<Waker>>,
}

/// A look for connections that could leave for those who wait.
#[derive(Clone, Copy)]
struct Round {
    /// When the next is due.
    next: Instant,
    /// Until when those are waited for who were told to, if any were.
    leaving_until: Option<Instant>,
}

/// How long those who were told to leave are waited for before others are: handlers may have something to say yet. As soon as one
/// has left, the newcomer is let in, and the next begins a round of its own.
const TIME_TO_LEAVE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepting").field("listener", &self.listener.borrow()).finish_non_exhaustive()
    }
}

impl Accepting {
    /// The listener, no longer registered: where it has another descriptor, the process that serves it next for one, closing this
    /// one would leave the loop woken for each of its clients.
    fn take_listener(&self) -> Option<Listener> {
        let mut listener = self.listener.take()?;
        if let Err(error) = listener.detach(&self.registration) {
            logged(|| tracing::debug!(%error, "a listener could not be deregistered"));
        }
        Some(listener)
    }

    fn run(self: Rc<Self>, mut callback: impl FnMut(Connection, PeerAddr)) -> impl Future<Output = ()> {
        let accepting = CloseAtEnd(self); // from now on: the loop may close before it has polled this once
        async move {
            let mut backoff = Backoff::new(&accepting.0.registration.io_loop());
            poll_fn(|cx| accepting.0.poll_accept(cx, &mut backoff, &mut callback)).await;
        }
    }

    /// Ready when there is no listener any more.
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
        backoff: &mut Backoff,
        callback: &mut impl FnMut(Connection, PeerAddr),
    ) -> Poll<()> {
        let mut last_skipped = None;
        for _ in 0..ACCEPTS_PER_TURN {
            if self.listener.borrow().is_none() || self.last_ones.get() == Some(0) {
                return Poll::Ready(());
            }
            if backoff.poll_over(cx).is_pending() || self.poll_room(cx, backoff).is_pending() {
                self.note_stuck();
                return Poll::Pending;
            }
            match self.accept() {
                Ok((connection, peer)) => {
                    last_skipped = None;
                    backoff.reset();
                    self.stuck.set(false);
                    self.waited.set(false);
                    self.last_ones.set(self.last_ones.get().map(|left| left - 1));
                    hand_over(callback, connection, peer);
                }
                // For want of a descriptor the kernel does not even look into the queue.
                Err(error) if is_would_block(&error) || (lacks_descriptor(&error) && !self.has_waiting()) => {
                    if self.last_ones.get().is_some() {
                        return Poll::Ready(());
                    }
                    self.note_nobody();
                    self.registration.clear(Ready::READABLE);
                    if self.registration.poll_ready(cx, Interest::READ).is_pending() {
                        self.note_empty(cx, backoff);
                        self.waited.set(true);
                        return Poll::Pending;
                    }
                    // The listener shows an error or its end, which stay: waiting for readiness would not wait.
                    return self.pause(cx, backoff, &error);
                }
                Err(error) if concerns_one_connection(&error) => last_skipped = Some(error),
                Err(error) => return self.pause(cx, backoff, &error),
            }
        }
        if let Some(error) = last_skipped {
            return self.pause(cx, backoff, &error); // it seems to concern more than one
        }
        // The poller reports nothing about what is still queued: come back by ourselves.
        ioloop::give_way(cx);
        Poll::Pending
    }

    fn admission(&self) -> &Admission {
        &self.entrance.server.state.admission
    }

    fn accept(&self) -> io::Result<(Connection, PeerAddr)> {
        self.listener.borrow().as_ref().map_or(Err(io::ErrorKind::NotConnected.into()), Listener::accept)
    }

    /// There is nobody, perhaps because another loop was faster.
    fn note_nobody(&self) {
        if self.waited.replace(false) {
            self.entrance.server.state.tally.count(|metrics| metrics.wakes_in_vain += 1);
        }
    }

    fn note_stuck(&self) {
        if self.last_ones.get().is_some() && !self.stuck.replace(true) {
            self.tell_who_waits();
        }
    }

    fn tell_who_waits(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until one more may come in, or is to be turned away. While somebody waits at the listener, others are told to leave.
    fn poll_room(&self, cx: &mut Context<'_>, backoff: &mut Backoff) -> Poll<()> {
        let (admission, now) = (self.admission(), self.registration.now());
        if admission.has_room(&self.entrance.gate, now) {
            self.round.set(None);
            return Poll::Ready(());
        }
        let is_wanted = self.has_waiting_or_tells(cx, backoff);
        let round = (is_wanted && admission.may_find_room()).then(|| self.make_room(now));
        if is_wanted || !admission.turns_away() {
            self.round.set(round); // or those who are turned away one by one would cost a look each
        }
        let is_done = if is_wanted {
            admission.turns_away() && round.is_none_or(|round| round.leaving_until.is_none())
        } else {
            // Who has nobody to turn away, or no more to wait for, finds that out by accepting.
            admission.turns_away() || self.last_ones.get().is_some()
        };
        if is_done {
            return Poll::Ready(());
        }
        if let Some(round) = round {
            backoff.look_again(cx, round.next);
        }
        admission.wait_for_room(&self.entrance.gate, cx, now);
        Poll::Pending
    }

    /// Has others leave, now and then. Where newcomers wait it begins with a pause: another loop may have room, and take them.
    fn make_room(&self, now: Instant) -> Round {
        let pause = if self.admission().turns_away() { Duration::ZERO } else { PAUSES.0 };
        let mut round = self.round.get().unwrap_or(Round { next: now + pause, leaving_until: None });
        if round.next <= now {
            if round.leaving_until.is_none_or(|until| until <= now) {
                // While the server drains they leave anyway.
                let is_for_new_ones = self.last_ones.get().is_none();
                let is_anybody_told = is_for_new_ones
                    && self.entrance.make_room(self.admission().lack(&self.entrance.gate)) > 0;
                round.leaving_until = is_anybody_told.then(|| now + TIME_TO_LEAVE);
            }
            round.next = now + if round.leaving_until.is_some() { PAUSES.0 } else { PAUSES.1 };
        }
        round
    }

    fn has_waiting(&self) -> bool {
        self.listener.borrow().as_ref().is_some_and(Listener::has_waiting)
    }

    /// Whether somebody waits at the listener. If not, the task is woken when somebody does.
    fn has_waiting_or_tells(&self, cx: &mut Context<'_>, backoff: &mut Backoff) -> bool {
        self.registration.clear(Ready::READABLE); // first, so that whoever comes after the look is news
        if self.has_waiting() {
            return true;
        }
        if self.registration.poll_ready(cx, Interest::READ).is_ready() {
            // An error, or its end: see below.
            backoff.look_again(cx, self.registration.now() + PAUSES.1);
        }
        false
    }

    /// Waits a while before the next attempt; `remove` cuts it short.
    fn pause(&self, cx: &mut Context<'_>, backoff: &mut Backoff, error: &io::Error) -> Poll<()> {
        let now = self.registration.now();
        self.admission().note_failure(error, now);
        if lacks_descriptor(error) && self.entrance.make_room(Lack::Descriptors) == 0 {
            self.admission().with_reserve(|| self.shed());
        }
        backoff.pause(cx, now);
        self.note_stuck();
        let _removed = self.registration.poll_closed(cx);
        Poll::Pending
    }

    /// Closes some of those who wait.
    fn shed(&self) -> u64 {
        let mut shed = 0;
        for _ in 0..SHED_PER_PAUSE {
            match self.accept() {
                Ok(_dropped) => shed += 1,
                Err(error) if concerns_one_connection(&error) => {}
                Err(_) => break,
            }
        }
        shed
    }

    /// The queue is empty: whatever was amiss may be over, now or a little later.
    fn note_empty(&self, cx: &mut Context<'_>, backoff: &mut Backoff) {
        backoff.reset();
        if let Some(at) = self.admission().look(self.registration.now()) {
            backoff.look_again(cx, at);
        }
    }
}

/// Closes the listener when its task goes, which is also how a loop that closes refuses whom it would not serve.
struct CloseAtEnd(Rc<Accepting>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        drop(self.0.take_listener());
        self.0.entrance.server.forget(&AcceptHandle { accepting: Rc::clone(&self.0) });
        self.0.tell_who_waits();
        self.0.admission().wake_waiting(); // or a waker that wakes nobody would stay
    }
}

fn hand_over(callback: &mut impl FnMut(Connection, PeerAddr), connection: Connection, peer: PeerAddr) {
    if let Err(panic) = caught(|| callback(connection, peer)) {
        logged(|| tracing::error!(panic, "an accept callback panicked; its connection is closed"));
    }
}

/// Errors of a connection that went wrong while it queued, after which the next may well be fine. Linux reports the
/// network's errors of a queued connection here, and those of a firewall, and asks to go on as if it had not been there: see
/// accept(2).
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Unsupported
    ) || error.raw_os_error().is_some_and(|code| NETWORK_ERRORS.contains(&code))
}

/// Those for which the standard library has no word: ENONET, EPROTO, ENOPROTOOPT, EHOSTDOWN.
const NETWORK_ERRORS: &[i32] = if cfg!(target_os = "linux") { &[64, 71, 92, 112] } else { &[] };

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether a descriptor more would help: the process has none left, or the system (ENFILE, EMFILE). Closing those who wait helps
/// against nothing else.
fn lacks_descriptor(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ioloop::testing::VirtualLoop;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn nu3_3_errors_of_one_connection_are_told_from_those_of_all() {
        let of = |code| {
            let error = io::Error::from_raw_os_error(code);
            (concerns_one_connection(&error), lacks_descriptor(&error))
        };
        let (eperm, eintr, enonet, eproto, enoprotoopt, eopnotsupp) = (1, 4, 64, 71, 92, 95);
        let (enetdown, enetunreach, econnaborted, econnreset) = (100, 101, 103, 104);
        let (etimedout, ehostdown, ehostunreach) = (110, 112, 113);
        let one = [eperm, eintr, enonet, eproto, enoprotoopt, eopnotsupp, enetdown, enetunreach];
        for code in one.into_iter().chain([econnaborted, econnreset, etimedout, ehostdown, ehostunreach]) {
            assert_eq!(of(code), (true, false), "{}", io::Error::from_raw_os_error(code));
        }
        let (enfile, emfile) = (23, 24);
        assert_eq!([of(enfile), of(emfile)], [(false, true); 2]);
        let (ebadf, enomem, einval, enotsock, enobufs) = (9, 12, 22, 88, 105);
        for code in [ebadf, enomem, einval, enotsock, enobufs] {
            assert_eq!(of(code), (false, false), "{}", io::Error::from_raw_os_error(code));
        }
    }

    /// What the poller has reported of a listener's end stays reported, and must not keep the loop busy: with a wait
    /// for readiness in place of the pause this never returns.
    #[test]
    fn nu3_4_a_listener_that_shows_an_error_is_looked_at_now_and_then_and_still_serves() {
        let test = VirtualLoop::new();
        test.make_current();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepted = Rc::new(Cell::new(0));
        let count = Rc::clone(&accepted);
        let handle =
            add_accept_handler(listener, move |_, _| count.set(count.get() + 1)).expect("a listener");

        handle.accepting.registration.set_ready(Ready::ERROR);
        test.run_until_stalled();
        let turns = test.counters().turns;
        test.advance(Duration::from_secs(1));
        assert!(test.counters().turns - turns < 60, "ten looks a second, a few turns each");

        let _client = std::net::TcpStream::connect(address).expect("it listens");
        test.advance(PAUSES.1);
        assert_eq!(accepted.get(), 1);
    }
}

//! The race of a host's addresses, after RFC 8305 §5.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ioloop::{Deadline, IoLoop};

use super::error::FailedAttempt;

/// Attempts that begin one after another and run beside each other, until one succeeds or all have failed.
///
/// How one address is connected to is the caller's affair, and time is the loop's, so that a test can script both.
/// An attempt that is dropped is given up, with its socket.
pub(super) struct Race<C, F> {
    waiting: std::vec::IntoIter<SocketAddr>,
    connect_one: C,
    /// In the order in which they began.
    in_flight: Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: Vec<FailedAttempt>,
    /// The next attempt begins when this has passed, or at once if an attempt has failed.
    next: Deadline,
    delay: Duration,
    at_once: usize,
}

impl<C, F, T> Race<C, F>
where
    C: Fn(SocketAddr) -> F,
    F: Future<Output = Result<T, FailedAttempt>>,
{
    /// `addresses` in the order in which to try them: `at_once` at a time, and one in each `delay`.
    pub(super) fn new(
        addresses: Vec<SocketAddr>,
        connect_one: C,
        delay: Duration,
        at_once: usize,
    ) -> Race<C, F> {
        // Keeps no handle of the loop: it runs in one of its tasks, and a handle there would keep the loop from closing.
        let next = Deadline::new(&IoLoop::current());
        next.set_after(Some(Duration::ZERO));
        let waiting = addresses.into_iter();
        Race { waiting, connect_one, in_flight: Vec::new(), failed: Vec::new(), next, delay, at_once }
    }

    /// The first connection that stands, the earlier attempt's of two that meet; `None` when all have failed. Who was not
    /// the first goes with the race.
    ///
    /// One attempt begins per call at most: a list of addresses that fail at once does not hold up the loop.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // Looked at before another begins, which may then not be needed.
        if let Some(connection) = self.poll_attempts(cx) {
            return Poll::Ready(Some(connection));
        }
        if self.may_begin() && self.next.poll(cx).is_ready() {
            self.begin();
            if let Some(connection) = self.poll_attempts(cx) {
                return Poll::Ready(Some(connection));
            }
        }
        if self.in_flight.is_empty() && self.waiting.as_slice().is_empty() {
            return Poll::Ready(None);
        }
        if self.may_begin() && self.next.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The addresses that have not answered, in the order in which they were tried.
    pub(super) fn pending(&self) -> Vec<SocketAddr> {
        self.in_flight.iter().map(|(address, _)| *address).collect()
    }

    /// Gives up what is under way, and tells what has failed, in the order in which it did.
    pub(super) fn into_failed(self) -> Vec<FailedAttempt> {
        self.failed
    }

    fn may_begin(&self) -> bool {
        self.in_flight.len() < self.at_once && !self.waiting.as_slice().is_empty()
    }

    fn begin(&mut self) {
        if let Some(address) = self.waiting.next() {
            self.in_flight.push((address, Box::pin((self.connect_one)(address))));
            self.next.set_after(Some(self.delay));
        }
    }

    /// Looks at every attempt. A connection ends the race; a failure lets the next attempt begin.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<T> {
        let mut place = 0;
        while let Some((_, attempt)) = self.in_flight.get_mut(place) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(connection)) => return Some(connection),
                Poll::Ready(Err(failure)) => {
                    drop(self.in_flight.remove(place));
                    self.failed.push(failure);
                    self.next.set_after(Some(Duration::ZERO));
                }
            }
        }
        None
    }
}

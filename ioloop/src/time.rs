//! Timers as Tornado has them, and the futures that stand on them.

use std::cell::Cell;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::IoLoop;
use crate::counters::count;
use crate::error::TimedOut;
use crate::io_loop::{Inner, announced, with_current};
use crate::origin::WorkKind;
use crate::timers::{Action, Nanos, TimerKey};

/// Beyond this a deadline is as good as never: it keeps `Instant` arithmetic from overflowing.
pub(crate) const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 100);

/// Names a timer, so that it can be removed. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Timeout {
    key: Option<TimerKey>,
    inner: Weak<Inner>,
}

impl IoLoop {
    /// Calls `callback` at `deadline`, or in the next turn if that has passed; never at once (IL18, IL19).
    ///
    /// Timers with equal deadlines run first in, first out (IL21). On a closed loop the callback is dropped.
    #[doc(alias = "add_timeout")]
    #[track_caller]
    pub fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) -> Timeout {
        let at = Location::caller();
        let key = self.inner.add_timer(deadline, || Action::Call(announced(WorkKind::Timer, at, callback)));
        Timeout { key, inner: Rc::downgrade(&self.inner) }
    }

    /// Calls `callback` when `delay` has passed, counted from [`now`](IoLoop::now). A hundred years are as good as
    /// never.
    #[track_caller]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> Timeout {
        self.call_at(self.now() + delay.min(NEVER), callback)
    }

    /// Removes a timer, which then does not run, even if it is due in this very turn (IL20).
    ///
    /// Harmless after it has fired, and for a timer of another loop, which stays.
    pub fn remove_timeout(&self, timeout: &Timeout) {
        if let Some(key) = timeout.key
            && timeout.inner.as_ptr() == Rc::as_ptr(&self.inner)
        {
            let action = self.inner.timers.borrow_mut().remove(key);
            drop(action); // outside the borrow: a callback owns what it captured
        }
    }
}

impl Inner {
    pub(crate) fn add_timer(&self, deadline: Instant, action: impl FnOnce() -> Action) -> Option<TimerKey> {
        if self.closed.get() {
            return None;
        }
        count(&self.tally.timers_inserted);
        Some(self.timers.borrow_mut().insert(deadline, action()))
    }
}

/// A deadline that a task looks at whenever it is polled, and that wakes it when it has passed.
///
/// Moving the deadline is a store: the timer behind it is only touched when the new deadline is *earlier* than
/// the one that is armed, or when an armed one fires before its time has come and is set again. So a connection
/// that pushes its idle deadline forward with every request costs no timer operation per request.
///
/// Dropping it removes its timer.
pub struct Deadline {
    inner: Rc<Inner>,
    /// As the loop's timers count, which takes half of what an `Instant` takes.
    deadline: Cell<Option<Nanos>>,
    armed: Cell<TimerKey>,
}

impl Deadline {
    /// A deadline of `io_loop` that never passes until it is [`set`](Deadline::set).
    #[must_use]
    pub fn new(io_loop: &IoLoop) -> Deadline {
        let inner = Rc::clone(&io_loop.inner);
        Deadline { inner, deadline: Cell::new(None), armed: Cell::new(TimerKey::NONE) }
    }

    /// Moves the deadline; `None` means never. The wait for it begins with the next [`poll`](Deadline::poll).
    pub fn set(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline.map(|deadline| Nanos::between(self.inner.epoch, deadline)));
    }

    /// [`set`](Deadline::set) to so long after the loop's [`now`](IoLoop::now), for what is set often: it reckons in whole numbers.
    pub fn set_after(&self, patience: Option<Duration>) {
        self.deadline.set(patience.map(|patience| self.inner.now_in_nanos().plus(patience)));
    }

    /// The deadline as it stands. One from before the loop was made counts as the moment of that.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.deadline.get()?.after(self.inner.epoch))
    }

    /// Ready when the deadline has passed; otherwise the latest task to ask is woken when it does, and perhaps
    /// before. On a loop that has closed no deadline passes any more.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline.get() else { return Poll::Pending };
        let inner = &*self.inner;
        if deadline <= inner.now_in_nanos() {
            return if inner.closed.get() { Poll::Pending } else { Poll::Ready(()) };
        }
        if let Some(task) = inner.own_task(cx.waker())
            && inner.timers.borrow_mut().rearm(self.armed.get(), deadline, task)
        {
            return Poll::Pending;
        }
        self.arm(deadline, cx);
        Poll::Pending
    }

    /// By itself, because a deadline that is pushed forward has no need of it.
    #[inline(never)]
    fn arm(&self, deadline: Nanos, cx: &mut Context<'_>) {
        let inner = &*self.inner;
        if inner.closed.get() {
            return;
        }
        let action = Action::wake(inner.wake_target(cx.waker()));
        let (armed, replaced) = inner.timers.borrow_mut().arm(self.armed.get(), deadline, action);
        drop(replaced); // outside the borrow: a foreign waker's drop is foreign code
        if self.armed.replace(armed) != armed {
            count(&inner.tally.timers_inserted);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if self.armed.get() != TimerKey::NONE {
            let action = self.inner.timers.borrow_mut().remove(self.armed.get());
            drop(action);
        }
    }
}

impl std::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deadline").field("at", &self.deadline()).finish_non_exhaustive()
    }
}

/// A future that is done when its time has come. Made by [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Deadline,
}

/// Waits until `duration` has passed, counted from the loop's [`now`](IoLoop::now) at this call.
///
/// # Panics
///
/// When the thread has no current loop; inside a task there always is one.
pub fn sleep(duration: Duration) -> Sleep {
    let io_loop = current("sleep");
    sleep_on(&io_loop, io_loop.now() + duration.min(NEVER))
}

/// Waits until `deadline`.
///
/// # Panics
///
/// When the thread has no current loop; inside a task there always is one.
pub fn sleep_until(deadline: Instant) -> Sleep {
    sleep_on(&current("sleep_until"), deadline)
}

fn sleep_on(io_loop: &IoLoop, at: Instant) -> Sleep {
    let deadline = Deadline::new(io_loop);
    deadline.set(Some(at));
    Sleep { deadline }
}

fn current(what: &str) -> IoLoop {
    match IoLoop::try_current() {
        Some(io_loop) => io_loop,
        None => panic!("`{what}` needs a current loop on this thread"),
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll(cx)
    }
}

/// Runs `future` for at most `limit`; drops it when the time has passed.
///
/// The future is looked at before the clock, so one that is done in time is never lost to a late look.
///
/// # Errors
///
/// [`TimedOut`] if `limit` has passed first.
///
/// # Panics
///
/// When the thread has no current loop; inside a task there always is one.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, TimedOut> {
    let sleep = sleep(limit);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.deadline.poll(cx).map(|()| Err(TimedOut)),
    })
    .await
}

/// Has the calling task polled again in the next turn, after everything else that is ready and after a look at the operating
/// system. For futures written by hand that have had their share for now; others await [`yield_now`].
///
/// A bare `wake_by_ref` comes after the other tasks too, but while those keep the loop busy, only one in 61 runs is followed
/// by a poll.
#[cold]
pub fn give_way(cx: &mut Context<'_>) {
    with_current(Inner::poll_next);
    cx.waker().wake_by_ref();
}

/// Gives way to everything else that is ready, input and output included, and goes on in the next turn.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        give_way(cx);
        Poll::Pending
    })
    .await;
}

//! Running: what one turn does, in which order, and how a run begins and ends.
//!
//! ```text
//!   ┌─▶ timers that are due are collected, and none runs yet
//!   │   callbacks and tasks that were queued when the turn began, first in first out
//!   │   the timers that were collected, earliest first
//!   │   before-poll hooks: streams flush what the turn has written
//!   │   (again from the top, if tasks are ready and fewer than 61 things have run since the last poll, for 0.1 ms at most)
//!   │   what a crowd has left behind is given back, if somebody has asked for it
//!   │   poll: sleeps until something is ready, the next deadline, or a word from another thread
//!   └── handlers and waiting tasks are told what is ready; tasks are queued for the next turn
//! ```
//!
//! What is queued during a turn waits for the next, so nobody can starve input and output (IL10, IL22, IL23). While more is
//! ready, up to 61 polls of tasks share one poll of the operating system, for as long as they are quick: a turn that ends
//! before goes straight into the next one. A callback always has the loop poll: a chain of them is how long work gives way.
//!
//! A crowd that becomes ready, or due, all at once is gone through in bites of 1,024: the rest keeps its order, and the loop
//! polls in between.

use std::future::Future;
use std::io;
use std::panic::{Location, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::IoLoop;
use crate::alarm::ALARM;
use crate::counters::count;
use crate::error::RunError;
use crate::executor::Ran;
use crate::io_loop::{
    CurrentGuard, Inner, KEPT_CAPACITY, NANOS_PER_POLL, RUNS_PER_LOOK, RUNS_PER_POLL, RUNS_PER_TURN, Runnable,
};
use crate::origin::{Place, WorkKind};
use crate::ready::Ready;
use crate::sources::{SourceKey, WAKER};
use crate::timers::{Action, Nanos};
use crate::wake::{TaskKey, TaskWaker};

impl IoLoop {
    /// Runs until [`stop`](IoLoop::stop). A loop can be started and stopped again and again (IL32).
    ///
    /// If `stop` was called since the last run, here or through a [`Remote`](crate::Remote), returns at once and
    /// runs nothing (IL33).
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] from inside a running loop; [`RunError::Closed`] for one that has been closed;
    /// [`RunError::Stalled`] on a virtual clock when nothing is left to do; [`RunError::Poll`] if the operating
    /// system's poller fails, which a correct program never sees.
    pub fn start(&self) -> Result<(), RunError> {
        let _run = Run::begin(self)?;
        while !self.inner.stopping.get() {
            let progress = self.inner.turn(&mut |_| {}, self.inner.sleep())?;
            if !progress && !self.inner.stopping.get() {
                return Err(RunError::Stalled);
            }
        }
        Ok(())
    }

    /// Ends the run at the end of the current turn (IL33). Before a run: the next [`start`](IoLoop::start)
    /// returns at once.
    pub fn stop(&self) {
        self.inner.stopping.set(true);
    }

    /// Runs the loop until `future` is done and gives its output (IL34).
    ///
    /// The future runs as a task of the loop, which is current meanwhile; it need not be `'static`. Its panic
    /// is the caller's. Other tasks run too, and stay where they are when it is done.
    ///
    /// # Errors
    ///
    /// [`RunError::Stopped`] if something stopped the loop first; [`RunError::Stalled`] on a virtual clock when
    /// nothing is left that could wake anybody; and the errors of [`start`](IoLoop::start). The future is then
    /// dropped. A `stop` from before this call is not for this run and has no effect.
    #[track_caller]
    pub fn run_sync<F: Future>(&self, future: F) -> Result<F::Output, RunError> {
        let _run = Run::begin(self)?;
        self.inner.stopping.set(false);
        let inner = &*self.inner;
        let place = Place::of::<F>(WorkKind::Task, Location::caller());
        let root = Root { inner, key: inner.reserve(place) };
        let waker = Waker::from(TaskWaker::new(root.key, Arc::clone(&inner.shared)));
        let mut future = pin!(future);
        let mut finished = None;
        inner.schedule(root.key);
        loop {
            let mut poll_root = |key: TaskKey| {
                if key == root.key && finished.is_none() {
                    inner.dispatch.began(place);
                    finished = match inner.poll_task(key, &waker, |cx| future.as_mut().poll(cx)) {
                        Ok(Poll::Pending) => return,
                        Ok(Poll::Ready(output)) => Some(Ok(output)),
                        Err(panic) => Some(Err(panic)),
                    };
                    inner.stopping.set(true); // the turn goes on, but its poll must not sleep
                }
            };
            let turned = inner.turn(&mut poll_root, inner.sleep());
            match finished.take() {
                Some(Ok(output)) => return Ok(output),
                Some(Err(panic)) => resume_unwind(panic),
                None => {}
            }
            let progress = turned?;
            if inner.stopping.get() {
                return Err(RunError::Stopped);
            }
            if !progress {
                return Err(RunError::Stalled);
            }
        }
    }

    /// [`run_sync`](IoLoop::run_sync) with a limit on the time it may take (IL35).
    ///
    /// # Errors
    ///
    /// [`RunError::Timeout`] when `limit` has passed; the future is then dropped. Otherwise as `run_sync`.
    #[track_caller]
    pub fn run_sync_timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, RunError> {
        self.run_sync(async { crate::timeout(limit, future).await })?.map_err(|_| RunError::Timeout)
    }
}

/// One run of a loop, from `start` to `stop`; ends however the run is left.
pub(crate) struct Run<'a> {
    io_loop: &'a IoLoop,
    _current: CurrentGuard,
}

impl<'a> Run<'a> {
    pub(crate) fn begin(io_loop: &'a IoLoop) -> Result<Run<'a>, RunError> {
        let inner = &io_loop.inner;
        if inner.closed.get() {
            return Err(RunError::Closed);
        }
        if inner.running.replace(true) {
            return Err(RunError::AlreadyRunning);
        }
        inner.gauge.run_begins(inner.look_at_clock());
        inner.dispatch.awake();
        inner.receive(); // a stop that was posted since the last run is one from before this run
        Ok(Run { io_loop, _current: CurrentGuard::enter(io_loop) })
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.io_loop.inner.dispatch.idle();
        self.io_loop.inner.running.set(false);
        // A closed loop stays stopped; any other can be started again.
        self.io_loop.inner.stopping.set(self.io_loop.inner.closed.get());
    }
}

/// The slot of a future that `run_sync` keeps on its stack.
struct Root<'a> {
    inner: &'a Inner,
    key: TaskKey,
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        self.inner.end_by_key(self.key);
    }
}

/// What a turn does when nothing is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Sleeps in the poll until the next deadline or event.
    Real,
    /// Polls without sleeping; if still nothing is ready, moves the virtual clock to the next deadline.
    Jump,
    /// Polls without sleeping and leaves the clock alone.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "used by ioloop::testing alone")
    )]
    Never,
}

impl Inner {
    pub(crate) fn sleep(&self) -> Sleep {
        if self.clock.is_virtual() { Sleep::Jump } else { Sleep::Real }
    }

    /// One turn. `false` if nothing was ready and nothing ever will be without a word from outside.
    pub(crate) fn turn(&self, poll_root: &mut dyn FnMut(TaskKey), sleep: Sleep) -> Result<bool, RunError> {
        count(&self.tally.turns);
        // Collected before anything runs: a timer that is set during the turn waits for the next one (IL22).
        self.collect_due();
        let ran = self.run_queued(poll_root) | self.run_due_timers() | self.run_before_poll();
        if self.may_skip_the_poll() {
            return Ok(true);
        }
        if self.is_to_shrink.get() {
            self.is_to_shrink.set(false);
            self.dispatch.began(Place::NONE);
            self.shrink_to_fit();
        }
        self.ran_since_poll.set(0);
        self.ran_at_last_look.set(0);
        let (at_most, slept_from) = match sleep {
            Sleep::Real => self.sleep_at_most(),
            Sleep::Jump | Sleep::Never => (Some(Duration::ZERO), None),
        };
        let polled_before = self.tally.events.get();
        let events = self.poll(at_most, slept_from).map_err(RunError::Poll)?;
        let told = self.tell_made_ready();
        self.end_turn(self.tally.events.get() - polled_before);
        let mut progress = ran || events || told || sleep == Sleep::Real || self.has_work();
        if !progress && sleep == Sleep::Jump {
            let deadline = self.timers.borrow_mut().next_deadline();
            if let Some(deadline) = deadline {
                let slept_from = self.now_in_nanos();
                self.clock.advance_to(deadline.after(self.epoch));
                self.gauge.slept(slept_from, self.look_at_clock());
                progress = true;
            }
        }
        Ok(progress)
    }

    /// Whether the next turn can begin at once: something is ready, and what waits outside has not waited for long.
    fn may_skip_the_poll(&self) -> bool {
        self.ran_since_poll.get() < RUNS_PER_POLL
            && !self.ready.borrow().is_empty()
            && self.made_ready.borrow().is_empty()
            && self.before_poll.borrow().is_empty()
            && !self.stopping.get()
            && self.turns_are_quick()
    }

    /// Looks at the clock, if a few tasks have run since the last look.
    fn turns_are_quick(&self) -> bool {
        let ran = self.ran_since_poll.get();
        if ran - self.ran_at_last_look.get() < RUNS_PER_LOOK {
            return true;
        }
        self.ran_at_last_look.set(ran);
        self.gauge.working_for(self.look_at_clock()) < NANOS_PER_POLL
    }

    /// Has the turn end with a poll, whatever is ready.
    pub(crate) fn poll_next(&self) {
        self.ran_since_poll.set(RUNS_PER_POLL);
    }

    fn has_work(&self) -> bool {
        !self.ready.borrow().is_empty() || !self.before_poll.borrow().is_empty()
    }

    /// Runs what was queued when the turn began, or the first of it; what is queued meanwhile waits.
    fn run_queued(&self, poll_root: &mut dyn FnMut(TaskKey)) -> bool {
        let queued = self.ready.borrow().len();
        self.shuffle_ready();
        let mut ran = 0;
        for _ in 0..queued {
            if ran == RUNS_PER_TURN {
                break;
            }
            let next = self.ready.borrow_mut().pop_front();
            ran += 1;
            match next {
                Some(Runnable::Task(key)) => match self.run_task(key) {
                    Ran::Polled => {}
                    Ran::Elsewhere => poll_root(key),
                    Ran::Ended => ran -= 1,
                },
                Some(Runnable::Call(callback)) => {
                    self.guarded(|| callback(self));
                    // Tornado's way to give way in long work is a callback that adds the next (IL10).
                    self.poll_next();
                }
                None => break, // the loop was closed from inside
            }
        }
        self.ran_since_poll.set(self.ran_since_poll.get() + ran);
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() {
            ready.shrink_to(KEPT_CAPACITY);
        }
        queued > 0
    }

    fn collect_due(&self) {
        let mut due = self.due.borrow_mut();
        let now = self.now_in_nanos();
        let mut timers = self.timers.borrow_mut();
        timers.collect_due(now, RUNS_PER_TURN, &mut due, |late| self.gauge.timer_fires(late));
        drop(timers);
        self.shuffle_due(&mut due);
    }

    fn run_due_timers(&self) -> bool {
        if self.due.borrow().is_empty() {
            return false;
        }
        let mut due = self.due.take();
        self.ran_since_poll.set(self.ran_since_poll.get() + due.len());
        for key in due.drain(..) {
            let action = self.timers.borrow_mut().take(key);
            match action {
                Some(Action::Call(callback)) => {
                    count(&self.tally.timers_fired);
                    self.guarded(|| callback(self));
                }
                Some(Action::Wake(task)) => {
                    count(&self.tally.timers_fired);
                    self.schedule(task);
                }
                None => {} // removed in this turn (IL20), or the loop was closed
            }
        }
        due.shrink_to(KEPT_CAPACITY);
        self.due.replace(due);
        true
    }

    fn run_before_poll(&self) -> bool {
        if self.before_poll.borrow().is_empty() {
            return false;
        }
        let mut hooks = self.before_poll.take();
        self.dispatch.began(Place::NONE);
        for hook in hooks.drain(..) {
            self.quietly("before-poll hook", || {
                if !self.closed.get() {
                    hook.before_poll();
                }
            });
        }
        // Keep the longer list's memory, and what the hooks have added.
        let mut list = self.before_poll.borrow_mut();
        if list.is_empty() {
            *list = hooks;
            list.shrink_to(KEPT_CAPACITY);
        }
        true
    }

    /// Polls the operating system and tells who is concerned. `false` if there was no event.
    fn poll(&self, at_most: Option<Duration>, slept_from: Option<Nanos>) -> io::Result<bool> {
        let mut events = self.take_events();
        count(&self.tally.polls);
        self.dispatch.idle();
        let polled = self.poll.borrow_mut().poll(&mut events, at_most);
        self.dispatch.awake();
        self.gauge.work_ends(slept_from, self.look_at_clock());
        // A signal that interrupts the poll is an early end of its sleep, nothing more: there are no events then.
        let interrupted = match polled {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => return Err(error),
        };
        let any = interrupted || !events.is_empty();
        for event in events.iter().filter(|event| event.token() != ALARM) {
            count(&self.tally.events);
            if event.token() == WAKER {
                self.receive();
            } else {
                self.tell(SourceKey::from_token(event.token()), Ready::of(event));
            }
        }
        self.events.set(Some(events));
        Ok(any)
    }
}

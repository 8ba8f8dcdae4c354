//! What the loop measures of itself: how busy it is, and how late. It costs no syscall, and no look at the clock but those
//! that the turn makes anyway and one before a sleep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::IoLoop;
use crate::histogram::Histogram;
use crate::io_loop::Inner;
use crate::origin::Place;
use crate::timers::Nanos;

/// A copy of what a loop has measured since it was made. All times are those of the loop's clock but the inbox's, which
/// are real.
///
/// Everything only grows: for the last minute take two and ask for the difference with [`since`](Measurements::since).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Measurements {
    /// Time spent at work, polls that did not sleep included.
    pub busy: Duration,
    /// Time spent asleep in polls that were allowed to sleep.
    pub idle: Duration,
    /// How long the loop worked from each poll to the next, in nanoseconds. This is its lag: what becomes ready at a bad
    /// moment waits that long.
    pub lag_nanos: Histogram,
    /// How many events each poll returned.
    pub events_per_poll: Histogram,
    /// How many callbacks and tasks stood in the queue after each poll and its handlers.
    pub queue_depth: Histogram,
    /// How long after its deadline each timer fired, in nanoseconds.
    pub timer_lateness_nanos: Histogram,
    /// How long the first message of each batch from other threads waited for the loop, in nanoseconds.
    pub inbox_nanos: Histogram,
}

impl Measurements {
    /// The part of its time that the loop was at work, 0 to 1; 0 for one that has not run.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        let all = (self.busy + self.idle).as_secs_f64();
        if all > 0.0 { self.busy.as_secs_f64() / all } else { 0.0 }
    }

    /// What was measured since `earlier`, a copy of the same loop's; maxima stay those of all times.
    #[must_use]
    pub fn since(&self, earlier: &Measurements) -> Measurements {
        Measurements {
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            lag_nanos: self.lag_nanos.since(&earlier.lag_nanos),
            events_per_poll: self.events_per_poll.since(&earlier.events_per_poll),
            queue_depth: self.queue_depth.since(&earlier.queue_depth),
            timer_lateness_nanos: self.timer_lateness_nanos.since(&earlier.timer_lateness_nanos),
            inbox_nanos: self.inbox_nanos.since(&earlier.inbox_nanos),
        }
    }
}

/// The measurements while they grow.
pub(crate) struct Gauge {
    /// But for the times, which grow beside it as whole numbers of nanoseconds.
    so_far: RefCell<Box<Measurements>>,
    busy: Cell<u64>,
    idle: Cell<u64>,
    /// When the last poll ended.
    began: Cell<Nanos>,
    /// How many nanoseconds the loop worked before it.
    worked: Cell<u64>,
    pub(crate) turn_hook: RefCell<Option<TurnHook>>,
}

pub(crate) type TurnHook = Rc<dyn Fn(&Turn)>;

/// A turn of the loop that has polled, as its hook is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Its number, beginning with 1.
    pub number: u64,
    /// How long the loop worked since the poll before.
    pub worked: Duration,
    /// How many events its poll returned.
    pub events: u64,
}

impl Gauge {
    pub(crate) fn new(now: Nanos) -> Gauge {
        Gauge {
            so_far: RefCell::default(),
            busy: Cell::new(0),
            idle: Cell::new(0),
            began: Cell::new(now),
            worked: Cell::default(),
            turn_hook: RefCell::default(),
        }
    }

    /// A run of the loop begins: the time since the last one was nobody's.
    pub(crate) fn run_begins(&self, now: Nanos) {
        self.began.set(now);
    }

    /// Work has ended at `slept_from`, or with the poll if that could not sleep.
    pub(crate) fn work_ends(&self, slept_from: Option<Nanos>, now: Nanos) {
        let end = slept_from.unwrap_or(now);
        let worked = end.since(self.began.replace(now));
        self.busy.set(self.busy.get() + worked);
        self.idle.set(self.idle.get() + now.since(end));
        self.worked.set(worked);
    }

    /// How many nanoseconds the loop has worked since the last poll.
    pub(crate) fn working_for(&self, now: Nanos) -> u64 {
        now.since(self.began.get())
    }

    /// A virtual clock has jumped.
    pub(crate) fn slept(&self, from: Nanos, to: Nanos) {
        self.idle.set(self.idle.get() + to.since(from));
        self.began.set(to);
    }

    fn measured(&self) -> Measurements {
        let (busy, idle) = (Duration::from_nanos(self.busy.get()), Duration::from_nanos(self.idle.get()));
        Measurements { busy, idle, ..**self.so_far.borrow() }
    }

    /// A turn that has polled has told everybody of what it found.
    pub(crate) fn turn_ends(&self, events: u64, queued: u64) {
        let mut so_far = self.so_far.borrow_mut();
        so_far.lag_nanos.record(self.worked.get());
        so_far.events_per_poll.record(events);
        so_far.queue_depth.record(queued);
    }

    pub(crate) fn timer_fires(&self, late: Duration) {
        self.so_far.borrow_mut().timer_lateness_nanos.record_nanos(late);
    }

    pub(crate) fn inbox_emptied(&self, waited: Duration) {
        self.so_far.borrow_mut().inbox_nanos.record_nanos(waited);
    }
}

impl IoLoop {
    /// What the loop has measured of itself: lag, busy share, lateness of timers, depth of its queues (IL40).
    #[must_use]
    pub fn measurements(&self) -> Measurements {
        self.inner.gauge.measured()
    }

    /// Has `hook` called at the end of each turn that has polled (IL40). It takes the place of the hook before.
    ///
    /// It may use the loop; what it queues runs in the next turn. A panic in it is logged. On a loop that has closed it is
    /// dropped at once.
    pub fn set_turn_hook(&self, hook: impl Fn(&Turn) + 'static) {
        if self.inner.closed.get() {
            return;
        }
        let before = self.inner.gauge.turn_hook.replace(Some(Rc::new(hook)));
        drop(before);
    }

    /// Ends what [`set_turn_hook`](IoLoop::set_turn_hook) began.
    pub fn clear_turn_hook(&self) {
        let before = self.inner.gauge.turn_hook.take();
        drop(before);
    }
}

impl Inner {
    /// Ends a turn that has polled.
    pub(crate) fn end_turn(&self, events: u64) {
        self.gauge.turn_ends(events, self.ready.borrow().len() as u64);
        if self.gauge.turn_hook.borrow().is_some() {
            self.call_turn_hook(events);
        }
    }

    #[cold]
    fn call_turn_hook(&self, events: u64) {
        let Some(hook) = self.gauge.turn_hook.borrow().clone() else { return };
        let worked = Duration::from_nanos(self.gauge.worked.get());
        let turn = Turn { number: self.tally.turns.get(), worked, events };
        self.dispatch.began(Place::NONE);
        // By value: a hook that has taken itself back is dropped here, too.
        self.quietly("turn hook", move || hook(&turn));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn began() -> Nanos {
        let epoch = Instant::now();
        Nanos::between(epoch, epoch + MS)
    }

    #[test]
    fn il40_work_and_sleep_add_up_and_a_poll_that_could_not_sleep_is_work() {
        let began = began();
        let gauge = Gauge::new(began);
        gauge.work_ends(Some(began.plus(3 * MS)), began.plus(10 * MS)); // 3 ms of work, 7 asleep
        gauge.turn_ends(0, 0);
        gauge.work_ends(None, began.plus(12 * MS)); // 2 ms with its poll
        gauge.turn_ends(0, 0);
        gauge.slept(began.plus(12 * MS), began.plus(20 * MS));
        gauge.work_ends(None, began.plus(21 * MS));
        gauge.turn_ends(0, 0);
        let so_far = gauge.measured();
        assert_eq!((so_far.busy, so_far.idle), (6 * MS, 15 * MS));
        assert_eq!((so_far.lag_nanos.count(), so_far.lag_nanos.max()), (3, 3_000_000));
        assert!((so_far.busy_share() - 6.0 / 21.0).abs() < 1e-9);
        assert!(Measurements::default().busy_share() == 0.0);
    }

    #[test]
    fn il40_time_between_two_runs_is_nobodys() {
        let began = began();
        let gauge = Gauge::new(began);
        gauge.work_ends(None, began.plus(MS));
        gauge.run_begins(began.plus(100 * MS));
        gauge.work_ends(None, began.plus(101 * MS));
        let so_far = gauge.measured();
        assert_eq!((so_far.busy, so_far.idle), (2 * MS, Duration::ZERO));
    }
}

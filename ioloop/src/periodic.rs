//! Calls that come again and again, on a grid that neither drifts nor bursts.

mod schedule;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::IoLoop;
use crate::error::PeriodicError;
use crate::io_loop::Inner;
use crate::origin::{Place, WorkKind};
use crate::timers::{Action, TimerKey};
use schedule::Schedule;

/// Calls a function once every period, from [`start`](PeriodicCallback::start) to [`stop`](PeriodicCallback::stop).
///
/// - The period is measured from start to start: slots are a period apart, counted from `start`, and the first call is
///   one period after it (IL25).
/// - A call that takes longer than the period costs whole slots: the next call is in the first slot after the end of
///   the one before, never in a burst to catch up (IL26). So calls never overlap, the asynchronous included (IL29).
/// - A panic is logged and costs that call alone (IL13, IL29).
///
/// Dropping it stops it, so that an owner that goes away leaves nothing ticking; in Tornado the loop would keep it.
/// Keep it, then, for as long as it is to run:
///
/// ```
/// use std::time::Duration;
/// use ioloop::{IoLoop, PeriodicCallback};
///
/// let io_loop = IoLoop::new()?;
/// io_loop.run_sync(async {
///     let beat = PeriodicCallback::new(|| println!("beat"), Duration::from_millis(2))?.jitter(0.1)?;
///     beat.start();
///     ioloop::sleep(Duration::from_millis(10)).await;
///     Ok::<(), ioloop::PeriodicError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A callback may start, stop and drop its own `PeriodicCallback`. It reaches it as any part of its owner, and by a
/// weak reference, for one that owned itself would never go:
///
/// ```
/// # use std::time::Duration;
/// # use ioloop::{IoLoop, PeriodicCallback};
/// use std::cell::{Cell, OnceCell};
/// use std::rc::Rc;
///
/// #[derive(Default)]
/// struct Countdown {
///     left: Cell<u32>,
///     ticks: OnceCell<PeriodicCallback>,
/// }
///
/// impl Countdown {
///     fn tick(&self) {
///         self.left.set(self.left.get() - 1);
///         if self.left.get() == 0 {
///             self.ticks.get().expect("made below").stop();
///         }
///     }
/// }
///
/// let countdown = Rc::new(Countdown { left: Cell::new(3), ..Countdown::default() });
/// let weak = Rc::downgrade(&countdown);
/// let tick = move || weak.upgrade().expect("its owner stops it").tick();
/// countdown.ticks.get_or_init(|| PeriodicCallback::new(tick, Duration::from_millis(1)).expect("not zero")).start();
/// # let ticks = countdown.ticks.get().unwrap();
/// # IoLoop::current().run_sync(async { while ticks.is_running() { ioloop::yield_now().await } }).unwrap();
/// ```
#[must_use = "dropping it stops it"]
pub struct PeriodicCallback {
    core: Rc<Core>,
}

/// What the handle, the timer and a run share.
struct Core {
    place: Place,
    schedule: Cell<Schedule>,
    /// Out of its place while it runs. There is a run or a timer, never both, and so never a second chain (IL31).
    callback: RefCell<Option<Callback>>,
    /// What comes next; nothing while it is stopped.
    plan: RefCell<Option<Plan>>,
}

enum Callback {
    Plain(Box<dyn FnMut()>),
    Async(Box<dyn AsyncCallback>),
}

struct Plan {
    io_loop: Weak<Inner>,
    /// Where on the grid it is: the slot of the next call, or of the one under way; at first, the start.
    slot: Instant,
    /// The timer of that slot, which may have fired. None if it was started during a run, whose end plans the next.
    timer: Option<TimerKey>,
}

impl PeriodicCallback {
    /// Makes one that will call `callback` every `period`; nothing runs before [`start`](PeriodicCallback::start).
    ///
    /// A period beyond a hundred years is as good as never.
    ///
    /// # Errors
    ///
    /// [`PeriodicError::ZeroPeriod`] (IL24).
    #[track_caller]
    pub fn new<F: FnMut() + 'static>(
        callback: F,
        period: Duration,
    ) -> Result<PeriodicCallback, PeriodicError> {
        let place = Place::of::<F>(WorkKind::Timer, Location::caller());
        PeriodicCallback::make(Callback::Plain(Box::new(callback)), place, period)
    }

    /// [`new`](PeriodicCallback::new) for an asynchronous function: each call is a task of the loop, and the next is
    /// planned when it has ended (IL29). [`stop`](PeriodicCallback::stop) lets a call that is under way end.
    ///
    /// # Errors
    ///
    /// [`PeriodicError::ZeroPeriod`] (IL24).
    #[track_caller]
    pub fn new_async<F: AsyncFnMut() + 'static>(
        callback: F,
        period: Duration,
    ) -> Result<PeriodicCallback, PeriodicError> {
        let place = Place::of::<F>(WorkKind::Task, Location::caller());
        PeriodicCallback::make(Callback::Async(Box::new(callback)), place, period)
    }

    fn make(callback: Callback, place: Place, period: Duration) -> Result<PeriodicCallback, PeriodicError> {
        let core = Core {
            place,
            schedule: Cell::new(Schedule::every(period)?),
            callback: RefCell::new(Some(callback)),
            plan: RefCell::default(),
        };
        Ok(PeriodicCallback { core: Rc::new(core) })
    }

    /// Multiplies each interval by 1 + `jitter`·(u − 0.5), where u is drawn evenly from 0 to 1; the default is 0. With
    /// 0.1 an interval is up to 5 % shorter or longer, and their mean is the period (IL27).
    ///
    /// It keeps many processes from calling at the same moment. On a virtual clock every run draws the same numbers.
    ///
    /// # Errors
    ///
    /// [`PeriodicError::Jitter`] unless it is at least 0 and less than 2.
    pub fn jitter(self, jitter: f64) -> Result<PeriodicCallback, PeriodicError> {
        let core = &self.core;
        core.schedule.set(core.schedule.get().with_jitter(jitter)?);
        Ok(self)
    }

    /// Starts the clock on this thread's [current](IoLoop::current) loop (IL30); harmless when it runs already (IL31).
    ///
    /// After a [`stop`](PeriodicCallback::stop) it begins anew: the first call is one period from now. If a call from
    /// before still runs then, its end is waited for, as always.
    ///
    /// # Panics
    ///
    /// As [`IoLoop::current`], when the thread has no loop and none can be made.
    pub fn start(&self) {
        if self.is_running() {
            return;
        }
        let io_loop = &IoLoop::current().inner;
        let plan = Plan { io_loop: Rc::downgrade(io_loop), slot: io_loop.clock.now(), timer: None };
        self.core.plan.replace(Some(plan));
        if self.core.callback.borrow().is_some() {
            self.core.plan_next();
        }
    }

    /// Plans no further call, from inside the callback too (IL30); harmless when it does not run.
    pub fn stop(&self) {
        let Some(plan) = self.core.plan.take() else { return };
        if let (Some(timer), Some(io_loop)) = (plan.timer, plan.io_loop.upgrade()) {
            let action = io_loop.timers.borrow_mut().remove(timer);
            drop(action);
        }
    }

    /// Whether it has been started and not been stopped since. A loop that closes ends the calls, but does not stop it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.core.plan.borrow().is_some()
    }
}

impl Drop for PeriodicCallback {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for PeriodicCallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeriodicCallback").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

impl Core {
    /// Sets the timer for the next slot, if it has not been stopped.
    fn plan_next(self: &Rc<Core>) {
        let mut plan = self.plan.borrow_mut();
        let Some(plan) = plan.as_mut() else { return };
        let Some(io_loop) = plan.io_loop.upgrade() else { return };
        // The clock itself: the loop's time stands still during a call, however long that takes.
        plan.slot = self.schedule.get().next(plan.slot, io_loop.clock.now(), io_loop.random.unit());
        let core = Rc::clone(self);
        plan.timer = io_loop.add_timer(plan.slot, || Action::Call(Box::new(move |inner| core.run(inner))));
    }

    fn run(self: Rc<Core>, inner: &Inner) {
        inner.dispatch.began(self.place);
        let (callback, place) = (self.callback.take(), self.place);
        let mut run = Run { core: self, callback };
        match &mut run.callback {
            Some(Callback::Plain(callback)) => callback(),
            Some(Callback::Async(_)) => {
                inner.spawn_in_place(async move { run.call_async().await }, place);
            }
            None => {}
        }
    }
}

/// One call, from its slot to its end, whichever it is: done, panicked, or dropped with the loop.
struct Run {
    core: Rc<Core>,
    callback: Option<Callback>,
}

impl Run {
    async fn call_async(&mut self) {
        if let Some(Callback::Async(callback)) = &mut self.callback {
            callback.call().await;
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.core.callback.replace(self.callback.take());
        self.core.plan_next();
    }
}

/// `AsyncFnMut()`, as a trait that may be an object.
trait AsyncCallback {
    fn call(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl<F: AsyncFnMut()> AsyncCallback for F {
    fn call(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::order::Order;
    use crate::random::Random;

    #[test]
    fn il26_a_call_that_blocks_the_loop_past_slots_is_followed_by_the_next_slot_and_no_burst() {
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let io_loop =
            IoLoop::with_clock(Clock::Virtual(Cell::new(began)), Random::seeded(0), Order::AsPromised)
                .unwrap();
        let calls = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&calls);
        let callback = move || {
            let io_loop = IoLoop::current();
            log.borrow_mut().push((io_loop.now() - began).as_secs());
            match log.borrow().len() {
                1 => {
                    io_loop.inner.clock.advance_to(io_loop.now() + 35 * second); // what blocking looks like
                }
                3 => io_loop.stop(),
                _ => {}
            }
        };
        let ticks = PeriodicCallback::new(callback, 10 * second).unwrap();
        io_loop.make_current();
        ticks.start();
        io_loop.start().unwrap();
        assert_eq!(*calls.borrow(), [10, 50, 60]);
    }
}

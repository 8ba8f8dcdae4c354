//! A loop on virtual time, for tests: seconds pass in no time, and the same run is the same run every time.
//!
//! ```
//! use std::time::Duration;
//! use ioloop::testing::VirtualLoop;
//!
//! let test = VirtualLoop::new();
//! let done = test.run(async {
//!     ioloop::sleep(Duration::from_secs(3_600)).await; // takes no time
//!     "an hour later"
//! });
//! assert_eq!(done, "an hour later");
//! assert_eq!(test.elapsed(), Duration::from_secs(3_600));
//! ```

use std::cell::Cell;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::IoLoop;
use crate::clock::Clock;
use crate::error::RunError;
use crate::io_loop::Runnable;
use crate::order::Order;
use crate::random::Random;
use crate::turn::{Run, Sleep};

/// An [`IoLoop`] whose clock stands still while anything is ready, and otherwise jumps to the next deadline.
///
/// It dereferences to the loop. Use it with sources made ready from user space; with real sockets, time would
/// jump while the kernel works.
#[derive(Debug)]
pub struct VirtualLoop {
    io_loop: IoLoop,
    began: Instant,
}

impl VirtualLoop {
    /// Makes a loop whose clock starts anywhere and moves only as said above.
    ///
    /// # Panics
    ///
    /// When the operating system has no descriptor left for the poller.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default that makes descriptors and may panic would surprise"
    )]
    pub fn new() -> VirtualLoop {
        VirtualLoop::with(Random::seeded(0), Order::AsPromised)
    }

    /// Makes a loop that runs in an order decided by `seed` what is ready at the same time: tasks that were woken in one
    /// turn, jobs of [`run_in_executor`](IoLoop::run_in_executor), and timers with equal deadlines. Callbacks stay in order
    /// among themselves. The same seed gives the same run; [`for_each_seed`] goes through many.
    ///
    /// It finds what a program takes for granted and should not, such as which of two connections is served first.
    /// (That equal timers run first in, first out is granted, by [`IoLoop`]; here it is not, so that two parts of a program
    /// whose deadlines happen to meet are seen in both orders.)
    ///
    /// # Panics
    ///
    /// When the operating system has no descriptor left for the poller.
    #[must_use]
    pub fn seeded(seed: u64) -> VirtualLoop {
        VirtualLoop::with(Random::seeded(seed), Order::Seeded)
    }

    fn with(random: Random, order: Order) -> VirtualLoop {
        let began = Instant::now();
        let clock = Clock::Virtual(Cell::new(began));
        let io_loop = IoLoop::with_clock(clock, random, order).expect("a poller for the test");
        VirtualLoop { io_loop, began }
    }

    /// A number from zero up to, but not including, one: chance that the seed decides, for what a test leaves to it.
    #[must_use]
    pub fn chance(&self) -> f64 {
        self.io_loop.inner.random.unit()
    }

    /// How far the clock has moved.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.io_loop.inner.clock.now() - self.began
    }

    /// [`run_sync`](IoLoop::run_sync) that expects the future to be done.
    ///
    /// # Panics
    ///
    /// When it is not, because the loop was stopped or nothing was left that could wake it.
    #[track_caller]
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        match self.io_loop.run_sync(future) {
            Ok(output) => output,
            Err(error) => panic!("the future was not done: {error}"),
        }
    }

    /// Runs turns until nothing is ready any more, or something stops the loop; the clock stands still.
    ///
    /// # Panics
    ///
    /// When called from inside the running loop; and when something is still ready after a million turns, because then something
    /// wakes itself without end. The message names the task that is next.
    #[track_caller]
    pub fn run_until_stalled(&self) {
        let inner = &self.io_loop.inner;
        let _run = match Run::begin(&self.io_loop) {
            Ok(run) => run,
            Err(RunError::Closed) => return, // nothing is ready on a closed loop
            Err(error) => panic!("cannot run: {error}"),
        };
        for _ in 0..TURNS_OF_A_SPIN {
            if inner.stopping.get() || !inner.turn(&mut |_| {}, Sleep::Never).expect("the poller works") {
                return;
            }
        }
        panic!("the loop does not come to rest in {TURNS_OF_A_SPIN} turns: {}", self.what_is_next());
    }

    /// What the next turn would begin with, in words.
    fn what_is_next(&self) -> String {
        let inner = &self.io_loop.inner;
        match inner.ready.borrow().front() {
            Some(Runnable::Task(key)) => match inner.place_of(*key).origin() {
                Some(origin) => format!("the {origin} is ready"),
                None => "a task of the loop's own is ready".to_owned(),
            },
            Some(Runnable::Call(_)) => "a callback is queued".to_owned(),
            None => "events keep coming".to_owned(),
        }
    }

    /// Moves the clock forward by `duration`, stopping at each deadline on the way to run what is due there.
    ///
    /// # Panics
    ///
    /// As [`run_until_stalled`](VirtualLoop::run_until_stalled).
    #[track_caller]
    pub fn advance(&self, duration: Duration) {
        let inner = &self.io_loop.inner;
        let end = inner.clock.now() + duration;
        self.run_until_stalled();
        loop {
            let next = inner.timers.borrow_mut().next_deadline();
            let Some(next) = next.map(|next| next.after(inner.epoch)).filter(|next| *next <= end) else {
                break;
            };
            inner.clock.advance_to(next);
            inner.look_at_clock();
            self.run_until_stalled();
        }
        inner.clock.advance_to(end);
        inner.look_at_clock();
    }
}

/// Calls `test` with `seeds` loops, one [seeded](VirtualLoop::seeded) with each number from zero; says which seed it was when
/// one panics.
///
/// The environment's `IOLOOP_SEED` repeats that one alone: it takes the place of all others.
///
/// ```
/// # use std::cell::RefCell;
/// # use std::rc::Rc;
/// ioloop::testing::for_each_seed(100, |test| {
///     let order = Rc::new(RefCell::new(Vec::new()));
///     for name in ["one", "two"] {
///         let order = Rc::clone(&order);
///         test.spawn_detached(async move { order.borrow_mut().push(name) });
///     }
///     test.run_until_stalled();
///     assert_eq!(order.borrow().len(), 2); // but either may be the first
/// });
/// ```
///
/// # Panics
///
/// When `test` does, with its panic; and when `IOLOOP_SEED` is no number.
pub fn for_each_seed(seeds: u64, mut test: impl FnMut(&VirtualLoop)) {
    let seeds = match std::env::var("IOLOOP_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap_or_else(|_| panic!("IOLOOP_SEED is no number: {seed}"));
            seed..seed + 1
        }
        Err(_) => 0..seeds,
    };
    for seed in seeds {
        let io_loop = VirtualLoop::seeded(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(&io_loop))) {
            eprintln!("seed {seed} failed; IOLOOP_SEED={seed} repeats it alone");
            resume_unwind(panic);
        }
    }
}

impl Deref for VirtualLoop {
    type Target = IoLoop;

    fn deref(&self) -> &IoLoop {
        &self.io_loop
    }
}

/// Turns in which a loop has long come to rest that does: far more than tests need, and still but seconds.
const TURNS_OF_A_SPIN: u32 = 1_000_000;

//! Periodic callbacks on virtual time: when they are called, what stops them, and what a slow or broken call costs.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, PeriodicCallback, PeriodicError, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// The seconds since the loop was made at which something happened.
struct Times {
    began: Instant,
    seconds: RefCell<Vec<f64>>,
}

impl Times {
    fn of(test: &VirtualLoop) -> Rc<Times> {
        Rc::new(Times { began: test.now(), seconds: RefCell::default() })
    }

    fn note(&self) {
        self.seconds.borrow_mut().push((IoLoop::current().now() - self.began).as_secs_f64());
    }

    fn take(&self) -> Vec<f64> {
        self.seconds.take()
    }
}

/// One that can be reached from its own callback.
#[derive(Default)]
struct Owner {
    ticks: OnceCell<PeriodicCallback>,
    calls: Cell<u32>,
}

impl Owner {
    fn new(period: Duration, tick: impl Fn(&Owner) + 'static) -> Rc<Owner> {
        let owner = Rc::new(Owner::default());
        let inside: Weak<Owner> = Rc::downgrade(&owner);
        let callback = move || {
            let owner = inside.upgrade().unwrap();
            owner.calls.set(owner.calls.get() + 1);
            tick(&owner);
        };
        owner.ticks.set(PeriodicCallback::new(callback, period).unwrap()).unwrap();
        owner
    }

    fn ticks(&self) -> &PeriodicCallback {
        self.ticks.get().unwrap()
    }
}

/// A virtual loop that is this thread's current one, so that `start` finds it between runs.
fn current() -> VirtualLoop {
    let test = VirtualLoop::new();
    test.make_current();
    test
}

fn noting(times: &Rc<Times>) -> impl FnMut() + 'static {
    let times = Rc::clone(times);
    move || times.note()
}

/// Notes when each call begins, and then sleeps.
fn sleeping(times: &Rc<Times>, duration: Duration) -> impl AsyncFnMut() + 'static {
    let times = Rc::clone(times);
    async move || {
        times.note();
        sleep(duration).await;
    }
}

#[test]
fn il24_a_period_of_zero_and_a_jitter_out_of_range_are_errors() {
    assert_eq!(PeriodicCallback::new(|| {}, Duration::ZERO).unwrap_err(), PeriodicError::ZeroPeriod);
    assert_eq!(
        PeriodicCallback::new_async(async || {}, Duration::ZERO).unwrap_err(),
        PeriodicError::ZeroPeriod
    );
    let ticks = PeriodicCallback::new(|| {}, SECOND).unwrap();
    let error = ticks.jitter(2.0).unwrap_err();
    assert_eq!(error, PeriodicError::Jitter(2.0));
    assert_eq!(error.to_string(), "a jitter of 2 is not at least 0 and less than 2");
}

#[test]
fn il25_the_first_call_is_one_period_after_the_start_and_the_grid_begins_there() {
    let test = current();
    let times = Times::of(&test);
    let ticks = PeriodicCallback::new(noting(&times), 10 * SECOND).unwrap();
    test.advance(3 * SECOND);
    assert!(!ticks.is_running());
    ticks.start();
    assert!(ticks.is_running());
    test.advance(10 * SECOND - Duration::from_nanos(1));
    assert!(times.take().is_empty());
    test.advance(20 * SECOND);
    assert_eq!(times.take(), [13.0, 23.0]);
}

#[test]
fn il25_three_ticks_of_a_plain_callback() {
    let test = VirtualLoop::new();
    let times = Times::of(&test);
    let ticks = PeriodicCallback::new(noting(&times), SECOND).unwrap();
    test.run(async {
        ticks.start();
        sleep(3 * SECOND + SECOND / 2).await;
        ticks.stop();
        sleep(10 * SECOND).await;
    });
    assert_eq!(times.take(), [1.0, 2.0, 3.0]);
}

#[test]
fn il27_jitter_moves_the_calls_keeps_the_rate_and_is_the_same_in_every_virtual_run() {
    let run = || {
        let test = current();
        let times = Times::of(&test);
        let ticks = PeriodicCallback::new(noting(&times), SECOND).unwrap().jitter(0.5).unwrap();
        ticks.start();
        test.advance(10_000 * SECOND);
        times.take()
    };
    let times = run();
    let intervals: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(intervals.iter().all(|interval| (0.749..1.251).contains(interval)));
    assert!(
        intervals.iter().any(|interval| *interval < 0.8) && intervals.iter().any(|interval| *interval > 1.2)
    );
    assert!((9_950..10_050).contains(&times.len()), "{}", times.len());
    assert_eq!(times, run());
}

#[test]
fn il27_two_with_the_same_period_do_not_march_in_step() {
    let test = current();
    let [one, other] = [Times::of(&test), Times::of(&test)];
    let ticks = [&one, &other]
        .map(|times| PeriodicCallback::new(noting(times), SECOND).unwrap().jitter(0.5).unwrap());
    ticks.iter().for_each(PeriodicCallback::start);
    test.advance(3 * SECOND / 2);
    assert_ne!(one.take(), other.take());
}

#[test]
fn il29_three_ticks_of_an_async_callback() {
    let test = current();
    let times = Times::of(&test);
    let ticks = PeriodicCallback::new_async(sleeping(&times, SECOND / 2), SECOND).unwrap();
    ticks.start();
    test.advance(3 * SECOND);
    assert_eq!(times.take(), [1.0, 2.0, 3.0]);
}

#[test]
fn il29_an_async_callback_keeps_its_state_from_call_to_call() {
    let test = current();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (log, mut calls) = (Rc::clone(&seen), 0);
    let callback = async move || {
        calls += 1;
        sleep(SECOND / 2).await;
        log.borrow_mut().push(calls);
    };
    let ticks = PeriodicCallback::new_async(callback, SECOND).unwrap();
    ticks.start();
    test.advance(4 * SECOND);
    assert_eq!(*seen.borrow(), [1, 2, 3]);
}

#[test]
fn il29_an_async_call_that_takes_longer_than_the_period_skips_the_slots_it_missed() {
    for (takes, begins) in [(10, [10.0, 30.0, 50.0]), (15, [10.0, 30.0, 50.0]), (25, [10.0, 40.0, 70.0])] {
        let test = current();
        let times = Times::of(&test);
        let ticks = PeriodicCallback::new_async(sleeping(&times, takes * SECOND), 10 * SECOND).unwrap();
        ticks.start();
        test.advance(75 * SECOND);
        assert_eq!(times.take()[..3], begins, "{takes} s");
        assert!(test.counters().tasks <= 1, "they never overlap");
    }
}

#[test]
fn il29_a_panic_is_counted_and_the_next_call_comes() {
    let test = current();
    let owner = Owner::new(SECOND, |owner| assert!(owner.calls.get() != 1, "in the first call"));
    owner.ticks().start();
    test.advance(3 * SECOND);
    assert_eq!((owner.calls.get(), test.counters().panics), (3, 1));
}

#[test]
fn il29_a_panic_of_an_async_call_is_counted_and_the_next_call_comes() {
    let test = current();
    let ended = Rc::new(Cell::new(0));
    let (count, mut calls) = (Rc::clone(&ended), 0);
    let callback = async move || {
        calls += 1;
        assert!(calls != 1, "before it waits");
        sleep(SECOND / 2).await;
        assert!(calls != 2, "after it has waited");
        count.set(count.get() + 1);
    };
    let ticks = PeriodicCallback::new_async(callback, SECOND).unwrap();
    ticks.start();
    test.advance(5 * SECOND);
    assert_eq!((ended.get(), test.counters().panics), (2, 2));
}

#[test]
fn il30_stop_from_inside_prevents_the_next_call() {
    let test = current();
    let owner = Owner::new(SECOND, |owner| owner.ticks().stop());
    owner.ticks().start();
    test.advance(5 * SECOND);
    assert_eq!(owner.calls.get(), 1);
    assert!(!owner.ticks().is_running());
    assert_eq!(test.counters().timers, 0);
}

#[test]
fn il30_stop_from_a_timer_that_is_due_at_the_same_time_is_in_time() {
    let test = current();
    let owner = Owner::new(SECOND, |_| ());
    let inside = Rc::clone(&owner);
    test.call_later(SECOND, move || inside.ticks().stop());
    owner.ticks().start();
    test.advance(5 * SECOND);
    assert_eq!(owner.calls.get(), 0);
}

#[test]
fn il30_stop_lets_an_async_call_end_that_is_under_way() {
    let test = current();
    let ended = Rc::new(Cell::new(0));
    let count = Rc::clone(&ended);
    let callback = async move || {
        sleep(SECOND / 2).await;
        count.set(count.get() + 1);
    };
    let ticks = PeriodicCallback::new_async(callback, SECOND).unwrap();
    ticks.start();
    test.advance(SECOND);
    ticks.stop();
    drop(ticks);
    test.advance(5 * SECOND);
    assert_eq!(ended.get(), 1);
}

#[test]
fn il30_the_loop_is_looked_up_by_each_start() {
    IoLoop::clear_current();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let ticks = PeriodicCallback::new(move || count.set(count.get() + 1), SECOND).unwrap();
    let loops = [VirtualLoop::new(), VirtualLoop::new()];
    for (n, test) in loops.iter().enumerate() {
        test.run(async { ticks.start() });
        loops[1 - n].advance(5 * SECOND);
        assert_eq!(calls.replace(0), 0, "on the other loop");
        test.advance(3 * SECOND);
        assert_eq!(calls.replace(0), 3);
        ticks.stop();
    }
}

#[test]
fn il31_start_twice_is_one_chain() {
    let test = current();
    let owner = Owner::new(SECOND, |owner| owner.ticks().start());
    owner.ticks().start();
    test.advance(SECOND / 2);
    owner.ticks().start(); // does not move the grid either
    assert_eq!(test.counters().timers, 1);
    test.advance(SECOND / 2);
    assert_eq!((owner.calls.get(), test.counters().timers), (1, 1));
    test.advance(3 * SECOND);
    assert_eq!((owner.calls.get(), test.counters().timers), (4, 1));
}

#[test]
fn il31_stop_and_start_inside_the_callback_are_one_chain() {
    let test = current();
    let owner = Owner::new(SECOND, |owner| {
        for _ in 0..3 {
            owner.ticks().stop();
            owner.ticks().start();
        }
    });
    owner.ticks().start();
    test.advance(4 * SECOND);
    assert_eq!((owner.calls.get(), test.counters().timers), (4, 1));
}

#[test]
fn il31_a_restart_during_an_async_call_waits_for_its_end_and_counts_from_the_restart() {
    let test = current();
    let times = Times::of(&test);
    let ticks = PeriodicCallback::new_async(sleeping(&times, 15 * SECOND), 10 * SECOND).unwrap();
    ticks.start();
    test.advance(12 * SECOND); // the call of 10 s lasts until 25 s
    ticks.stop();
    ticks.start(); // slots at 22, 32, …
    assert_eq!(test.counters().timers, 1, "the call's own sleep; its end plans the next");
    test.advance(41 * SECOND);
    assert_eq!(times.take(), [10.0, 32.0, 52.0]);
    assert!(test.counters().tasks <= 1);
}

#[test]
fn a_dropped_one_is_stopped_and_holds_nothing() {
    let test = current();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let ticks = PeriodicCallback::new(move || drop(Rc::clone(&inside)), SECOND).unwrap();
    ticks.start();
    test.advance(SECOND);
    drop(ticks);
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(test.counters().timers, 0);
}

#[test]
fn one_that_drops_itself_inside_its_callback_ends_with_that_call() {
    let test = current();
    let owner = Rc::new(RefCell::new(None));
    let held = Rc::new(Cell::new(0));
    let (inside, count) = (Rc::clone(&owner), Rc::clone(&held));
    let callback = move || {
        drop(inside.take());
        count.set(count.get() + 1);
    };
    owner.replace(Some(PeriodicCallback::new(callback, SECOND).unwrap()));
    owner.borrow().as_ref().map(PeriodicCallback::start).unwrap();
    test.advance(5 * SECOND);
    assert_eq!((held.get(), Rc::strong_count(&held)), (1, 1));
}

#[test]
fn il36_a_loop_that_closes_ends_the_calls_and_another_can_begin_them_anew() {
    let closing = current();
    let times = Times::of(&closing);
    let ticks = PeriodicCallback::new_async(sleeping(&times, SECOND / 2), SECOND).unwrap();
    ticks.start();
    closing.advance(SECOND);
    assert_eq!(closing.counters().tasks, 1, "the call is under way, and dropped with the loop");
    closing.close();
    assert_eq!(times.take(), [1.0]);

    let next = current();
    ticks.stop();
    ticks.start();
    next.advance(3 * SECOND);
    assert_eq!(times.take().len(), 3);
    next.close();
    drop(ticks);
    assert_eq!(Rc::strong_count(&times), 1);
}

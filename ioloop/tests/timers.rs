//! Timers and sleeps on virtual time: when they fire, in which order, and what removes them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, Timeout, sleep, sleep_until, timeout};

const SECOND: Duration = Duration::from_secs(1);

type Log<T> = Rc<RefCell<Vec<T>>>;

fn note<T: 'static>(log: &Log<T>, value: T) -> impl FnOnce() + 'static {
    let log = Rc::clone(log);
    move || log.borrow_mut().push(value)
}

#[test]
fn il17_time_between_runs_goes_on_so_a_delay_is_counted_from_the_call() {
    let io_loop = IoLoop::new().unwrap();
    let made = io_loop.now();
    while Instant::now() == made {} // the clock's grain, no more
    assert!(io_loop.now() > made, "no turn has run, and yet");
}

#[test]
fn il17_time_stands_still_within_a_turn() {
    let io_loop = IoLoop::new().unwrap();
    io_loop
        .run_sync(async {
            let io_loop = IoLoop::current();
            let began = io_loop.now();
            while Instant::now() == began {}
            assert_eq!(io_loop.now(), began);
        })
        .unwrap();
}

#[test]
fn il18_absolute_and_relative_timers_fire_at_their_time_and_not_before() {
    let test = VirtualLoop::new();
    let fired: Log<&str> = Rc::default();
    test.call_at(test.now() + 3 * SECOND, note(&fired, "at"));
    test.call_later(2 * SECOND, note(&fired, "later"));
    test.advance(2 * SECOND - Duration::from_nanos(1));
    assert!(fired.borrow().is_empty());
    test.advance(Duration::from_nanos(1));
    assert_eq!(*fired.borrow(), ["later"]);
    test.advance(SECOND);
    assert_eq!(*fired.borrow(), ["later", "at"]);
    assert_eq!(test.counters().timers_fired, 2);
}

#[test]
fn il18_delays_beyond_what_a_clock_can_hold_are_never() {
    let test = VirtualLoop::new();
    test.call_later(Duration::MAX, || panic!("at the end of time"));
    test.spawn_detached(async { sleep(Duration::MAX).await });
    test.spawn_detached(async {
        let _ = timeout(Duration::MAX, std::future::pending::<()>()).await;
    });
    test.advance(Duration::from_secs(60 * 60 * 24 * 365 * 99));
    let counters = test.counters();
    assert_eq!((counters.timers, counters.timers_fired, counters.panics), (3, 0, 0));
}

#[test]
fn il19_past_deadlines_fire_in_the_next_turn_and_never_inline() {
    let test = VirtualLoop::new();
    let turns: Log<u64> = Rc::default();
    let (io_loop, log) = (test.clone(), Rc::clone(&turns));
    test.add_callback(move || {
        let began = io_loop.counters().turns;
        for deadline in [io_loop.now(), io_loop.now() - SECOND] {
            let (inside, log) = (io_loop.clone(), Rc::clone(&log));
            io_loop.call_at(deadline, move || log.borrow_mut().push(inside.counters().turns - began));
        }
        assert!(log.borrow().is_empty(), "not inline");
    });
    test.run_until_stalled();
    assert_eq!(*turns.borrow(), [1, 1]);
}

#[test]
fn il20_a_removed_timer_does_not_fire_and_removing_one_that_has_is_harmless() {
    let test = VirtualLoop::new();
    let fired: Log<&str> = Rc::default();
    let removed = test.call_later(SECOND, note(&fired, "removed"));
    let kept = test.call_later(SECOND, note(&fired, "kept"));
    test.remove_timeout(&removed);
    test.remove_timeout(&removed);
    test.advance(SECOND);
    test.remove_timeout(&kept);
    let next = test.call_later(SECOND, note(&fired, "next"));
    test.remove_timeout(&kept); // its slot is the next one's now
    test.advance(SECOND);
    assert_eq!(*fired.borrow(), ["kept", "next"]);
    drop(next);
}

#[test]
fn il20_a_timer_may_remove_another_that_is_due_in_the_same_batch() {
    let test = VirtualLoop::new();
    let fired: Log<u32> = Rc::default();
    let timers: Log<Timeout> = Rc::default();
    for n in 0..6 {
        let (io_loop, all, log) = (test.clone(), Rc::clone(&timers), Rc::clone(&fired));
        let timer = test.call_later(SECOND, move || {
            log.borrow_mut().push(n);
            if n == 1 {
                for other in &all.borrow()[2..5] {
                    io_loop.remove_timeout(other);
                }
            }
        });
        timers.borrow_mut().push(timer);
    }
    test.advance(SECOND);
    assert_eq!(*fired.borrow(), [0, 1, 5]);
    assert_eq!((test.counters().timers, test.counters().panics), (0, 0));
}

#[test]
fn il20_a_callback_may_remove_a_timer_that_is_due_in_this_turn() {
    let test = VirtualLoop::new();
    let timer = test.call_later(Duration::ZERO, || panic!("removed before it ran"));
    let io_loop = test.clone();
    test.add_callback(move || io_loop.remove_timeout(&timer));
    test.run_until_stalled();
    assert_eq!(test.counters().panics, 0);
}

#[test]
fn il20_two_thousand_timers_set_and_removed_leave_nothing() {
    let test = VirtualLoop::new();
    for _ in 0..2_000 {
        let timer = test.call_later(3_600 * SECOND, || {});
        test.remove_timeout(&timer);
    }
    assert_eq!(test.counters().timers, 0);
    test.advance(3_600 * SECOND);
    assert_eq!(test.counters().timers_fired, 0);
}

#[test]
fn il20_a_timer_of_another_loop_is_not_removed() {
    let (test, other) = (VirtualLoop::new(), VirtualLoop::new());
    let fired: Log<()> = Rc::default();
    test.call_later(SECOND, note(&fired, ()));
    let theirs = other.call_later(SECOND, || {});
    test.remove_timeout(&theirs);
    test.advance(SECOND);
    assert_eq!(fired.borrow().len(), 1);
    assert_eq!(other.counters().timers, 1);
}

#[test]
fn removing_a_timer_drops_its_callback_which_may_use_timers_itself() {
    struct OnDrop(IoLoop);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let timer = self.0.call_later(SECOND, || {});
            self.0.remove_timeout(&timer);
        }
    }
    let test = VirtualLoop::new();
    let held = OnDrop(test.clone());
    let timer = test.call_later(SECOND, move || drop(held));
    test.remove_timeout(&timer);
    assert_eq!((test.counters().timers, test.counters().timers_inserted), (0, 2));
}

#[test]
fn il21_equal_deadlines_fire_first_in_first_out() {
    let test = VirtualLoop::new();
    let fired: Log<u32> = Rc::default();
    let at = test.now() + SECOND;
    for n in 0..100 {
        test.call_at(at, note(&fired, n));
    }
    test.advance(SECOND);
    assert_eq!(*fired.borrow(), (0..100).collect::<Vec<_>>());
}

#[test]
fn il22_a_timer_that_sets_one_that_is_due_at_once_does_not_lengthen_the_turn() {
    let test = VirtualLoop::new();
    let turns: Log<u64> = Rc::default();
    fn again(io_loop: &IoLoop, turns: Log<u64>) {
        let inside = io_loop.clone();
        io_loop.call_later(Duration::ZERO, move || {
            turns.borrow_mut().push(inside.counters().turns);
            if turns.borrow().len() < 4 {
                again(&inside, turns);
            }
        });
    }
    again(&test, Rc::clone(&turns));
    test.run_until_stalled();
    assert_eq!(*turns.borrow(), [1, 2, 3, 4], "one a turn");
}

#[test]
fn il23_a_turn_runs_callbacks_then_timers() {
    let test = VirtualLoop::new();
    let order: Log<&str> = Rc::default();
    test.call_later(Duration::ZERO, note(&order, "timer"));
    test.add_callback(note(&order, "callback"));
    test.run_until_stalled();
    assert_eq!(*order.borrow(), ["callback", "timer"]);
    assert_eq!(test.counters().turns, 2, "and a second that found nothing");
}

#[test]
fn a_timer_that_panics_costs_no_other_its_turn() {
    let test = VirtualLoop::new();
    let fired: Log<u32> = Rc::default();
    test.call_later(SECOND, note(&fired, 1));
    test.call_later(SECOND, || panic!("a timer"));
    test.call_later(SECOND, note(&fired, 2));
    test.advance(SECOND);
    assert_eq!((fired.borrow().len(), test.counters().panics), (2, 1));
}

#[test]
fn timers_of_a_closed_loop_are_dropped_and_do_not_fire() {
    let test = VirtualLoop::new();
    let held = Rc::new(());
    let waiting = Rc::clone(&held);
    let timer = test.call_later(SECOND, move || drop(waiting));
    test.close();
    assert_eq!(Rc::strong_count(&held), 1);
    let late = Rc::clone(&held);
    test.call_later(SECOND, move || drop(late));
    assert_eq!(Rc::strong_count(&held), 1);
    test.remove_timeout(&timer);
    assert_eq!(test.counters().timers, 0);
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    let test = VirtualLoop::new();
    let order: Log<u32> = Rc::default();
    for n in [3, 1, 2] {
        let order = Rc::clone(&order);
        test.spawn_detached(async move {
            sleep(n * SECOND).await;
            order.borrow_mut().push(n);
        });
    }
    test.run(async { sleep(4 * SECOND).await });
    assert_eq!(*order.borrow(), [1, 2, 3]);
}

#[test]
fn a_sleep_until_a_time_that_has_passed_is_done_at_once() {
    let test = VirtualLoop::new();
    test.run(async {
        sleep_until(IoLoop::current().now() - SECOND).await;
    });
    assert_eq!((test.elapsed(), test.counters().timers_inserted), (Duration::ZERO, 0));
}

#[test]
fn a_sleep_that_is_dropped_takes_its_timer_with_it() {
    let test = VirtualLoop::new();
    test.run(async {
        let slept = timeout(SECOND, sleep(3_600 * SECOND)).await;
        assert!(slept.is_err());
    });
    assert_eq!((test.elapsed(), test.counters().timers), (SECOND, 0));
}

#[test]
fn a_timeout_gives_the_output_of_a_future_that_is_done_just_in_time() {
    let test = VirtualLoop::new();
    let in_time = test.run(timeout_of_a_sleep(SECOND, SECOND));
    assert_eq!(in_time, Ok("slept"), "the future is looked at first");
    assert_eq!(test.run(timeout_of_a_sleep(SECOND, SECOND + Duration::from_nanos(1))), Err(ioloop::TimedOut));
}

async fn timeout_of_a_sleep(limit: Duration, length: Duration) -> Result<&'static str, ioloop::TimedOut> {
    timeout(limit, async {
        sleep(length).await;
        "slept"
    })
    .await
}

//! Virtual time: when the clock jumps, when it must not, and how a test learns that nothing is left.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{Interest, IoLoop, Ready, Registration, RunError, sleep, yield_now};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn time_passes_only_while_nothing_is_ready() {
    let test = VirtualLoop::new();
    test.call_later(SECOND, || {});
    test.run(async {
        for _ in 0..1_000 {
            yield_now().await;
        }
    });
    assert_eq!(test.elapsed(), Duration::ZERO);
}

#[test]
fn the_clock_does_not_jump_over_readiness_that_is_made_in_user_space() {
    let test = VirtualLoop::new();
    let registration = Rc::new(Registration::new(&test));
    let waiting = Rc::clone(&registration);
    let elapsed = test.run(async {
        let io_loop = IoLoop::current();
        let began = io_loop.now();
        io_loop.call_later(SECOND, || {});
        let reader = io_loop.spawn(async move {
            std::future::poll_fn(|cx| waiting.poll_ready(cx, Interest::READ)).await;
            IoLoop::current().now()
        });
        yield_now().await;
        registration.set_ready(Ready::READABLE);
        reader.await.unwrap() - began
    });
    assert_eq!(elapsed, Duration::ZERO);
}

#[test]
fn a_jump_is_followed_at_once_by_the_turn_that_runs_what_is_due() {
    let test = VirtualLoop::new();
    test.run(async { sleep(SECOND).await });
    // The future goes to sleep; nothing is ready, so the clock jumps; the timer fires; the future is done.
    assert_eq!(test.counters().turns, 4);
}

#[test]
fn a_hundred_years_are_no_trouble() {
    let test = VirtualLoop::new();
    for _ in 0..100 {
        test.run(async { sleep(Duration::from_secs(60 * 60 * 24 * 365)).await });
    }
    assert_eq!(test.elapsed(), Duration::from_secs(60 * 60 * 24 * 365 * 100));
}

#[test]
fn a_future_that_nothing_can_wake_is_stalled_and_not_a_hang() {
    let test = VirtualLoop::new();
    assert!(matches!(test.run_sync(std::future::pending::<()>()), Err(RunError::Stalled)));
    assert!(matches!(test.start(), Err(RunError::Stalled)));
    assert_eq!(test.counters().tasks, 0);
}

#[test]
fn start_runs_on_virtual_time_until_stop() {
    let test = VirtualLoop::new();
    let io_loop = test.clone();
    test.call_later(5 * SECOND, move || io_loop.stop());
    test.start().unwrap();
    assert_eq!(test.elapsed(), 5 * SECOND);
}

#[test]
fn what_other_threads_have_posted_runs_before_the_clock_jumps() {
    let test = VirtualLoop::new();
    let remote = test.remote();
    let (sender, receiver) = std::sync::mpsc::channel();
    test.run(async {
        let posted = std::thread::spawn(move || {
            for n in 0..100 {
                let sender = sender.clone();
                remote.add_callback(move || sender.send((n, IoLoop::current().now())).unwrap());
            }
        });
        posted.join().unwrap();
        sleep(SECOND).await;
    });
    let began = test.now() - SECOND;
    let received: Vec<_> = receiver.try_iter().collect();
    assert_eq!(received, (0..100).map(|n| (n, began)).collect::<Vec<_>>());
}

#[test]
fn advance_stops_at_every_deadline_on_the_way() {
    let test = VirtualLoop::new();
    let times = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&times);
    test.spawn_detached(async move {
        let io_loop = IoLoop::current();
        let began = io_loop.now();
        loop {
            sleep(3 * SECOND).await;
            log.borrow_mut().push((io_loop.now() - began).as_secs());
        }
    });
    test.advance(10 * SECOND);
    assert_eq!(*times.borrow(), [3, 6, 9]);
    assert_eq!(test.elapsed(), 10 * SECOND);
    test.close(); // the task holds a handle of its own loop
}

#[test]
fn run_until_stalled_leaves_the_clock_alone() {
    let test = VirtualLoop::new();
    let steps = Rc::new(Cell::new(0));
    let count = Rc::clone(&steps);
    test.spawn_detached(async move {
        count.set(1);
        yield_now().await;
        count.set(2);
        sleep(SECOND).await;
        count.set(3);
    });
    test.run_until_stalled();
    assert_eq!((steps.get(), test.elapsed()), (2, Duration::ZERO));
}

#[test]
fn a_loop_that_is_closed_while_it_is_advanced_stays_closed() {
    let test = VirtualLoop::new();
    let io_loop = test.clone();
    test.call_later(SECOND, move || io_loop.close());
    test.call_later(2 * SECOND, || panic!("on a closed loop"));
    test.advance(3 * SECOND);
    assert!(matches!(test.start(), Err(RunError::Closed)));
    test.run_until_stalled();
    assert_eq!(test.counters().panics, 0);
}

#[test]
fn the_same_program_takes_the_same_turns_every_time() {
    let run = || {
        let test = VirtualLoop::new();
        for n in 1..=20_u32 {
            test.spawn_detached(async move {
                for _ in 0..n {
                    sleep(Duration::from_millis(u64::from(n * 7 % 5))).await;
                }
            });
        }
        test.advance(SECOND);
        test.counters()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_loop_that_never_comes_to_rest_is_a_panic_that_names_the_task() {
    let test = VirtualLoop::new();
    test.spawn_detached(async {
        loop {
            yield_now().await;
        }
    });
    let spin = catch_unwind(AssertUnwindSafe(|| test.advance(SECOND))).unwrap_err();
    let said = spin.downcast_ref::<String>().expect("a message");
    assert!(
        said.contains("does not come to rest") && said.contains("ioloop/tests/virtual_time.rs"),
        "{said}"
    );
    test.run_sync(async {}).expect("the loop can go on");
}

//! Running: start, stop, run_sync, close, and which loop is current.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, PeriodicCallback, RunError, sleep, yield_now};
use support::real_loop;

const SECOND: Duration = Duration::from_secs(1);

fn is(one: &IoLoop, other: &IoLoop) -> bool {
    // A callback of the one is counted by the other only if they are the same.
    let before = other.counters().timers_inserted;
    let timer = one.call_later(SECOND, || {});
    one.remove_timeout(&timer);
    other.counters().timers_inserted == before + 1
}

#[test]
fn il32_starting_a_running_loop_is_an_error_and_harms_nothing() {
    let io_loop = real_loop();
    let errors = Rc::new(RefCell::new(Vec::new()));
    let (inside, log) = (io_loop.clone(), Rc::clone(&errors));
    io_loop.add_callback(move || {
        log.borrow_mut().push(inside.start());
        log.borrow_mut().push(inside.run_sync(async {}));
        inside.add_callback({
            let inside = inside.clone();
            move || inside.stop()
        });
    });
    io_loop.start().unwrap();
    assert!(matches!(errors.borrow()[..], [Err(RunError::AlreadyRunning), Err(RunError::AlreadyRunning)]));
}

#[test]
fn il32_a_loop_can_be_started_and_stopped_again_and_again() {
    let io_loop = real_loop();
    let runs = Rc::new(Cell::new(0));
    for n in 1..=5 {
        let (inside, count) = (io_loop.clone(), Rc::clone(&runs));
        io_loop.add_callback(move || {
            count.set(count.get() + 1);
            inside.stop();
        });
        io_loop.start().unwrap();
        assert_eq!(runs.get(), n);
    }
}

#[test]
fn il33_stop_takes_effect_at_the_end_of_the_turn() {
    let io_loop = real_loop();
    let order = Rc::new(RefCell::new(Vec::new()));
    let (inside, log) = (io_loop.clone(), Rc::clone(&order));
    io_loop.add_callback(move || {
        inside.stop();
        log.borrow_mut().push("stop");
        let late = Rc::clone(&log);
        inside.add_callback(move || late.borrow_mut().push("next turn"));
    });
    let log = Rc::clone(&order);
    io_loop.add_callback(move || log.borrow_mut().push("same turn"));
    let log = Rc::clone(&order);
    io_loop.call_later(Duration::ZERO, move || log.borrow_mut().push("timer"));
    io_loop.start().unwrap();
    assert_eq!(*order.borrow(), ["stop", "same turn", "timer"]);
    io_loop.run_sync(yield_now()).unwrap();
    assert_eq!(order.borrow().last(), Some(&"next turn"), "what was queued is not lost");
}

#[test]
fn il33_stop_before_start_lets_the_next_start_return_at_once_and_only_that_one() {
    let io_loop = real_loop();
    let ran = Rc::new(Cell::new(false));
    let (inside, flag) = (io_loop.clone(), Rc::clone(&ran));
    io_loop.add_callback(move || {
        flag.set(true);
        inside.stop();
    });
    io_loop.stop();
    io_loop.start().unwrap();
    assert!(!ran.get());
    io_loop.start().unwrap();
    assert!(ran.get());
}

#[test]
fn il33_a_remote_stop_before_start_is_a_stop_before_start() {
    let io_loop = real_loop();
    io_loop.remote().stop();
    io_loop.add_callback(|| panic!("not in this run"));
    io_loop.start().unwrap();
    assert_eq!(io_loop.counters().panics, 0);
}

#[test]
fn a_stop_from_before_does_not_stop_run_sync() {
    let io_loop = real_loop();
    io_loop.stop();
    io_loop.remote().stop();
    assert_eq!(io_loop.run_sync(async { yield_now().await }).ok(), Some(()));
}

#[test]
fn il34_run_sync_gives_the_output_of_a_future_that_may_borrow_from_its_caller() {
    let io_loop = real_loop();
    let text = String::from("borrowed");
    let length = io_loop.run_sync(async {
        yield_now().await;
        text.len()
    });
    assert_eq!(length.unwrap(), 8);
    assert_eq!(io_loop.counters().tasks, 0);
}

#[test]
fn il34_an_error_is_the_callers_and_so_is_a_panic_which_leaves_the_loop_sound() {
    let test = VirtualLoop::new();
    assert_eq!(test.run(async { Err::<(), _>("an error") }), Err("an error"));
    let fired = Rc::new(Cell::new(0));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        test.run(async {
            // Due in the very turn of the panic, and queued behind it: neither may be lost.
            let io_loop = IoLoop::current();
            for delay in [Duration::ZERO, SECOND] {
                let count = Rc::clone(&fired);
                io_loop.call_later(delay, move || count.set(count.get() + 1));
            }
            yield_now().await;
            let count = Rc::clone(&fired);
            io_loop.add_callback(move || count.set(count.get() + 1));
            panic!("a future");
        });
    }));
    let message = panicked.unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"a future"));
    assert!(IoLoop::try_current().is_none(), "the loop is current no more");
    test.advance(SECOND);
    assert_eq!(fired.get(), 3);
    assert_eq!(test.counters().tasks, 0);
}

#[test]
fn il34_other_tasks_run_meanwhile_and_stay_when_it_is_done() {
    let test = VirtualLoop::new();
    let steps = Rc::new(Cell::new(0));
    let count = Rc::clone(&steps);
    test.spawn_detached(async move {
        for _ in 0..4 {
            sleep(SECOND).await;
            count.set(count.get() + 1);
        }
    });
    test.run(async { sleep(2 * SECOND + SECOND / 2).await });
    assert_eq!((steps.get(), test.counters().tasks), (2, 1));
    test.run(async { sleep(2 * SECOND).await });
    assert_eq!((steps.get(), test.counters().tasks), (4, 0));
}

#[test]
fn il35_a_timeout_is_told_apart_from_a_stop_and_leaves_no_timer() {
    let test = VirtualLoop::new();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let timed_out = test.run_sync_timeout(SECOND, async move {
        let _inside = inside;
        sleep(2 * SECOND).await;
    });
    assert!(matches!(timed_out, Err(RunError::Timeout)));
    assert_eq!(Rc::strong_count(&held), 1, "the future was dropped");
    assert_eq!((test.elapsed(), test.counters().timers), (SECOND, 0));

    let io_loop = test.clone();
    test.call_later(SECOND, move || io_loop.stop());
    assert!(matches!(
        test.run_sync_timeout(2 * SECOND, async { sleep(9 * SECOND).await }),
        Err(RunError::Stopped)
    ));
    assert_eq!(test.counters().timers, 0);

    assert!(matches!(test.run_sync_timeout(2 * SECOND, async { 7 }), Ok(7)));
    assert_eq!(test.counters().timers, 0);
}

#[test]
fn il35_a_future_that_is_done_in_the_turn_of_a_stop_is_done() {
    let io_loop = real_loop();
    let done = io_loop.run_sync(async {
        IoLoop::current().stop();
        "done"
    });
    assert_eq!(done.unwrap(), "done");
    assert!(io_loop.run_sync(async {}).is_ok(), "that stop is not for the next run");
}

#[test]
fn il36_a_closed_loop_runs_nothing_and_says_so() {
    let io_loop = real_loop();
    io_loop.close();
    io_loop.close();
    assert!(matches!(io_loop.start(), Err(RunError::Closed)));
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let refused = io_loop.run_sync(async move { drop(inside) });
    assert!(matches!(refused, Err(RunError::Closed)));
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn il36_il37_a_current_loop_that_is_closed_stays_current_until_it_is_cleared() {
    IoLoop::current().close();
    assert!(matches!(IoLoop::current().run_sync(async {}), Err(RunError::Closed)));
    IoLoop::clear_current();
    assert_eq!(IoLoop::current().run_sync(async { 5 }).unwrap(), 5);
}

#[test]
fn il36_closing_from_inside_ends_the_run_and_drops_the_task_that_did_it() {
    let io_loop = real_loop();
    let held = Rc::new(());
    let (inside, token) = (io_loop.clone(), Rc::clone(&held));
    io_loop.spawn_detached(async move {
        let _token = token;
        inside.close();
        sleep(SECOND).await; // on a closed loop: neither a panic nor a spin
    });
    assert!(io_loop.start().is_ok());
    assert_eq!((Rc::strong_count(&held), io_loop.counters().tasks), (1, 0));
}

#[test]
fn il36_closing_from_inside_run_sync_stops_it() {
    let io_loop = real_loop();
    let stopped = io_loop.run_sync(async {
        IoLoop::current().close();
        std::future::pending::<()>().await;
    });
    assert!(matches!(stopped, Err(RunError::Stopped)));
}

#[test]
fn il36_the_last_handle_closes_the_loop_and_a_task_that_holds_no_handle_does_not_keep_it() {
    let io_loop = real_loop();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let registration = ioloop::Registration::new(&io_loop);
    io_loop.spawn_detached(async move {
        let _inside = inside;
        std::future::poll_fn(|cx| registration.poll_ready(cx, ioloop::Interest::READ)).await;
    });
    io_loop.run_sync(yield_now()).unwrap();
    let second = io_loop.clone();
    drop(io_loop);
    assert_eq!(Rc::strong_count(&held), 2);
    drop(second);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn il37_a_running_loop_is_current_and_the_one_before_is_restored() {
    let (a, b) = (real_loop(), real_loop());
    assert!(IoLoop::try_current().is_none(), "making a loop does not make it current");
    a.run_sync(async {
        assert!(is(&IoLoop::current(), &a));
        b.run_sync(async { assert!(is(&IoLoop::current(), &b)) }).unwrap();
        assert!(is(&IoLoop::current(), &a));
    })
    .unwrap();
    assert!(IoLoop::try_current().is_none());
    b.make_current();
    a.run_sync(async {}).unwrap();
    assert!(is(&IoLoop::current(), &b));
    IoLoop::clear_current();
}

#[test]
fn il37_current_makes_a_loop_where_there_is_none_and_keeps_it() {
    let first = IoLoop::current();
    assert!(is(&IoLoop::current(), &first));
    IoLoop::clear_current();
    assert!(IoLoop::try_current().is_none());
    IoLoop::clear_current();
    assert!(!is(&IoLoop::current(), &first));
    IoLoop::clear_current();
}

#[test]
fn il38_a_thread_that_ends_closes_its_loop_even_if_destructors_ask_for_the_current_one() {
    struct AsksForTheLoop(std::sync::mpsc::Sender<bool>);
    impl Drop for AsksForTheLoop {
        fn drop(&mut self) {
            let had_one = IoLoop::try_current().is_some();
            IoLoop::current().add_callback(|| {});
            self.0.send(had_one).unwrap();
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let held = AsksForTheLoop(sender);
        IoLoop::current().spawn_detached(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
    });
    thread.join().expect("the thread ends in good order");
    assert_eq!(receiver.recv(), Ok(false));
}

#[test]
fn il37_work_for_a_loop_that_runs_stays_with_it_though_another_was_made_current() {
    let test = VirtualLoop::new();
    let (other, remote) = (real_loop(), test.remote());
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let ticks = PeriodicCallback::new_async(async move || count.set(count.get() + 1), SECOND).unwrap();
    test.run(async {
        ticks.start();
        let nap = sleep(5 * SECOND / 2);
        other.make_current();
        remote.spawn(async || {});
        nap.await;
    });
    assert_eq!((other.counters().tasks, calls.get()), (0, 2));
}

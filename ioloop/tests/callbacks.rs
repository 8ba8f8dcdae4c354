//! Callbacks: their order, what queues them, what ends them, and before-poll hooks, which are their kin.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{BeforePoll, IoLoop};

/// Calls what it is given when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type Log<T> = Rc<RefCell<Vec<T>>>;

/// Two ends of one log.
fn log<T>() -> (Log<T>, Log<T>) {
    let log = Log::default();
    (Rc::clone(&log), log)
}

#[test]
fn il9_il11_a_callback_runs_in_a_later_turn_and_never_inline() {
    let test = VirtualLoop::new();
    let ran = Rc::new(Cell::new(false));
    let (io_loop, flag) = (test.clone(), Rc::clone(&ran));
    test.add_callback(move || {
        let inner = Rc::clone(&flag);
        io_loop.add_callback(move || inner.set(true));
        assert!(!flag.get(), "not inline, though the loop runs");
    });
    assert!(!ran.get(), "not inline");
    test.run_until_stalled();
    assert!(ran.get());
}

#[test]
fn il10_callbacks_run_in_the_order_in_which_they_were_added() {
    let test = VirtualLoop::new();
    let (writer, order) = log();
    for n in 0..100 {
        let order = Rc::clone(&writer);
        test.add_callback(move || order.borrow_mut().push(n));
    }
    test.run_until_stalled();
    assert_eq!(*order.borrow(), (0..100).collect::<Vec<_>>());
}

#[test]
fn il10_what_is_queued_during_a_turn_waits_for_the_next() {
    let test = VirtualLoop::new();
    let (writer, turns) = log();
    fn again(io_loop: &IoLoop, turns: Log<u64>) {
        let inside = io_loop.clone();
        io_loop.add_callback(move || {
            turns.borrow_mut().push(inside.counters().turns);
            if turns.borrow().len() < 5 {
                again(&inside, turns);
            }
        });
    }
    again(&test, writer);
    test.run_until_stalled();
    assert_eq!(*turns.borrow(), [1, 2, 3, 4, 5], "one a turn");
}

#[test]
fn il10_a_callback_that_adds_itself_for_ever_starves_neither_timers_nor_tasks() {
    let test = VirtualLoop::new();
    fn for_ever(io_loop: &IoLoop, runs: Rc<Cell<u32>>) {
        let inside = io_loop.clone();
        io_loop.add_callback(move || {
            runs.set(runs.get() + 1);
            for_ever(&inside, runs);
        });
    }
    let runs = Rc::new(Cell::new(0));
    for_ever(&test, Rc::clone(&runs));
    test.run(async {
        ioloop::sleep(Duration::ZERO).await;
        ioloop::yield_now().await;
    });
    assert!(runs.get() <= 5, "{} runs before a timer and a task had theirs", runs.get());
    test.close();
}

#[test]
fn il12_on_a_closed_loop_callbacks_are_dropped_silently() {
    let test = VirtualLoop::new();
    let held = Rc::new(());
    let waiting = Rc::clone(&held);
    test.add_callback(move || drop(waiting));
    test.close();
    assert_eq!(Rc::strong_count(&held), 1, "the one that waited");
    let late = Rc::clone(&held);
    test.add_callback(move || drop(late));
    assert_eq!(Rc::strong_count(&held), 1, "and the one that came late");
}

#[test]
fn il12_a_callback_that_closes_the_loop_is_the_last_to_run() {
    let test = VirtualLoop::new();
    let (writer, order) = log();
    for n in 0..3 {
        let (order, io_loop) = (Rc::clone(&writer), test.clone());
        test.add_callback(move || {
            order.borrow_mut().push(n);
            if n == 1 {
                io_loop.close();
                io_loop.add_callback(|| panic!("on a closed loop"));
            }
        });
    }
    test.run_until_stalled();
    assert_eq!(*order.borrow(), [0, 1]);
    assert_eq!(test.counters().panics, 0);
}

#[test]
fn il13_a_panic_is_counted_and_stops_nothing() {
    let test = VirtualLoop::new();
    let ran = Rc::new(Cell::new(0));
    for n in 0..4 {
        let ran = Rc::clone(&ran);
        test.add_callback(move || {
            ran.set(ran.get() + 1);
            assert!(n % 2 == 0, "a callback");
        });
    }
    test.run_until_stalled();
    assert_eq!((ran.get(), test.counters().panics), (4, 2));
}

#[test]
fn il13_even_a_panic_whose_message_panics_when_dropped_stops_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("and again");
        }
    }
    let test = VirtualLoop::new();
    test.add_callback(|| std::panic::panic_any(Bomb));
    let ran = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ran);
    test.add_callback(move || flag.set(true));
    test.run_until_stalled();
    assert!(ran.get());
}

#[test]
fn il13_a_callback_whose_captures_panic_when_dropped_stops_nothing() {
    let test = VirtualLoop::new();
    let bomb = OnDrop(|| panic!("a destructor"));
    test.add_callback(move || drop(bomb));
    let ran = Rc::new(Cell::new(false));
    let flag = Rc::clone(&ran);
    test.add_callback(move || flag.set(true));
    test.run_until_stalled();
    assert!(ran.get());
    assert_eq!(test.counters().panics, 1);
}

#[test]
fn il36_destructors_that_run_at_close_may_call_the_loop_and_may_panic() {
    let test = VirtualLoop::new();
    let dropped = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let (io_loop, count) = (test.clone(), Rc::clone(&dropped));
        let guard = OnDrop(move || {
            count.set(count.get() + 1);
            io_loop.add_callback(|| unreachable!());
            io_loop.spawn_detached(async { unreachable!() });
            io_loop.call_later(Duration::ZERO, || unreachable!());
            io_loop.close();
            panic!("a destructor");
        });
        let in_task = OnDrop({
            let count = Rc::clone(&dropped);
            move || count.set(count.get() + 1)
        });
        test.add_callback(move || drop(guard));
        test.spawn_detached(async move {
            let _in_task = in_task;
            std::future::pending::<()>().await;
        });
    }
    test.close();
    assert_eq!(dropped.get(), 4, "a panic in one destructor keeps no other from running");
    let counters = test.counters();
    assert_eq!((counters.tasks, counters.timers, counters.sources, counters.panics), (0, 0, 0, 2));
}

/// Asks for itself so often `again`, and then stops the loop.
struct Hook {
    io_loop: IoLoop,
    calls: Cell<u32>,
    again: Cell<u32>,
}

impl BeforePoll for Hook {
    fn before_poll(self: Rc<Self>) {
        self.calls.set(self.calls.get() + 1);
        match self.again.get() {
            0 => self.io_loop.stop(),
            left => {
                self.again.set(left - 1);
                self.io_loop.before_poll(Rc::clone(&self) as Rc<dyn BeforePoll>);
            }
        }
    }
}

fn hook(io_loop: &IoLoop, again: u32) -> Rc<Hook> {
    Rc::new(Hook { io_loop: io_loop.clone(), calls: Cell::new(0), again: Cell::new(again) })
}

#[test]
fn a_before_poll_hook_is_called_once_in_the_turn_that_asked_and_after_its_timers() {
    let test = VirtualLoop::new();
    let hook = hook(&test, 0);
    let seen_by_timer = Rc::new(Cell::new(None));
    let (asked, io_loop) = (Rc::clone(&hook), test.clone());
    test.add_callback(move || io_loop.before_poll(asked));
    let (note, called) = (Rc::clone(&seen_by_timer), Rc::clone(&hook));
    test.call_later(Duration::ZERO, move || note.set(Some(called.calls.get())));
    test.run_until_stalled();
    assert_eq!(seen_by_timer.get(), Some(0), "the timer of the same turn came first");
    assert_eq!(hook.calls.get(), 1);
    assert_eq!(Rc::strong_count(&hook), 1, "the loop keeps none of it");
}

#[test]
fn a_hook_that_asks_again_is_called_in_the_next_turn_which_does_not_sleep() {
    let io_loop = IoLoop::new().unwrap(); // on a real clock, where a poll that slept would sleep for ever
    let hook = hook(&io_loop, 3);
    io_loop.before_poll(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    io_loop.start().unwrap();
    assert_eq!((hook.calls.get(), io_loop.counters().turns), (4, 4), "once a turn");
}

#[test]
fn a_hook_that_panics_costs_no_other_its_call() {
    struct Panics;
    impl BeforePoll for Panics {
        fn before_poll(self: Rc<Self>) {
            panic!("a hook");
        }
    }
    let test = VirtualLoop::new();
    let after = hook(&test, 0);
    test.before_poll(Rc::new(Panics));
    test.before_poll(Rc::clone(&after) as Rc<dyn BeforePoll>);
    test.run_until_stalled();
    assert_eq!((after.calls.get(), test.counters().panics), (1, 1));
}

#[test]
fn hooks_are_neither_called_nor_kept_once_the_loop_has_closed() {
    struct Closes(IoLoop);
    impl BeforePoll for Closes {
        fn before_poll(self: Rc<Self>) {
            self.0.close();
        }
    }
    let test = VirtualLoop::new();
    let after = hook(&test, 0);
    test.before_poll(Rc::new(Closes(test.clone())));
    test.before_poll(Rc::clone(&after) as Rc<dyn BeforePoll>);
    test.run_until_stalled();
    test.before_poll(Rc::clone(&after) as Rc<dyn BeforePoll>);
    assert_eq!((after.calls.get(), Rc::strong_count(&after)), (0, 1));
}

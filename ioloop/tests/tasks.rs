//! Tasks: spawning, joining, aborting and panicking.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{IoLoop, JoinError, JoinHandle, sleep, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// A gate that a task waits at, and that anybody opens.
#[derive(Clone, Default)]
struct Gate(Rc<RefCell<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let waker = {
            let mut gate = self.0.borrow_mut();
            gate.0 = true;
            gate.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(self) {
        std::future::poll_fn(|cx| {
            let mut gate = self.0.borrow_mut();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn a_task_begins_with_the_next_turn_and_its_handle_gives_its_output() {
    let test = VirtualLoop::new();
    let output = test.run(async {
        let begun = Rc::new(Cell::new(false));
        let flag = Rc::clone(&begun);
        let task = IoLoop::current().spawn(async move {
            flag.set(true);
            sleep(SECOND).await;
            "output"
        });
        assert!(!begun.get());
        assert!(!task.is_finished());
        task.await
    });
    assert_eq!((output, test.elapsed(), test.counters().tasks), (Ok("output"), SECOND, 0));
}

#[test]
fn il10_tasks_and_callbacks_run_in_the_order_in_which_they_became_ready() {
    let test = VirtualLoop::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    for n in 0..10 {
        let log = Rc::clone(&order);
        if n % 2 == 0 {
            test.add_callback(move || log.borrow_mut().push(n));
        } else {
            test.spawn_detached(async move { log.borrow_mut().push(n) });
        }
    }
    test.run_until_stalled();
    assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_task_whose_handle_is_dropped_runs_on() {
    let test = VirtualLoop::new();
    let gate = Gate::default();
    drop(test.spawn(gate.clone().wait()));
    test.run_until_stalled();
    assert_eq!(test.counters().tasks, 1);
    gate.open();
    test.run_until_stalled();
    assert_eq!(test.counters().tasks, 0);
}

#[test]
fn il13_a_panic_ends_its_own_task_and_is_what_the_handle_says() {
    let test = VirtualLoop::new();
    let (lost, kept) = test.run(async {
        let io_loop = IoLoop::current();
        let lost: JoinHandle<()> = io_loop.spawn(async { panic!("number {}", 7) });
        let kept = io_loop.spawn(async { yield_now().await });
        (lost.await, kept.await)
    });
    assert_eq!((lost, kept), (Err(JoinError::Panicked("number 7".to_owned())), Ok(())));
    assert_eq!((test.counters().panics, test.counters().tasks), (1, 0));
}

#[test]
fn il13_a_future_that_panics_when_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor");
        }
    }
    async fn hold_it() {
        let _bomb = Bomb;
        std::future::pending::<()>().await;
    }
    let test = VirtualLoop::new();
    let aborted = test.spawn(hold_it());
    test.spawn_detached(hold_it());
    test.run_until_stalled();
    aborted.abort();
    assert!(aborted.is_finished());
    assert_eq!((test.counters().panics, test.counters().tasks), (1, 1));
    test.close();
    assert_eq!((test.counters().panics, test.counters().tasks), (2, 0));
}

#[test]
fn an_aborted_task_is_dropped_at_once_and_says_so() {
    let test = VirtualLoop::new();
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let task = test.spawn(async move {
        let _inside = inside;
        sleep(SECOND).await;
    });
    test.run_until_stalled();
    task.abort();
    assert_eq!((Rc::strong_count(&held), test.counters().timers), (1, 0));
    task.abort();
    assert_eq!(test.run(task), Err(JoinError::Aborted));
}

#[test]
fn a_task_aborted_while_it_is_queued_is_not_polled() {
    let test = VirtualLoop::new();
    let task = test.spawn(async { panic!("polled") });
    task.abort();
    test.run_until_stalled();
    assert_eq!(test.counters().panics, 0);
}

#[test]
fn a_task_that_aborts_itself_is_dropped_when_its_poll_returns() {
    let test = VirtualLoop::new();
    let held = Rc::new(());
    let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let (inside, handle) = (Rc::clone(&held), Rc::clone(&own));
    let task = test.spawn(async move {
        let _inside = inside;
        handle.borrow().as_ref().unwrap().abort();
        // A task that takes the slot meanwhile is not the one that is put back or ended.
        IoLoop::current().spawn_detached(std::future::pending());
        assert_eq!(Rc::strong_count(&_inside), 2, "not dropped under its own feet");
        std::future::pending::<()>().await;
    });
    own.replace(Some(task));
    test.run_until_stalled();
    assert_eq!((Rc::strong_count(&held), test.counters().tasks), (1, 1));
    assert!(own.borrow().as_ref().unwrap().is_finished());
}

#[test]
fn aborting_a_task_that_is_done_does_not_touch_the_one_in_its_slot() {
    let test = VirtualLoop::new();
    let done = test.spawn(async {});
    test.run_until_stalled();
    let fresh = test.spawn(std::future::pending::<()>());
    done.abort();
    assert!(!fresh.is_finished());
    assert_eq!(test.run(done), Ok(()));
    fresh.abort();
}

#[test]
fn il12_a_task_for_a_closed_loop_is_dropped_and_its_handle_says_aborted() {
    let test = VirtualLoop::new();
    let waiting = test.spawn(std::future::pending::<()>());
    test.close();
    let late = test.spawn(async {});
    assert!(waiting.is_finished() && late.is_finished());
    let other = VirtualLoop::new();
    assert_eq!(other.run(waiting), Err(JoinError::Aborted));
    assert_eq!(other.run(late), Err(JoinError::Aborted));
}

#[test]
fn il14_a_completion_is_never_told_inline() {
    let test = VirtualLoop::new();
    let told = Rc::new(Cell::new(false));
    let gate = Gate::default();
    let task = test.spawn(gate.clone().wait());
    let flag = Rc::clone(&told);
    test.spawn_detached(async move {
        task.await.unwrap();
        flag.set(true);
    });
    test.run_until_stalled();
    let flag = Rc::clone(&told);
    test.add_callback(move || {
        gate.open();
        assert!(!flag.get());
    });
    test.run_until_stalled();
    assert!(told.get());
}

#[test]
fn a_join_may_be_given_up_and_taken_up_again() {
    let test = VirtualLoop::new();
    let mut task = test.spawn(async {
        sleep(2 * SECOND).await;
        "output"
    });
    test.run(async {
        assert!(ioloop::timeout(SECOND, &mut task).await.is_err());
        assert_eq!(task.await, Ok("output"));
    });
    assert_eq!(test.elapsed(), 2 * SECOND);
}

/// Wakes itself so many times.
async fn wake_yourself(times: u32) {
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn il10_tasks_that_keep_each_other_busy_share_a_poll_and_hold_input_up_for_61_runs_at_most() {
    let io_loop = VirtualLoop::new(); // on which no task takes any time
    io_loop.run(wake_yourself(6_100));
    let counters = io_loop.counters();
    assert_eq!(counters.turns, 6_101);
    assert_eq!(counters.polls, 101, "one for 61 turns, and one when all was done");
    for _ in 0..60 {
        io_loop.spawn_detached(wake_yourself(100));
    }
    io_loop.run(wake_yourself(100));
    assert_eq!(io_loop.counters().polls - counters.polls, 101, "61 tasks a turn");
}

#[test]
fn il10_who_gives_way_has_a_poll_before_it_goes_on() {
    let io_loop = IoLoop::new().unwrap();
    let polls = io_loop
        .run_sync(async {
            let before = IoLoop::current().counters().polls;
            for _ in 0..10 {
                yield_now().await;
            }
            IoLoop::current().counters().polls - before
        })
        .unwrap();
    assert_eq!(polls, 10);
}

//! Small turns of tasks share their polls; what is long does not.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ioloop::IoLoop;
use support::real_loop;

/// What work looks like.
fn work(duration: Duration) {
    let began = Instant::now();
    while began.elapsed() < duration {}
}

/// A callback that adds itself again, `left` times, and then stops the loop.
fn chain(io_loop: &IoLoop, left: u32, link: Rc<dyn Fn()>) {
    let next = io_loop.clone();
    io_loop.add_callback(move || {
        link();
        match left {
            0 => next.stop(),
            _ => chain(&next, left - 1, link),
        }
    });
}

#[test]
fn il10_a_chain_of_callbacks_has_the_loop_poll_after_each() {
    let io_loop = real_loop();
    chain(&io_loop, 50, Rc::new(|| {}));
    io_loop.start().unwrap();
    assert_eq!((io_loop.counters().polls, io_loop.counters().turns), (51, 51));
}

#[test]
fn il10_a_chain_of_slow_callbacks_keeps_no_timer_waiting() {
    let io_loop = real_loop();
    let link = Duration::from_millis(1);
    let (links, fired_after) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (ran, after) = (Rc::clone(&links), Rc::clone(&fired_after));
    io_loop.call_later(3 * link, move || after.set(Some(ran.get())));
    chain(
        &io_loop,
        50,
        Rc::new(move || {
            links.set(links.get() + 1);
            work(link);
        }),
    );
    io_loop.start().unwrap();
    // Three links take that long, and the turn after them looks at the clock.
    assert!(fired_after.get().is_some_and(|links| links <= 4), "{fired_after:?}");
}

#[test]
fn il10_tasks_that_are_not_quick_share_a_poll_among_eight_at_most() {
    let io_loop = real_loop();
    let mut left = 80;
    let slow = std::future::poll_fn(|cx| {
        work(Duration::from_micros(101));
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    io_loop.run_sync(slow).unwrap();
    assert_eq!(io_loop.counters().turns, 80);
    assert_eq!(io_loop.counters().polls, 10);
}

/// Numbers, each with how often the loop had polled when it was written down.
type Log = Rc<RefCell<Vec<(u64, u64)>>>;

/// Goes through `crowd`, which `each` has write itself down, and looks whether it came in order, and some of it between two polls.
fn in_bites(crowd: u64, each: impl Fn(&IoLoop, Box<dyn FnOnce()>)) {
    let (io_loop, log) = (real_loop(), Log::default());
    for number in 0..crowd {
        let log = Rc::clone(&log);
        let note = move || log.borrow_mut().push((number, IoLoop::current().counters().polls));
        each(&io_loop, Box::new(note));
    }
    let all = async {
        while log.borrow().len() < crowd as usize {
            ioloop::yield_now().await;
        }
    };
    io_loop.run_sync(all).unwrap();
    let log = log.borrow();
    assert!(log.iter().map(|(number, _)| *number).eq(0..crowd));
    for bite in log.chunk_by(|(_, one), (_, other)| one == other) {
        assert!(bite.len() <= 1_024, "{} between two polls", bite.len());
    }
}

#[test]
fn a_crowd_of_tasks_that_are_ready_at_once_runs_in_order_with_polls_in_between() {
    in_bites(10_000, |io_loop, note| io_loop.spawn_detached(async { note() }));
}

#[test]
fn il10_a_crowd_of_callbacks_runs_in_order_with_polls_in_between() {
    in_bites(10_000, |io_loop, note| io_loop.add_callback(note));
}

#[test]
fn il21_a_crowd_of_timers_that_are_due_at_once_fires_in_order_with_polls_in_between() {
    let due = Instant::now();
    in_bites(10_000, |io_loop, note| drop(io_loop.call_at(due, note)));
}

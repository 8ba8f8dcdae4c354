//! Small turns of tasks share their polls; what is long does not.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ioloop::IoLoop;

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
    let io_loop = IoLoop::new().unwrap();
    chain(&io_loop, 50, Rc::new(|| {}));
    io_loop.start().unwrap();
    assert_eq!((io_loop.counters().polls, io_loop.counters().turns), (51, 51));
}

#[test]
fn il10_a_chain_of_slow_callbacks_keeps_no_timer_waiting() {
    let io_loop = IoLoop::new().unwrap();
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
    let io_loop = IoLoop::new().unwrap();
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

//! Deadlines: moved later, earlier, away and back, at the cost that the documentation says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{Deadline, IoLoop, sleep, timeout, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// Looks at the deadline once, as a task does that is polled for something else.
async fn look(deadline: &mut Deadline) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(deadline.poll(cx).is_ready())).await
}

/// Waits until the deadline has passed.
async fn pass(deadline: &mut Deadline) {
    std::future::poll_fn(|cx| deadline.poll(cx)).await;
}

#[test]
fn a_deadline_pushed_forward_costs_no_timer_until_the_old_one_fires() {
    let test = VirtualLoop::new();
    test.run(async {
        let io_loop = IoLoop::current();
        let mut deadline = Deadline::new(&io_loop);
        for request in 0..1_000 {
            deadline.set(Some(io_loop.now() + 9 * SECOND + Duration::from_millis(request)));
            assert!(!look(&mut deadline).await);
            yield_now().await;
        }
        assert_eq!(io_loop.counters().timers_inserted, 1, "a thousand requests, one timer");
        sleep(9 * SECOND).await;
        deadline.set(Some(io_loop.now() + 10 * SECOND));
        pass(&mut deadline).await;
    });
    assert_eq!(test.elapsed(), 19 * SECOND, "as late as it was last set");
    assert_eq!(
        test.counters().timers_inserted,
        3,
        "the first, the sleep, and the one set when the first fired"
    );
}

#[test]
fn a_deadline_moved_earlier_passes_earlier_and_leaves_no_second_timer() {
    let test = VirtualLoop::new();
    test.run(async {
        let io_loop = IoLoop::current();
        let mut deadline = Deadline::new(&io_loop);
        for seconds in [10, 5, 2] {
            deadline.set(Some(io_loop.now() + seconds * SECOND));
            assert!(!look(&mut deadline).await);
            assert_eq!(io_loop.counters().timers, 1);
        }
        pass(&mut deadline).await;
    });
    assert_eq!((test.elapsed(), test.counters().timers), (2 * SECOND, 0));
}

#[test]
fn a_deadline_of_none_never_passes_and_can_be_set_again() {
    let test = VirtualLoop::new();
    test.run(async {
        let io_loop = IoLoop::current();
        let mut deadline = Deadline::new(&io_loop);
        assert!(timeout(SECOND, pass(&mut deadline)).await.is_err(), "none from the start");
        deadline.set(Some(io_loop.now() + SECOND));
        assert!(!look(&mut deadline).await);
        deadline.set(None);
        assert!(timeout(5 * SECOND, pass(&mut deadline)).await.is_err(), "though its timer fired");
        deadline.set(Some(io_loop.now() + SECOND));
        pass(&mut deadline).await;
        assert_eq!(deadline.deadline(), Some(io_loop.now()));
    });
    assert_eq!((test.elapsed(), test.counters().timers), (7 * SECOND, 0));
}

#[test]
fn a_deadline_wakes_the_task_that_asked_last() {
    let test = VirtualLoop::new();
    let deadline = Rc::new(RefCell::new(Deadline::new(&test)));
    deadline.borrow_mut().set(Some(test.now() + SECOND));
    let passed: Rc<RefCell<Vec<&str>>> = Rc::default();
    let first_polls = Rc::new(Cell::new(0));
    let (shared, polls) = (Rc::clone(&deadline), Rc::clone(&first_polls));
    test.spawn_detached(std::future::poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        shared.borrow_mut().poll(cx)
    }));
    let (shared, log) = (Rc::clone(&deadline), Rc::clone(&passed));
    test.spawn_detached(async move {
        std::future::poll_fn(|cx| shared.borrow_mut().poll(cx)).await;
        log.borrow_mut().push("second");
    });
    test.advance(SECOND);
    assert_eq!(*passed.borrow(), ["second"]);
    assert_eq!(first_polls.get(), 1, "the first asked once and was not told");
}

#[test]
fn a_deadline_whose_loop_is_gone_never_passes_and_is_harmless() {
    let gone = VirtualLoop::new();
    let mut orphan = Deadline::new(&gone);
    orphan.set(Some(gone.now()));
    drop(gone);
    VirtualLoop::new().run(async {
        assert!(timeout(SECOND, pass(&mut orphan)).await.is_err());
    });
}

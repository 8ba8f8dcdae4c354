//! Wakers: a loop's own, those of another loop on the same thread, and foreign ones that misbehave.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{Interest, IoLoop, Ready, Registration, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// A waker of no loop, which counts and then may panic.
struct Foreign {
    wakes: AtomicUsize,
    panics: bool,
}

impl Foreign {
    fn new(panics: bool) -> (Arc<Foreign>, Waker) {
        let foreign = Arc::new(Foreign { wakes: AtomicUsize::new(0), panics });
        (Arc::clone(&foreign), Waker::from(foreign))
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::Relaxed)
    }
}

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "a waker");
    }
}

#[test]
fn many_wakes_of_a_task_in_one_turn_are_one_poll() {
    let test = VirtualLoop::new();
    let polls = Rc::new(Cell::new(0));
    let (count, waker) = (Rc::clone(&polls), Rc::new(RefCell::new(None::<Waker>)));
    let keep = Rc::clone(&waker);
    test.spawn_detached(std::future::poll_fn(move |cx| {
        count.set(count.get() + 1);
        keep.replace(Some(cx.waker().clone()));
        Poll::<()>::Pending
    }));
    test.run_until_stalled();
    let waker = waker.take().unwrap();
    test.add_callback(move || (0..1_000).for_each(|_| waker.wake_by_ref()));
    test.run_until_stalled();
    assert_eq!(polls.get(), 2);
}

#[test]
fn a_wake_of_a_task_that_has_ended_is_harmless_even_if_its_slot_is_taken() {
    let test = VirtualLoop::new();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let keep = Rc::clone(&waker);
    test.spawn_detached(std::future::poll_fn(move |cx| {
        keep.replace(Some(cx.waker().clone()));
        Poll::Ready(())
    }));
    test.run_until_stalled();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    test.spawn_detached(std::future::poll_fn(move |_| {
        count.set(count.get() + 1);
        Poll::<()>::Pending
    }));
    test.run_until_stalled();
    waker.take().unwrap().wake();
    test.run_until_stalled();
    assert_eq!(polls.get(), 1, "the task in its slot was not polled for it");
}

#[test]
fn a_task_of_one_loop_is_woken_from_inside_another_on_the_same_thread() {
    let (a, b) = (IoLoop::new().unwrap(), IoLoop::new().unwrap());
    let gate: Rc<RefCell<Option<Waker>>> = Rc::default();
    let (closed, mut asked) = (Rc::clone(&gate), false);
    let task = a.spawn(std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        closed.replace(Some(cx.waker().clone()));
        Poll::Pending
    }));
    a.run_sync(yield_now()).unwrap();
    b.run_sync(async { gate.take().unwrap().wake() }).unwrap();
    assert!(!task.is_finished(), "the wake did not run it on the wrong loop");
    assert_eq!(a.run_sync(task).unwrap(), Ok(()));
}

#[test]
fn a_loop_that_runs_inside_a_task_of_another_waits_with_wakers_of_its_own() {
    let (a, b) = (IoLoop::new().unwrap(), IoLoop::new().unwrap());
    let registration = Rc::new(Registration::new(&a));
    let waiting = Rc::clone(&registration);
    let inner = b.spawn(async move {
        // A source of loop A that a task of loop B waits for.
        std::future::poll_fn(|cx| waiting.poll_ready(cx, Interest::READ)).await
    });
    a.run_sync(async {
        b.run_sync(yield_now()).unwrap();
        registration.set_ready(Ready::READABLE);
        yield_now().await;
    })
    .unwrap();
    assert_eq!(b.run_sync(inner).unwrap(), Ok(Ready::READABLE));
}

#[test]
fn a_foreign_waker_can_wait_for_a_join_a_source_and_a_deadline() {
    let test = VirtualLoop::new();
    let (foreign, waker) = Foreign::new(false);
    let mut cx = Context::from_waker(&waker);
    let mut task = pin!(test.spawn(async {}));
    let registration = Registration::new(&test);
    let deadline = ioloop::Deadline::new(&test);
    deadline.set(Some(test.now() + SECOND));
    assert!(task.as_mut().poll(&mut cx).is_pending());
    assert!(registration.poll_ready(&mut cx, Interest::WRITE).is_pending());
    assert!(registration.poll_closed(&mut cx).is_pending());
    assert!(deadline.poll(&mut cx).is_pending());
    test.run_until_stalled();
    assert_eq!(foreign.wakes(), 1, "the join");
    registration.set_ready(Ready::WRITABLE);
    test.run_until_stalled();
    assert_eq!(foreign.wakes(), 2, "the source");
    registration.close();
    assert_eq!(foreign.wakes(), 3, "its end");
    test.advance(SECOND);
    assert_eq!(foreign.wakes(), 4, "the deadline");
    assert!(deadline.poll(&mut cx).is_ready());
}

#[test]
fn a_foreign_waker_that_panics_costs_nobody_else_a_wake() {
    let test = VirtualLoop::new();
    let (_bad, bad_waker) = Foreign::new(true);
    let (good, good_waker) = Foreign::new(false);
    let wakers = [bad_waker, good_waker];
    let mut deadlines = wakers.each_ref().map(|_| ioloop::Deadline::new(&test));
    let registrations = wakers.each_ref().map(|_| Registration::new(&test));
    for ((waker, deadline), registration) in wakers.iter().zip(&mut deadlines).zip(&registrations) {
        let mut cx = Context::from_waker(waker);
        deadline.set(Some(test.now() + SECOND));
        assert!(deadline.poll(&mut cx).is_pending());
        assert!(registration.poll_ready(&mut cx, Interest::READ).is_pending());
        registration.set_ready(Ready::READABLE);
    }
    test.run_until_stalled();
    assert_eq!((good.wakes(), test.counters().panics), (1, 1));
    test.advance(SECOND);
    assert_eq!((good.wakes(), test.counters().panics), (2, 2));
}

#[test]
fn a_waker_whose_drop_calls_the_loop_finds_no_borrow() {
    struct CallsBack;
    impl Wake for CallsBack {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for CallsBack {
        fn drop(&mut self) {
            let io_loop = IoLoop::current();
            let timer = io_loop.call_later(SECOND, || {});
            io_loop.remove_timeout(&timer);
            drop(Registration::new(&io_loop));
            io_loop.spawn(async {}).abort();
        }
    }
    let test = VirtualLoop::new();
    test.make_current();
    let registration = Registration::new(&test);
    let deadline = ioloop::Deadline::new(&test);
    // Each round replaces, removes or re-arms what the one before left behind: every time the last of its waker.
    fn once(wait: impl FnOnce(&mut Context<'_>) -> bool) {
        let waker = Waker::from(Arc::new(CallsBack));
        assert!(wait(&mut Context::from_waker(&waker)));
    }
    for seconds in [5, 5, 1, 9] {
        deadline.set(Some(test.now() + seconds * SECOND));
        once(|cx| deadline.poll(cx).is_pending());
        once(|cx| registration.poll_ready(cx, Interest::READ).is_pending());
        once(|cx| registration.poll_ready(cx, Interest::WRITE).is_pending());
        once(|cx| registration.poll_ready(cx, Interest::READ_WRITE).is_pending());
        once(|cx| registration.poll_closed(cx).is_pending());
    }
    assert_eq!(test.counters().panics, 0);
    drop(registration);
    drop(deadline);
    let counters = test.counters();
    assert_eq!((counters.timers, counters.sources, counters.tasks), (0, 0, 0));
    IoLoop::clear_current();
}

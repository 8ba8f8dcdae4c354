//! Tasks: spawning, joining, aborting, panicking, and who may wake them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{Interest, IoLoop, JoinError, JoinHandle, Ready, Registration, sleep, yield_now};

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

#[test]
fn a_task_of_one_loop_is_woken_from_inside_another_on_the_same_thread() {
    let (a, b) = (IoLoop::new().unwrap(), IoLoop::new().unwrap());
    let gate = Gate::default();
    let task = a.spawn(gate.clone().wait());
    a.run_sync(yield_now()).unwrap();
    b.run_sync(async { gate.open() }).unwrap();
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
    let mut deadline = ioloop::Deadline::new(&test);
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
    let mut deadline = ioloop::Deadline::new(&test);
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

//! Every panic that the loop catches reaches the error hook, once.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{Failure, Interest, IoLoop, WorkKind};

type Seen = Rc<RefCell<Vec<(Option<WorkKind>, Option<u32>, String)>>>;

/// Keeps kind, line and message of every failure.
fn hook(io_loop: &IoLoop) -> Seen {
    let seen = Seen::default();
    let keep = Rc::clone(&seen);
    io_loop.set_error_hook(move |failure: &Failure<'_>| {
        let kind = failure.origin.map(|origin| origin.kind);
        let line = failure.origin.map(|origin| origin.location.line());
        keep.borrow_mut().push((kind, line, failure.message.to_owned()));
    });
    seen
}

/// Panics past the panic hook, which would print it.
fn fail(why: &'static str) {
    resume_unwind(Box::new(why));
}

struct FailsWhenDropped;

impl Drop for FailsWhenDropped {
    fn drop(&mut self) {
        fail("in a destructor");
    }
}

#[test]
fn il16_callbacks_timers_and_tasks_that_panic_are_reported_with_the_line_that_added_them() {
    let test = VirtualLoop::new();
    let seen = hook(&test);
    let line = line!();
    test.add_callback(|| fail("a"));
    test.call_later(Duration::from_secs(1), || fail("b"));
    test.spawn_detached(async { fail("c") });
    test.remote().add_callback(|| fail("d"));
    test.remote().spawn(|| async { fail("e") });
    test.advance(Duration::from_secs(1));
    let mut seen = seen.take();
    seen.sort_by(|one, other| one.2.cmp(&other.2));
    let expected = [
        (WorkKind::Callback, line + 1, "a"),
        (WorkKind::Timer, line + 2, "b"),
        (WorkKind::Task, line + 3, "c"),
        (WorkKind::Callback, line + 4, "d"),
        (WorkKind::Task, line + 5, "e"),
    ];
    assert_eq!(seen, expected.map(|(kind, line, why)| (Some(kind), Some(line), why.to_owned())));
    assert_eq!(test.counters().panics, 5);
}

#[test]
fn il7_a_handler_that_panics_is_disarmed_and_reported_once_and_its_source_closed() {
    let io_loop = IoLoop::new().unwrap();
    let seen = hook(&io_loop);
    let (ours, mut theirs) = mio::net::UnixStream::pair().unwrap();
    let handler = io_loop.add_handler(ours, Interest::READ, |_, _| fail("unread for ever")).unwrap();
    std::io::Write::write_all(&mut theirs, b"x").unwrap();
    let watch = io_loop.clone();
    let stop = io_loop.clone();
    io_loop
        .add_handler(theirs, Interest::READ, move |theirs, _| {
            // The other end is closed: its handler is gone. Nothing can report it a second time.
            let gone = std::io::Read::read(theirs, &mut [0; 8]);
            assert!(gone.is_err() || gone.unwrap() == 0);
            assert_eq!(watch.counters().sources, 1);
            stop.stop();
        })
        .unwrap();
    io_loop.start().unwrap();
    assert_eq!(seen.borrow().len(), 1);
    assert_eq!(seen.borrow()[0].0, Some(WorkKind::Handler));
    assert!(io_loop.remove_handler(handler).is_none());
}

#[test]
fn il16_a_destructor_that_panics_is_reported_without_an_origin() {
    let test = VirtualLoop::new();
    let seen = hook(&test);
    let bomb = FailsWhenDropped;
    test.spawn_detached(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    });
    test.run_until_stalled();
    test.close();
    assert_eq!(*seen.borrow(), [(None, None, "in a destructor".to_owned())]);
}

#[test]
fn il16_a_hook_may_use_the_loop_replace_itself_and_panic() {
    let test = VirtualLoop::new();
    let told = Rc::new(Cell::new(0));
    let (io_loop, first, second) = (test.clone(), Rc::clone(&told), Rc::clone(&told));
    test.set_error_hook(move |_| {
        first.set(first.get() + 1);
        let second = Rc::clone(&second);
        io_loop.set_error_hook(move |_| {
            second.set(second.get() + 10);
            fail("the hook itself");
        });
        io_loop.add_callback(|| fail("again"));
    });
    test.add_callback(|| fail("once"));
    test.run_until_stalled();
    assert_eq!((told.get(), test.counters().panics), (11, 2), "a panic of the hook is not counted");
}

#[test]
fn il16_a_hook_that_was_cleared_is_told_nothing() {
    let test = VirtualLoop::new();
    let seen = hook(&test);
    test.clear_error_hook();
    test.add_callback(|| fail("unseen"));
    test.run_until_stalled();
    assert!(seen.borrow().is_empty());
}

#[test]
fn il16_a_hook_that_takes_itself_back_and_fails_when_dropped_costs_nothing_else() {
    let test = VirtualLoop::new();
    let (io_loop, bomb) = (test.clone(), FailsWhenDropped);
    test.set_error_hook(move |_| {
        let _keep = &bomb;
        io_loop.clear_error_hook();
    });
    let (io_loop, bomb) = (test.clone(), FailsWhenDropped);
    test.set_turn_hook(move |_| {
        let _keep = &bomb;
        io_loop.clear_turn_hook();
    });
    test.add_callback(|| fail("once"));
    test.run_until_stalled();
    assert_eq!(
        test.counters().panics,
        2,
        "the callback's and the turn hook's; a panic of the error hook is not counted"
    );
}

#[test]
fn il36_a_closed_loop_keeps_no_hook_and_so_is_not_kept_by_one() {
    let io_loop = IoLoop::new().unwrap();
    io_loop.close();
    let kept = Rc::new(());
    let [error, turn] = [(); 2].map(|()| (io_loop.clone(), Rc::clone(&kept)));
    io_loop.set_error_hook(move |_| drop(error.clone()));
    io_loop.set_turn_hook(move |_| drop(turn.clone()));
    assert_eq!(Rc::strong_count(&kept), 1);
}

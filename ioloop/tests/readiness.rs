//! Registrations: readiness that tasks wait for, from the operating system and from user space.

mod support;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use ioloop::{BeforePoll, Interest, IoLoop, Ready, Registration, sleep, timeout, yield_now};
use mio::net::UnixStream;
use support::real_loop;

const SECOND: Duration = Duration::from_secs(1);

async fn ready(registration: &Registration, interest: Interest) -> Ready {
    std::future::poll_fn(|cx| registration.poll_ready(cx, interest)).await
}

async fn closed(registration: &Registration) -> Ready {
    std::future::poll_fn(|cx| registration.poll_closed(cx)).await
}

fn attached(io_loop: &IoLoop) -> (Registration, UnixStream, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let registration = Registration::new(io_loop);
    registration.attach(&mut ours).unwrap();
    (registration, ours, theirs)
}

#[test]
fn a_source_is_registered_once_and_its_waits_cost_no_registration() {
    let io_loop = real_loop();
    let (registration, mut ours, mut theirs) = attached(&io_loop);
    io_loop
        .run_sync(async {
            for _ in 0..100 {
                theirs.write_all(b"x").unwrap();
                let mut bytes = [0; 8];
                while ours.read(&mut bytes).is_err() {
                    registration.clear(Ready::READABLE);
                    ready(&registration, Interest::READ).await;
                }
            }
        })
        .unwrap();
    let counters = io_loop.counters();
    assert_eq!((counters.registrations, counters.reregistrations), (1, 0));
}

#[test]
fn a_new_socket_that_reports_writable_wakes_nobody_who_waits_to_read() {
    let io_loop = real_loop();
    let (registration, _ours, mut theirs) = attached(&io_loop);
    let registration = Rc::new(registration);
    let polls = Rc::new(Cell::new(0));
    let (waiting, count) = (Rc::clone(&registration), Rc::clone(&polls));
    let reader = io_loop.spawn(std::future::poll_fn(move |cx| {
        count.set(count.get() + 1);
        waiting.poll_ready(cx, Interest::READ)
    }));
    io_loop.run_sync(async { ready(&registration, Interest::WRITE).await }).unwrap();
    assert_eq!((polls.get(), registration.ready()), (1, Ready::WRITABLE));
    theirs.write_all(b"x").unwrap();
    assert!(io_loop.run_sync(reader).unwrap().unwrap().contains(Ready::READABLE));
    assert_eq!(polls.get(), 2);
}

#[test]
fn data_and_end_that_arrive_together_are_one_event_and_the_end_stays() {
    let io_loop = real_loop();
    let (registration, mut ours, mut theirs) = attached(&io_loop);
    theirs.write_all(b"last words").unwrap();
    drop(theirs);
    io_loop
        .run_sync(async {
            let seen = ready(&registration, Interest::READ).await;
            assert!(seen.contains(Ready::READABLE | Ready::READ_CLOSED));
            let mut bytes = [0; 64];
            assert_eq!(ours.read(&mut bytes).unwrap(), 10);
            registration.clear(Ready::READABLE | Ready::READ_CLOSED);
            // No further event comes, so this must not wait.
            assert!(ready(&registration, Interest::READ).await.contains(Ready::READ_CLOSED));
            assert_eq!(ours.read(&mut bytes).unwrap(), 0);
        })
        .unwrap();
}

#[test]
fn the_end_of_a_connection_is_told_while_nobody_reads() {
    let io_loop = real_loop();
    let (registration, _ours, mut theirs) = attached(&io_loop);
    let registration = Rc::new(registration);
    let waiting = Rc::clone(&registration);
    let watcher = io_loop.spawn(async move { closed(&waiting).await });
    io_loop.run_sync(yield_now()).unwrap();
    theirs.write_all(b"x").unwrap();
    io_loop.run_sync(yield_now()).unwrap();
    assert!(!watcher.is_finished(), "data is no end");
    drop(theirs);
    assert!(io_loop.run_sync(watcher).unwrap().unwrap().contains(Ready::READ_CLOSED));
}

#[test]
fn il4_an_event_for_a_registration_that_is_gone_reaches_nobody() {
    let io_loop = real_loop();
    let (old, _ours, mut theirs) = attached(&io_loop);
    theirs.write_all(b"x").unwrap(); // collected by the next poll, for a slot that is another's by then
    drop(old);
    let new = Registration::new(&io_loop);
    io_loop.run_sync(async { yield_now().await }).unwrap();
    assert_eq!(new.ready(), Ready::EMPTY);
    assert_eq!(io_loop.counters().events, 1, "it came");
}

#[test]
fn a_detached_source_reports_nothing_more_and_can_be_attached_elsewhere() {
    let io_loop = real_loop();
    let (first, mut ours, mut theirs) = attached(&io_loop);
    first.detach(&mut ours).unwrap();
    theirs.write_all(b"x").unwrap();
    io_loop.run_sync(yield_now()).unwrap();
    assert_eq!(io_loop.counters().events, 0);
    let second = Registration::new(&io_loop);
    second.attach(&mut ours).unwrap();
    let seen = io_loop.run_sync(async { ready(&second, Interest::READ).await }).unwrap();
    assert!(seen.contains(Ready::READABLE));
}

#[test]
fn what_cannot_be_polled_is_an_error() {
    let io_loop = real_loop();
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    let registration = Registration::new(&io_loop);
    let refused = registration.attach(&mut mio::unix::SourceFd(&descriptor));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(io_loop.counters().registrations, 0);
}

#[test]
fn readiness_from_user_space_is_told_after_the_poll_and_costs_no_syscall() {
    let test = VirtualLoop::new();
    let registration = Rc::new(Registration::new(&test));
    let waiting = Rc::clone(&registration);
    let reader = test.spawn(async move { ready(&waiting, Interest::READ).await });
    test.run_until_stalled();
    registration.notifier().set_ready(Ready::READABLE);
    registration.set_ready(Ready::EMPTY);
    assert_eq!(registration.ready(), Ready::EMPTY, "like any event: after the poll");
    test.run_until_stalled();
    assert!(reader.is_finished());
    let counters = test.counters();
    assert_eq!((counters.events, counters.registrations), (0, 0));
}

#[test]
fn a_report_made_while_the_source_is_read_outlives_the_clear_that_follows_the_read() {
    let test = VirtualLoop::new();
    let registration = Registration::new(&test);
    test.run(async {
        registration.set_ready(Ready::READABLE);
        registration.clear(Ready::READABLE);
        ready(&registration, Interest::READ).await;
    });
}

#[test]
fn a_registration_dropped_after_it_was_made_ready_leaves_nothing_that_spins() {
    let test = VirtualLoop::new();
    for _ in 0..100 {
        let registration = Registration::new(&test);
        let notifier = registration.notifier();
        notifier.set_ready(Ready::READABLE);
        drop(registration);
        notifier.set_ready(Ready::READABLE);
    }
    let in_their_place = Registration::new(&test);
    test.run_until_stalled();
    assert_eq!(
        (test.counters().turns, test.counters().sources),
        (2, 1),
        "one turn, and one that found nothing"
    );
    assert_eq!(in_their_place.ready(), Ready::EMPTY);
}

#[test]
fn set_ready_before_a_poll_keeps_a_real_loop_from_sleeping() {
    let io_loop = real_loop();
    let registration = Registration::new(&io_loop);
    registration.set_ready(Ready::WRITABLE);
    let seen = io_loop.run_sync(async { ready(&registration, Interest::WRITE).await });
    assert_eq!(seen.unwrap(), Ready::WRITABLE, "and not a sleep without end");
}

#[test]
fn one_task_reads_while_another_writes_and_each_hears_its_own() {
    let test = VirtualLoop::new();
    let registration = Rc::new(Registration::new(&test));
    let tasks = [Interest::READ, Interest::WRITE].map(|interest| {
        let waiting = Rc::clone(&registration);
        test.spawn(async move { ready(&waiting, interest).await })
    });
    test.run_until_stalled();
    registration.set_ready(Ready::WRITABLE);
    test.run_until_stalled();
    assert_eq!(tasks.each_ref().map(ioloop::JoinHandle::is_finished), [false, true]);
    registration.set_ready(Ready::READABLE);
    test.run_until_stalled();
    assert_eq!(tasks.each_ref().map(ioloop::JoinHandle::is_finished), [true, true]);
}

#[test]
fn a_wait_for_both_directions_ends_with_either() {
    for flag in [Ready::READABLE, Ready::WRITABLE, Ready::READ_CLOSED, Ready::WRITE_CLOSED, Ready::ERROR] {
        let test = VirtualLoop::new();
        let registration = Rc::new(Registration::new(&test));
        let waiting = Rc::clone(&registration);
        let task = test.spawn(async move { ready(&waiting, Interest::READ_WRITE).await });
        test.run_until_stalled();
        registration.set_ready(flag);
        test.run_until_stalled();
        assert!(task.is_finished(), "{flag:?}");
    }
}

#[test]
fn the_latest_task_to_wait_in_a_direction_is_the_one_told() {
    let test = VirtualLoop::new();
    let registration = Rc::new(Registration::new(&test));
    let tasks = [(); 2].map(|()| {
        let waiting = Rc::clone(&registration);
        test.spawn(async move { ready(&waiting, Interest::READ).await })
    });
    test.run_until_stalled();
    registration.set_ready(Ready::READABLE);
    test.run_until_stalled();
    assert_eq!(tasks.each_ref().map(ioloop::JoinHandle::is_finished), [false, true]);
}

#[test]
fn closing_a_registration_tells_everybody_for_good() {
    let test = VirtualLoop::new();
    let registration = Rc::new(Registration::new(&test));
    let readers = [Interest::READ, Interest::WRITE].map(|interest| {
        let waiting = Rc::clone(&registration);
        test.spawn(async move { ready(&waiting, interest).await })
    });
    let waiting = Rc::clone(&registration);
    let watcher = test.spawn(async move { closed(&waiting).await });
    test.run_until_stalled();
    registration.close();
    test.run_until_stalled();
    assert!(watcher.is_finished() && readers.iter().all(ioloop::JoinHandle::is_finished));
    registration.clear(registration.ready());
    assert!(registration.ready().contains(Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR));
}

#[derive(Default)]
struct Hook(Cell<u32>);

impl BeforePoll for Hook {
    fn before_poll(self: Rc<Self>) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_hook_waits_for_room_to_write_and_is_called_once() {
    let test = VirtualLoop::new();
    let registration = Registration::new(&test);
    let hook = Rc::new(Hook::default());
    registration.call_when_writable(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    test.run_until_stalled();
    assert_eq!(hook.0.get(), 0);
    registration.set_ready(Ready::WRITABLE);
    test.run_until_stalled();
    assert_eq!(hook.0.get(), 1);
    registration.call_when_writable(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    test.run_until_stalled();
    assert_eq!(hook.0.get(), 2, "right away where there is room");
    registration.clear(Ready::WRITABLE);
    registration.call_when_writable(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    test.close();
    registration.call_when_writable(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    assert_eq!((hook.0.get(), Rc::strong_count(&hook)), (2, 1), "a closed loop keeps none");
}

#[test]
fn a_hook_that_was_queued_last_can_be_taken_back_and_any_other_is_called() {
    let test = VirtualLoop::new();
    let registration = Registration::new(&test);
    let [first, last] = [(); 2].map(|()| Rc::new(Hook::default()));
    assert!(!registration.take_back_before_poll(&last), "nothing is queued");
    for hook in [&first, &last] {
        registration.before_poll(Rc::clone(hook) as Rc<dyn BeforePoll>);
    }
    assert!(!registration.take_back_before_poll(&first), "another was queued behind it");
    assert!(registration.take_back_before_poll(&last));
    assert_eq!(Rc::strong_count(&last), 1);
    test.run_until_stalled();
    assert_eq!((first.0.get(), last.0.get()), (1, 0));
}

#[test]
fn a_hook_waits_for_the_end_of_a_connection_and_for_nothing_else() {
    let test = VirtualLoop::new();
    let registration = Registration::new(&test);
    let hook = Rc::new(Hook::default());
    registration.call_when_closed(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    registration.set_ready(Ready::READABLE | Ready::WRITABLE);
    test.run_until_stalled();
    assert_eq!(hook.0.get(), 0);
    registration.set_ready(Ready::READ_CLOSED);
    test.run_until_stalled();
    assert_eq!((hook.0.get(), Rc::strong_count(&hook)), (1, 1));
    test.close();
    registration.call_when_closed(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    assert_eq!(Rc::strong_count(&hook), 1, "a closed loop keeps none");
}

#[test]
fn a_wait_for_an_event_is_not_content_with_one_that_has_been_seen() {
    let test = VirtualLoop::new();
    let registration = Rc::new(Registration::new(&test));
    registration.set_ready(Ready::READ_CLOSED);
    test.run_until_stalled();
    let (waiting, mut asked) = (Rc::clone(&registration), false);
    let task = test.spawn(std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        waiting.wait_for_event(cx, Interest::READ);
        Poll::Pending
    }));
    test.run_until_stalled();
    assert!(!task.is_finished());
    registration.set_ready(Ready::READABLE);
    test.run_until_stalled();
    assert!(task.is_finished());
}

#[test]
fn a_hook_that_is_due_when_a_waker_closes_the_loop_is_not_kept() {
    struct Closes(Cell<Option<IoLoop>>);
    impl BeforePoll for Closes {
        fn before_poll(self: Rc<Self>) {
            self.0.take().unwrap().close();
        }
    }
    let test = VirtualLoop::new();
    let registrations = [Registration::new(&test), Registration::new(&test)];
    let hook = Rc::new(Hook::default());
    registrations[0].call_when_writable(Rc::new(Closes(Cell::new(Some(test.clone())))));
    registrations[1].call_when_writable(Rc::clone(&hook) as Rc<dyn BeforePoll>);
    for registration in &registrations {
        registration.set_ready(Ready::WRITABLE);
    }
    test.run_until_stalled();
    assert_eq!((hook.0.get(), Rc::strong_count(&hook)), (0, 1));
}

#[test]
fn on_a_closed_loop_nothing_is_ready_no_wait_spins_and_nothing_can_be_attached() {
    let gone = real_loop();
    let (old, _ours, _theirs) = attached(&gone);
    gone.close();
    let late = Registration::new(&gone);
    let (mut socket, _peer) = UnixStream::pair().unwrap();
    assert!(late.attach(&mut socket).is_err());
    assert!(old.attach(&mut socket).is_err());
    let test = VirtualLoop::new();
    test.run(async {
        for registration in [&old, &late] {
            registration.set_ready(Ready::READABLE);
            registration.close();
            assert_eq!(registration.ready(), Ready::EMPTY);
            assert!(timeout(SECOND, ready(registration, Interest::READ_WRITE)).await.is_err());
            assert!(timeout(SECOND, closed(registration)).await.is_err());
        }
    });
    assert_eq!(gone.counters().sources, 0);
    assert!(late.io_loop().start().is_err());
}

#[test]
fn a_wait_that_is_given_up_consumes_nothing() {
    let test = VirtualLoop::new();
    let registration = Registration::new(&test);
    let notifier = registration.notifier();
    test.call_later(2 * SECOND, move || notifier.set_ready(Ready::READABLE));
    test.run(async {
        assert!(timeout(SECOND, ready(&registration, Interest::READ)).await.is_err());
        sleep(2 * SECOND).await;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(registration.poll_ready(&mut cx, Interest::READ), Poll::Ready(Ready::READABLE));
    });
}

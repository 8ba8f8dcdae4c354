//! A loop that is stuck is reported while it still is.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use ioloop::{Blocked, Interest, IoLoop, Origin, WorkKind};
use support::real_loop;

const THRESHOLD: Duration = Duration::from_millis(20);

/// A report that hands out what it is told: the work of a test stays stuck until that has arrived.
fn reports() -> (impl FnMut(&Blocked) + Send + 'static, Receiver<Blocked>) {
    let (told, reports): (Sender<Blocked>, _) = mpsc::channel();
    (move |blocked: &Blocked| told.send(*blocked).unwrap_or(()), reports)
}

/// The first report that is `right`. Others may come before: where the machine is slow, work is reported before it has a label, or
/// once more before the test has gone on to the next.
fn wait_for(reports: &Receiver<Blocked>, right: impl Fn(&Origin) -> bool) -> Blocked {
    reports.iter().find(|blocked| blocked.origin.as_ref().is_some_and(&right)).unwrap()
}

#[test]
fn il40_a_stuck_handler_is_reported_with_its_label_and_line_while_it_is_still_stuck() {
    let io_loop = real_loop();
    let (report, reports) = reports();
    let _watchdog = io_loop.watch_blocking(THRESHOLD, report).unwrap();
    let (ours, mut theirs) = mio::net::UnixStream::pair().unwrap();
    let stop = io_loop.clone();
    let line = line!() + 2;
    io_loop
        .add_handler(ours, Interest::READ, move |_socket, _ready| {
            ioloop::label("slow lookup");
            // While this waits, the handler has not returned.
            let blocked = wait_for(&reports, |origin| origin.label == "slow lookup");
            let origin = blocked.origin.unwrap();
            assert_eq!((origin.kind, origin.label), (WorkKind::Handler, "slow lookup"));
            assert_eq!((origin.location.file(), origin.location.line()), (file!(), line));
            assert!(blocked.elapsed >= THRESHOLD);
            stop.stop();
        })
        .unwrap();
    std::io::Write::write_all(&mut theirs, b"go").unwrap();
    io_loop.start().unwrap();
    assert_eq!(io_loop.counters().panics, 0, "the handler found what it expected");
}

#[test]
fn il40_work_without_a_label_carries_the_name_of_its_function() {
    fn resize_images(reports: Receiver<Blocked>, stop: IoLoop) -> impl FnOnce() {
        move || {
            let origin = reports.recv().unwrap().origin.unwrap();
            assert_eq!(
                origin.label,
                "watchdog::il40_work_without_a_label_carries_the_name_of_its_function::resize_images"
            );
            stop.stop();
        }
    }
    let io_loop = real_loop();
    let (report, reports) = reports();
    let _watchdog = io_loop.watch_blocking(THRESHOLD, report).unwrap();
    io_loop.add_callback(resize_images(reports, io_loop.clone()));
    io_loop.start().unwrap();
    assert_eq!(io_loop.counters().panics, 0);
}

#[test]
fn il40_a_task_a_timer_and_a_callback_from_another_thread_are_told_apart() {
    let io_loop = real_loop();
    let (report, reports) = reports();
    let _watchdog = io_loop.watch_blocking(THRESHOLD, report).unwrap();
    let reports = std::sync::Arc::new(std::sync::Mutex::new(reports));
    let stuck =
        move |kind| wait_for(&reports.lock().unwrap(), |origin| origin.kind == kind).elapsed >= THRESHOLD;
    let seen: Rc<Cell<u32>> = Rc::default();
    let see = |seen: &Rc<Cell<u32>>| {
        let seen = Rc::clone(seen);
        move |right: bool| seen.set(seen.get() + u32::from(right))
    };
    let (stuck_in_task, in_task) = (stuck.clone(), see(&seen));
    io_loop.spawn_detached(async move { in_task(stuck_in_task(WorkKind::Task)) });
    let (stuck_in_timer, in_timer) = (stuck.clone(), see(&seen));
    io_loop.call_later(Duration::ZERO, move || in_timer(stuck_in_timer(WorkKind::Timer)));
    let (remote, stop) = (io_loop.remote(), io_loop.remote());
    io_loop.remote().add_callback(move || {
        assert!(stuck(WorkKind::Callback));
        stop.stop();
    });
    drop(remote);
    io_loop.start().unwrap();
    assert_eq!((seen.get(), io_loop.counters().panics), (2, 0));
}

#[test]
fn il40_a_report_comes_again_while_the_work_stays_stuck() {
    let io_loop = real_loop();
    let (report, reports) = reports();
    let _watchdog = io_loop.watch_blocking(THRESHOLD, report).unwrap();
    let stop = io_loop.clone();
    io_loop.add_callback(move || {
        let (first, second) = (reports.recv().unwrap(), reports.recv().unwrap());
        assert_eq!(first.origin, second.origin);
        assert!(second.elapsed >= first.elapsed * 2);
        stop.stop();
    });
    io_loop.start().unwrap();
    assert_eq!(io_loop.counters().panics, 0);
}

#[test]
fn a_watchdog_that_was_dropped_has_ended_and_one_may_drop_itself() {
    let io_loop = real_loop();
    let (told, reports) = mpsc::channel::<()>();
    let watchdog = io_loop.watch_blocking(THRESHOLD, move |_| drop(told.clone())).unwrap();
    drop(watchdog);
    assert!(reports.recv().is_err(), "the report and its channel are gone");
}

//! What the loop measures of itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ioloop::testing::VirtualLoop;
use ioloop::{Interest, IoLoop};

#[test]
fn il40_a_loop_that_slept_was_idle_that_long() {
    let io_loop = IoLoop::new().unwrap();
    let nap = Duration::from_millis(20);
    io_loop.run_sync(async { ioloop::sleep(nap).await }).unwrap();
    let measured = io_loop.measurements();
    assert!(measured.idle + measured.busy >= nap && measured.idle > Duration::ZERO, "{measured:?}");
    assert_eq!(measured.lag_nanos.count(), io_loop.counters().polls);
    assert_eq!(measured.timer_lateness_nanos.count(), 1);
    assert!(measured.busy_share() > 0.0 && measured.busy_share() < 1.0);
}

#[test]
fn il40_a_jump_of_the_virtual_clock_is_idle_time() {
    let test = VirtualLoop::new();
    test.run(async { ioloop::sleep(Duration::from_secs(5)).await });
    let measured = test.measurements();
    assert_eq!((measured.idle, measured.busy), (Duration::from_secs(5), Duration::ZERO));
}

#[test]
fn il40_the_depth_of_the_queue_is_measured_after_each_poll() {
    let test = VirtualLoop::new();
    let earlier = test.measurements();
    let io_loop = test.clone();
    // The last of a batch that fills the share of one poll leaves five for after it.
    (0..100).for_each(|_| test.add_callback(|| {}));
    test.add_callback(move || (0..5).for_each(|_| io_loop.add_callback(|| {})));
    test.run_until_stalled();
    let measured = test.measurements().since(&earlier);
    assert_eq!((measured.queue_depth.max(), measured.queue_depth.sum()), (5, 5));
    let later = test.measurements();
    assert_eq!(test.measurements().since(&later).queue_depth.count(), 0);
}

#[test]
fn il40_a_timer_is_as_late_as_the_turn_that_fires_it() {
    let test = VirtualLoop::new();
    let now = test.now();
    test.advance(Duration::from_millis(30));
    test.call_at(now + Duration::from_millis(10), || {});
    test.call_later(Duration::from_millis(5), || {});
    test.advance(Duration::from_millis(10));
    let lateness = test.measurements().timer_lateness_nanos;
    assert_eq!((lateness.count(), lateness.max(), lateness.sum()), (2, 20_000_000, 20_000_000));
}

#[test]
fn il40_a_batch_from_another_thread_is_measured_once() {
    let io_loop = IoLoop::new().unwrap();
    let remote = io_loop.remote();
    std::thread::spawn(move || {
        remote.add_callback(|| {});
        remote.add_callback(|| {});
        remote.stop();
    })
    .join()
    .unwrap();
    io_loop.start().unwrap();
    assert_eq!(io_loop.measurements().inbox_nanos.count(), 1);
}

#[test]
fn il40_the_turn_hook_is_told_of_every_turn_and_may_clear_itself() {
    let test = VirtualLoop::new();
    let turns: Rc<RefCell<Vec<u64>>> = Rc::default();
    let (seen, io_loop) = (Rc::clone(&turns), test.clone());
    test.set_turn_hook(move |turn| {
        seen.borrow_mut().push(turn.number);
        if seen.borrow().len() == 3 {
            io_loop.clear_turn_hook();
            std::panic::resume_unwind(Box::new("and may panic"));
        }
    });
    (0..4).for_each(|_| {
        test.add_callback(|| {});
        test.run_until_stalled();
    });
    assert_eq!(*turns.borrow(), [1, 2, 3]);
    assert_eq!(test.counters().panics, 1);
}

#[test]
fn the_time_that_a_handler_sees_is_not_from_before_the_loop_slept() {
    let io_loop = IoLoop::new().unwrap();
    let (ours, mut theirs) = mio::net::UnixStream::pair().unwrap();
    let (began, wait_for_it) = mpsc::channel();
    let (wrote, written_at) = mpsc::channel();
    io_loop.add_callback(move || began.send(()).unwrap());
    let writer = std::thread::spawn(move || {
        wait_for_it.recv().unwrap(); // the loop has looked at the clock by now
        wrote.send(Instant::now()).unwrap();
        std::io::Write::write_all(&mut theirs, b"x").unwrap();
        theirs
    });
    let seen: Rc<Cell<Option<Instant>>> = Rc::default();
    let (handle, see) = (io_loop.clone(), Rc::clone(&seen));
    io_loop
        .add_handler(ours, Interest::READ, move |_, _| {
            see.set(Some(handle.now()));
            handle.stop();
        })
        .unwrap();
    io_loop.start().unwrap();
    assert!(seen.get().unwrap() >= written_at.recv().unwrap());
    drop(writer.join());
}

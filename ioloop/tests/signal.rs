//! Signals: each waits until it is asked for, several count as one, and other kinds stay apart.
//!
//! A signal is the process's, so each test here uses a kind of its own.

mod support;

use std::process::Command;
use std::rc::Rc;

use ioloop::{IoLoop, SignalKind, signal, yield_now};
use signal_hook::consts::{SIGHUP, SIGINT, SIGUSR1};
use signal_hook::low_level::raise;
use support::real_loop;

#[test]
fn il15_a_signal_that_came_before_the_wait_is_not_lost_and_several_are_one() {
    let io_loop = real_loop();
    let received = Rc::new(std::cell::Cell::new(0));
    let count = Rc::clone(&received);
    let io = io_loop.clone();
    io_loop
        .run_sync(async move {
            let mut user = signal(SignalKind::User1).unwrap();
            let mut other = signal(SignalKind::User2).unwrap();
            io.spawn_detached(async move {
                other.recv().await;
                panic!("nobody sent this one");
            });
            for _ in 0..200 {
                raise(SIGUSR1).unwrap();
            }
            user.recv().await;
            let again = io.spawn(async move {
                user.recv().await;
                count.set(count.get() + 1);
            });
            for _ in 0..5 {
                yield_now().await;
            }
            assert!(!again.is_finished(), "two hundred were one");
            raise(SIGUSR1).unwrap();
            again.await.unwrap();
        })
        .unwrap();
    assert_eq!((received.get(), io_loop.counters().panics), (1, 0));
}

#[test]
fn il15_a_signal_wakes_a_loop_that_sleeps() {
    let io_loop = real_loop();
    io_loop
        .run_sync(async {
            let mut child = signal(SignalKind::Child).unwrap();
            let mut process = Command::new("true").spawn().unwrap();
            child.recv().await; // sleeps until the child has ended
            process.wait().unwrap();
        })
        .unwrap();
}

#[test]
fn every_listener_of_a_kind_hears_it_also_on_other_loops() {
    let loops = [real_loop(), real_loop()];
    let mut signals = loops.each_ref().map(|io_loop| {
        let listening = io_loop.run_sync(async { signal(SignalKind::Hangup).unwrap() });
        listening.unwrap()
    });
    raise(SIGHUP).unwrap();
    for (io_loop, signal) in loops.iter().zip(&mut signals) {
        io_loop.run_sync(signal.recv()).unwrap();
    }
}

#[test]
fn a_signal_that_is_dropped_takes_its_source_with_it_and_the_default_action_stays_off() {
    let io_loop = real_loop();
    io_loop
        .run_sync(async {
            drop(signal(SignalKind::Interrupt).unwrap());
        })
        .unwrap();
    assert_eq!(io_loop.counters().sources, 0);
    raise(SIGINT).unwrap(); // and the process lives
}

#[test]
fn a_wait_on_a_closed_loop_neither_spins_nor_ends() {
    let io_loop = real_loop();
    let run = io_loop.run_sync(async {
        let mut quiet = signal(SignalKind::Terminate).unwrap();
        IoLoop::current().close();
        assert!(signal(SignalKind::Terminate).is_err());
        quiet.recv().await;
    });
    assert!(matches!(run, Err(ioloop::RunError::Stopped)));
}

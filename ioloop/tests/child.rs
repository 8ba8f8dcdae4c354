//! Child processes: their end is noticed, told to everybody, and never leaves a zombie.
#![cfg(unix)]

mod support;

use std::cell::RefCell;
use std::pin::pin;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ioloop::{ChildError, ChildProcess, IoLoop, SignalKind, exit_code, yield_now};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, test_kill_process, waitid, waitpid};
use support::real_loop;

fn shell(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap()
}

/// A process that ends when its standard input is closed.
fn cat() -> (Child, ChildStdin) {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).unwrap()
}

/// Waits until the process has ended, and leaves its status where it is.
fn wait_for_zombie(id: u32) {
    waitid(WaitId::Pid(pid(id)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
}

fn run<F: Future>(future: F) -> F::Output {
    real_loop().run_sync(future).unwrap()
}

type Told = Rc<RefCell<Vec<Result<i32, ChildError>>>>;

type ExitCallback = Box<dyn FnOnce(Result<ExitStatus, ChildError>)>;

/// An exit callback that notes what it is told.
fn note(told: &Told) -> Option<ExitCallback> {
    let told = Rc::clone(told);
    Some(Box::new(move |result| told.borrow_mut().push(result.map(exit_code))))
}

#[test]
fn pr10_test_sigchild_the_callback_is_told_the_exit_code() {
    let told = Told::default();
    run(async {
        let child = ChildProcess::new(shell("exit 7"));
        child.set_exit_callback(note(&told));
        assert!(told.borrow().is_empty(), "never called at once");
        while told.borrow().is_empty() {
            yield_now().await;
        }
    });
    assert!(matches!(told.borrow()[..], [Ok(7)]));
}

#[test]
fn pr10_test_sigchild_future_any_number_of_tasks_may_wait_and_again() {
    run(async {
        let (child, input) = cat();
        let child = ChildProcess::new(child);
        let io_loop = IoLoop::current();
        let waits: Vec<_> = (0..3)
            .map(|_| {
                let child = child.clone();
                io_loop.spawn(async move { child.wait().await })
            })
            .collect();
        yield_now().await;
        drop(input);
        for wait in waits {
            assert!(wait.await.unwrap().unwrap().success());
        }
        assert!(child.wait().await.unwrap().success());
        assert!(child.try_wait().unwrap().unwrap().success());
    });
}

#[test]
fn pr10_test_sigchild_signal_a_killed_process_has_the_code_minus_the_signal() {
    run(async {
        // Not SIGHUP: under `nohup` a child ignores it.
        for (kind, code) in [(SignalKind::Terminate, -15), (SignalKind::User1, -10), (SignalKind::User2, -12)]
        {
            let (child, _input) = cat();
            let child = ChildProcess::new(child);
            child.signal(kind).unwrap();
            assert_eq!(exit_code(child.wait().await.unwrap()), code);
        }
        let (child, _input) = cat();
        let child = ChildProcess::new(child);
        child.kill().unwrap();
        assert_eq!(exit_code(child.wait().await.unwrap()), -9);
        child.kill().unwrap(); // harmless now
        child.signal(SignalKind::Terminate).unwrap();
    });
}

#[test]
fn pr10_test_wait_for_exit_raise_a_status_other_than_zero_is_an_error() {
    run(async {
        let failed = ChildProcess::new(shell("exit 1")).wait_for_exit().await;
        assert!(matches!(failed, Err(ChildError::Failed(status)) if exit_code(status) == 1));
        let killed = ChildProcess::new(shell("kill -TERM $$")).wait_for_exit().await;
        assert!(matches!(killed, Err(ChildError::Failed(status)) if exit_code(status) == -15));
        ChildProcess::new(shell("exit 0")).wait_for_exit().await.unwrap();
    });
}

#[test]
fn pr10_test_wait_for_exit_raise_disabled_a_status_other_than_zero_is_a_result() {
    run(async {
        let status = ChildProcess::new(shell("exit 1")).wait().await.unwrap();
        assert_eq!(exit_code(status), 1);
    });
}

#[test]
fn pr10_a_process_that_has_already_ended_is_noticed_at_once() {
    run(async {
        let child = ChildProcess::new(shell("exit 3"));
        wait_for_zombie(child.id());
        let mut wait = pin!(child.wait());
        let Poll::Ready(status) = wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it has ended, and the wait is not done");
        };
        assert_eq!(exit_code(status.unwrap()), 3);
        let told = Told::default();
        child.set_exit_callback(note(&told));
        while told.borrow().is_empty() {
            yield_now().await;
        }
        assert!(matches!(told.borrow()[..], [Ok(3)]));
    });
}

#[test]
fn pr10_a_wait_that_is_given_up_loses_nothing() {
    run(async {
        let (child, input) = cat();
        let child = ChildProcess::new(child);
        for _ in 0..3 {
            let gave_up = ioloop::timeout(std::time::Duration::ZERO, child.wait()).await;
            assert!(gave_up.is_err());
        }
        drop(input);
        child.wait_for_exit().await.unwrap();
    });
}

#[test]
fn pr10_a_callback_takes_the_place_of_the_one_before_and_can_be_taken_back() {
    run(async {
        let (first, second) = (Told::default(), Told::default());
        let (child, input) = cat();
        let child = ChildProcess::new(child);
        child.set_exit_callback(note(&first));
        child.set_exit_callback(note(&second));
        let (other, other_input) = cat();
        let other = ChildProcess::new(other);
        other.set_exit_callback(note(&first));
        other.set_exit_callback(None);
        drop((input, other_input));
        child.wait().await.unwrap();
        other.wait().await.unwrap();
        for _ in 0..3 {
            yield_now().await;
        }
        assert!(first.borrow().is_empty());
        assert!(matches!(second.borrow()[..], [Ok(0)]));
    });
}

#[test]
fn pr10_a_status_that_somebody_else_has_taken_is_an_error_and_not_a_wait_for_ever() {
    run(async {
        let (child, input) = cat();
        let watched = ChildProcess::new(child);
        for _ in 0..3 {
            yield_now().await; // it is being watched by now
        }
        drop(input);
        waitpid(Some(pid(watched.id())), WaitOptions::empty()).unwrap();
        assert!(matches!(watched.wait().await, Err(ChildError::ReapedElsewhere)));
        assert!(watched.kill().is_err(), "the id may name another process");

        let child = shell("exit 0");
        waitpid(Some(pid(child.id())), WaitOptions::empty()).unwrap();
        let late = ChildProcess::new(child);
        let told = Told::default();
        late.set_exit_callback(note(&told));
        assert!(matches!(late.wait().await, Err(ChildError::ReapedElsewhere)));
        yield_now().await;
        assert!(matches!(told.borrow()[..], [Err(ChildError::ReapedElsewhere)]));
    });
}

#[test]
fn pr9_standard_input_that_nobody_took_out_is_closed() {
    run(async {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        ChildProcess::new(child).wait_for_exit().await.unwrap(); // for ever, if it were open
    });
}

#[test]
fn pr9_a_dropped_handle_kills_nothing_and_leaves_no_zombie() {
    run(async {
        let (child, input) = cat();
        let child = ChildProcess::new(child);
        let id = child.id();
        drop(child);
        for _ in 0..3 {
            yield_now().await;
        }
        test_kill_process(pid(id)).expect("it lives");
        drop(input);
        // A zombie could still be sent a signal.
        while test_kill_process(pid(id)).is_ok() {
            yield_now().await;
        }
    });
}

#[test]
fn pr9_the_watch_ends_with_the_process_and_costs_one_registration() {
    let io_loop = real_loop();
    io_loop
        .run_sync(async {
            let (child, input) = cat();
            let child = ChildProcess::new(child);
            yield_now().await;
            let counters = IoLoop::current().counters();
            assert_eq!((counters.sources, counters.registrations), (1, 1));
            drop(input);
            child.wait_for_exit().await.unwrap();
            yield_now().await;
        })
        .unwrap();
    assert_eq!(io_loop.counters().sources, 0);
}

#[test]
fn pr9_a_loop_that_closes_says_so_and_the_process_is_collected_later() {
    let (child, input) = cat();
    let id = child.id();
    let io_loop = real_loop();
    let child = io_loop.run_sync(async { ChildProcess::new(child) }).unwrap();
    io_loop.close();
    let told = run(child.wait());
    assert!(matches!(told, Err(ChildError::LoopClosed)));
    drop(child);
    drop(input);
    // Fails where a process of another test has collected it by now, as it should.
    let _ = waitid(WaitId::Pid(pid(id)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    run(async { ChildProcess::new(shell("exit 0")).wait_for_exit().await.unwrap() });
    assert!(test_kill_process(pid(id)).is_err(), "still a zombie");
}

//! A signal that interrupts the poll's sleep (EINTR) is not an error. Without a harness, because such a signal goes to
//! the main thread, which has to be the one that sleeps.
#![cfg_attr(not(unix), allow(unused))]

#[cfg(unix)]
fn main() {
    use std::process::Command;
    use std::sync::mpsc;

    use ioloop::{IoLoop, SignalKind, signal};

    let (ask, asked) = mpsc::channel::<()>();
    let sender = std::thread::spawn(move || {
        for () in asked {
            let sent = Command::new("sh").args(["-c", "kill -USR2 $PPID"]).status().expect("a shell");
            assert!(sent.success());
        }
    });
    let io_loop = IoLoop::new().expect("a loop");
    let run = io_loop.run_sync(async {
        let mut signal = signal(SignalKind::User2).expect("a signal");
        for _ in 0..10 {
            ask.send(()).expect("the sender lives");
            signal.recv().await;
        }
    });
    run.expect("an interrupted poll is no error");
    drop(ask);
    sender.join().expect("every signal was sent");
}

#[cfg(not(unix))]
fn main() {}

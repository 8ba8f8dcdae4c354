//! A net below tests that wait for other threads or for the kernel: one that hangs ends its process, by name, where it would else
//! hold up whoever waits for the tests. No test is timed by it.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Only ever met by a bug, also where the machine has much else to do.
pub(crate) const AT_MOST: Duration = Duration::from_secs(180);

thread_local! {
    /// Dropped with the test's thread, or when the next test begins on it.
    static RUNNING: Cell<Option<Sender<()>>> = const { Cell::new(None) };
}

/// Ends the process if the test that this thread runs is not over in [`AT_MOST`] from now.
pub(crate) fn watch_this_test() {
    let (running, over) = channel();
    RUNNING.set(Some(running));
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if over.recv_timeout(AT_MOST) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test runner would keep to itself.
            let _ = writeln!(std::io::stderr(), "{test} hangs: not over after {AT_MOST:?}");
            std::process::exit(101);
        }
    });
}

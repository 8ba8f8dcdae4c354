//! What tests with a loop on real time need.

mod overdue;

use ioloop::IoLoop;

/// A loop, in a test that fails if it hangs.
pub(crate) fn real_loop() -> IoLoop {
    overdue::watch_this_test();
    IoLoop::new().expect("a poller")
}

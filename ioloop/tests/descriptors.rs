//! What a loop takes from the operating system it gives back. Alone in its file: it counts the process's descriptors.
#![cfg(target_os = "linux")]

use ioloop::{Interest, IoLoop, SignalKind, signal};
use mio::net::UnixStream;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a Linux process").count()
}

#[test]
fn il36_loops_that_come_and_go_leave_no_descriptor_open() {
    // The first use of signals opens descriptors that the process keeps.
    IoLoop::new().unwrap().run_sync(async { drop(signal(SignalKind::User1).unwrap()) }).unwrap();
    let before = descriptors();
    let one = IoLoop::new().unwrap();
    assert_eq!(descriptors() - before, 4, "as the documentation says");
    drop(one);
    for n in 0..100 {
        let io_loop = IoLoop::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        io_loop.add_handler(ours, Interest::READ_WRITE, |_, _| {}).unwrap();
        io_loop.spawn_detached(async move {
            let _theirs = theirs;
            let mut signal = signal(SignalKind::User1).unwrap();
            signal.recv().await;
        });
        let holds_itself = io_loop.clone();
        io_loop.call_later(std::time::Duration::MAX, move || drop(holds_itself));
        io_loop.run_sync(ioloop::yield_now()).unwrap();
        if n % 2 == 0 {
            io_loop.stop(); // a loop that is told to stop and never runs again closes all the same
        }
        io_loop.close();
    }
    assert_eq!(descriptors(), before);
    for _ in 0..10 {
        let io_loop = IoLoop::new().unwrap();
        io_loop.run_sync(async { drop(signal(SignalKind::User1).unwrap()) }).unwrap();
    }
    assert_eq!(descriptors(), before, "a signal that nobody waits for any more has no pipe");
}

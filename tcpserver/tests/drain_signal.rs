//! A server that runs until it is asked to end. Alone in its process, because signals are the process's.
#![cfg(unix)]

mod support;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use support::{connect, current_loop, echo_until_drained, loopback, read_to_end, talk};
use tcpserver::TcpServer;

const HOUR: Duration = Duration::from_secs(3_600);

/// One test, not two: both would hear each other's signals.
#[test]
fn a_signal_drains_and_a_second_one_aborts() {
    let io_loop = current_loop();
    let server = TcpServer::new(echo_until_drained);
    // One that comes as early as can be, in the first turn.
    io_loop.add_callback(|| kill_process(getpid(), Signal::TERM).unwrap());
    let report = server.run_until_signal(HOUR).unwrap();
    assert_eq!((report.finished, report.aborted), (0, 0));
    // It is heard on the loop that runs, also if another was current where the future was made.
    let mut ended = Box::pin(server.drained_by_signal(Duration::ZERO, HOUR));
    let heard = ioloop::IoLoop::new().unwrap().run_sync(async move {
        let has_ended = poll_fn(|cx| Poll::Ready(ended.as_mut().poll(cx).is_ready())).await;
        assert!(!has_ended, "nobody has asked for it");
        // Comes when this loop sleeps, or is about to: it has to wake it.
        ioloop::IoLoop::current().add_callback(|| kill_process(getpid(), Signal::TERM).unwrap());
        ended.await.map(|report| report.finished)
    });
    assert_eq!(heard.unwrap().unwrap(), 0);
    for signals in [1, 2] {
        let (listener, address) = loopback();
        server.add_socket(listener).unwrap();
        let client = thread::spawn(move || {
            let (mut idle, mut other) = (connect(address), connect(address));
            talk(&mut idle, "idle\n"); // the loop runs, so it listens for signals
            talk(&mut other, if signals == 1 { "quick\n" } else { "slow\n" });
            kill_process(getpid(), Signal::TERM).unwrap();
            assert_eq!(read_to_end(&mut idle), Some(vec![]), "it is draining");
            if signals == 2 {
                other.write_all(b"nobody hears this\n").unwrap();
                kill_process(getpid(), Signal::INT).unwrap();
            }
            read_to_end(&mut other)
        });
        let report = server.run_until_signal(HOUR).unwrap();
        let expected = if signals == 1 { (2, 0) } else { (1, 1) };
        assert_eq!((report.finished, report.aborted), expected);
        // What it sent after the first signal was never read, so its end is a reset.
        assert_eq!(client.join().unwrap(), if signals == 1 { Some(vec![]) } else { None });
    }
}

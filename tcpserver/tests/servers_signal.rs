//! A server on several loops that runs until it is asked to end. Alone in its process, because signals are the process's.
#![cfg(unix)]

mod support;

use std::io::Write;
use std::thread;
use std::time::Duration;

use netutil::BindOptions;
use rustix::process::{Signal, getpid, kill_process};
use support::{connect, current_loop, echo_until_drained, read_to_end, talk};
use tcpserver::{AcceptStrategy, TcpServer};

const HOUR: Duration = Duration::from_secs(3_600);

/// One test, not two: both would hear each other's signals.
#[test]
fn ts6_a_signal_is_heard_once_and_drains_all_loops_and_a_second_one_aborts_them() {
    current_loop();
    for signals in [1, 2] {
        let server = TcpServer::new(echo_until_drained).accept_strategy(AcceptStrategy::Dispatch);
        let address = server.bind_with(0, &BindOptions::new().address("127.0.0.1")).unwrap()[0];
        let servers = server.start(2).unwrap();
        let client = thread::spawn(move || {
            // Two on each loop.
            let (mut idle, mut others) =
                ([(); 2].map(|()| connect(address)), [(); 2].map(|()| connect(address)));
            for idle in &mut idle {
                talk(idle, "idle\n"); // the loop runs, so it listens for signals
            }
            for other in &mut others {
                talk(other, if signals == 1 { "quick\n" } else { "slow\n" });
            }
            kill_process(getpid(), Signal::TERM).unwrap();
            for mut idle in idle {
                assert_eq!(read_to_end(&mut idle), Some(vec![]), "it is draining");
            }
            if signals == 2 {
                for other in &mut others {
                    other.write_all(b"nobody hears this\n").unwrap();
                }
                kill_process(getpid(), Signal::INT).unwrap();
            }
            others.map(|mut other| read_to_end(&mut other))
        });
        let report = servers.run_until_signal(HOUR).unwrap();
        let expected = if signals == 1 { (4, 0) } else { (2, 2) };
        assert_eq!((report.finished, report.aborted), expected);
        // What was sent after the first signal was never read, so the end of these is a reset.
        let end = if signals == 1 { Some(vec![]) } else { None };
        assert_eq!(client.join().unwrap(), [end.clone(), end]);
    }
}

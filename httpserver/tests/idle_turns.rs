//! A thousand connections that idle cost no turn of the loop until one of them is due: no tick, no timer that looks whether it is time.

#[path = "../../tcpserver/tests/support/wires.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wires;

use std::rc::Rc;
use std::time::Duration;

use httpserver::{Handler, HttpOptions, HttpServer, Request, Response, Whole};
use ioloop::testing::VirtualLoop;
use tcpserver::PeerAddr;
use wires::Wires;

const CONNECTIONS: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// How long a connection may idle.
const PATIENCE: Duration = Duration::from_secs(600);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn hello(_: Request) -> Response {
    Response::text("hello")
}

#[test]
fn a_thousand_idle_connections_wake_the_loop_only_to_be_closed() {
    let time = VirtualLoop::new();
    time.make_current();
    let (server, wires) = crowd(&time);
    // They came in the second that has passed: the first is due when the patience is over, less that second.
    let undisturbed = turns_of(&VirtualLoop::new(), SECOND);
    assert_eq!(
        turns_of(&time, PATIENCE - SECOND - MILLISECOND),
        undisturbed,
        "the sleep of this test and nothing else"
    );
    assert_eq!(server.open_connections(), CONNECTIONS);

    let (_, timers) = turns_of(&time, SECOND + MILLISECOND);
    assert_eq!((server.open_connections(), wires.closed()), (0, CONNECTIONS));
    assert_eq!(timers, 1 + CONNECTIONS as u64, "one for each that was due");
}

/// A request costs no timer: its deadline is stored, and looked at when the one before would have been.
#[test]
fn a_deadline_that_has_moved_wakes_the_loop_once_more_however_often_it_moved() {
    let time = VirtualLoop::new();
    time.make_current();
    let (server, wires) = crowd(&time);
    for _ in 0..10 {
        for number in 0..CONNECTIONS {
            wires.send(number, REQUEST);
        }
        time.advance(SECOND);
    }
    let (_, timers) = turns_of(&time, PATIENCE - SECOND - MILLISECOND);
    assert_eq!(timers, 1 + CONNECTIONS as u64, "each has looked once");
    assert_eq!(server.open_connections(), CONNECTIONS);
    let (_, timers) = turns_of(&time, MILLISECOND);
    assert_eq!(timers, 1 + CONNECTIONS as u64, "and now was due");
    assert_eq!(server.open_connections(), 0);
}

/// So many connections that have been answered once, each a millisecond after the other.
fn crowd(time: &VirtualLoop) -> (HttpServer<impl Handler<Whole>, Whole>, Rc<Wires>) {
    let server = HttpServer::new(hello).options(HttpOptions::new().idle_connection_timeout(PATIENCE));
    let wires = Wires::new(CONNECTIONS, b"hello");
    for number in 0..CONNECTIONS {
        server.add_stream(wires.connect(number, REQUEST), PeerAddr::Unix(None));
        time.run_until_stalled();
        assert_eq!(wires.answers(number), 1);
        time.advance(MILLISECOND);
    }
    (server, wires)
}

/// Turns of the loop and timers that fired while this has slept so long.
fn turns_of(time: &VirtualLoop, duration: Duration) -> (u64, u64) {
    let before = time.counters();
    time.run(async { ioloop::sleep(duration).await });
    let after = time.counters();
    (after.turns - before.turns, after.timers_fired - before.timers_fired)
}

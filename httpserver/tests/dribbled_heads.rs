//! What ten thousand cost that have begun a request and do not end it: on virtual time, over the thinnest of transports. A file of its
//! own, because it counts all memory of the process.

#[path = "../../tcpserver/tests/support/wires.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wires;

use std::rc::Rc;
use std::time::Duration;

use httpserver::{HttpOptions, HttpServer, Request, Response};
use ioloop::testing::VirtualLoop;
use peak_alloc::PeakAlloc;
use tcpserver::PeerAddr;
use wires::{BYTES_PER_WIRE, Wires};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const DRIBBLERS: usize = 10_000;
/// A buffer is 64 KiB.
const MOST_BYTES: usize = 4 * 1024;
const SECOND: Duration = Duration::from_secs(1);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// A second each; together they are no head yet, but 422 bytes of one.
const PARTS: [&[u8]; 5] =
    [b"G", b"ET / HT", b"TP/1.1\r\nHost: localhost\r\nX-Slow: ", &[b'a'; 256], &[b'b'; 125]];

async fn hello(_: Request) -> Response {
    Response::text("hello")
}

#[test]
fn h1_4_a_head_that_dribbles_holds_no_buffer_whether_it_is_a_byte_or_some_hundred() {
    let time = VirtualLoop::new();
    time.make_current();
    let server = HttpServer::new(hello).options(HttpOptions::new().header_timeout(20 * SECOND));
    let wires = Wires::new(DRIBBLERS, b"\r\n");

    let mut left = Vec::new();
    // The first request of a connection, and one on a connection that has idled.
    for before in [b"".as_slice(), REQUEST] {
        let nobody = bytes(&time, &wires);
        for number in 0..DRIBBLERS {
            server.add_stream(wires.connect(number, before), PeerAddr::Unix(None));
            if number % 500 == 0 {
                time.run_until_stalled();
            }
        }
        time.run_until_stalled();
        for (number, part) in PARTS.iter().enumerate() {
            dribble(&time, &wires, part);
            let each = (bytes(&time, &wires) - nobody) / DRIBBLERS - BYTES_PER_WIRE;
            let sent: usize = PARTS[..=number].iter().map(|part| part.len()).sum();
            println!("{each} bytes a connection that has sent {sent}");
            assert!(each < MOST_BYTES, "{each} bytes each");
        }
        assert_eq!(server.open_connections(), DRIBBLERS);

        time.advance(30 * SECOND); // 408
        assert_eq!((server.open_connections(), wires.closed()), (0, DRIBBLERS));
        left.push(bytes(&time, &wires));
    }
    println!("when all have gone: {left:?} bytes");
    assert!(left[1] * 10 <= left[0] * 11, "a crowd that has gone leaves nothing for each");
}

/// All send a part more, and none of them holds a block when that has been looked at.
fn dribble(time: &VirtualLoop, wires: &Rc<Wires>, part: &'static [u8]) {
    for number in 0..DRIBBLERS {
        wires.send(number, part);
        if number % 500 == 0 {
            time.run_until_stalled();
            assert_eq!(iostream::leased_blocks(), 0);
        }
    }
    time.advance(SECOND);
}

/// What is allocated, but for the table of the other ends.
fn bytes(time: &VirtualLoop, wires: &Wires) -> usize {
    time.advance(SECOND); // blocks are given back when it has been quiet for a moment
    assert_eq!(iostream::leased_blocks(), 0);
    MEMORY.current_usage() - wires.bytes()
}

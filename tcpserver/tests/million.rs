//! A crowd of connections on virtual time, as many as `IDLE_CONNECTIONS` says (scripts/ci.d/66-million.sh says a million): what one of
//! them costs, how a drain ends them, and what stays. A file of its own, because it counts all memory of the process.

#[path = "support/wires.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wires;

use std::rc::Rc;
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::{IoStream, StreamError};
use peak_alloc::PeakAlloc;
use tcpserver::{ConnectionContext, HandleStream, PeerAddr, TcpServer};
use wires::{BYTES_PER_WIRE, Longest, Wires};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The budget of a connection over a socket: see `idle_memory.rs`. It holds where the server's table, which grows by doubling, is all but
/// full, as it is with 15,000 there, and with 16,000 and a million here.
const MOST_BYTES: usize = 380;
const FEW: usize = 1_000;
/// More than any queue keeps room for.
const SOME: usize = 5_000;
/// Tasks that a turn polls at most: 1,024, and some that a turn before has polled without looking at events.
const MOST_A_TURN: u64 = 1_100;
const SECOND: Duration = Duration::from_secs(1);

/// Gives lines back.
async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    loop {
        let line = stream.read_until_max(b"\n", 8192).await?;
        stream.write(line).await?;
    }
}

/// The same until the server drains.
async fn echo_until_drained(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 8192)).await {
        stream.write(line?).await?;
    }
    Ok(())
}

/// Hears a line, and says nothing before the server drains.
async fn last_word(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    stream.read_until_max(b"\n", 100).await?;
    context.draining().await;
    stream.write("goodbye\n").await
}

#[test]
fn ts12_a_crowd_idles_within_the_budget_and_is_drained_in_bites_and_leaves_nothing_behind() {
    let count = std::env::var("IDLE_CONNECTIONS").map_or(16_000, |count| count.parse().unwrap());
    let time = VirtualLoop::new();
    time.make_current();
    let wires = Wires::new(count, b"\n");

    // What is kept for the next crowd, whatever its size, is there after some.
    crowds_come_and_go(&time, &wires, SOME);
    let (before, longest) = (bytes(&wires), Longest::watch(&time));
    let each = crowds_come_and_go(&time, &wires, count);
    let (after, (polls, _)) = (bytes(&wires), longest.turn());
    println!("{each} bytes a connection, of {count}; {before} bytes before, {after} after");
    println!("at most {polls} polls of tasks a turn");
    assert!(each <= MOST_BYTES);
    assert!(after * 10 <= before * 11);
    assert!(polls <= MOST_A_TURN);
}

/// What is allocated, but for what the test keeps of each connection.
fn bytes(wires: &Wires) -> usize {
    MEMORY.current_usage() - wires.bytes()
}

/// One crowd is aborted, and two are drained. Gives the bytes that a connection of the first takes.
fn crowds_come_and_go(time: &VirtualLoop, wires: &Rc<Wires>, count: usize) -> usize {
    let server = TcpServer::new(echo);
    connect(time, &server, wires, 0..FEW);
    let few = bytes(wires);
    connect(time, &server, wires, FEW..count);
    let each = (bytes(wires) - few) / (count - FEW) - BYTES_PER_WIRE;
    let counters = time.counters();
    assert_eq!([counters.tasks, counters.timers, counters.sources], [count, 0, count]);
    server.abort();
    assert_all_are_gone(time);

    let server = TcpServer::new(echo_until_drained);
    connect(time, &server, wires, 0..count);
    assert_eq!(server.drain_progress().idle, count);
    drain(time, &server, count);

    // Were all who wait for a drain gone through whenever one ends, a million would never be done: that is a million times a million.
    let server = TcpServer::new(last_word);
    connect(time, &server, wires, 0..count);
    drain(time, &server, count);
    assert!((0..count).all(|number| wires.answers(number) == 1));
    each
}

/// New connections in these places. Each says a line.
fn connect<H: HandleStream>(
    time: &VirtualLoop,
    server: &TcpServer<H>,
    wires: &Rc<Wires>,
    numbers: std::ops::Range<usize>,
) {
    for number in numbers {
        server.add_stream(wires.connect(number, b"hello\n"), PeerAddr::Unix(None));
        if number % 500 == 0 {
            time.run_until_stalled();
        }
    }
    time.run_until_stalled();
}

/// Ends `server`, where so many idle, in good order and without waiting for anything.
fn drain<H: HandleStream>(time: &VirtualLoop, server: &TcpServer<H>, count: usize) {
    let report = time.run(server.drain(30 * SECOND));
    assert_eq!((report.finished, report.aborted, report.took), (count, 0, Duration::ZERO));
    assert_all_are_gone(time);
}

fn assert_all_are_gone(time: &VirtualLoop) {
    time.advance(2 * SECOND); // blocks are given back when it has been quiet for a moment
    let counters = time.counters();
    assert_eq!([counters.tasks, counters.timers, counters.sources], [0; 3]);
    assert_eq!(iostream::leased_blocks(), 0);
}

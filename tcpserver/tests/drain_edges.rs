//! Ending in good order where it is hard: half a request, a queue without end, drains over drains, those who wait and give up.

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ioloop::testing::VirtualLoop;
use iostream::testing::scripted;
use iostream::{IoStream, StreamError};
use netutil::{BindOptions, bind_sockets};
use support::{connect, loopback, read_to_end, refused};
use tcpserver::{ConnectionContext, DrainReport, HandleStream, PeerAddr, TcpServer};

const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);

/// Gives lines back.
async fn echo(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 1 << 20)).await {
        stream.write(line?).await?;
    }
    Ok(())
}

fn serve<H: HandleStream>(handler: H) -> (VirtualLoop, TcpServer<H>, SocketAddr) {
    let time = VirtualLoop::new();
    time.make_current();
    let server = TcpServer::new(handler);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    (time, server, address)
}

/// Begins to drain, and goes as far as it can without time passing.
fn drain<H: HandleStream>(
    time: &VirtualLoop,
    server: &TcpServer<H>,
    grace: Duration,
) -> Rc<Cell<Option<DrainReport>>> {
    let (report, drained) = (Rc::new(Cell::new(None)), server.drain(grace));
    let tell = Rc::clone(&report);
    time.spawn_detached(async move { tell.set(Some(drained.await)) });
    time.run_until_stalled();
    report
}

fn counts(report: &Cell<Option<DrainReport>>) -> Option<(usize, usize)> {
    report.get().map(|report| (report.finished, report.aborted))
}

/// Tells the peer, whatever it says and before it has, that this was all.
async fn refuse(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    stream.read_bytes(1).await?;
    stream.write("no\n").await
}

#[test]
fn ts6_who_is_being_heard_out_holds_the_end_up_for_20_ms_at_most() {
    let (time, server, address) = serve(refuse);
    let mut before = connect(address);
    before.write_all(b"please").expect("it listens");
    time.run_until_stalled();
    time.advance(SECOND);
    assert_eq!(server.open_connections(), 1, "a linger takes five");
    let mut after = connect(address);
    time.run_until_stalled();
    let report = drain(&time, &server, HOUR);
    after.write_all(b"please").expect("it listens");
    time.run_until_stalled();
    assert_eq!((counts(&report), server.open_connections()), (None, 2));
    time.advance(Duration::from_millis(20));
    assert_eq!(counts(&report), Some((2, 0)));
    for mut client in [before, after] {
        assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"no\n"[..]));
    }
}

#[test]
fn ts6_who_has_sent_half_a_line_may_send_the_rest() {
    let (time, server, address) = serve(echo);
    let mut client = connect(address);
    client.write_all(b"one\nhalf a ").expect("it listens");
    time.run_until_stalled();
    let progress = server.drain_progress();
    assert_eq!((progress.idle, progress.active), (0, 1), "half a request is work");
    let report = drain(&time, &server, HOUR);
    assert_eq!(counts(&report), None);
    client.write_all(b"line\n").expect("it listens");
    time.run_until_stalled();
    assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"one\nhalf a line\n"[..]));
    assert_eq!(counts(&report), Some((1, 0)));
}

#[test]
fn ts6_a_drain_over_scripted_transports_reads_once_more_and_writes_what_is_to_be_said() {
    let time = VirtualLoop::new();
    time.make_current();
    let server = TcpServer::new(async |stream: IoStream, context: ConnectionContext| {
        while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
            stream.write(line?).await?;
        }
        stream.write("goodbye\n").await
    });
    let [idle, begun, asking] = [(); 3].map(|()| {
        let (transport, script) = scripted();
        server.add_stream(IoStream::new(transport).expect("a stream"), PeerAddr::Unix(None));
        script
    });
    begun.send("half a ");
    time.run_until_stalled();
    assert_eq!(server.open_connections(), 3);
    let reads = idle.calls().reads;
    asking.send("hello\n");
    let report = drain(&time, &server, HOUR);
    assert_eq!((idle.received(), idle.calls().reads - reads), (b"goodbye\n".to_vec(), 1));
    assert_eq!(asking.received(), b"hello\ngoodbye\n");
    assert!(idle.is_closed() && asking.is_closed() && !begun.is_closed());
    for part in ["l", "ine", "\n"] {
        assert_eq!(counts(&report), None);
        begun.send(part);
        time.run_until_stalled();
    }
    assert_eq!(begun.received(), b"half a line\ngoodbye\n");
    assert_eq!(counts(&report), Some((3, 0)));
}

#[test]
fn ts6_half_a_line_that_is_never_finished_waits_for_the_deadline_and_no_longer() {
    let (time, server, address) = serve(echo);
    let mut client = connect(address);
    client.write_all(b"half a ").expect("it listens");
    time.run_until_stalled();
    let report = drain(&time, &server, 3 * SECOND);
    time.advance(3 * SECOND);
    assert_eq!(counts(&report), Some((0, 1)));
    assert_eq!(read_to_end(&mut client).unwrap_or_default(), b"");
}

/// The queue is longer than what is accepted in a turn, and each connection that is accepted brings another.
#[test]
fn ts6_a_queue_that_never_empties_does_not_keep_the_listener_open() {
    let time = VirtualLoop::new();
    time.make_current();
    let options = BindOptions::new().address("127.0.0.1").backlog(1024);
    let listener = bind_sockets(0, &options).expect("a port").remove(0);
    let address = listener.local_addr().expect("a bound socket");
    let latest: Rc<RefCell<Vec<TcpStream>>> = Rc::default();
    let keep = Rc::clone(&latest);
    let server = TcpServer::new(move |_: IoStream, _| {
        let mut latest = keep.borrow_mut();
        latest.truncate(512);
        latest.extend(TcpStream::connect(address));
        async {}
    });
    server.add_socket(listener).expect("a listener");
    let _first: Vec<_> = (0..200).map(|_| connect(address)).collect();
    let report = drain(&time, &server, HOUR);
    assert_eq!(counts(&report), Some((4096, 0)));
    assert!(refused(address));
}

#[test]
fn ts6_who_waits_for_room_is_served_in_the_place_of_who_is_idle() {
    let (time, server, address) = serve(echo);
    let server = server.max_connections(1);
    let mut idle = connect(address);
    time.run_until_stalled();
    let mut queued = connect(address);
    queued.write_all(b"hello\n").expect("it queues");
    time.run_until_stalled();
    assert_eq!((server.accepted_connections(), server.open_connections()), (1, 1));
    let report = drain(&time, &server, HOUR);
    assert_eq!(read_to_end(&mut idle).as_deref(), Some(&b""[..]));
    assert_eq!(read_to_end(&mut queued).as_deref(), Some(&b"hello\n"[..]));
    assert_eq!(counts(&report), Some((2, 0)));
}

#[test]
fn ts6_a_second_drain_may_be_more_or_less_patient_and_both_are_told() {
    let (time, server, address) =
        serve(async |_: IoStream, _: ConnectionContext| std::future::pending::<()>().await);
    let mut client = connect(address);
    time.run_until_stalled();
    let first = drain(&time, &server, HOUR);
    let second = drain(&time, &server, Duration::ZERO);
    assert_eq!((counts(&first), counts(&second)), (Some((0, 1)), Some((0, 1))));
    assert_eq!(read_to_end(&mut client).as_deref(), Some(&b""[..]));
}
struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn ts6_who_gave_up_waiting_for_a_drain_leaves_nothing_behind() {
    let time = VirtualLoop::new();
    time.make_current();
    let context = ConnectionContext::new(PeerAddr::Unix(None));
    let counted = Arc::new(Counted);
    let waker = Waker::from(Arc::clone(&counted));
    for _ in 0..3 {
        let mut waiting = pin!(context.draining());
        assert_eq!(waiting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&counted), 1, "a waker was kept");
}

//! A server that ends: who idles is closed, who is served is told that it was the last time. On virtual time, with real sockets.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use httpserver::{DrainReport, HttpServer, Request, Response};
use ioloop::testing::VirtualLoop;
use support::{answer, answers, plain};

const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";

async fn serve(request: Request) -> Response {
    if request.path() == "/slow" {
        ioloop::sleep(10 * SECOND).await;
    }
    Response::text("hello\n")
}

/// A virtual loop, and a server that listens on it.
fn scene()
-> (VirtualLoop, HttpServer<impl httpserver::Handler<httpserver::Whole>, httpserver::Whole>, SocketAddr) {
    let time = VirtualLoop::new();
    time.make_current();
    let server = HttpServer::new(serve).options(plain());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    server.add_socket(listener).unwrap();
    (time, server, address)
}

fn client(time: &VirtualLoop, address: SocketAddr, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap(); // only ever met by a bug
    client.write_all(request.as_bytes()).unwrap();
    time.run_until_stalled();
    client
}

fn end(mut client: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    all
}

fn drain(time: &VirtualLoop, drain: httpserver::Drain) -> Rc<Cell<Option<DrainReport>>> {
    let report = Rc::new(Cell::new(None));
    let tell = Rc::clone(&report);
    time.spawn_detached(async move { tell.set(Some(drain.await)) });
    time.run_until_stalled();
    report
}

#[test]
fn hs13_who_idles_is_closed_at_once_and_who_is_served_is_told_to_leave() {
    let (time, server, address) = scene();
    let (idle, fresh, slow) =
        (client(&time, address, GET), client(&time, address, ""), client(&time, address, SLOW));
    let report = drain(&time, server.drain(HOUR));
    assert!(!answer(end(idle)).closes(), "it was answered before");
    assert_eq!(end(fresh), b"");
    time.advance(9 * SECOND);
    assert_eq!(report.get(), None);
    time.advance(SECOND);
    let back = answer(end(slow));
    assert_eq!((back.status, back.closes()), (200, true));
    time.run_until_stalled(); // the client has closed its side too, as it was told
    let report = report.get().unwrap();
    assert_eq!((report.finished, report.aborted, report.took), (3, 0, 10 * SECOND));
}

#[test]
fn hs13_a_client_that_keeps_its_side_open_holds_the_end_up_for_a_round_trip_and_not_for_a_linger() {
    let (time, server, address) = scene();
    let mut slow = client(&time, address, SLOW);
    let mut refused = client(&time, address, "nonsense\r\n\r\n"); // it lingers when the drain begins
    let report = drain(&time, server.drain(HOUR));
    time.advance(10 * SECOND);
    assert_eq!(report.get(), None);
    let mut back = [0; 1024];
    let n = slow.read(&mut back).unwrap();
    assert!(answer(&back[..n]).closes());
    time.advance(Duration::from_millis(20));
    assert_eq!(report.get().unwrap().took, 10 * SECOND + Duration::from_millis(20));
    assert!(refused.read(&mut back).unwrap() > 0, "and was answered");
}

#[test]
fn hs13_who_has_asked_by_then_is_answered_and_so_is_who_waits_in_the_queue() {
    let (time, server, address) = scene();
    let mut asks = client(&time, address, "");
    asks.write_all(GET.as_bytes()).unwrap();
    let mut queued = TcpStream::connect(address).unwrap();
    queued.write_all(GET.as_bytes()).unwrap();
    let report = drain(&time, server.drain(HOUR));
    for client in [asks, queued] {
        let back = answer(end(client));
        assert_eq!((back.status, back.closes()), (200, true));
    }
    time.run_until_stalled();
    assert_eq!(report.get().unwrap().finished, 2);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn hs13_a_lame_duck_answers_and_has_its_clients_leave() {
    let (time, server, address) = scene();
    let mut kept = client(&time, address, GET);
    server.lame_duck();
    kept.write_all(GET.as_bytes()).unwrap();
    time.run_until_stalled();
    let back: Vec<bool> = answers(end(kept)).iter().map(support::Answer::closes).collect();
    assert_eq!(back, [false, true]);
    assert!(answer(end(client(&time, address, GET))).closes(), "a new one is served too");
}

#[test]
fn hs14_who_is_not_done_when_the_grace_is_over_is_cut() {
    let (time, server, address) = scene();
    let slow = client(&time, address, SLOW);
    let report = drain(&time, server.drain(SECOND));
    time.advance(SECOND);
    assert_eq!(report.get().unwrap().aborted, 1);
    assert_eq!(end(slow), b"");
}

#[test]
fn hs14_close_all_connections_closes_all_waits_for_their_ends_and_goes_on_accepting() {
    let (time, server, address) = scene();
    let (idle, slow) = (client(&time, address, GET), client(&time, address, SLOW));
    assert_eq!(server.open_connections(), 2);
    let closed = Rc::new(Cell::new(false));
    let (tell, closing) = (Rc::clone(&closed), server.close_all_connections());
    assert!(!closed.get() && server.open_connections() == 2, "their tasks have not run since");
    let late = client(&time, address, SLOW);
    time.spawn_detached(async move {
        closing.await;
        tell.set(true);
    });
    time.run_until_stalled();
    assert!(closed.get());
    assert_eq!((answer(end(idle)).status, end(slow)), (200, vec![]), "what was being answered is cut off");
    assert_eq!(server.open_connections(), 1, "who came later is served");
    time.advance(10 * SECOND);
    late.shutdown(std::net::Shutdown::Write).unwrap();
    time.run_until_stalled();
    assert_eq!(answer(end(late)).text(), "hello\n");
}

#[test]
fn a_stream_from_elsewhere_is_served_and_counted_and_drained_like_one_that_was_accepted() {
    let (time, server, _address) = scene();
    let (transport, peer) = iostream::testing::scripted();
    server.add_stream(iostream::IoStream::new(transport).unwrap(), tcpserver::PeerAddr::Unix(None));
    peer.send(GET);
    time.run_until_stalled();
    assert_eq!(answer(peer.received()).text(), "hello\n");
    assert_eq!((server.accepted_connections(), server.open_connections()), (1, 1));
    let report = drain(&time, server.drain(HOUR));
    assert!(peer.is_closed());
    assert_eq!(report.get().map(|report| (report.finished, report.aborted)), Some((1, 0)));
}

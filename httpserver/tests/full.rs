//! A server that has as many connections as it may: those that idle between requests make room, and no others. On virtual time, with real
//! sockets.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use httpserver::{Exchange, Handler, HttpServer, Request, Response, StatusCode};
use ioloop::testing::VirtualLoop;
use support::{answer, plain};

const SECOND: Duration = Duration::from_secs(1);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn serve(request: Request) -> Response {
    match request.path() {
        "/slow" => ioloop::sleep(3600 * SECOND).await,
        "/large" => return Response::bytes(vec![b'x'; 16 << 20]),
        _ => {}
    }
    Response::text("hello\n")
}

fn listen<M: 'static, H: Handler<M>>(server: &HttpServer<H, M>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    server.add_socket(listener).unwrap();
    address
}

fn client(address: SocketAddr, says: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap(); // only ever met by a bug
    client.write_all(says.as_bytes()).unwrap();
    client
}

/// Takes what has come; says whether that was the end, in good order.
fn has_ended(client: &mut TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let result = client.read_to_end(&mut Vec::new());
    client.set_nonblocking(false).unwrap();
    match result {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn who_idles_between_requests_longest_makes_room_for_a_newcomer_without_a_word() {
    let time = VirtualLoop::new();
    time.make_current();
    let server = HttpServer::new(serve).options(plain()).max_connections(2);
    let address = listen(&server);
    let mut first = client(address, GET);
    time.advance(2 * SECOND);
    let mut second = client(address, GET);
    time.advance(2 * SECOND);
    assert!(!has_ended(&mut first) && !has_ended(&mut second), "nobody waits");

    let mut late = client(address, &GET.replace("1.1\r\n", "1.1\r\nConnection: close\r\n"));
    time.advance(SECOND);
    let mut back = Vec::new();
    late.read_to_end(&mut back).unwrap();
    assert_eq!(answer(back).text(), "hello\n");
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "no 408: nothing was asked");
    second.write_all(GET.as_bytes()).unwrap();
    time.run_until_stalled();
    assert!(!has_ended(&mut second));
    assert_eq!(server.handle().metrics().shed.idle, 1);
}

#[test]
fn a_full_server_whose_connections_are_all_at_something_leaves_them_at_it() {
    let time = VirtualLoop::new();
    time.make_current();
    let server = HttpServer::new(serve).options(plain()).max_connections(4);
    let address = listen(&server);
    let halves = ["GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"];
    let mut halves = halves.map(|half| client(address, half));
    let mut slow = client(address, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let takes_nothing = client(address, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    time.run_until_stalled();
    assert_eq!(server.open_connections(), 4);
    let _waits = client(address, GET);
    time.advance(5 * SECOND);
    assert_eq!((server.accepted_connections(), server.handle().metrics().shed.idle), (4, 0));
    assert!(!halves.iter_mut().any(has_ended) && !has_ended(&mut slow));
    drop(takes_nothing);
    time.run_until_stalled();
    assert_eq!(server.accepted_connections(), 5, "it was not for want of a look");
}

#[test]
fn who_begins_a_request_or_asks_each_second_keeps_its_place() {
    let time = VirtualLoop::new();
    time.make_current();
    let server = HttpServer::new(serve).options(plain()).max_connections(1);
    let address = listen(&server);
    let mut busy = client(address, GET);
    time.run_until_stalled();
    let _waits = client(address, GET);
    for _ in 0..100 {
        time.advance(SECOND / 2);
        busy.write_all(GET.as_bytes()).unwrap();
        time.run_until_stalled();
        assert!(!has_ended(&mut busy));
    }
    assert_eq!(server.handle().metrics().shed.idle, 0);
    time.advance(2 * SECOND);
    assert!(has_ended(&mut busy));
    assert_eq!(server.accepted_connections(), 2);
}

#[test]
fn who_has_been_upgraded_may_listen_and_keeps_its_place_until_the_server_drains() {
    let time = VirtualLoop::new();
    time.make_current();
    let upgrades = async |exchange: &mut Exchange<'_>| {
        let context = exchange.connection().clone();
        let response = exchange.respond(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", "lines");
        let stream = response.switch().await?;
        while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 100)).await {
            stream.write(line?).await?;
        }
        Ok(())
    };
    let server = HttpServer::new(upgrades).options(plain()).max_connections(1);
    let address = listen(&server);
    let mut listens =
        client(address, &GET.replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n"));
    time.run_until_stalled();
    let waits = client(address, GET);
    time.advance(60 * SECOND);
    assert!(!has_ended(&mut listens));
    assert_eq!((server.accepted_connections(), server.handle().metrics().shed.idle), (1, 0));
    drop(waits);
    let drain = time.run_sync(server.drain(60 * SECOND)).unwrap();
    assert!(has_ended(&mut listens) && drain.took < SECOND);
}

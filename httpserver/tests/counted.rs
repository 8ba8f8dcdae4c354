//! The performance contract as numbers: calls of the transport, registrations, leases, allocations, timers.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use httpserver::{Exchange, Handler, HttpServer, Request, Response};
use ioloop::IoLoop;
use iostream::IoStream;
use support::{Peer, Stage, answers};
use tcpserver::BindOptions;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";

async fn hello(_request: Request) -> Response {
    Response::text("Hello, World!")
}

/// Reads and writes that one exchange takes.
fn cost(stage: &Stage, peer: &Peer, bytes: &[u8]) -> (usize, usize) {
    let before = peer.calls();
    assert!(!stage.exchange(peer, bytes).is_empty());
    let after = peer.calls();
    (after.reads - before.reads, after.writes - before.writes)
}

#[test]
fn h1_41_a_kept_alive_request_is_one_read_and_one_write() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello));
    stage.exchange(&peer, GET);
    for _ in 0..10 {
        assert_eq!(cost(&stage, &peer, GET), (1, 1));
    }
}

#[test]
fn sixteen_pipelined_requests_in_one_segment_are_one_read_and_one_write() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello));
    stage.exchange(&peer, GET);
    assert_eq!(cost(&stage, &peer, &GET.repeat(16)), (1, 1));
}

#[test]
fn a_request_with_a_small_body_is_one_read_and_one_write() {
    let stage = Stage::new();
    let peer =
        stage.connect(&HttpServer::new(async |request: Request| Response::bytes(request.body().clone())));
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    stage.exchange(&peer, post);
    assert_eq!(cost(&stage, &peer, post), (1, 1));
}

#[test]
fn shared_pieces_are_gathered_to_a_mebibyte_and_pieces_of_the_handlers_own_are_not() {
    static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
    let stage = Stage::new();
    let writes = |own: bool| {
        let answer = async move |exchange: &mut Exchange<'_>| {
            let mut response = exchange.respond(StatusCode::OK).start().await?;
            for _ in 0..64 {
                let piece = if own { Bytes::from(PIECE.to_vec()) } else { Bytes::from_static(&PIECE) };
                response.write(piece).await?;
            }
            response.finish().await
        };
        let peer = stage.connect(&HttpServer::new(answer));
        cost(&stage, &peer, GET).1
    };
    assert_eq!((writes(true), writes(false)), (13, 1)); // of 80 KiB each, or all at once
}

#[test]
fn an_echoed_body_of_two_blocks_leaves_in_one_write() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).content_length(100_000).start().await?;
        while let Some(chunk) = exchange.body().chunk().await? {
            response.write(chunk).await?;
        }
        response.finish().await
    }));
    let mut post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".to_vec();
    post.resize(post.len() + 100_000, b'x');
    assert_eq!(cost(&stage, &peer, &post).1, 1);
}

#[test]
fn small_pieces_are_copied_and_so_gathered_no_further_although_they_are_static() {
    static PIECE: [u8; 1024] = [b'x'; 1024];
    let stage = Stage::new();
    let answer = async move |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        for _ in 0..192 {
            response.write(Bytes::from_static(&PIECE)).await?;
        }
        response.finish().await
    };
    let peer = stage.connect(&HttpServer::new(answer));
    assert_eq!(cost(&stage, &peer, GET).1, 5); // of 48 KiB each, and what frames them makes a fifth
}

#[test]
fn a_large_answer_is_one_write() {
    let stage = Stage::new();
    for bytes in [500_000, 1 << 20] {
        let answer = async move |_: Request| Response::bytes(vec![b'x'; bytes]);
        let peer = stage.connect(&HttpServer::new(answer));
        stage.exchange(&peer, GET);
        assert_eq!(cost(&stage, &peer, GET), (1, 1));
    }
}

#[test]
fn a_connection_is_registered_at_most_once_in_a_thousand_requests() {
    let stage = Stage::new();
    let server = HttpServer::new(hello);
    let peers: Vec<Peer> = (0..10).map(|_| stage.connect(&server)).collect();
    let before = stage.time.counters();
    for _ in 0..100 {
        for peer in &peers {
            assert_eq!(answers(stage.exchange(peer, GET)).len(), 1);
        }
    }
    for peer in &peers {
        assert!(peer.calls().attaches <= 1, "{:?}", peer.calls());
    }
    let after = stage.time.counters();
    assert_eq!(after.registrations, before.registrations, "a scripted transport needs none of the kernel's");
    assert_eq!(after.reregistrations, 0);
}

#[test]
fn real_sockets_are_registered_once_too() {
    const CONNECTIONS: u64 = 10;
    let io_loop = IoLoop::new().unwrap();
    let counters = io_loop.run_sync(async {
        let server = HttpServer::new(hello);
        let address = server.listen_with(0, &BindOptions::new().address("127.0.0.1")).unwrap()[0];
        let before = IoLoop::current().counters();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(IoStream::connect(address).await.unwrap());
        }
        for _ in 0..1_000 / CONNECTIONS {
            for client in &clients {
                client.write(GET).await.unwrap();
                client.read_until(b"Hello, World!").await.unwrap();
            }
        }
        (before, IoLoop::current().counters())
    });
    let (before, after) = counters.unwrap();
    let made = after.registrations - before.registrations;
    assert!(made <= 2 * CONNECTIONS, "{made} registrations of {CONNECTIONS} clients and as many connections");
    assert_eq!(after.reregistrations, before.reregistrations);
}

#[test]
fn an_idle_connection_holds_no_buffer_whatever_it_did_before() {
    let stage = Stage::new();
    let server = HttpServer::new(async |request: Request| Response::bytes(request.body().clone()));
    let peers: Vec<Peer> = (0..20).map(|_| stage.connect(&server)).collect();
    assert_eq!(iostream::leased_blocks(), 0, "fresh");
    let mut post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n".to_vec();
    post.resize(post.len() + 300_000, b'x');
    for peer in &peers {
        stage.exchange(peer, GET);
        peer.send_in_segments(&post, 50_000);
        stage.time.run_until_stalled();
        stage.exchange(peer, GET.repeat(16));
    }
    assert_eq!(iostream::leased_blocks(), 0, "between requests");
}

#[test]
fn the_number_of_header_fields_costs_no_allocation() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello));
    let request = |fields: usize| {
        let mut text = "GET / HTTP/1.1\r\nHost: example.org\r\n".to_owned();
        for number in 1..fields {
            text.push_str(&format!("X-Field-{number}: value {number}\r\n"));
        }
        text + "\r\n"
    };
    // The script's own buffers grow with what is sent, so only the turns of the loop are counted.
    let allocations = |bytes: &str| {
        peer.send(bytes);
        let counted = allocation_counter::measure(|| stage.time.run_until_stalled());
        assert_eq!(answers(peer.received()).len(), 1);
        counted.count_total
    };
    let (few, many) = (request(2), request(60));
    for _ in 0..5 {
        allocations(&few);
        allocations(&many);
    }
    let (few, many) = (allocations(&few), allocations(&many));
    assert_eq!(few, many);
    assert!(few <= 8, "{few} allocations for a request");
}

/// Allocations in a loop that serves so many requests on one socket; the client has a thread of its own, which is not counted.
fn allocations_of<M: 'static>(handler: impl Handler<M>, requests: usize) -> u64 {
    let io_loop = IoLoop::new().unwrap();
    let server = HttpServer::new(handler);
    let listen = async { server.listen_with(0, &BindOptions::new().address("127.0.0.1")).unwrap()[0] };
    let address = io_loop.run_sync(listen).unwrap();
    let remote = io_loop.remote();
    let client = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        let mut answer = Vec::new();
        for _ in 0..requests {
            socket.write_all(GET).unwrap();
            answer.clear();
            while !answer.ends_with(b"Hello, World!") {
                let mut piece = [0; 1024];
                let n = socket.read(&mut piece).unwrap();
                assert!(n > 0);
                answer.extend_from_slice(&piece[..n]);
            }
        }
        remote.stop();
        socket // closed only when the loop has stopped
    });
    let counted = allocation_counter::measure(|| io_loop.start().unwrap());
    drop(client.join().unwrap());
    counted.count_total
}

#[test]
fn a_kept_alive_request_allocates_nothing_beyond_what_its_handler_does() {
    allocations_of(hello, 1); // what a thread keeps for its next loop
    let streaming = async |exchange: &mut Exchange<'_>| exchange.send(Response::text("Hello, World!")).await;
    assert_eq!(allocations_of(streaming, 1_100), allocations_of(streaming, 100), "a handler that streams");
    assert_eq!(allocations_of(hello, 1_100), allocations_of(hello, 100), "one from request to response");
    let boxing = async |_: Request| Response::text(vec![b'x'; 100].len().to_string() + " Hello, World!");
    assert!(
        allocations_of(boxing, 1_100) >= allocations_of(boxing, 100) + 1_000,
        "what a handler does counts"
    );
}

#[test]
fn the_end_of_a_connection_allocates_nothing() {
    const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
    let stage = Stage::new();
    let server = HttpServer::new(hello);
    let allocations = |bytes: &[u8]| {
        let peer = stage.connect(&server);
        stage.exchange(&peer, GET);
        peer.send(bytes);
        let counted = allocation_counter::measure(|| stage.time.run_until_stalled());
        (counted.count_total, peer.is_over())
    };
    allocations(LAST); // what is kept for the next
    let (kept_alive, last) = (allocations(GET), allocations(LAST));
    assert_eq!((kept_alive.1, last), (false, (kept_alive.0, true)));
}

#[test]
fn kept_alive_requests_insert_no_timer() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello));
    stage.exchange(&peer, GET);
    let before = stage.time.counters().timers_inserted;
    for _ in 0..1_000 {
        stage.exchange(&peer, GET);
    }
    assert_eq!(stage.time.counters().timers_inserted, before);
    // Requests over a long time insert one whenever one has fired, and no more.
    for _ in 0..100 {
        stage.time.advance(Duration::from_secs(30));
        stage.exchange(&peer, GET);
    }
    let counters = stage.time.counters();
    assert!(counters.timers_inserted - before <= counters.timers_fired);
    assert_eq!(counters.timers, 1);
}

#[test]
fn a_connection_for_one_request_is_one_read_one_write_and_no_registration() {
    for request in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    {
        let stage = Stage::new();
        let peer = stage.connect_with(&HttpServer::new(hello), |script| script.send(request));
        assert!(peer.is_over());
        let calls = peer.calls();
        assert_eq!((calls.reads, calls.writes, calls.attaches), (1, 1, 0));
    }
}

#[test]
fn a_closed_connection_leaves_nothing_behind() {
    let stage = Stage::new();
    let server = HttpServer::new(hello);
    let idle = stage.time.counters();
    for _ in 0..10 {
        let peer = stage.connect(&server);
        stage.exchange(&peer, GET);
        peer.finish();
        stage.time.run_until_stalled();
        assert!(peer.is_over());
    }
    let after = stage.time.counters();
    assert_eq!((after.tasks, after.timers, after.sources), (idle.tasks, idle.timers, idle.sources));
    assert_eq!(iostream::leased_blocks(), 0);
}

//! Every wait ends: the deadlines of a connection, in virtual time.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpOptions, HttpServer, Request, Response, StatusCode};
use support::{Peer, Stage, answer, plain};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

async fn hello(_request: Request) -> Response {
    Response::text("hello")
}

/// 10 s for a head, 75 s idle, 30 s for a body and for a peer that takes nothing, 2 s of lingering: the defaults.
fn defaults() -> HttpOptions {
    plain()
}

/// Lets `seconds` pass but for a moment, in which nothing may happen, and then that moment.
fn over_after(stage: &Stage, peer: &Peer, wait: Duration) {
    stage.time.advance(wait - MOMENT);
    assert!(!peer.is_over() && !peer.is_shut(), "too early");
    stage.time.advance(MOMENT);
}

#[test]
fn h1_4_a_silent_new_connection_closes_silently_at_header_timeout() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults()));
    over_after(&stage, &peer, 10 * SECOND);
    assert!(peer.is_over());
    assert_eq!(peer.received(), b"");
}

#[test]
fn row_26_a_part_of_a_head_is_answered_with_408_at_header_timeout() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults()));
    stage.time.advance(5 * SECOND);
    peer.send("GET / HTTP/1.1\r\nHo");
    over_after(&stage, &peer, 10 * SECOND);
    let back = answer(peer.received());
    assert_eq!((back.status, back.closes()), (408, true));
    stage.time.advance(SECOND / 10); // whoever was too slow is not waited for much longer
    assert!(peer.is_over());
}

#[test]
fn h1_4_a_head_that_dribbles_is_cut_at_header_timeout_from_its_first_byte() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(defaults());
    for first_request in [true, false] {
        let peer = stage.connect(&server);
        if !first_request {
            stage.exchange(&peer, GET);
            stage.time.advance(60 * SECOND);
        }
        for byte in GET.bytes().take(10) {
            assert_eq!(peer.received(), b"", "not yet");
            peer.send([byte]);
            stage.time.advance(SECOND);
        }
        assert_eq!(answer(peer.received()).status, 408);
        stage.time.advance(2 * SECOND);
        assert!(peer.is_over());
    }
}

#[test]
fn hs3_an_idle_kept_alive_connection_closes_silently_at_idle_connection_timeout() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults()));
    for _ in 0..2 {
        stage.exchange(&peer, GET);
        stage.time.advance(70 * SECOND); // IdleTimeoutTest: each request begins the time anew
    }
    stage.exchange(&peer, GET);
    over_after(&stage, &peer, 75 * SECOND);
    assert!(peer.is_over());
    assert_eq!(peer.received(), b"");
}

#[test]
fn hs3_no_idle_connection_timeout_is_for_ever() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults().idle_connection_timeout(None)));
    stage.exchange(&peer, GET);
    stage.time.advance(100_000 * SECOND);
    assert_eq!(answer(stage.exchange(&peer, GET)).status, 200);
}

#[test]
fn hs3_with_no_time_to_idle_each_response_says_that_it_is_the_last() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(defaults().idle_connection_timeout(Duration::ZERO));
    let back = answer(stage.ask(&server, GET.repeat(2)));
    assert_eq!((back.status, back.closes()), (200, true));
}

#[test]
fn empty_lines_that_come_with_the_connection_do_not_keep_it_open() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(defaults());
    let peer = stage.connect_with(&server, |script| script.send("\r\n\r\n"));
    over_after(&stage, &peer, 10 * SECOND);
    assert!(peer.is_over());
    assert_eq!(peer.received(), b"");
}

#[test]
fn empty_lines_are_no_request_and_do_not_keep_a_connection_open() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(defaults());
    for (asked_before, limit, line) in [
        (false, 10, &["\r\n"][..]),
        (true, 75, &["\r\n"]),
        (false, 10, &["\r", "\n"]),
        (true, 75, &["\r", "\n"]),
    ] {
        let peer = stage.connect(&server);
        if asked_before {
            stage.exchange(&peer, GET);
        }
        for second in 0..limit {
            assert!(!peer.is_over());
            if second % (limit / 3) == 1 {
                line.iter().for_each(|piece| assert!(stage.exchange(&peer, piece).is_empty()));
            }
            stage.time.advance(SECOND);
        }
        assert!(peer.is_over(), "after {limit} seconds");
        assert_eq!(peer.received(), b"");
    }
}

#[test]
fn row_25_a_body_that_pauses_is_answered_with_408_at_body_timeout() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults()));
    peer.send(POST);
    peer.send(vec![b'x'; 50_000]); // which earns minutes, but no pause
    over_after(&stage, &peer, 30 * SECOND);
    let back = answer(peer.received());
    assert_eq!((back.status, back.closes()), (408, true));
    stage.time.advance(2 * SECOND);
    assert!(peer.is_over());
}

#[test]
fn h1_19_a_body_below_the_minimum_rate_is_cut_and_one_above_it_is_not() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(defaults());
    let slow = stage.connect(&server);
    slow.send(POST);
    for _ in 0..30 {
        assert_eq!(slow.received(), b"", "not yet");
        slow.send("x");
        stage.time.advance(SECOND);
    }
    assert_eq!(answer(slow.received()).status, 408);

    // 300 bytes a second take more than five minutes, ten times the body timeout.
    let honest = stage.connect(&server);
    honest.send(POST);
    for _ in 0..100_000 / 300 {
        honest.send([b'x'; 300]);
        stage.time.advance(SECOND);
        assert_eq!(honest.received(), b"", "not yet");
    }
    assert_eq!(answer(stage.exchange(&honest, [b'x'; 100_000 % 300])).status, 200);
}

#[test]
fn h1_19_the_time_that_the_handler_takes_is_not_the_peers() {
    async fn thinks(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut bytes = 0;
        while let Some(chunk) = exchange.body().chunk().await? {
            bytes += chunk.len();
            ioloop::sleep(100 * SECOND).await;
        }
        exchange.send(Response::text(bytes.to_string())).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(thinks).options(defaults().handler_timeout(None)));
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
    stage.time.advance(101 * SECOND);
    peer.send("cd"); // a moment after the handler has asked for it
    stage.time.advance(101 * SECOND);
    peer.send("ef");
    stage.time.advance(101 * SECOND);
    assert_eq!(answer(peer.received()).text(), "6");
}

#[test]
fn h1_19_a_handler_that_gives_up_its_waits_does_not_give_the_peer_more_time() {
    async fn impatient(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        loop {
            let chunk = ioloop::timeout(SECOND, async { exchange.body().chunk().await }).await;
            if let Ok(chunk) = chunk
                && chunk?.is_none()
            {
                return exchange.send(Response::text("whole")).await;
            }
        }
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(impatient).options(defaults()));
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
    over_after(&stage, &peer, 30 * SECOND);
    assert_eq!(answer(peer.received()).status, 408);
}

#[test]
fn a_peer_that_takes_nothing_of_a_large_answer_is_cut_at_write_timeout() {
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 1 << 20])).options(defaults());
    let peer = stage.connect(&server);
    peer.set_room(Some(1_000));
    peer.send(GET);
    over_after(&stage, &peer, 30 * SECOND);
    assert!(peer.is_over());
    assert_eq!(peer.received().len(), 1_000);
    assert_eq!(iostream::leased_blocks(), 0);
}

/// Not only the server forgets it: what the kernel holds for the peer goes too, and the peer is told.
#[test]
fn a_peer_that_takes_nothing_is_reset_at_write_timeout_and_not_waited_for_again() {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    let stage = Stage::new();
    let server =
        HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 64 << 20])).options(defaults());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    server.add_socket(listener).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(GET.as_bytes()).unwrap();
    stage.time.advance(30 * SECOND - MOMENT);
    assert_eq!(server.open_connections(), 1);
    stage.time.advance(MOMENT);
    assert_eq!(server.open_connections(), 0);
    let ended = client.read_to_end(&mut Vec::new());
    assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_peer_that_stops_halfway_is_cut_at_write_timeout_after_the_last_byte_that_it_took() {
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 1 << 20])).options(defaults());
    let peer = stage.connect(&server);
    peer.set_room(Some(10_000));
    peer.send(GET);
    stage.time.advance(20 * SECOND);
    peer.set_room(Some(10_000));
    stage.time.run_until_stalled();
    over_after(&stage, &peer, 30 * SECOND);
    assert!(peer.is_over());
    assert_eq!(peer.received().len(), 20_000);
}

#[test]
fn a_peer_that_takes_less_than_the_minimum_rate_is_cut_and_one_that_takes_more_is_not() {
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 100_000])).options(defaults());
    for (bytes, is_served) in [(1, false), (250, true)] {
        let peer = stage.connect(&server);
        peer.set_room(Some(0));
        peer.send(GET);
        let mut received = Vec::new();
        for _ in 0..=100_300 / 250 {
            stage.time.advance(SECOND);
            peer.set_room(Some(bytes));
            stage.time.run_until_stalled();
            received.extend(peer.received());
        }
        assert_eq!(received.len() > 100_000, is_served, "{} bytes", received.len());
        assert_eq!(peer.is_over(), !is_served);
    }
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_is_not_cut() {
    let stage = Stage::new();
    let options = defaults().minimum_send_rate(32);
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 200_000])).options(options);
    let peer = stage.connect(&server);
    peer.set_room(Some(0));
    peer.send(GET);
    let mut received = Vec::new();
    for _ in 0..202 {
        stage.time.advance(25 * SECOND);
        peer.set_room(Some(1_000));
        stage.time.run_until_stalled();
        received.extend(peer.received());
    }
    assert_eq!(answer(received).body.len(), 200_000);
    peer.set_room(None);
    assert_eq!(answer(stage.exchange(&peer, GET)).status, 200, "and the connection goes on");
}

#[test]
fn a_small_answer_that_the_peer_takes_slowly_is_not_lost_to_the_idle_timeout() {
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 10_000]))
        .options(defaults().minimum_send_rate(32));
    let peer = stage.connect(&server);
    peer.set_room(Some(0));
    peer.send(GET);
    let mut received = Vec::new();
    for _ in 0..11 {
        stage.time.advance(25 * SECOND);
        peer.set_room(Some(1_000));
        stage.time.run_until_stalled();
        received.extend(peer.received());
    }
    assert_eq!(answer(received).body.len(), 10_000);
}

#[test]
fn an_answer_to_a_peer_that_has_ended_its_side_is_sent_to_its_end() {
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 50_000]))
        .options(defaults().minimum_send_rate(32));
    let peer = stage.connect(&server);
    peer.set_room(Some(0));
    peer.send(GET);
    peer.finish();
    let mut received = Vec::new();
    for _ in 0..51 {
        stage.time.advance(25 * SECOND);
        peer.set_room(Some(1_000));
        stage.time.run_until_stalled();
        received.extend(peer.received());
    }
    assert_eq!(answer(received).body.len(), 50_000);
    assert!(peer.is_over());
}

#[test]
fn a_streaming_handler_learns_that_the_peer_takes_nothing() {
    let told = Rc::new(Cell::new(false));
    let tell = Rc::clone(&told);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        loop {
            if let Err(error) = response.write(vec![b'x'; 10_000]).await {
                tell.set(matches!(error, HttpError::WriteTimeout));
                return Err(error);
            }
        }
    })
    .options(defaults());
    let stage = Stage::new();
    let peer = stage.connect(&server);
    peer.set_room(Some(0));
    peer.send(GET);
    over_after(&stage, &peer, 30 * SECOND);
    assert!(told.get() && peer.is_over());
}

#[test]
fn reading_and_writing_at_once_have_each_their_own_deadline() {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.write(vec![b'x'; 70_000]).await.ok();
        let (mut body, exchange) = (exchange.body(), &exchange);
        let mut write = pin!(response.write(vec![b'x'; 70_000]));
        let mut chunk = pin!(body.chunk());
        let _ = exchange;
        poll_fn(|cx| match (write.as_mut().poll(cx), chunk.as_mut().poll(cx)) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        })
        .await
    })
    .options(defaults().write_timeout(50 * SECOND).body_timeout(20 * SECOND));
    let stage = Stage::new();
    let peer = stage.connect(&server);
    peer.send(POST);
    peer.set_room(Some(75_000));
    over_after(&stage, &peer, 20 * SECOND);
    assert!(!peer.is_shut());
}

#[test]
fn h1_52_lingering_ends() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults()));
    assert_eq!(answer(stage.exchange(&peer, "nonsense\r\n\r\n")).status, 400);
    assert!(peer.is_shut() && !peer.is_over());
    for _ in 0..19 {
        peer.send(vec![b'x'; 100_000]); // what still comes is dropped, not kept
        stage.time.advance(100 * MOMENT);
        assert!(!peer.is_over());
        assert_eq!(iostream::leased_blocks(), 0);
    }
    stage.time.advance(100 * MOMENT);
    assert!(peer.is_over());
    assert_eq!(peer.received(), b"");
}

#[test]
fn h1_52_the_end_that_a_request_asked_for_lingers_if_the_peer_has_sent_on() {
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"] {
        let stage = Stage::new();
        let server = HttpServer::new(hello).options(defaults());
        let silent = stage.connect(&server);
        assert_eq!(answer(stage.exchange(&silent, request)).status, 200);
        assert!(silent.is_over());
        let peer = stage.connect(&server);
        assert_eq!(answer(stage.exchange(&peer, format!("{request}GET /again"))).status, 200);
        stage.exchange(&peer, vec![b'x'; 100_000]);
        assert!(peer.is_shut() && !peer.is_over());
        stage.time.advance(2 * SECOND);
        assert!(peer.is_over());
    }
}

#[test]
fn h1_52_a_large_response_lingers_though_its_peer_asked_for_the_end() {
    let large = async |_: Request| Response::bytes(vec![b'x'; 15_000]);
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(large).options(defaults()));
    assert_eq!(answer(stage.exchange(&peer, "GET / HTTP/1.0\r\n\r\n")).body.len(), 15_000);
    assert!(peer.is_shut() && !peer.is_over(), "the kernel may have some of it yet");
    stage.exchange(&peer, "\r\n");
    assert!(!peer.is_over());
    peer.finish();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
}

#[test]
fn h1_52_lingering_ends_when_the_peer_takes_nothing_of_the_error_answer() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(defaults()));
    peer.set_room(Some(0));
    peer.send("nonsense\r\n\r\n");
    stage.time.advance(30 * SECOND);
    assert!(peer.is_over());
}

#[test]
fn h1_46_a_handler_that_never_begins_its_response_costs_its_connection() {
    let stage = Stage::new();
    let server =
        HttpServer::new(async |_: Request| std::future::pending::<Response>().await).options(defaults());
    let peer = stage.connect(&server);
    peer.send(GET);
    over_after(&stage, &peer, 60 * SECOND);
    let back = answer(peer.received());
    assert_eq!((back.status, back.closes(), back.text()), (503, true, "Service Unavailable\n"));
    stage.time.advance(2 * SECOND);
    assert!(peer.is_over());
}

#[test]
fn a_handler_that_has_begun_its_response_may_take_its_time() {
    async fn events(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(httpserver::StatusCode::OK).start().await?;
        for _ in 0..10 {
            ioloop::sleep(100 * SECOND).await;
            response.write("tick").await?;
        }
        response.finish().await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(events).options(defaults()));
    peer.send(GET);
    stage.time.advance(1_000 * SECOND);
    assert_eq!(answer(peer.received()).text(), "tick".repeat(10));
}

#[test]
fn what_a_handler_waits_for_the_body_is_not_its_own_time() {
    async fn counts(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let body = exchange.body().bytes().await?;
        ioloop::sleep(59 * SECOND).await;
        exchange.send(Response::text(body.len().to_string())).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(counts).options(defaults()));
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
    for _ in 0..100 {
        stage.time.advance(SECOND);
        peer.send([b'x'; 300]);
    }
    stage.time.advance(60 * SECOND);
    assert_eq!(answer(peer.received()).text(), "30000");
}

#[test]
fn limits_of_time_beyond_all_time_are_as_good_as_none() {
    let never = Duration::MAX;
    let options = defaults().header_timeout(never).body_timeout(never).write_timeout(never).linger(never);
    let options = options.idle_connection_timeout(never).handler_timeout(never).max_connection_age(never);
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 1 << 20])).options(options);
    let peer = stage.connect(&server);
    peer.set_room(Some(1_000));
    stage.exchange(&peer, &POST[..20]);
    stage.exchange(&peer, &POST[20..]);
    stage.exchange(&peer, vec![b'x'; 100_000]);
    stage.time.advance(100_000 * SECOND);
    peer.set_room(None);
    assert!(stage.exchange(&peer, "").len() > (1 << 20) - 1_000, "the rest");
    assert!(!peer.is_over());
}

//! When a connection goes on and when it ends: Tornado's `KeepAliveTest` and what it leaves out (CONTRACT §8.5, §9.4).

mod support;

use std::time::Duration;

use httpserver::{HttpError, HttpServer, Request, Response};
use support::{Stage, answer, answers, plain};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn hello(_request: Request) -> Response {
    Response::text("Hello world")
}

#[test]
fn test_two_requests() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    for _ in 0..2 {
        let back = answer(stage.exchange(&peer, GET));
        assert_eq!((back.status, back.text(), back.header("connection")), (200, "Hello world", None));
    }
    peer.finish();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
    assert_eq!(peer.received(), b"");
}

#[test]
fn test_request_close() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(plain());
    for value in ["close", "Close", "foo, close", "keep-alive, close"] {
        let peer = stage.connect(&server);
        let back = answer(
            stage.exchange(&peer, format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n")),
        );
        assert!(back.closes(), "h1_24: {value}");
        assert!(peer.is_over(), "h1_24: {value}");
    }
}

#[test]
fn test_http10() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    let back = answer(stage.exchange(&peer, "GET / HTTP/1.0\r\n\r\n"));
    assert_eq!((back.text(), back.header("connection")), ("Hello world", None));
    assert!(peer.is_over());
}

#[test]
fn test_http10_keepalive() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    for _ in 0..2 {
        let back = answer(stage.exchange(&peer, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(back.header("connection"), Some("Keep-Alive"));
    }
    assert!(!peer.is_over());
}

#[test]
fn test_http10_keepalive_extra_crlf() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    for _ in 0..2 {
        let back = answer(stage.exchange(&peer, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\r\n"));
        assert_eq!(back.header("connection"), Some("Keep-Alive"));
    }
}

#[test]
fn an_empty_line_that_comes_in_two_pieces_is_no_part_of_a_request() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    for piece in ["\r", "\n", "\r", "\n"] {
        assert_eq!(stage.exchange(&peer, piece), b"");
    }
    assert_eq!(answer(stage.exchange(&peer, GET)).status, 200);
    assert_eq!(stage.exchange(&peer, "\r"), b"");
    assert_eq!(stage.exchange(&peer, "\n"), b"");
    peer.finish();
    stage.time.run_until_stalled();
    assert_eq!((peer.received(), peer.is_over()), (vec![], true), "nothing was cut short");
}

#[test]
fn test_pipelined_requests() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    assert_eq!(answers(stage.exchange(&peer, [GET, GET].concat())).len(), 2);
    assert!(!peer.is_over());
}

#[test]
fn test_pipelined_cancel() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(plain());
    let peer = stage.connect(&server);
    peer.send([GET, GET].concat());
    stage.time.run_until_stalled();
    peer.reset();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
    assert_eq!(answer(stage.ask(&server, GET)).status, 200);
}

#[test]
fn test_cancel_during_download() {
    let stage = Stage::new();
    let server = HttpServer::new(async |_: Request| Response::bytes(vec![b'x'; 1 << 20])).options(plain());
    let peer = stage.connect(&server);
    peer.set_room(Some(10_000));
    peer.send(GET);
    stage.time.run_until_stalled();
    assert!(!peer.is_over());
    peer.reset();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
    assert_eq!(iostream::leased_blocks(), 0);
}

#[test]
fn test_finish_while_closed() {
    async fn slow(_: Request) -> Response {
        ioloop::sleep(Duration::from_secs(1)).await;
        Response::text("too late")
    }
    let stage = Stage::new();
    let server = HttpServer::new(slow).options(plain());
    let peer = stage.connect(&server);
    peer.send(GET);
    stage.time.run_until_stalled();
    peer.fail(std::io::ErrorKind::BrokenPipe);
    stage.time.advance(Duration::from_secs(2));
    assert!(peer.is_over());
}

#[test]
fn test_keepalive_chunked() {
    // There, an HTTP/1.0 request in chunks; RFC 9112 §6.1 has it refused, because no HTTP/1.0 recipient knows chunks.
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(plain());
    let head = "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(answer(stage.ask(&server, format!("POST / HTTP/1.0\r\n{head}"))).status, 400);
    let back = answers(stage.ask(&server, format!("POST / HTTP/1.1\r\nHost: a\r\n{head}{GET}")));
    assert_eq!(back.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200]);
}

#[test]
fn test_empty_request() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    peer.finish();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
    assert_eq!(peer.received(), b"");
}

#[test]
fn h1_25_http10_keep_alive_needs_a_body_whose_end_is_known() {
    let stage = Stage::new();
    let server = HttpServer::new(hello).options(plain());
    for (request, goes_on) in [
        ("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true),
        ("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
    ] {
        let peer = stage.connect(&server);
        stage.exchange(&peer, request);
        assert_eq!(!peer.is_over(), goes_on, "{request}");
    }
}

#[test]
fn h1_24_no_keep_alive_closes_after_each_response_and_says_so() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain().no_keep_alive()));
    let back = answers(stage.exchange(&peer, [GET, GET].concat()));
    assert_eq!(back.len(), 1, "the second request is not served");
    assert!(back[0].closes());
    // The second request must not be met by a reset, which might overtake the answer.
    assert!(peer.is_shut() && !peer.is_over());
    peer.finish();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
}

#[test]
fn h1_26_http10_keep_alive_is_not_promised_where_it_is_not_kept() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain().no_keep_alive()));
    let back = answer(stage.exchange(&peer, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_eq!(back.header("connection"), None);
    assert!(peer.is_shut());
}

#[test]
fn h1_27_close_from_the_handler_is_acted_on() {
    let stage = Stage::new();
    async fn bye(_: Request) -> Result<Response, HttpError> {
        Ok(Response::text("bye").header("Connection", "close")?)
    }
    let peer = stage.connect(&HttpServer::new(bye).options(plain()));
    assert!(answer(stage.exchange(&peer, GET)).closes());
    assert!(peer.is_shut());
}

#[test]
fn a_peer_that_has_ended_its_side_still_gets_all_its_answers() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    peer.send(GET.repeat(3));
    peer.finish();
    stage.time.run_until_stalled();
    assert_eq!(answers(peer.received()).len(), 3);
    assert!(peer.is_over());
}

#[test]
fn a_head_that_is_cut_short_by_the_peers_end_is_a_400() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain()));
    peer.send("GET / HTTP/1.1\r\nHo");
    peer.finish();
    stage.time.run_until_stalled();
    assert_eq!(answer(peer.received()).status, 400);
    assert!(peer.is_over());
}

#[test]
fn hs1_options_and_server_name_are_those_of_the_server() {
    let stage = Stage::new();
    let back = answer(stage.ask(&HttpServer::new(hello), GET));
    assert_eq!(back.header("server"), Some("waterspout"));
    assert!(back.header("date").is_some());
    let named =
        HttpServer::new(hello).options(httpserver::HttpOptions::new().server_name("mine/1.0").unwrap());
    assert_eq!(answer(stage.ask(&named, GET)).header("server"), Some("mine/1.0"));
    assert!(httpserver::HttpOptions::new().server_name("a\r\nb: c").is_err(), "h1_45");
}

#[test]
fn the_last_of_the_requests_that_a_connection_may_bring_says_so() {
    let stage = Stage::new();
    let options = plain().max_requests_per_connection(3);
    let server = HttpServer::new(hello).options(options);
    let peer = stage.connect(&server);
    let back = answers(stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5)));
    assert_eq!(back.iter().map(support::Answer::closes).collect::<Vec<_>>(), [false, false, true]);
    stage.time.advance(Duration::from_secs(3));
    assert!(peer.is_over());
}

#[test]
fn a_connection_that_is_too_old_ends_with_its_next_response_or_while_it_idles() {
    let stage = Stage::new();
    let options = plain().max_connection_age(Duration::from_secs(100)).idle_connection_timeout(None);
    let server = HttpServer::new(hello).options(options);
    let (busy, idle) = (stage.connect(&server), stage.connect(&server));
    for peer in [&busy, &idle] {
        assert!(!answer(stage.exchange(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).closes());
    }
    stage.time.advance(Duration::from_secs(89));
    assert!(!answer(stage.exchange(&busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).closes());
    busy.send("GET / HTTP/1.1\r\n");
    stage.time.run_until_stalled();
    stage.time.advance(Duration::from_secs(3)); // the number of these connections is 0, so they have a tenth less
    assert!(idle.is_over(), "at 90 seconds");
    assert!(answer(stage.exchange(&busy, "Host: a\r\n\r\n")).closes());
}

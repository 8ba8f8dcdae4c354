//! Handlers that take the connection over: upgrades, tunnels, and streams as they are.

mod support;

use std::time::Duration;

use httpserver::{Exchange, Headers, HttpError, HttpMetrics, HttpServer, Response, StatusCode};
use iostream::IoStream;
use support::{Stage, answer, answers, plain};

const UPGRADE: &str =
    "GET /lines HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: lines\r\n\r\n";

/// Gives every line back in capitals, until one says "bye".
async fn lines(stream: IoStream) -> Result<(), HttpError> {
    loop {
        let line = stream.read_until_max(b"\n", 1024).await?;
        stream.write(line.to_ascii_uppercase()).await?;
        if &line[..] == b"bye\n" {
            return Ok(());
        }
    }
}

async fn upgrades(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    if exchange.path() != "/lines" {
        return exchange.send(Response::text("plain\n")).await;
    }
    let response = exchange.respond(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", "lines");
    lines(response.switch().await?).await
}

/// The head that came back and what follows it.
fn parts(bytes: &[u8]) -> (String, String) {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    (head.to_owned(), rest.to_owned())
}

#[test]
fn h1_47_an_upgrade_gives_the_stream_with_what_came_behind_the_request() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(upgrades).options(plain()));
    let (head, rest) = parts(&stage.exchange(&peer, format!("{UPGRADE}one\ntw")));
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("\r\nUpgrade: lines") && head.contains("\r\nConnection: upgrade"), "{head}");
    assert!(!head.contains("Content-Length") && !head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(rest, "ONE\n");
    assert_eq!(stage.exchange(&peer, "o\nGET / HTTP/1.1\n"), b"TWO\nGET / HTTP/1.1\n", "no HTTP any more");
    assert_eq!(stage.exchange(&peer, "bye\n"), b"BYE\n");
    stage.time.advance(Duration::from_secs(3));
    assert!(peer.is_over(), "the handler's end is the connection's");
}

#[test]
fn h1_47_the_same_byte_by_byte() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(upgrades).options(plain()));
    let mut received = Vec::new();
    for byte in format!("{UPGRADE}one\ntwo\n").bytes() {
        received.extend(stage.exchange(&peer, [byte]));
    }
    assert_eq!(parts(&received).1, "ONE\nTWO\n");
}

#[test]
fn h1_47_answers_to_earlier_requests_go_first() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(upgrades).options(plain()));
    let received = stage.exchange(&peer, format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{UPGRADE}x\n"));
    let text = String::from_utf8(received).unwrap();
    let (plain, switched) = text.split_at(text.find("HTTP/1.1 101").unwrap());
    assert_eq!(answer(plain).text(), "plain\n");
    assert!(switched.ends_with("\r\n\r\nX\n"), "{switched}");
}

#[test]
fn a_body_of_the_request_is_dropped_before_the_other_protocol_begins() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(upgrades).options(plain()));
    let request = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nbo");
    assert_eq!(stage.exchange(&peer, request), b"", "the request is not over");
    assert_eq!(parts(&stage.exchange(&peer, "dy\none\n")).1, "ONE\n");
}

#[test]
fn no_deadline_of_the_server_holds_once_the_connection_is_taken_over() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(upgrades).options(plain()));
    stage.exchange(&peer, UPGRADE);
    stage.time.advance(Duration::from_secs(100_000));
    assert_eq!(stage.exchange(&peer, "still here\n"), b"STILL HERE\n");
}

#[test]
fn a_peer_that_goes_away_ends_a_taken_over_connection_by_its_stream() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(upgrades).options(plain()));
    stage.exchange(&peer, UPGRADE);
    peer.reset();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
}

#[test]
fn hs20_what_was_not_offered_is_not_switched_to_and_the_client_is_told_what_to_offer() {
    let plain_request = "GET /lines HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let stage = Stage::new();
    let metrics = HttpMetrics::new();
    let server = HttpServer::new(upgrades).options(plain().metrics(metrics.clone()));
    for request in [
        plain_request,
        UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), // which has no upgrades
        UPGRADE.replace("keep-alive, Upgrade", "keep-alive"),
        UPGRADE.replace("Upgrade: lines", "Upgrade: h2c, line"),
    ] {
        let back = answer(stage.ask(&server, &request));
        assert_eq!((back.status, back.header("upgrade")), (426, Some("lines")), "{request}");
        assert!(
            back.header("connection").is_some_and(|options| options.contains("upgrade")),
            "{}",
            back.head
        );
        assert_eq!(back.text(), "this is for lines alone\n");
    }
    let counted = "{fault=\"peer\",reason=\"upgrade_required\"} 4\n";
    assert!(metrics.to_prometheus().contains(counted), "{}", metrics.to_prometheus());
    let peer = stage.connect(&server);
    let request = UPGRADE.replace("Upgrade: lines", "Upgrade: h2c\r\nUpgrade: other , LINES");
    assert!(parts(&stage.exchange(&peer, request)).0.starts_with("HTTP/1.1 101 "), "one of those offered");
}

#[test]
fn a_handler_may_say_something_else_to_who_does_not_offer_to_switch() {
    async fn either(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let response = exchange.respond(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", "lines");
        match response.switch().await {
            Ok(stream) => lines(stream).await,
            Err(HttpError::UpgradeRequired(_)) => exchange.send(Response::text("a page\n")).await,
            Err(error) => Err(error),
        }
    }
    let stage = Stage::new();
    let back =
        answer(stage.ask(&HttpServer::new(either).options(plain()), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((back.status, back.text(), back.closes()), (200, "a page\n", false));
}

#[test]
fn a_101_that_names_no_protocol_is_the_handlers_mistake() {
    async fn mute(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        lines(exchange.respond(StatusCode::SWITCHING_PROTOCOLS).switch().await?).await
    }
    let stage = Stage::new();
    assert_eq!(answer(stage.ask(&HttpServer::new(mute).options(plain()), UPGRADE)).status, 500);
}

#[test]
fn a_status_that_does_not_switch_takes_nothing_over() {
    async fn confused(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let switched = exchange.respond(StatusCode::OK).switch().await;
        assert!(switched.is_err());
        exchange.send(Response::text("after all\n")).await
    }
    let stage = Stage::new();
    let back = answer(stage.ask(&HttpServer::new(confused).options(plain()), UPGRADE));
    assert_eq!(back.text(), "after all\n");
}

#[test]
fn hs19_connect_becomes_a_tunnel() {
    async fn tunnel(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        assert_eq!(exchange.uri(), "example.org:443");
        lines(exchange.respond(StatusCode::OK).switch().await?).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(tunnel).options(plain()));
    let request = "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\nhello\n";
    let (head, rest) = parts(&stage.exchange(&peer, request));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.contains("Content-Length") && !head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(rest, "HELLO\n");
}

#[test]
fn a_handler_that_answers_all_methods_alike_opens_no_tunnel() {
    async fn streams(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.write("hello").await?;
        response.finish().await
    }
    fn refuses<M: 'static>(server: HttpServer<impl httpserver::Handler<M>, M>) {
        let stage = Stage::new();
        let peer = stage.connect(&server.options(plain()));
        let back =
            stage.exchange(&peer, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        let (head, rest) = parts(&back);
        assert!(head.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{head}");
        assert_eq!(rest, "tunnels are not supported\n");
        assert!(peer.is_shut());
    }
    refuses(HttpServer::new(async |_: httpserver::Request| "hello"));
    refuses(HttpServer::new(streams));
    refuses(HttpServer::new(|exchange: &mut Exchange<'_>| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        exchange.finish();
    }));
}

#[test]
fn h1_47_detach_gives_the_stream_without_an_answer() {
    async fn detaches(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let stream = exchange.detach().await?;
        stream.write("your turn\n").await?;
        lines(stream).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(detaches).options(plain()));
    assert_eq!(stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\nbye\n"), b"your turn\nBYE\n");
    stage.time.advance(Duration::from_secs(3));
    assert!(peer.is_over());
}

#[test]
fn a_handler_that_panics_on_a_taken_over_connection_ends_it_without_a_word() {
    async fn panics(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let _stream = exchange.detach().await?;
        panic!("on purpose");
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(panics).options(plain()));
    assert_eq!(stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
    assert!(peer.is_over());
}

#[test]
fn early_hints_go_before_the_response_and_not_to_http_1_0() {
    async fn hints(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut link = Headers::new();
        link.add("Link", "</style.css>; rel=preload")?;
        exchange.inform(StatusCode::EARLY_HINTS, &link)?;
        ioloop::sleep(Duration::from_secs(1)).await;
        exchange.send(Response::text("page\n")).await
    }
    let stage = Stage::new();
    let server = HttpServer::new(hints).options(plain());
    let peer = stage.connect(&server);
    let early = stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(early, b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
    stage.time.advance(Duration::from_secs(1));
    assert_eq!(answer(peer.received()).text(), "page\n");

    let old = stage.connect(&server);
    old.send("GET / HTTP/1.0\r\n\r\n");
    stage.time.advance(Duration::from_secs(1));
    assert_eq!(answers(old.received()).len(), 1);
}

#[test]
fn trailers_come_and_go_behind_chunked_bodies() {
    async fn sums(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        assert!(exchange.body().trailers().is_none(), "not before the end");
        let body = exchange.body().bytes().await?;
        let asked = exchange.body().trailers();
        let mut trailers = Headers::new();
        trailers.add(
            "X-Sum",
            asked.and_then(|fields| fields.get("x-sum").map(<[u8]>::to_vec)).unwrap_or_default(),
        )?;
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.write(body).await?;
        response.finish_with(&trailers).await
    }
    let stage = Stage::new();
    let server = HttpServer::new(sums).options(plain());
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n";
    let back = stage.ask(&server, request);
    assert!(back.ends_with(b"\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n"), "{}", back.escape_ascii());
}

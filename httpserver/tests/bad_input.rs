//! What malformed requests get back (CONTRACT §12): each its status, `Connection: close`, and the end of the connection, over a
//! scripted transport and over real sockets, while a valid connection beside them is unharmed.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use httpserver::{Exchange, HttpError, HttpOptions, HttpServer, Request, Response, StatusCode};
use support::{AT_MOST, Running, Stage, answer, answers, plain, unhurried};

const HOST: &str = "Host: example.org\r\n";

/// A head beyond the limit of 64 KiB, in fields that are each harmless.
fn large_head() -> Vec<u8> {
    let field = format!("X-Filler: {}\r\n", "x".repeat(1_000));
    format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", field.repeat(70)).into_bytes()
}

/// Name, request, and the status it must get.
fn table() -> Vec<(&'static str, Vec<u8>, u16)> {
    let chunked = |body: &str| {
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
    };
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n").into_bytes();
    let post = |fields: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\nhello").into_bytes();
    let raw = |text: &str| text.as_bytes().to_vec();
    vec![
        ("row 1, test_malformed_first_line: garbage", raw("asdf\r\n\r\n"), 400),
        ("row 1: a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        ("row 1: no version", raw("GET /\r\n\r\n"), 400),
        ("row 1: two blanks", raw("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("row 1, test_invalid_methods", raw("QU[O]TE / HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("row 1: a target that is none", raw("GET foo HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("row 1: bare line feeds", raw("GET / HTTP/1.1\nHost: a\n\n"), 400),
        ("row 2: HTTP/2.0", raw("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505),
        ("row 2: the preface of HTTP/2", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505),
        ("row 2: HTTP/0.9", raw("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), 505),
        ("row 3: too many empty lines", raw("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("row 4: head too large", large_head(), 431),
        (
            "row 4: line too long",
            format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(9_000)).into_bytes(),
            414,
        ),
        ("row 5: too many fields", get(&"X: y\r\n".repeat(100)), 431),
        ("row 6, test_malformed_headers: no colon", get("f\r\n"), 400),
        ("row 7: blank before the colon", get("X : y\r\n"), 400),
        ("row 7: no name", get(": y\r\n"), 400),
        ("row 8: NUL", get("X: a\0b\r\n"), 400),
        ("row 8: bare CR", get("X: a\rb\r\n"), 400),
        ("row 9: a folded line", get("X: a\r\n b\r\n"), 400),
        ("row 10: no Host", raw("GET / HTTP/1.1\r\n\r\n"), 400),
        ("row 11: two Hosts", get("Host: example.org\r\n"), 400),
        ("row 11: a list of Hosts", raw("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400),
        ("row 11: Host with a path", raw("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400),
        (
            "row 11, test_invalid_host_header_with_whitespace",
            raw("GET / HTTP/1.1\r\nHost: foo bar\r\n\r\n"),
            400,
        ),
        ("row 12, test_invalid_content_length: foo", post("Content-Length: foo\r\n"), 400),
        ("row 12: length -1", post("Content-Length: -1\r\n"), 400),
        ("row 12, test_invalid_content_length: +10", post("Content-Length: +10\r\n"), 400),
        ("row 12, test_invalid_content_length: 1_0", post("Content-Length: 1_0\r\n"), 400),
        ("row 12: no length", post("Content-Length:\r\n"), 400),
        ("row 14: two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        ("row 15: length beyond the limit", post("Content-Length: 1001\r\n"), 413),
        ("row 15: length beyond 64 bits", post("Content-Length: 99999999999999999999\r\n"), 413),
        (
            "row 16, test_chunked_request_body_transfer_encoding_and_content_length",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (
            "row 17, test_chunked_request_body_unsupported_transfer_encoding",
            post("Transfer-Encoding: gzip\r\n"),
            400,
        ),
        ("row 17: a coding before chunked", post("Transfer-Encoding: gzip, chunked\r\n"), 501),
        (
            "row 17, test_chunked_request_body_duplicate_header",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        ("row 17: a coding that is no token", post("Transfer-Encoding: \u{a0}chunked\r\n"), 400),
        ("row 18: a size that is none", chunked("zz\r\n"), 400),
        ("row 18, test_chunked_request_body_invalid_size", chunked("1_a\r\n"), 400),
        ("row 19: a chunk line too long", chunked(&format!("5;{}\r\n", "x".repeat(300))), 400),
        ("row 21: chunk data too long", chunked("2\r\nabc\r\n0\r\n\r\n"), 400),
        ("row 22: a forbidden trailer", chunked("0\r\nContent-Length: 5\r\n\r\n"), 400),
        ("row 22: too many trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(40))), 431),
        (
            "row 23: chunks beyond the limit",
            chunked(&format!("3e8\r\n{}\r\n1\r\nx\r\n", "x".repeat(1_000))),
            413,
        ),
        ("row 24: bare line feeds in chunks", chunked("5\nhello\n0\n\n"), 400),
        ("row 27: another expectation", post("Content-Length: 5\r\nExpect: 200-ok\r\n"), 417),
    ]
}

fn limited() -> HttpOptions {
    plain().max_body_size(1_000)
}

async fn echo(request: Request) -> Response {
    Response::bytes(request.body().clone())
}

#[test]
fn section_12_each_malformed_request_gets_its_status_and_the_connection_ends() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    let witness = stage.connect(&server);
    for (name, bytes, status) in table() {
        let peer = stage.connect(&server);
        let back = answer(stage.exchange(&peer, bytes));
        assert_eq!((back.status, back.closes()), (status, true), "{name}");
        assert_eq!(back.header("content-length"), Some(back.body.len().to_string().as_str()), "{name}");
        assert!(peer.is_shut(), "{name}: our side must end");
        peer.finish();
        stage.time.run_until_stalled();
        assert!(peer.is_over(), "{name}: the connection must end");
        let other = stage.exchange(&witness, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(answer(other).text(), "ok", "{name}: others are unharmed");
    }
    assert_eq!(iostream::leased_blocks(), 0);
}

#[test]
fn section_12_the_same_byte_by_byte() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    for (name, bytes, status) in table() {
        let peer = stage.connect(&server);
        peer.send_in_segments(bytes, 1);
        peer.set_largest_read(Some(1));
        stage.time.run_until_stalled();
        assert_eq!(answer(peer.received()).status, status, "{name}");
    }
}

#[test]
fn section_12_the_same_over_real_sockets() {
    let running = Running::start(|| HttpServer::new(echo).options(unhurried(limited())));
    let connect = || {
        let socket = TcpStream::connect(running.address()).unwrap();
        socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
        socket
    };
    let mut witness = connect();
    for (name, bytes, status) in table() {
        let mut socket = connect();
        socket.write_all(&bytes).unwrap();
        let mut back = Vec::new();
        socket.read_to_end(&mut back).unwrap_or_else(|error| panic!("{name}: {error}"));
        let back = answer(back);
        assert_eq!((back.status, back.closes()), (status, true), "{name}");
        witness.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let mut other = [0; 400];
        let n = witness.read(&mut other).unwrap();
        assert_eq!(answer(&other[..n]).text(), "ok", "{name}: others are unharmed");
    }
}

#[test]
fn rows_3_13_20_22_what_is_odd_but_harmless_is_served() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (name, request, body) in [
        ("row 3: a few empty lines", format!("\r\n\r\n{head}Content-Length: 2\r\n\r\nok"), "ok"),
        (
            "row 13: the same length twice",
            format!("{head}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
            "ok",
        ),
        (
            "rows 20 and 22, test_chunked_request_body_uppercase: extensions and trailers",
            format!("{head}Transfer-Encoding: CHUNKED\r\n\r\n2;a=\"b\";c\r\nok\r\n0;d\r\nX-Sum: 1\r\n\r\n"),
            "ok",
        ),
        ("an empty body", format!("{head}\r\n"), ""),
        (
            "a body at the limit",
            format!("{head}Content-Length: 1000\r\n\r\n{}", "x".repeat(1_000)),
            &"x".repeat(1_000),
        ),
    ] {
        let back = answer(stage.ask(&server, request));
        assert_eq!((back.status, back.text(), back.closes()), (200, body, false), "{name}");
    }
}

#[test]
fn row_1_an_answer_says_what_was_wrong_and_nothing_of_the_request() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(plain());
    let back = answer(stage.ask(&server, "GET /<script> HTTP/1.1\r\nHost: <script>\r\n\r\n"));
    assert_eq!(back.text(), "invalid Host\n");
}

#[test]
fn requests_before_a_malformed_one_are_answered_and_those_behind_it_are_not() {
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(plain());
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let back = answers(stage.ask(&server, format!("{good}{good}nonsense\r\n\r\n{good}")));
    assert_eq!(back.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 400]);
}

#[test]
fn row_34_a_handler_that_fails_before_writing_is_a_500() {
    async fn fails(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        Err(HttpError::handler("secret detail"))
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(fails).options(plain()));
    let back = answer(stage.exchange(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((back.status, back.closes()), (500, true));
    assert!(!back.text().contains("secret"), "the words are for the log");
    peer.finish();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
}

#[test]
fn row_35_an_input_error_after_the_response_began_only_ends_the_connection() {
    async fn echo(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        while let Some(chunk) = exchange.body().chunk().await? {
            response.write(chunk).await?;
            response.flush().await?;
        }
        response.finish().await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(echo).options(plain()));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begun = stage.exchange(&peer, format!("{head}5\r\nhello\r\n"));
    assert!(begun.ends_with(b"\r\n\r\n5\r\nhello\r\n"), "{}", begun.escape_ascii());
    let rest = stage.exchange(&peer, "nonsense\r\n");
    assert_eq!(rest, b"", "neither an error nor the last chunk");
    peer.finish(); // it was still talking, so it is heard out
    stage.time.run_until_stalled();
    assert!(peer.is_over());
}

#[test]
fn row_35_a_body_that_is_bad_from_the_start_is_refused_though_the_handler_has_started_its_response() {
    async fn echo(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        while let Some(chunk) = exchange.body().chunk().await? {
            response.write(chunk).await?;
        }
        response.finish().await
    }
    let stage = Stage::new();
    let server = HttpServer::new(echo).options(limited());
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let bad = stage.ask(&server, format!("{head}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"));
    assert_eq!(answer(bad).status, 400);
    assert_eq!(answer(stage.ask(&server, format!("{head}Content-Length: 1001\r\n\r\n"))).status, 413);
}

#[test]
fn a_handler_that_hides_what_was_wrong_with_the_body_does_not_hide_it_from_the_peer() {
    async fn hides(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.body().bytes().await.map_err(HttpError::handler)?;
        exchange.send(Response::text("fine")).await
    }
    async fn ignores(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let _ = exchange.body().bytes().await;
        let _ = exchange.send(Response::text("fine")).await;
        Ok(())
    }
    async fn never_looks(_: &mut Exchange<'_>) -> Result<(), HttpError> {
        Err(HttpError::handler("not today"))
    }
    let stage = Stage::new();
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let malformed = format!("{head}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    let too_large = format!("{head}Content-Length: 1001\r\n\r\n");
    let hides = HttpServer::new(hides).options(limited());
    assert_eq!(answer(stage.ask(&hides, &malformed)).status, 400);
    assert_eq!(answer(stage.ask(&hides, &too_large)).status, 413);
    let ignores = HttpServer::new(ignores).options(limited());
    assert_eq!(answer(stage.ask(&ignores, &malformed)).status, 400);
    let never_looks = HttpServer::new(never_looks).options(limited());
    assert_eq!(answer(stage.ask(&never_looks, &too_large)).status, 413);
}

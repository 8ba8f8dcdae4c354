//! The three shapes of a handler, as functions and as closures, and what they are given.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpServer, Request, Response, StatusCode};
use support::{Stage, answer, plain};

const GET: &str = "GET /story?a=b HTTP/1.1\r\nHost: example.org:80\r\nX-Word: yes\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

fn classic(request: &mut Exchange<'_>) {
    let message = format!("You requested {}\n", request.uri());
    request.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{message}", message.len()));
    request.finish();
}

async fn whole(request: Request) -> Response {
    Response::text(format!("You requested {}\n", request.uri()))
}

async fn streaming(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let message = format!("You requested {}\n", exchange.uri());
    let mut response = exchange.respond(StatusCode::OK).start().await?;
    response.write(message).await?;
    response.finish().await
}

/// What `handler` answers to `request`, and whether the connection goes on.
macro_rules! ask {
    ($handler:expr, $request:expr) => {{
        let stage = Stage::new();
        let peer = stage.connect(&HttpServer::new($handler).options(plain()));
        let back = stage.exchange(&peer, $request);
        (back, !peer.is_over() && !peer.is_shut())
    }};
}

#[test]
fn hs2_the_three_shapes_as_functions_and_as_closures_answer_alike() {
    let of = |(bytes, goes_on): (Vec<u8>, bool)| (answer(bytes).text().to_owned(), goes_on);
    let expected = || ("You requested /story?a=b\n".to_owned(), true);
    assert_eq!(of(ask!(classic, GET)), expected());
    assert_eq!(of(ask!(whole, GET)), expected());
    assert_eq!(of(ask!(streaming, GET)), expected());
    assert_eq!(of(ask!(|request: &mut Exchange<'_>| classic(request), GET)), expected());
    let word = "You requested".to_owned();
    let closure = async move |request: Request| Response::text(format!("{word} {}\n", request.uri()));
    assert_eq!(of(ask!(closure, GET)), expected());
    let older =
        |request: Request| async move { Response::text(format!("You requested {}\n", request.uri())) };
    assert_eq!(of(ask!(older, GET)), expected());
    let closure = async |exchange: &mut Exchange<'_>| {
        let message = format!("You requested {}\n", exchange.uri());
        exchange.respond(StatusCode::OK).send(message).await
    };
    assert_eq!(of(ask!(closure, GET)), expected());
}

#[test]
fn hu15_hu16_hu22_a_request_says_what_was_asked() {
    async fn tell(request: Request) -> String {
        assert_eq!(request.headers().get("x-word"), Some(&b"yes"[..]));
        assert!(!format!("{request:?}").contains("yes"), "hu25: no headers in logs");
        let (query, host) = (request.query().unwrap_or("none"), request.host().unwrap_or("none"));
        let (method, path, ip) = (request.method(), request.path(), request.remote_ip());
        format!("{method} {path} {query} {host} {:?} {ip:?}", request.version())
    }
    let (back, _) = ask!(tell, GET);
    assert_eq!(answer(back).text(), "GET /story a=b example.org:80 HTTP/1.1 Some(192.0.2.1)");
}

#[test]
fn what_a_handler_may_return() {
    async fn text(_: Request) -> &'static str {
        "text"
    }
    async fn nothing(_: Request) {}
    async fn status(_: Request) -> StatusCode {
        StatusCode::NOT_FOUND
    }
    async fn pair(_: Request) -> (StatusCode, Vec<u8>) {
        (StatusCode::CREATED, vec![1])
    }
    async fn fails(_: Request) -> Result<Response, HttpError> {
        Ok(Response::text("x").header("bad name", "y")?)
    }
    async fn explains(_: Request) -> Result<&'static str, (StatusCode, &'static str)> {
        Err((StatusCode::CONFLICT, "taken"))
    }
    let statuses = [
        ask!(text, GET),
        ask!(nothing, GET),
        ask!(status, GET),
        ask!(pair, GET),
        ask!(fails, GET),
        ask!(explains, GET),
    ]
    .map(|(bytes, goes_on)| (answer(bytes).status, goes_on));
    assert_eq!(statuses, [(200, true), (204, true), (404, true), (201, true), (500, true), (409, true)]);
}

#[test]
fn requests_may_outlive_their_connection() {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&kept);
    let server = HttpServer::new(move |request: Request| {
        keep.borrow_mut().push(request);
        async { "kept" }
    })
    .options(plain());
    let stage = Stage::new();
    for number in 0..3 {
        let peer = stage.connect(&server);
        stage.exchange(&peer, format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        peer.reset();
        stage.time.run_until_stalled();
    }
    let paths: Vec<_> = kept.borrow().iter().map(|request| request.path().to_owned()).collect();
    assert_eq!(paths, ["/0", "/1", "/2"]);
}

#[test]
fn flush_sends_the_head_before_there_is_a_body() {
    async fn events(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.flush().await?;
        for _ in 0..2 {
            ioloop::sleep(Duration::from_secs(1)).await;
            response.write("tick").await?;
        }
        response.finish().await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(events).options(plain()));
    let head = stage.exchange(&peer, POST);
    assert!(head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
    stage.time.advance(Duration::from_secs(1));
    assert_eq!(peer.received(), b"4\r\ntick\r\n");
    stage.time.advance(Duration::from_secs(1));
    assert_eq!(peer.received(), b"4\r\ntick\r\n0\r\n\r\n");
}

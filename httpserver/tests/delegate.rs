//! Tornado's push interface: what a delegate is told, in which order, and how it answers.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use httpserver::{
    ConnectionContext, Exchange, Headers, HttpError, HttpMessageDelegate, HttpServer,
    HttpServerConnectionDelegate, Response, StatusCode,
};
use support::{Peer, Stage, answer, answers, plain};

type Told = Rc<RefCell<Vec<String>>>;

/// Notes what it is told; what it does beside that depends on the path.
#[derive(Clone, Default)]
struct Recorder {
    told: Told,
}

struct Message {
    told: Told,
}

impl HttpServerConnectionDelegate for Recorder {
    type Message = Message;

    fn start_request(&self, _: &ConnectionContext) -> Message {
        self.told.borrow_mut().push("start".to_owned());
        Message { told: Rc::clone(&self.told) }
    }

    fn on_close(&self, connection: &ConnectionContext) {
        self.told.borrow_mut().push(format!("close {}", connection.peer_addr()));
    }
}

impl Message {
    fn note(&self, what: impl Into<String>) {
        self.told.borrow_mut().push(what.into());
    }
}

impl HttpMessageDelegate for Message {
    async fn headers_received(&mut self, request: &mut Exchange<'_>) -> Result<(), HttpError> {
        self.note(format!("head {}", request.path()));
        match request.path() {
            "/early" => request.send(Response::text("no thanks")).await,
            "/refused" => Err(HttpError::handler("no")),
            "/large" => {
                request.set_max_body_size(1_000_000);
                Ok(())
            }
            "/detach" => {
                request.detach().await?.write("raw").await?;
                Ok(())
            }
            "/begins" => {
                request.write_headers(StatusCode::CREATED, &Headers::new());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn data_received(&mut self, request: &mut Exchange<'_>, chunk: Bytes) -> Result<(), HttpError> {
        self.note(format!("data {}", chunk.len()));
        match request.path() {
            "/slow" => ioloop::sleep(Duration::from_secs(1)).await,
            "/fails" => return Err(HttpError::handler("no")),
            "/enough" => request.send(Response::text("enough")).await?,
            "/begins" => {
                request.write(chunk);
                request.flush().await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn finish(&mut self, request: &mut Exchange<'_>) -> Result<(), HttpError> {
        self.note("finish");
        match request.path() {
            "/begins" => request.finish(),
            "/silent" => {}
            "/never" => std::future::pending().await,
            _ => request.send(Response::text("done")).await?,
        }
        Ok(())
    }

    fn on_connection_close(&mut self) {
        self.note("gone");
    }
}

fn scene() -> (Stage, Peer, Told) {
    let (stage, recorder) = (Stage::new(), Recorder::default());
    let told = Rc::clone(&recorder.told);
    let peer = stage.connect(&HttpServer::new(recorder).options(plain().max_body_size(100_000)));
    (stage, peer, told)
}

/// A POST whose body has so many bytes, of which some are sent.
fn post(path: &str, announced: usize, sent: usize) -> Vec<u8> {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {announced}\r\n\r\n").into_bytes();
    request.resize(request.len() + sent, b'x');
    request
}

/// What was told since this was last asked.
fn since(told: &Told) -> Vec<String> {
    std::mem::take(&mut *told.borrow_mut())
}

#[test]
fn hu39_hs15_each_request_has_a_delegate_and_the_connections_end_is_told_once() {
    let (stage, peer, told) = scene();
    let back = answers(stage.exchange(&peer, post("/a", 3, 3).repeat(2)));
    assert_eq!((back.len(), back[1].text()), (2, "done"));
    let one = ["start", "head /a", "data 3", "finish"];
    assert_eq!(since(&told), [one, one].concat());
    peer.finish();
    stage.time.run_until_stalled();
    assert_eq!(since(&told), ["close 192.0.2.1:4711"]);
}

#[test]
fn hu40_finish_or_on_connection_close_is_told_and_never_both() {
    let whole = |path| post(path, 3, 3);
    let cases: [(&str, Vec<u8>, u16, &[&str]); 8] = [
        ("complete", whole("/a"), 200, &["head /a", "data 3", "finish"]),
        ("without a body", post("/a", 0, 0), 200, &["head /a", "finish"]),
        ("answered at once", post("/early", 90_000, 10), 200, &["head /early", "gone"]),
        ("answered on the way", post("/enough", 90_000, 10), 200, &["head /enough", "data 10", "gone"]),
        ("refused", whole("/refused"), 500, &["head /refused", "gone"]),
        ("failed", whole("/fails"), 500, &["head /fails", "data 3", "gone"]),
        ("too large", post("/a", 100_001, 0), 413, &["head /a", "gone"]),
        ("silent", whole("/silent"), 500, &["head /silent", "data 3", "finish"]),
    ];
    for (case, request, status, expected) in cases {
        let (stage, peer, told) = scene();
        let back = answer(stage.exchange(&peer, request));
        let told = since(&told);
        assert_eq!(back.status, status, "{case}");
        assert_eq!(told[1..=expected.len()], *expected, "{case}");
    }
    // A limit of its own, as in Tornado.
    let (stage, peer, told) = scene();
    assert_eq!(answer(stage.exchange(&peer, post("/large", 200_000, 200_000))).status, 200);
    assert_eq!(since(&told).last().map(String::as_str), Some("finish"));
}

#[test]
fn hu40_a_client_that_leaves_is_told_wherever_the_delegate_waits() {
    for (request, expected) in [
        (post("/a", 9, 3), &["start", "head /a", "data 3", "gone", "close 192.0.2.1:4711"][..]),
        (post("/slow", 9, 3), &["start", "head /slow", "data 3", "gone", "close 192.0.2.1:4711"]),
        (post("/never", 3, 3), &["start", "head /never", "data 3", "finish", "close 192.0.2.1:4711"]),
    ] {
        let (stage, peer, told) = scene();
        stage.exchange(&peer, request);
        peer.reset();
        stage.time.run_until_stalled();
        assert_eq!(since(&told), expected);
    }
    let (stage, peer, told) = scene();
    assert!(stage.exchange(&peer, post("/detach", 0, 0)).ends_with(b"raw"));
    peer.finish();
    stage.time.run_until_stalled();
    assert_eq!(
        since(&told),
        ["start", "head /detach", "close 192.0.2.1:4711"],
        "the rest is the delegate's affair"
    );
}

#[test]
fn hu40_nothing_more_is_read_while_data_received_is_at_work() {
    let (stage, peer, told) = scene();
    peer.send_in_segments(post("/slow", 90_000, 90_000), 30_000);
    stage.time.run_until_stalled();
    let reads = peer.calls().reads;
    assert_eq!(since(&told).len(), 3, "start, head and one piece");
    stage.time.advance(Duration::from_millis(900));
    assert_eq!(peer.calls().reads, reads);
    stage.time.advance(Duration::from_secs(5));
    assert_eq!(answer(peer.received()).text(), "done");
}

#[test]
fn hu41_h1_39_a_response_is_written_while_the_request_comes() {
    let (stage, peer, _) = scene();
    let request = post("/begins", 6, 0);
    assert_eq!(stage.exchange(&peer, &request), b"", "the head waits for the first piece");
    let first = stage.exchange(&peer, "abc");
    assert!(first.starts_with(b"HTTP/1.1 201 Created\r\n") && first.ends_with(b"\r\n3\r\nabc\r\n"));
    let rest = stage.exchange(&peer, "def");
    let back = answers([first, rest, stage.exchange(&peer, post("/a", 0, 0))].concat());
    assert_eq!((back[0].text(), back[1].text()), ("abcdef", "done"));
    // A body that turns out bad before anything was sent is still answered as it should.
    let (stage, peer, told) = scene();
    let bad = "POST /begins HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    assert_eq!(answer(stage.exchange(&peer, bad)).status, 400);
    assert_eq!(since(&told)[..3], ["start", "head /begins", "gone"]);
}

#[test]
fn hu41_a_head_is_written_once_and_before_anything_else() {
    async fn wrong(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        match exchange.path() {
            "/twice" => exchange.write_headers(StatusCode::OK, &Headers::new()),
            "/bad" => {
                let headers = Headers::from_pairs([("Transfer-Encoding", "gzip")])?;
                exchange.write_headers(StatusCode::OK, &headers);
                return exchange.flush().await;
            }
            _ => exchange.write("HTTP/1.1 200"),
        }
        exchange.write_headers(StatusCode::OK, &Headers::new());
        exchange.flush().await
    }
    let stage = Stage::new();
    let server = HttpServer::new(wrong).options(plain());
    let get = |path: &str| stage.ask(&server, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((answer(get("/bad")).status, answer(get("/raw")).status), (500, 500));
    let twice = get("/twice");
    assert!(twice.starts_with(b"HTTP/1.1 200 OK\r\n") && twice.ends_with(b"\r\n\r\n"), "no end of the body");
}

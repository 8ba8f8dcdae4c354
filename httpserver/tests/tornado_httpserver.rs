//! What Tornado's `httpserver_test` tries, under its names, as far as it is not in `keep_alive`, `bad_input`, `bodies`, `proxies`, `classic` or
//! `end_to_end`; and clauses of the contract that no other file holds.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpServer, Request, Response, StatusCode, StreamOptions};
use support::{AT_MOST, Answer, Running, Stage, answer, answers, answers_with, plain, unhurried};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

fn chunked(pieces: &[&str]) -> String {
    let pieces: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n")
}

/// What `tell` says of a request.
fn told(request: impl AsRef<[u8]>, tell: impl Fn(&Request) -> String + 'static) -> Answer {
    let server = HttpServer::new(move |request: Request| {
        let text = tell(&request);
        async { Response::text(text) }
    });
    answer(Stage::new().ask(&server.options(plain()), request))
}

async fn hello(_: Request) -> Response {
    Response::text("hello")
}

// HTTPServerTest

#[test]
fn test_query_string_encoding() {
    let back = told(get("/echo?foo=%C3%A9"), |it| it.query_arguments().text("foo").unwrap().to_owned());
    assert_eq!(back.text(), "é");
}

#[test]
fn test_empty_query_string() {
    let back = told(get("/echo?foo=&foo="), |it| {
        format!("{:?}", it.query_arguments().get_list("foo").collect::<Vec<_>>())
    });
    assert_eq!(back.text(), "[[], []]");
}

#[test]
fn test_empty_post_parameters() {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let back = told(post(form, "foo=&bar="), |it| {
        let arguments = it.arguments().unwrap();
        format!("{:?} {:?}", arguments.text("foo"), arguments.text("bar"))
    });
    assert_eq!(back.text(), r#"Some("") Some("")"#);
}

#[test]
fn test_post_encodings() {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (name, value) in [("foo", "a+b"), ("foo", "a%20b"), ("f%6fo", "a%20b")] {
        let back = told(post(form, &format!("{name}={value}")), |it| {
            it.form().unwrap().arguments.text("foo").unwrap().to_owned()
        });
        assert_eq!(back.text(), "a b", "{name}={value}");
    }
}

#[test]
fn test_double_slash() {
    assert_eq!(told(get("//doubleslash"), |it| it.path().to_owned()).text(), "//doubleslash");
}

// HTTPConnectionTest and HTTPServerRawTest

#[test]
fn test_multipart_form() {
    let parts = [
        "Content-Disposition: form-data; name=argument\r\n\r\n\u{e1}",
        "Content-Disposition: form-data; name=\"files\"; filename=\"\u{f3}\"\r\n\r\n\u{fa}",
    ];
    let parts: String = parts.iter().map(|part| format!("--1234567890\r\n{part}\r\n")).collect();
    let fields = "Content-Type: multipart/form-data; boundary=1234567890\r\nX-Header-encoding-test: ";
    let mut request = post("", &format!("{parts}--1234567890--")).into_bytes();
    let at = support::find(&request, b"\r\n\r\n").unwrap() + 2;
    request.splice(at..at, [fields.as_bytes(), b"\xe9\r\n"].concat());
    let back = told(request, |it| {
        let form = it.form().unwrap();
        assert_eq!(it.headers().get("x-header-encoding-test"), Some(&b"\xe9"[..]));
        let file = form.file("files").unwrap();
        format!("{:?} {:?} {:?}", form.arguments.text("argument"), file.file_name(), file.body())
    });
    assert_eq!(back.text(), "Some(\"\u{e1}\") \"\u{f3}\" b\"\\xc3\\xba\"");
}

#[test]
fn test_newlines() {
    // There, line feeds alone end lines too; RFC 9112 §2.2 allows that and nobody needs it.
    for (newline, status) in [("\r\n", 200), ("\n", 400)] {
        let back = told(["GET /hello HTTP/1.1", "Host: a", "", ""].join(newline), |_| "hello".to_owned());
        assert_eq!(back.status, status, "{newline:?}");
    }
}

#[test]
fn test_chunked_request_body() {
    for coding in ["chunked", "Chunked"] {
        let request = chunked(&["foo=", "bar"]).replace("chunked", coding);
        assert_eq!(told(request, |it| format!("{:?}", it.body())).text(), "b\"foo=bar\"", "_uppercase too");
    }
}

#[test]
fn test_keepalive_chunked_head_no_body() {
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        exchange.respond(StatusCode::OK).start().await?.finish().await
    });
    let stage = Stage::new();
    let peer = stage.connect(&server.options(plain()));
    for _ in 0..2 {
        let received = stage.exchange(&peer, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answers_with(&received, |_| true).len(), 1);
    }
    assert!(!peer.is_over());
}

// StreamingChunkSizeTest

/// Answers with the sizes of the pieces in which the body came.
async fn sizes(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut sizes = Vec::new();
    while let Some(chunk) = exchange.body().chunk().await? {
        sizes.push(chunk.len());
    }
    exchange.send(Response::text(format!("{sizes:?}"))).await
}

#[test]
fn hs4_test_regular_body() {
    let running = Running::start(|| {
        let reads = StreamOptions::new().read_chunk_size(4_096);
        HttpServer::new(sizes).options(unhurried(plain().no_keep_alive())).stream_options(reads)
    });
    let mut socket = TcpStream::connect(running.address()).unwrap();
    socket.set_read_timeout(Some(AT_MOST)).unwrap(); // only ever met by a bug
    socket.write_all(post("", &"x".repeat(20_000)).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let back = answer(bytes);
    let sizes = back.text().trim_matches(['[', ']']).split(", ").map(|size| size.parse().unwrap());
    let sizes: Vec<usize> = sizes.collect();
    assert_eq!(sizes.iter().sum::<usize>(), 20_000);
    assert!(sizes.iter().all(|size| (1..=4_096).contains(size)), "h1_13: {sizes:?}");
}

#[test]
fn test_chunked_body() {
    // There, chunks are never merged: 20 and 30 come as 16, 4, 16, 14.
    let stage = Stage::new();
    let server = HttpServer::new(sizes).options(plain());
    let back = answer(stage.ask(&server, chunked(&[&"x".repeat(20), &"x".repeat(30)])));
    assert_eq!(back.text(), "[50]", "what arrived together is one piece");
}

#[test]
fn test_invalid_output_content_length() {
    async fn bad(_: Request) -> Result<Response, HttpError> {
        Ok(Response::text("OK").header("Content-Length", "foo")?)
    }
    assert_eq!(answer(Stage::new().ask(&HttpServer::new(bad).options(plain()), GET)).status, 500);
}

// MaxHeaderSizeTest

#[test]
fn test_small_headers() {
    let server = HttpServer::new(hello).options(plain().max_header_size(1_024));
    let request = GET.replace("\r\n\r\n", &format!("\r\nX-Filler: {}\r\n\r\n", "a".repeat(100)));
    assert_eq!(answer(Stage::new().ask(&server, request)).status, 200);
}

#[test]
fn test_large_headers() {
    let server = HttpServer::new(hello).options(plain().max_header_size(1_024));
    let request = GET.replace("\r\n\r\n", &format!("\r\nX-Filler: {}\r\n\r\n", "a".repeat(1_000)));
    assert_eq!(answer(Stage::new().ask(&server, request)).status, 431);
}

// IdleTimeoutTest

#[test]
fn test_unused_connection() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain().header_timeout(SECOND)));
    stage.time.advance(SECOND);
    assert!(peer.is_over());
}

#[test]
fn test_idle_after_use() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(hello).options(plain().idle_connection_timeout(SECOND)));
    for _ in 0..2 {
        assert_eq!(answer(stage.exchange(&peer, GET)).text(), "hello");
        stage.time.advance(SECOND / 2);
    }
    stage.time.advance(SECOND / 2);
    assert!(peer.is_over());
}

// BodyLimitsTest: 4096 bytes, unless a streaming handler has it otherwise.

async fn buffered(request: Request) -> Response {
    Response::text(request.body().len().to_string())
}

/// With X-Large, raises the limit for its request.
async fn streaming(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    if exchange.headers().contains("x-large") {
        exchange.set_max_body_size(1 << 20);
    }
    let mut size = 0;
    while let Some(chunk) = exchange.body().chunk().await? {
        size += chunk.len();
    }
    exchange.send(Response::text(size.to_string())).await
}

/// Status and body that a body of `size` bytes gets, with a length and in chunks.
fn limited(is_streaming: bool, size: usize, fields: &str) -> [(u16, String); 2] {
    let body = "a".repeat(size);
    let in_chunks = chunked(&[&body[..size / 2], &body[size / 2..]]);
    let in_chunks = in_chunks.replacen("Host: a\r\n", &format!("Host: a\r\n{fields}"), 1);
    [post(fields, &body), in_chunks].map(|request| {
        let (stage, options) = (Stage::new(), plain().max_body_size(4_096));
        let bytes = match is_streaming {
            true => stage.ask(&HttpServer::new(streaming).options(options), request),
            false => stage.ask(&HttpServer::new(buffered).options(options), request),
        };
        let back = answer(bytes);
        (back.status, if back.status == 200 { back.text().to_owned() } else { String::new() })
    })
}

#[test]
fn test_small_body() {
    let served = (200, "4096".to_owned());
    for is_streaming in [false, true] {
        assert_eq!(limited(is_streaming, 4_096, ""), [served.clone(), served.clone()]);
    }
}

#[test]
fn test_large_body_buffered_and_chunked() {
    let refused = (413, String::new());
    assert_eq!(limited(false, 10_240, ""), [refused.clone(), refused]);
}

#[test]
fn test_large_body_streaming_and_chunked() {
    let refused = (413, String::new());
    assert_eq!(limited(true, 10_240, ""), [refused.clone(), refused]);
}

#[test]
fn test_large_body_streaming_override_and_chunked() {
    let served = (200, "10240".to_owned());
    assert_eq!(limited(true, 10_240, "X-Large: yes\r\n"), [served.clone(), served]);
}

#[test]
fn test_timeout() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(buffered).options(plain().body_timeout(SECOND)));
    peer.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 42\r\n\r\n");
    stage.time.advance(2 * SECOND);
    assert_eq!(answer(peer.received()).status, 408, "there, nothing is said");
}

#[test]
fn test_body_size_override_reset() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(streaming).options(plain().max_body_size(4_096)));
    let body = "a".repeat(10_240);
    assert_eq!(answer(stage.exchange(&peer, post("X-Large: yes\r\n", &body))).text(), "10240");
    assert_eq!(answer(stage.exchange(&peer, post("", &body))).status, 413, "the limit held for one request");
}

// Clauses that no other file holds.

#[test]
fn h1_3_h1_42_bytes_beyond_ascii_come_in_and_go_out_as_they_are() {
    async fn back(request: Request) -> Result<Response, HttpError> {
        let word = request.headers().get("x-word").unwrap().to_vec();
        Ok(Response::text("").header("X-Word", word)?)
    }
    let server = HttpServer::new(back).options(plain());
    let bytes = Stage::new().ask(&server, b"GET / HTTP/1.1\r\nHost: a\r\nX-Word: caf\xe9\r\n\r\n");
    assert!(support::find(&bytes, b"X-Word: caf\xe9\r\n").is_some(), "{}", bytes.escape_ascii());
}

#[test]
fn h1_5_each_head_has_its_time_to_itself_and_a_body_does_not_use_it_up() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(buffered).options(plain().header_timeout(2 * SECOND)));
    for _ in 0..3 {
        peer.send("POST / HTTP/1.1\r\nHost: a\r\n");
        stage.time.advance(SECOND);
        peer.send("Content-Length: 4\r\n\r\n");
        for byte in ["b", "o", "d", "y"] {
            stage.time.advance(SECOND);
            peer.send(byte);
        }
        stage.time.run_until_stalled();
        assert_eq!(answer(peer.received()).text(), "4");
    }
}

#[test]
fn hu20_no_handler_sees_a_request_whose_host_is_bad() {
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        count.set(count.get() + 1);
        exchange.send(Response::text("")).await
    })
    .options(plain());
    for host in ["", "Host: a b\r\n", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n"] {
        let back = answer(Stage::new().ask(&server, format!("GET / HTTP/1.1\r\n{host}\r\n")));
        assert_eq!((back.status, asked.get()), (400, 0), "{host}");
    }
}

#[test]
fn h1_6_h1_31_who_leaves_is_cleaned_up_wherever_it_was() {
    let begun = Rc::new(Cell::new(0));
    let count = Rc::clone(&begun);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        count.set(count.get() + 1);
        exchange.body().bytes().await?;
        exchange.send(Response::bytes(vec![b'x'; 1 << 20])).await
    })
    .options(plain());
    let stage = Stage::new();
    let request = post("", "hello");
    for sent in 0..=request.len() {
        let peer = stage.connect(&server);
        peer.set_room(Some(1_000));
        stage.exchange(&peer, &request[..sent]);
        peer.reset();
        stage.time.run_until_stalled();
        assert!(peer.is_over(), "after {sent} bytes");
    }
    assert_eq!(begun.get(), 6, "for none but those whose head was whole");
    assert_eq!(iostream::leased_blocks(), 0);
}

#[test]
fn h1_8_head_continue_body_answer_and_then_the_next_request() {
    let steps = Rc::new(std::cell::RefCell::new(Vec::new()));
    let note = Rc::clone(&steps);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        note.borrow_mut().push(format!("head {}", exchange.method()));
        let body = exchange.body().bytes().await?;
        note.borrow_mut().push(format!("body {}", body.len()));
        exchange.send(Response::bytes(body)).await?;
        note.borrow_mut().push("sent".to_owned());
        Ok::<(), HttpError>(())
    })
    .options(plain());
    let stage = Stage::new();
    let peer = stage.connect(&server);
    let head = post("Expect: 100-continue\r\n", "hello");
    let asked = stage.exchange(&peer, &head[..head.len() - 5]);
    assert_eq!(asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(answers(stage.exchange(&peer, format!("hello{GET}"))).len(), 2);
    assert_eq!(*steps.borrow(), ["head POST", "body 5", "sent", "head GET", "body 0", "sent"]);
}

#[test]
fn h1_32_h1_33_whatever_the_version_the_status_line_says_1_1_and_the_framing_is_one_the_peer_knows() {
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).start().await?;
        response.write("x").await?;
        response.finish().await
    })
    .options(plain());
    for (version, framing) in [("1.1", Some("chunked")), ("1.0", None)] {
        let bytes = Stage::new().ask(&server, format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
        assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "{version}");
        assert_eq!(answer(bytes).header("transfer-encoding"), framing, "{version}");
    }
}

#[test]
fn h1_35_the_application_does_not_frame_by_itself() {
    async fn both(_: Request) -> Result<Response, HttpError> {
        Ok(Response::text("OK").header("Content-Length", "2")?.header("Transfer-Encoding", "chunked")?)
    }
    assert_eq!(answer(Stage::new().ask(&HttpServer::new(both).options(plain()), GET)).status, 500);
}

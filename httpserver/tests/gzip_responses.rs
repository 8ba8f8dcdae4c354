//! Responses that are compressed for clients who accept it, and everything around it that has to be right.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use flate2::read::GzDecoder;
use httpserver::{
    Compression, Exchange, Headers, HttpError, HttpServer, IntoResponse, Request, Response, StaticFile,
    StatusCode,
};
use support::{Answer, Stage, answer, answers, answers_with, plain};

const LINE: &str = "All work and no play makes Jack a dull boy.\n";

fn request(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n")
}

fn decoded(answer: &Answer) -> String {
    assert_eq!(answer.header("content-encoding"), Some("gzip"), "{}", answer.head);
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    text
}

/// Answers as the path says.
async fn serve(request: Request) -> Result<Response, HttpError> {
    let text = Response::text(LINE.repeat(100));
    Ok(match request.path() {
        "/tagged" => text.header("ETag", "\"a\"")?,
        "/weak" => text.header("ETag", "W/\"a\"")?,
        "/varies" => text.header("Vary", "Cookie")?.header("Accept-Ranges", "bytes")?,
        "/varies-so" => text.header("Vary", "Cookie, accept-encoding")?,
        "/varies-all" => text.header("Vary", "*")?,
        "/length" => {
            let length = (100 * LINE.len()).to_string();
            text.header("Content-Length", length)?
        }
        "/told" if *request.method() == "HEAD" => Response::text("").header("Content-Length", "4400")?,
        "/wrong-length" => text.header("Content-Length", "5000")?,
        "/small" => Response::text(LINE.repeat(100)[..1023].to_owned()),
        "/large" => Response::text(LINE.repeat(10_000)),
        "/error" => text.status(StatusCode::NOT_FOUND),
        "/image" => text.content_type("image/png"),
        "/untyped" => Response::new(StatusCode::OK).body(LINE.repeat(100)),
        "/encoded" => text.header("Content-Encoding", "br")?,
        "/part" => text.status(StatusCode::PARTIAL_CONTENT).header("Content-Range", "bytes 0-4399/9999")?,
        "/fixed" => text.header("Cache-Control", "max-age=5, No-Transform")?,
        "/not-modified" => Response::new(StatusCode::NOT_MODIFIED)
            .header("ETag", "\"a\"")?
            .header("Content-Length", "4400")?,
        "/nothing" => Response::new(StatusCode::NO_CONTENT),
        _ => text,
    })
}

/// What is answered to GET or HEAD, with these fields.
fn get(method: &str, path: &str, more: &str) -> Answer {
    let stage = Stage::new();
    let server = HttpServer::new(serve).options(plain().compress_response(Compression::new()));
    let peer = stage.connect(&server);
    let back = stage.exchange(&peer, request(method, path, more).repeat(2));
    let mut back = answers_with(&back, |_| method == "HEAD");
    assert!(back.len() == 2 && back[0] == back[1], "{path}: the connection goes on");
    back.remove(0)
}

const ACCEPTS: &str = "Accept-Encoding: gzip\r\n";

#[test]
fn a_text_is_compressed_for_who_accepts_it_and_the_others_learn_that_it_varies() {
    let back = get("GET", "/", ACCEPTS);
    assert_eq!(decoded(&back), LINE.repeat(100));
    assert_eq!(back.header("content-length"), Some(&*back.body.len().to_string()));
    assert_eq!((back.header("vary"), back.body.len() < 500), (Some("Accept-Encoding"), true));
    for refuses in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0, *\r\n"] {
        let back = get("GET", "/", refuses);
        assert_eq!((back.text(), back.header("vary")), (&*LINE.repeat(100), Some("Accept-Encoding")));
        assert_eq!(back.header("content-encoding"), None);
    }
    assert_eq!(decoded(&get("GET", "/error", ACCEPTS)), LINE.repeat(100), "whatever the status");
    assert_eq!(decoded(&get("GET", "/length", ACCEPTS)), LINE.repeat(100));
    // Without the option nothing is said of it.
    let stage = Stage::new();
    let back = answer(stage.ask(&HttpServer::new(serve).options(plain()), request("GET", "/", ACCEPTS)));
    assert_eq!((back.header("vary"), back.header("content-encoding")), (None, None));
}

#[test]
fn what_must_stay_as_it_is_does() {
    for path in ["/small", "/image", "/untyped", "/encoded", "/part", "/fixed", "/nothing"] {
        let back = get("GET", path, ACCEPTS);
        assert_eq!(back.header("vary"), None, "{path}");
        assert_ne!(back.header("content-encoding"), Some("gzip"), "{path}");
        assert!(path == "/nothing" || back.text().starts_with(LINE), "{path}");
    }
    let (stage, options) = (Stage::new(), plain().compress_response(Compression::new()));
    let server = HttpServer::new(serve).options(options);
    let back = answer(stage.ask(&server, request("GET", "/wrong-length", ACCEPTS)));
    assert_eq!(back.status, 500, "as without compression");
}

#[test]
fn the_fields_say_what_was_done() {
    assert_eq!(get("GET", "/tagged", ACCEPTS).header("etag"), Some("W/\"a\""));
    assert_eq!(get("GET", "/tagged", "").header("etag"), Some("\"a\""));
    assert_eq!(get("GET", "/weak", ACCEPTS).header("etag"), Some("W/\"a\""));
    let back = get("GET", "/varies", ACCEPTS);
    assert!(back.head.contains("Vary: Cookie\r\n") && back.head.contains("Vary: Accept-Encoding\r\n"));
    assert_eq!(back.header("accept-ranges"), None, "parts of the encoded form are not to be had");
    assert_eq!(get("GET", "/varies-so", ACCEPTS).head.matches("Vary").count(), 1);
    assert_eq!(get("GET", "/varies-all", ACCEPTS).header("vary"), Some("*"));
    // Who has the encoded form is told that it is still good by its own tag.
    let has = |tags: &str| get("GET", "/not-modified", &format!("If-None-Match: {tags}\r\n"));
    assert_eq!(
        (has("W/\"a\"").header("etag"), has("W/\"a\"").header("vary")),
        (Some("W/\"a\""), Some("Accept-Encoding"))
    );
    assert_eq!(has("W/\"a\"").header("content-length"), None, "it is another body's");
    assert_eq!(has("\"a\"").header("content-length"), Some("4400"));
    assert_eq!(has("\"a\"").header("etag"), Some("\"a\""));
    assert_eq!(has("\"b\", \"a\", W/\"a\"").header("etag"), Some("\"a\""));
}

#[test]
fn head_is_answered_with_the_fields_of_get_and_no_byte_of_a_body() {
    for path in ["/", "/tagged", "/large", "/error", "/told"] {
        let (head, body) = (get("HEAD", path, ACCEPTS), get("GET", path, ACCEPTS));
        assert_eq!(head.status, body.status);
        for name in ["content-type", "content-encoding", "vary", "etag"] {
            assert_eq!(head.header(name), body.header(name), "{path}: {name}");
        }
        assert_eq!(head.header("content-length"), None, "nobody knows before it is encoded");
    }
    for path in ["/", "/told"] {
        let head = get("HEAD", path, "");
        assert_eq!(
            (head.header("content-length"), head.header("vary")),
            (Some("4400"), Some("Accept-Encoding"))
        );
    }
    assert_eq!(get("HEAD", "/small", ACCEPTS).header("content-length"), Some("1023"));
}

#[test]
fn a_large_one_goes_out_in_blocks_and_gives_way_in_between() {
    let stage = Stage::new();
    let server = HttpServer::new(serve).options(plain().compress_response(Compression::new().level(1)));
    let peer = stage.connect(&server);
    let before = stage.time.counters().task_polls;
    let back = answer(stage.exchange(&peer, request("GET", "/large", ACCEPTS)));
    assert_eq!((decoded(&back), back.header("transfer-encoding")), (LINE.repeat(10_000), Some("chunked")));
    assert!(stage.time.counters().task_polls - before >= 6, "440 KB are seven blocks");
    // To HTTP/1.0 up to the end of the connection.
    let old = request("GET", "/large", ACCEPTS).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(decoded(&answer(stage.ask(&server, old))), LINE.repeat(10_000));
}

#[test]
fn many_small_pieces_and_many_small_responses_give_way_too_however_little_comes_of_them() {
    async fn pieces(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let size = if exchange.path() == "/bytes" { 1 } else { 1_000 };
        let mut response =
            exchange.respond(StatusCode::OK).header("Content-Type", "text/plain").start().await?;
        for _ in 0..5_000 {
            response.write(vec![b'x'; size]).await?;
        }
        response.finish().await
    }
    let options = || plain().compress_response(Compression::new().level(1));
    let stage = Stage::new();
    let (streams, whole) =
        (HttpServer::new(pieces).options(options()), HttpServer::new(serve).options(options()));
    let polls = |peer: &support::Peer, requests: String| {
        let before = stage.time.counters().task_polls;
        let back = answers(stage.exchange(peer, requests));
        assert!(back.iter().all(|back| !decoded(back).is_empty()));
        stage.time.counters().task_polls - before
    };
    let peer = stage.connect(&streams);
    assert!(polls(&peer, request("GET", "/pieces", ACCEPTS)) >= 76, "5 MB");
    assert!(polls(&peer, request("GET", "/bytes", ACCEPTS)) >= 4, "5000 pieces of a byte");
    assert!(polls(&stage.connect(&whole), request("GET", "/", ACCEPTS).repeat(60)) >= 4, "264 KB in all");
}

async fn stream(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let response = exchange.respond(StatusCode::OK).header("Content-Type", "text/plain");
    let path = exchange.path().to_owned();
    let response = if path == "/flushed" { response } else { response.content_length(3_000) };
    let mut response = response.start().await?;
    match &*path {
        "/flushed" => {
            response.write("first").await?;
            response.flush().await?;
            ioloop::sleep(Duration::from_secs(1)).await;
            response.write("second").await?;
            let mut trailers = Headers::new();
            trailers.add("X-Sum", "11")?;
            response.finish_with(&trailers).await
        }
        "/exact" => {
            for _ in 0..3 {
                response.write(vec![b'x'; 1_000]).await?;
            }
            response.finish().await
        }
        "/more" => {
            response.write(vec![b'x'; 2_999]).await?;
            response.write("xx").await?;
            response.finish().await
        }
        _ => {
            response.write(vec![b'x'; 2_999]).await?;
            response.finish().await
        }
    }
}

#[test]
fn a_stream_is_compressed_and_what_is_flushed_can_be_read_at_once() {
    let stage = Stage::new();
    let server = HttpServer::new(stream).options(plain().compress_response(Compression::new()));
    let peer = stage.connect(&server);
    let mut back = stage.exchange(&peer, request("GET", "/flushed", ACCEPTS));
    // Complete it, so that it can be taken apart; what was flushed is read without its end.
    let so_far = answer([&back[..], b"0\r\n\r\n"].concat());
    let mut first = [0; 5];
    GzDecoder::new(&so_far.body[..]).read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    stage.time.advance(Duration::from_secs(1));
    back.extend(peer.received());
    assert!(back.ends_with(b"\r\n0\r\nX-Sum: 11\r\n\r\n"), "{}", back.escape_ascii());
    back.truncate(back.len() - b"X-Sum: 11\r\n\r\n".len());
    assert_eq!(decoded(&answer([&back[..], b"\r\n"].concat())), "firstsecond");
}

#[test]
fn h1_36_a_length_that_was_announced_is_held_to_before_it_is_compressed() {
    let stage = Stage::new();
    let server = HttpServer::new(stream).options(plain().compress_response(Compression::new()));
    let exact = stage.connect(&server);
    let back = answer(stage.exchange(&exact, request("GET", "/exact", ACCEPTS)));
    assert_eq!((decoded(&back), exact.is_over()), ("x".repeat(3_000), false));
    for path in ["/more", "/less"] {
        let peer = stage.connect(&server);
        let back = stage.exchange(&peer, request("GET", path, ACCEPTS));
        assert!(!back.ends_with(b"0\r\n\r\n"), "{path}: no end of the body");
        stage.time.advance(Duration::from_secs(2));
        assert!(peer.is_over() || peer.is_shut(), "{path}");
    }
}

#[test]
fn the_classic_shape_and_delegates_writing_is_compressed_too() {
    fn classic(request: &mut Exchange<'_>) {
        let text = LINE.repeat(100);
        request.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ));
        request.finish();
    }
    async fn by_hand(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let headers = Headers::from_pairs([("Content-Type", "text/plain")])?;
        exchange.write_headers(StatusCode::OK, &headers);
        exchange.write(LINE.repeat(100));
        exchange.flush().await?;
        exchange.finish();
        Ok(())
    }
    let (stage, options) = (Stage::new(), || plain().compress_response(Compression::new()));
    let classic = stage.ask(&HttpServer::new(classic).options(options()), request("GET", "/", ACCEPTS));
    assert_eq!(decoded(&answer(classic)), LINE.repeat(100));
    // A delegate's writing is an exchange's: see tests/delegate.rs.
    struct ByHand;
    impl httpserver::HttpServerConnectionDelegate for ByHand {
        type Message = ByHand;
        fn start_request(&self, _: &httpserver::ConnectionContext) -> ByHand {
            ByHand
        }
    }
    impl httpserver::HttpMessageDelegate for ByHand {
        async fn finish(&mut self, exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
            by_hand(exchange).await
        }
    }
    let back = stage.ask(&HttpServer::new(ByHand).options(options()), request("GET", "/", ACCEPTS));
    assert_eq!(decoded(&answer(back)), LINE.repeat(100));
}

#[test]
fn a_file_is_compressed_as_a_whole_and_never_in_parts() {
    let path = std::env::temp_dir().join(format!("waterspout-gzip-{}.txt", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(LINE.repeat(20_000).as_bytes()).unwrap();
    let (name, tag) = (path.clone(), Rc::new(Cell::new(None)));
    let (stage, tags) = (Stage::new(), Rc::clone(&tag));
    let server = HttpServer::new(async move |request: Request| -> Result<Response, HttpError> {
        match StaticFile::open(&name).await? {
            Some(file) => Ok(file.response_to(&request)?),
            None => Ok(StatusCode::NOT_FOUND.into_response()),
        }
    });
    let server = server.options(plain().compress_response(Compression::new().level(1)));
    let get = |method: &str, more: &str| {
        let peer = stage.connect(&server);
        peer.send(request(method, "/", &format!("{ACCEPTS}{more}")));
        let mut back = Vec::new();
        while back.is_empty() || method == "GET" && !ends(&back) {
            stage.time.run_until_stalled();
            back.extend(peer.received());
        }
        answers_with(&back, |_| method == "HEAD").remove(0)
    };
    let whole = get("GET", "");
    assert_eq!(decoded(&whole), LINE.repeat(20_000));
    assert!(whole.header("etag").unwrap().starts_with("W/\""));
    assert_eq!((whole.header("accept-ranges"), whole.header("content-length")), (None, None));
    tags.set(whole.header("etag").map(str::to_owned));
    let head = get("HEAD", "");
    assert_eq!((head.header("content-encoding"), head.header("etag")), (Some("gzip"), whole.header("etag")));
    let part = get("GET", "Range: bytes=0-43\r\n");
    assert_eq!((part.status, part.header("content-encoding"), part.text()), (206, None, LINE));
    let whole_tag = part.header("etag").unwrap();
    let unchanged = get("HEAD", &format!("If-None-Match: {whole_tag}\r\n"));
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(whole_tag)));
    let parts = get("GET", "Range: bytes=0-4,50-54\r\n");
    for answer in [&whole, &head, &part, &unchanged, &parts] {
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{}", answer.head);
    }
    let still_good = get("HEAD", &format!("If-None-Match: {}\r\n", tag.take().unwrap()));
    assert_eq!((still_good.status, still_good.header("etag")), (304, whole.header("etag")));
    std::fs::remove_file(&path).unwrap();
}

/// Whether an answer to GET is complete.
fn ends(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("Transfer-Encoding") {
        bytes.ends_with(b"\r\n0\r\n\r\n")
    } else {
        text.contains("\r\n\r\n")
    }
}

//! Request bodies in all their framings, read and unread, expected or not; and responses that have none.

mod support;

use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpServer, Request, Response, StatusCode};
use support::{Stage, answer, answers, answers_with, plain};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

async fn whole(request: Request) -> Response {
    Response::bytes(request.body().clone())
}

async fn in_pieces(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let mut response = exchange.respond(StatusCode::OK).start().await?;
    while let Some(chunk) = exchange.body().chunk().await? {
        assert!(!chunk.is_empty(), "h1_13: pieces are never empty");
        response.write(chunk).await?;
    }
    assert!(exchange.body().chunk().await?.is_none(), "the end stays the end");
    response.finish().await
}

/// The body of a POST in chunks of these sizes.
fn chunked(body: &[u8], sizes: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut bytes = format!("{POST}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let mut rest = body;
    for size in sizes {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        if piece.is_empty() {
            break;
        }
        bytes.extend(format!("{size:X}; ext = \"q \\\" uoted\"\r\n", size = piece.len()).bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
        rest = later;
    }
    assert!(rest.is_empty());
    bytes.extend(b"0\r\nX-Trailer: one\r\nX-Other: two\r\n\r\n");
    bytes
}

fn sized(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{POST}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend(body);
    bytes
}

#[test]
fn bodies_of_all_sizes_come_through_however_they_are_framed_and_cut() {
    let stage = Stage::new();
    let (whole, pieces) =
        (HttpServer::new(whole).options(plain()), HttpServer::new(in_pieces).options(plain()));
    for size in [0, 1, 100, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 500_000] {
        let body: Vec<u8> = (0..size).map(|number: usize| (number / 7) as u8).collect();
        let requests = [
            sized(&body),
            chunked(&body, std::iter::repeat(70_000)),
            chunked(&body, (1..).map(|number| number * 37 % 3_000 + 1)),
        ];
        for (number, request) in requests.iter().enumerate() {
            for segment in [usize::MAX, 50_000, 1_447] {
                for peer in [stage.connect(&whole), stage.connect(&pieces)] {
                    peer.send_in_segments(request, segment.min(request.len()));
                    peer.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
                    stage.time.run_until_stalled();
                    let back = answers(peer.received());
                    assert_eq!(back.len(), 2, "{size} bytes, framing {number}, segments of {segment}");
                    assert!(back[0].body == body, "{size} bytes, framing {number}, segments of {segment}");
                }
            }
        }
    }
    assert_eq!(iostream::leased_blocks(), 0);
}

#[test]
fn a_body_byte_by_byte() {
    let stage = Stage::new();
    let server = HttpServer::new(in_pieces).options(plain());
    let peer = stage.connect(&server);
    peer.set_largest_read(Some(1));
    peer.send_in_segments(chunked(b"hello, body", std::iter::repeat(3)), 1);
    stage.time.run_until_stalled();
    assert_eq!(answer(peer.received()).text(), "hello, body");
}

#[test]
fn h1_14_many_tiny_chunks_reach_the_handler_as_few_pieces() {
    async fn count(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let mut pieces = 0;
        while exchange.body().chunk().await?.is_some() {
            pieces += 1;
        }
        exchange.send(Response::text(pieces.to_string())).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(count).options(plain()));
    let chunks = "1\r\nx\r\n".repeat(100_000);
    peer.send_in_segments(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"), 60_000);
    stage.time.run_until_stalled();
    let pieces: usize = answer(peer.received()).text().parse().unwrap();
    assert!(pieces <= 60, "{pieces} pieces");
}

#[test]
fn a_whole_body_that_is_given_up_half_way_is_there_for_the_next_read() {
    const SECOND: Duration = Duration::from_secs(1);
    async fn patient(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        while ioloop::timeout(SECOND, exchange.read_body()).await.is_err() {}
        exchange.send(Response::bytes(exchange.whole_body().clone())).await
    }
    async fn in_two_ways(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        let given_up = ioloop::timeout(SECOND, exchange.body().bytes()).await;
        assert!(given_up.is_err());
        let mut all = exchange.body().chunk().await?.unwrap_or_default().to_vec();
        assert_eq!(all, b"hello, ");
        all.extend(exchange.body().bytes().await?);
        exchange.send(Response::bytes(all)).await
    }
    let stage = Stage::new();
    let one = stage.connect(&HttpServer::new(patient).options(plain()));
    let other = stage.connect(&HttpServer::new(in_two_ways).options(plain()));
    let request = sized(b"hello, body that takes its time");
    let (begin, rest) = request.split_at(request.len() - "body that takes its time".len());
    for peer in [&one, &other] {
        peer.send_in_segments(begin, 3);
        stage.time.advance(SECOND);
        peer.send_in_segments(rest, rest.len() / 2);
        stage.time.run_until_stalled();
    }
    stage.time.advance(SECOND);
    for peer in [one, other] {
        assert_eq!(answer(peer.received()).text(), "hello, body that takes its time");
    }
}

#[test]
fn what_is_given_back_of_a_body_that_was_given_up_takes_no_more_memory_than_its_length() {
    const SECOND: Duration = Duration::from_secs(1);
    async fn gives_up(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        assert!(ioloop::timeout(SECOND, exchange.read_body()).await.is_err());
        let begin = exchange.body().chunk().await?.unwrap_or_default();
        let begin = begin.try_into_mut().expect("nobody else has it");
        exchange.send(Response::text(format!("{} of {}", begin.len(), begin.capacity()))).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(gives_up).options(plain()));
    peer.send(format!("{POST}Content-Length: 100000\r\n\r\n"));
    for piece in [20_000, 20_000, 5_000] {
        peer.send(vec![b'x'; piece]); // the third makes room for as much again
        stage.time.run_until_stalled();
    }
    stage.time.advance(SECOND);
    assert_eq!(answer(peer.received()).text(), "45000 of 45000");
}

#[test]
fn h1_20_nothing_more_is_read_than_the_handler_asks_for() {
    async fn takes_one(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        exchange.body().chunk().await?;
        std::future::pending().await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(takes_one).options(plain()));
    let mut request = format!("{POST}Content-Length: 10000000\r\n\r\n").into_bytes();
    request.resize(10_000_000, b'x');
    peer.send_in_segments(&request, 60_000);
    stage.time.run_until_stalled();
    assert!(peer.calls().reads <= 2, "{:?}", peer.calls());
}

#[test]
fn a_small_body_that_nobody_reads_is_dropped_and_the_connection_goes_on() {
    let stage = Stage::new();
    let server =
        HttpServer::new(async |exchange: &mut Exchange<'_>| exchange.send(Response::text("no thanks")).await);
    let peer = stage.connect(&server.options(plain()));
    for request in [sized(&[b'x'; 60_000]), chunked(&[b'x'; 60_000], std::iter::repeat(999))] {
        let back = answer(stage.exchange(&peer, request));
        assert_eq!((back.text(), back.closes()), ("no thanks", false));
    }
    // The answer does not wait for the body.
    let request = sized(b"in two halves");
    assert_eq!(answer(stage.exchange(&peer, &request[..request.len() - 5])).text(), "no thanks");
    assert_eq!(stage.exchange(&peer, &request[request.len() - 5..]), b"");
    assert_eq!(answer(stage.exchange(&peer, sized(b""))).text(), "no thanks");
}

#[test]
fn h1_30_a_large_body_that_nobody_reads_ends_the_connection_behind_the_answer() {
    let stage = Stage::new();
    let server =
        HttpServer::new(async |exchange: &mut Exchange<'_>| exchange.send(Response::text("no thanks")).await);
    let peer = stage.connect(&server.options(plain()));
    let mut request = format!("{POST}Content-Length: 10000000\r\n\r\n").into_bytes();
    request.resize(500_000, b'x');
    peer.send_in_segments(&request, 60_000);
    stage.time.run_until_stalled();
    let back = answer(peer.received());
    assert_eq!((back.text(), back.closes()), ("no thanks", true), "it is known from the start");
    assert!(peer.is_shut() && !peer.is_over(), "lingering, so that no reset overtakes the answer");
    peer.finish();
    stage.time.run_until_stalled();
    assert!(peer.is_over());
}

#[test]
fn a_body_that_ends_too_early_is_a_400() {
    let stage = Stage::new();
    let server = HttpServer::new(whole).options(plain());
    for request in [sized(b"hello"), chunked(b"hello", std::iter::repeat(5))] {
        let peer = stage.connect(&server);
        peer.send(&request[..request.len() - 3]);
        peer.finish();
        stage.time.run_until_stalled();
        assert_eq!(answer(peer.received()).status, 400);
        assert!(peer.is_over());
    }
}

#[test]
fn test_100_continue() {
    let stage = Stage::new();
    for version in ["whole", "pieces"] {
        let peer = match version {
            "whole" => stage.connect(&HttpServer::new(whole).options(plain())),
            _ => stage.connect(&HttpServer::new(in_pieces).options(plain())),
        };
        let first = stage.exchange(&peer, format!("{POST}Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n"));
        assert_eq!(first, b"HTTP/1.1 100 Continue\r\n\r\n", "{version}");
        let back = answer(stage.exchange(&peer, "hello"));
        assert_eq!((back.status, back.text(), back.closes()), (200, "hello", false), "{version}");
        assert_eq!(answer(stage.exchange(&peer, sized(b"next"))).text(), "next", "{version}");
    }
}

#[test]
fn h1_22_no_100_where_none_is_due() {
    let stage = Stage::new();
    let server = HttpServer::new(whole).options(plain().max_body_size(10));
    for (why, request, statuses) in [
        ("row 28: too large", format!("{POST}Content-Length: 11\r\nExpect: 100-continue\r\n\r\n"), [413]),
        ("no body", format!("{POST}Expect: 100-continue\r\n\r\n"), [200]),
        ("the body is here", format!("{POST}Content-Length: 2\r\nExpect: 100-continue\r\n\r\nok"), [200]),
        (
            "HTTP/1.0 knows none",
            "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok".to_owned(),
            [200],
        ),
        (
            "row 27: another expectation",
            format!("{POST}Content-Length: 2\r\nExpect: a-miracle\r\n\r\n"),
            [417],
        ),
    ] {
        let back = answers(stage.ask(&server, request));
        assert_eq!(back.iter().map(|answer| answer.status).collect::<Vec<_>>(), statuses, "{why}");
    }
}

#[test]
fn h1_23_an_answer_without_reading_suppresses_the_100_and_ends_the_connection() {
    let stage = Stage::new();
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        exchange.send(Response::text("no").status(StatusCode::FORBIDDEN)).await
    });
    let peer = stage.connect(&server.options(plain()));
    let back =
        answer(stage.exchange(&peer, format!("{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")));
    assert_eq!((back.status, back.closes()), (403, true));
    assert!(peer.is_shut());
}

#[test]
fn h1_18_the_limit_on_a_body_can_be_changed_for_one_request() {
    async fn generous(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
        if exchange.path() == "/large" {
            exchange.set_max_body_size(1_000);
        }
        let body = exchange.body().bytes().await?;
        exchange.send(Response::text(body.len().to_string())).await
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(generous).options(plain().max_body_size(10)));
    let request = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(100))
    };
    assert_eq!(answer(stage.exchange(&peer, request("/large"))).text(), "100");
    assert_eq!(answer(stage.exchange(&peer, request("/small"))).status, 413, "test_body_size_override_reset");
}

#[test]
fn h1_37_no_body_goes_out_where_none_may() {
    async fn answer_with(request: Request) -> Response {
        match request.path() {
            "/204" => Response::new(StatusCode::NO_CONTENT),
            "/none" => Response::text("seven b").status(StatusCode::NO_CONTENT),
            "/reset" => Response::text("seven b").status(StatusCode::RESET_CONTENT),
            "/304" => Response::new(StatusCode::NOT_MODIFIED),
            "/describes" => Response::text("seven b").status(StatusCode::NOT_MODIFIED),
            "/says" => Response::new(StatusCode::OK).header("Content-Length", "7").unwrap(),
            _ => Response::text("seven b"),
        }
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(answer_with).options(plain()));
    let requests = [
        "HEAD / ",
        "GET /204 ",
        "GET /304 ",
        "GET /describes ",
        "HEAD /204 ",
        "GET /none ",
        "GET /reset ",
        "GET / ",
        "HEAD /says ",
    ]
    .map(|line| format!("{line}HTTP/1.1\r\nHost: a\r\n\r\n"));
    let back = answers_with(&stage.exchange(&peer, requests.concat()), |number| [0, 8].contains(&number));
    let seen: Vec<_> =
        back.iter().map(|back| (back.status, back.header("content-length"), back.text())).collect();
    assert_eq!(
        seen,
        [
            (200, Some("7"), ""),
            (204, None, ""),
            (304, None, ""),
            (304, Some("7"), ""),
            (204, None, ""),
            (204, None, ""),
            (205, Some("0"), ""),
            (200, Some("7"), "seven b"),
            (200, Some("7"), "")
        ]
    );
}

#[test]
fn h1_34_http10_gets_a_streamed_body_up_to_the_end_of_the_connection() {
    let stage = Stage::new();
    let server = HttpServer::new(in_pieces).options(plain());
    for connection in ["", "Connection: keep-alive\r\n"] {
        let peer = stage.connect(&server);
        let back = answer(
            stage.exchange(&peer, format!("POST / HTTP/1.0\r\n{connection}Content-Length: 5\r\n\r\nhello")),
        );
        assert_eq!(
            (back.text(), back.header("transfer-encoding"), back.header("connection")),
            ("hello", None, None)
        );
        peer.finish();
        stage.time.run_until_stalled();
        assert!(peer.is_over());
    }
}

#[test]
fn h1_36_a_streamed_body_of_known_length_is_not_chunked() {
    let server = HttpServer::new(async |exchange: &mut Exchange<'_>| {
        let mut response = exchange.respond(StatusCode::OK).content_length(10).start().await?;
        response.write("hello").await?;
        response.write("").await?;
        response.write("world").await?;
        response.finish().await
    });
    let stage = Stage::new();
    let back = answer(stage.ask(&server.options(plain()), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((back.text(), back.header("content-length")), ("helloworld", Some("10")));
}

//! Many requests on one connection at once: right, in order, not held up, and bounded.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use httpserver::{Exchange, HttpError, HttpServer, Method, Request, Response, StatusCode};
use ioloop::IoLoop;
use support::{AT_MOST, Answer, Seeded, Stage, answer, answers, answers_with, plain};
use tcpserver::{ConnectionContext, PeerAddr};

/// Answers with what was asked, in each of the ways an answer can be framed.
async fn mirror(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let text = format!("{} {} ", exchange.method(), exchange.path());
    match exchange.path().len() % 4 {
        0 => {
            let mut response = exchange.respond(StatusCode::OK).start().await?;
            response.write(text).await?;
            while let Some(chunk) = exchange.body().chunk().await? {
                response.write(chunk).await?;
            }
            response.finish().await
        }
        // Does not read the body, which is dropped behind the answer.
        1 => exchange.send(Response::text(text)).await,
        2 => {
            exchange.body().bytes().await?;
            exchange.send(Response::new(StatusCode::NO_CONTENT)).await
        }
        _ => {
            let mut whole = text.into_bytes();
            whole.extend_from_slice(&exchange.body().bytes().await?);
            exchange.send(Response::bytes(whole)).await
        }
    }
}

/// The `number`th request, and the status and body that go with it.
fn request(random: &mut Seeded, number: usize) -> (Vec<u8>, u16, String, bool) {
    let path = format!("/{number}{}", "x".repeat(random.below(8)));
    let method =
        [Method::GET, Method::POST, Method::PUT, Method::HEAD, Method::DELETE][random.below(5)].clone();
    let is_head = method == Method::HEAD;
    let body = "abcdefgh".repeat(random.below(100));
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: example.org\r\n");
    match random.below(4) {
        0 => bytes.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len())),
        1 => {
            bytes.push_str("Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.as_bytes().chunks(1 + random.below(300)) {
                bytes.push_str(&format!(
                    "{:x};n=v\r\n{}\r\n",
                    piece.len(),
                    std::str::from_utf8(piece).unwrap()
                ));
            }
            bytes.push_str("0\r\nX-Trailer: yes\r\n\r\n");
        }
        _ => {
            bytes.push_str("\r\n");
            return expected(bytes, &method, &path, "", is_head);
        }
    }
    expected(bytes, &method, &path, &body, is_head)
}

fn expected(
    bytes: String,
    method: &Method,
    path: &str,
    body: &str,
    is_head: bool,
) -> (Vec<u8>, u16, String, bool) {
    let (status, text) = match path.len() % 4 {
        1 => (200, format!("{method} {path} ")),
        2 => (204, String::new()),
        _ => (200, format!("{method} {path} {body}")),
    };
    (bytes.into_bytes(), status, if is_head { String::new() } else { text }, is_head)
}

#[test]
fn ten_thousand_pipelined_requests_in_arbitrary_segments_get_ten_thousand_right_answers_in_order() {
    const REQUESTS: usize = 10_000;
    for seed in [0x9e37_79b9, 0x1234_5678_9abc] {
        let mut random = Seeded(seed);
        let requests: Vec<_> = (0..REQUESTS).map(|number| request(&mut random, number)).collect();
        let bytes: Vec<u8> = requests.iter().flat_map(|(bytes, ..)| bytes.iter().copied()).collect();

        let stage = Stage::new();
        let peer = stage.connect(&HttpServer::new(mirror).options(plain()));
        let mut received = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size =
                [1 + random.below(20), 1 + random.below(2_000), 1 + random.below(100_000)][random.below(3)];
            let (segment, later) = rest.split_at(size.min(rest.len()));
            peer.send(segment);
            if random.below(3) > 0 {
                stage.time.run_until_stalled();
                received.extend(peer.received());
            }
            rest = later;
        }
        stage.time.run_until_stalled();
        received.extend(peer.received());

        let back = answers_with(&received, |number| requests[number].3);
        assert_eq!(back.len(), REQUESTS);
        for (number, (answer, (_, status, text, _))) in back.iter().zip(&requests).enumerate() {
            assert_eq!((answer.status, answer.text()), (*status, text.as_str()), "request {number}");
        }
        assert!(!peer.is_over());
        assert_eq!(iostream::leased_blocks(), 0);
    }
}

#[test]
fn nothing_that_is_answered_waits_behind_a_slow_handler() {
    async fn may_sleep(request: Request) -> Response {
        if request.path() == "/slow" {
            ioloop::sleep(Duration::from_secs(5)).await;
        }
        Response::text(request.path().to_owned())
    }
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(may_sleep).options(plain()));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let back = answers(stage.exchange(&peer, get("/first") + &get("/slow") + &get("/third")));
    assert_eq!(back.iter().map(Answer::text).collect::<Vec<_>>(), ["/first"], "at once");
    stage.time.advance(Duration::from_secs(5));
    let back = answers(peer.received());
    assert_eq!(back.iter().map(Answer::text).collect::<Vec<_>>(), ["/slow", "/third"]);
}

#[test]
fn what_is_answered_leaves_also_where_an_end_is_announced_and_does_not_come() {
    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(async |_: Request| "answered").options(plain()));
    peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.notify(ioloop::Ready::READ_CLOSED); // half a record of TLS may be left behind it
    stage.time.run_until_stalled();
    assert_eq!(answer(peer.received()).text(), "answered");
}

#[test]
fn h1_28_the_next_request_is_not_begun_before_the_last_is_answered() {
    let running = Rc::new(Cell::new(0));
    let most = Rc::new(Cell::new(0));
    let (now, high) = (Rc::clone(&running), Rc::clone(&most));
    let server = HttpServer::new(move |_: Request| {
        let (now, high) = (Rc::clone(&now), Rc::clone(&high));
        async move {
            now.set(now.get() + 1);
            high.set(high.get().max(now.get()));
            ioloop::sleep(Duration::from_secs(1)).await;
            now.set(now.get() - 1);
        }
    });
    let stage = Stage::new();
    let peer = stage.connect(&server);
    peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10));
    stage.time.advance(Duration::from_secs(10));
    assert_eq!((running.get(), most.get()), (0, 1));
}

#[test]
fn a_peer_that_pipelines_without_reading_is_not_served_beyond_a_bound() {
    let served = Rc::new(Cell::new(0));
    let count = Rc::clone(&served);
    let server = HttpServer::new(move |_: Request| {
        count.set(count.get() + 1);
        async { Response::bytes(vec![b'x'; 1_000]) }
    })
    .options(plain());
    let stage = Stage::new();
    let peer = stage.connect(&server);
    peer.set_room(Some(0));
    peer.send_in_segments("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100_000), 60_000);
    stage.time.run_until_stalled();
    assert!(served.get() <= 50, "{} answers of 1,000 bytes wait; 48 KiB may", served.get());
    let reads = peer.calls().reads;
    assert!(reads <= 2, "{reads} reads: what is not served stays in the kernel");
    // Once the peer reads it gets them all.
    peer.set_room(None);
    stage.time.run_until_stalled();
    assert_eq!(answers(peer.received()).len(), 100_000);
}

/// Counts the bytes that it has begun to write.
async fn stream_a_thousand(
    exchange: &mut Exchange<'_>,
    piece: impl Fn() -> Bytes,
    written: &Cell<usize>,
) -> Result<(), HttpError> {
    let mut response = exchange.respond(StatusCode::OK).start().await?;
    for _ in 0..1_000 {
        let piece = piece();
        written.set(written.get() + piece.len());
        response.write(piece).await?;
    }
    response.finish().await
}

#[test]
fn a_handler_that_streams_to_a_peer_that_does_not_read_waits_at_a_bound() {
    const PIECE: usize = 1_000;
    static SHARED: [u8; PIECE] = [b'x'; PIECE]; // of that size it is copied, and takes as much memory as any other
    for is_shared in [false, true] {
        let written = Rc::new(Cell::new(0));
        let count = Rc::clone(&written);
        let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
            let piece = || if is_shared { Bytes::from_static(&SHARED) } else { SHARED.to_vec().into() };
            stream_a_thousand(exchange, piece, &count).await
        })
        .options(plain());
        let stage = Stage::new();
        let peer = stage.connect(&server);
        peer.set_room(Some(0));
        peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        stage.time.run_until_stalled();
        assert!(written.get() <= 48 * 1024 + PIECE, "{} bytes wait", written.get());
        peer.set_room(Some(100_000));
        stage.time.run_until_stalled();
        assert!(written.get() <= 148 * 1024 + PIECE, "{} bytes were written, 100,000 taken", written.get());
    }
}

#[test]
fn pieces_that_others_hold_too_may_wait_by_the_mebibyte_but_not_for_all_peers_at_once() {
    const PIECE: usize = 16 * 1024;
    static SHARED: [u8; PIECE] = [b'x'; PIECE];
    let written = Rc::new(Cell::new(0));
    let count = Rc::clone(&written);
    let server = HttpServer::new(async move |exchange: &mut Exchange<'_>| {
        stream_a_thousand(exchange, || Bytes::from_static(&SHARED), &count).await
    })
    .options(plain());
    let stage = Stage::new();
    iostream::MemoryBudget::new(2 << 20, 64 << 20).install();
    let written_for_one_more = || {
        let before = written.get();
        let peer = stage.connect(&server);
        peer.set_room(Some(0));
        peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        stage.time.run_until_stalled();
        (peer, written.get() - before)
    };
    let (_first, first) = written_for_one_more();
    assert!((1 << 20..=22 * 48 * 1024 + PIECE).contains(&first), "{first} bytes wait");
    let _second = written_for_one_more();
    let (_third, third) = written_for_one_more();
    assert!(third <= 72 * 1024 + PIECE, "{third} bytes wait where the soft mark has been reached");
}

#[test]
fn one_connection_with_endless_requests_does_not_keep_others_waiting() {
    let served = Rc::new(Cell::new(0));
    let count = Rc::clone(&served);
    let server = HttpServer::new(move |request: Request| {
        if request.path() == "/greedy" {
            count.set(count.get() + 1);
        }
        let so_far = count.get();
        async move { Response::text(so_far.to_string()) }
    })
    .options(plain());
    let stage = Stage::new();
    let get = "GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n";
    // Whatever a read happens to bring: much more than a turn's share, just that, a part of it, one at a time.
    for segment in [60_000, 64 * get.len(), 10 * get.len(), get.len()] {
        served.set(0);
        let (greedy, modest) = (stage.connect(&server), stage.connect(&server));
        greedy.send_in_segments(get.repeat(10_000), segment);
        modest.send("GET /modest HTTP/1.1\r\nHost: a\r\n\r\n");
        stage.time.run_until_stalled();
        let so_far: u32 = answers(modest.received())[0].text().parse().unwrap();
        assert!(so_far <= 64, "{so_far} requests of another connection went first, {segment} bytes a read");
        assert_eq!(served.get(), 10_000);
    }
}

/// On a real loop, as time has to pass while a handler works: at least so much, however slow the machine is.
#[test]
fn who_pipelines_what_takes_long_goes_before_no_more_than_thirty_two_of_its_requests() {
    const REQUESTS: usize = 64;
    let order = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&order);
    let server = HttpServer::new(move |request: Request| {
        noted.borrow_mut().push(request.path().to_owned());
        let began = std::time::Instant::now();
        while request.path() == "/long" && began.elapsed() < Duration::from_micros(50) {}
        async { "done" }
    });
    let io_loop = IoLoop::new().unwrap();
    let connect = || {
        let (client, accepted) = iostream::testing::pair();
        let server = server.clone();
        IoLoop::current().spawn_detached(async move {
            let context = ConnectionContext::new(PeerAddr::Unix(None));
            server.serve_stream(accepted, context).await;
        });
        client
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    io_loop.make_current();
    let served = io_loop.run_sync_timeout(AT_MOST, async {
        let (many, one) = (connect(), connect());
        drop((many.write(get("/long").repeat(REQUESTS)), one.write(get("/one")))); // in one turn
        while order.borrow().len() <= REQUESTS {
            ioloop::yield_now().await;
        }
    });
    served.unwrap();
    let before = order.borrow().iter().position(|path| path == "/one").unwrap();
    assert!(before <= 32, "after {before} of {REQUESTS}");
}

//! Sixteen pipelined requests, a seed each: mixed methods, bodies and framings, any segments, handlers that take their time where
//! they like. 10,000 seeds in `scripts/ci.d/46-httpserver-seeds.sh`, fewer here. One seed alone: `HTTPSERVER_SEED=7`.

mod support;

use std::ops::Range;
use std::time::Duration;

use httpserver::{Exchange, HttpError, HttpServer, Response, StatusCode};
use support::{Peer, Seeded, Stage, answers_with, plain};

const DEPTH: usize = 16;

/// A request and the answer that it must get.
struct Planned {
    bytes: String,
    is_head: bool,
    status: u16,
    text: String,
}

/// The path says what is done: `/NUMBER/MANNER/BEFORE/BETWEEN`, the last two in milliseconds.
async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let numbers: Vec<u64> = exchange.path().split('/').filter_map(|part| part.parse().ok()).collect();
    let wait = async |ms| {
        if ms > 0 {
            ioloop::sleep(Duration::from_millis(ms)).await;
        }
    };
    let text = format!("{} {} ", exchange.method(), exchange.path());
    wait(numbers[2]).await;
    match numbers[1] {
        0 => {
            let body = exchange.body().bytes().await?;
            wait(numbers[3]).await;
            exchange.send(Response::bytes([text.as_bytes(), &body].concat())).await
        }
        1 => {
            let mut response = exchange.respond(StatusCode::OK).start().await?;
            response.write(text).await?;
            wait(numbers[3]).await;
            while let Some(chunk) = exchange.body().chunk().await? {
                response.write(chunk).await?;
            }
            response.finish().await
        }
        2 => exchange.send(Response::text(text)).await, // the body is dropped behind the answer
        _ => {
            exchange.body().chunk().await?;
            wait(numbers[3]).await;
            exchange.send(Response::new(StatusCode::NO_CONTENT)).await // with a part of the body unread
        }
    }
}

fn planned(random: &mut Seeded, number: usize) -> Planned {
    let method = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "BREW"][random.below(8)];
    let manner = random.below(4);
    let mut pause = || if random.below(2) == 0 { 0 } else { random.below(500) };
    let path = format!("/{number}/{manner}/{}/{}", pause(), pause());
    let (framing, body) = framed_body(random);
    let status = if manner == 3 { 204 } else { 200 };
    let text = match manner {
        _ if method == "HEAD" => String::new(),
        0 | 1 => format!("{method} {path} {body}"),
        2 => format!("{method} {path} "),
        _ => String::new(),
    };
    let bytes = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{framing}");
    Planned { bytes, is_head: method == "HEAD", status, text }
}

/// The rest of a head with its body as it is sent, and that body.
fn framed_body(random: &mut Seeded) -> (String, String) {
    // What looks like a request within a body must not be taken for one.
    let text = "GET /x HTTP/1.1\r\nHost: b\r\n\r\n0\r\n\r\n".repeat(random.below(40));
    let body = text[..random.below(text.len() + 1)].to_owned();
    match random.below(3) {
        0 => ("\r\n".to_owned(), String::new()),
        1 => (format!("Content-Length: {}\r\n\r\n{body}", body.len()), body),
        _ => {
            let mut framed = "Transfer-Encoding: chunked\r\n\r\n".to_owned();
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(1 + random.below(rest.len()));
                framed += &format!("{:X};n=v\r\n{piece}\r\n", piece.len());
                rest = later;
            }
            (framed + ["0\r\n\r\n", "0\r\nX-Trailer: yes\r\n\r\n"][random.below(2)], body)
        }
    }
}

/// Sends `bytes` in segments, with pauses that no deadline minds; gives what has come back meanwhile.
fn send(stage: &Stage, peer: &Peer, random: &mut Seeded, mut bytes: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    let longest = [10, 300, 5_000, 50_000][random.below(4)];
    while !bytes.is_empty() {
        let (segment, later) = bytes.split_at((1 + random.below(longest)).min(bytes.len()));
        peer.send(segment);
        match random.below(4) {
            0 => stage.time.run_until_stalled(),
            1 => stage.time.advance(Duration::from_millis(random.below(20) as u64)),
            _ => {}
        }
        received.extend(peer.received());
        bytes = later;
    }
    received
}

fn run(seed: u64) {
    let mut random = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let requests: Vec<_> = (0..DEPTH).map(|number| planned(&mut random, number)).collect();
    let bytes: String = requests.iter().map(|request| request.bytes.as_str()).collect();

    let stage = Stage::new();
    let peer = stage.connect(&HttpServer::new(route).options(plain()));
    let mut received = send(&stage, &peer, &mut random, bytes.as_bytes());
    stage.time.advance(Duration::from_secs(30)); // less than the idle timeout; all pauses together may take longer
    received.extend(peer.received());
    stage.time.advance(Duration::from_secs(30));
    received.extend(peer.received());

    let back = answers_with(&received, |number| requests.get(number).is_some_and(|request| request.is_head));
    assert_eq!(back.len(), DEPTH, "answers");
    for (number, (answer, request)) in back.iter().zip(&requests).enumerate() {
        assert_eq!(
            (answer.status, answer.text()),
            (request.status, request.text.as_str()),
            "request {number}"
        );
    }
    assert!(!peer.is_over(), "the connection goes on");
    assert_eq!(iostream::leased_blocks(), 0, "an idle connection holds no buffer");
}

fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    match (number("HTTPSERVER_SEED"), number("HTTPSERVER_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(1_000),
    }
}

#[test]
fn h1_28_sixteen_pipelined_requests_get_their_answers_in_order_whatever_the_seed() {
    for seed in seeds() {
        let ran = std::panic::catch_unwind(|| run(seed));
        assert!(ran.is_ok(), "HTTPSERVER_SEED={seed}");
    }
}

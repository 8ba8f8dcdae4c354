//! Twenty-four uploads on a budget that they are more than, a seed each: any lengths, framings and codings, any segments, peers that leave,
//! end their side or fall silent, handlers that give up a read and begin it again. One seed alone: `HTTPSERVER_SEED=7`.
#![cfg(feature = "gzip")]

mod support;

use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use httpserver::{Exchange, HttpError, HttpServer, Response};
use iostream::{MemoryBudget, buffered_bytes};
use support::{Peer, Seeded, Stage, answers, plain};

const UPLOADS: usize = 24;

/// What becomes of a peer when it has sent what it will send.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It has sent all.
    Waits,
    Resets,
    Ends,
    FallsSilent,
}

struct Upload {
    peer: Peer,
    left: Vec<u8>,
    fate: Fate,
    /// What it is told if it is served.
    text: String,
}

/// The path says how the body is read.
async fn route(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    let text = match exchange.path() {
        "/whole" => digest(exchange.read_body().await?),
        "/slowly" => {
            let text = digest(exchange.read_body().await?);
            ioloop::sleep(Duration::from_secs(3)).await;
            text
        }
        "/again" => digest(&again(300, async || exchange.body().bytes().await).await?),
        "/again-kept" => {
            again(30_000, async || exchange.read_body().await.cloned()).await?;
            digest(exchange.read_body().await?)
        }
        _ => {
            let mut all = Vec::new();
            while let Some(chunk) = exchange.body().chunk().await? {
                all.extend(chunk);
                ioloop::yield_now().await;
            }
            digest(&all)
        }
    };
    exchange.send(Response::text(text)).await
}

/// Reads until there is an end to it, beginning again whenever that takes so many milliseconds, or there is no memory.
async fn again<T>(ms: u64, mut read: impl AsyncFnMut() -> Result<T, HttpError>) -> Result<T, HttpError> {
    loop {
        match ioloop::timeout(Duration::from_millis(ms), read()).await {
            Err(_) | Ok(Err(HttpError::OverBudget)) => {}
            Ok(read) => return read,
        }
    }
}

/// Tells one body from all others, also from one whose pieces are in another order.
fn digest(body: &[u8]) -> String {
    let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum}", body.len())
}

fn request(random: &mut Seeded, body: &[u8]) -> Vec<u8> {
    let path = ["whole", "slowly", "again", "again-kept", "pieces"][random.below(5)];
    let mut bytes = format!("POST /{path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    let mut body = body.to_vec();
    if random.below(3) == 0 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body).unwrap();
        body = encoder.finish().unwrap();
        bytes.extend(b"Content-Encoding: gzip\r\n");
    }
    if random.below(2) == 0 {
        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
        bytes.extend(body);
        return bytes;
    }
    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((1 + random.below(40_000)).min(rest.len()));
        bytes.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        rest = behind;
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn upload(stage: &Stage, random: &mut Seeded, peer: Peer) -> Upload {
    let most = [100, 20_000, 200_000, 1_000_000][random.below(4)];
    let body: Vec<u8> = (0..random.below(most)).map(|_| b'a' + random.below(16) as u8).collect();
    let mut left = request(random, &body);
    let fate = match random.below(9) {
        0 => Fate::Resets,
        1 => Fate::Ends,
        2 => Fate::FallsSilent,
        _ => Fate::Waits,
    };
    if fate != Fate::Waits {
        left.truncate(random.below(left.len()));
    }
    stage.time.run_until_stalled();
    Upload { peer, left, fate, text: digest(&body) }
}

impl Upload {
    /// Sends some more; `false` if that was all.
    fn go_on(&mut self, random: &mut Seeded) -> bool {
        let len = (1 + random.below(60_000)).min(self.left.len());
        self.peer.send(self.left.drain(..len).collect::<Vec<_>>());
        if !self.left.is_empty() {
            return true;
        }
        match self.fate {
            Fate::Resets => self.peer.reset(),
            Fate::Ends => self.peer.finish(),
            Fate::Waits | Fate::FallsSilent => {}
        }
        false
    }

    /// Who has sent all is served, or was told that there was no memory; nobody is told what was not so.
    fn check(&self) {
        assert!(self.peer.is_over(), "{:?} is not over", self.text);
        if self.fate == Fate::Resets {
            return;
        }
        let back = answers(self.peer.received());
        assert!(back.len() == 1 || self.fate != Fate::Waits, "{:?} has no answer", self.text);
        for answer in back {
            match answer.status {
                200 => assert_eq!((self.fate, answer.text()), (Fate::Waits, &*self.text)),
                503 => {}
                status => assert!(self.fate != Fate::Waits, "{status} {}", answer.text()),
            }
        }
    }
}

fn run(seed: u64) {
    let mut random = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let hard = (2 << 20) + random.below(6 << 20);
    let soft = [hard, hard / 2, hard / 8 + random.below(hard - hard / 8)][random.below(3)];
    let stage = Stage::new();
    MemoryBudget::new(soft, hard).install();
    let server = HttpServer::new(route).options(plain().decompress_request());
    let mut uploads: Vec<_> =
        (0..UPLOADS).map(|_| upload(&stage, &mut random, stage.connect(&server))).collect();
    let mut sending: Vec<_> = uploads.iter_mut().collect();
    let within = || assert!(buffered_bytes() <= hard, "{} bytes of {soft} / {hard}", buffered_bytes());
    while !sending.is_empty() {
        let place = random.below(sending.len());
        if !sending[place].go_on(&mut random) {
            sending.swap_remove(place);
        }
        match random.below(40) {
            0 => stage.time.advance(Duration::from_millis(random.below(3_000) as u64)),
            1..20 => stage.time.run_until_stalled(),
            _ => {}
        }
        within();
    }
    for _ in 0..120 {
        stage.time.advance(Duration::from_secs(60)); // a second for every 240 bytes that a silent peer has sent
        within();
    }
    uploads.iter().for_each(Upload::check);
    assert_eq!(buffered_bytes(), 0);
}

fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    match (number("HTTPSERVER_SEED"), number("HTTPSERVER_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(20),
    }
}

#[test]
fn uploads_on_a_budget_are_served_whole_or_not_at_all_and_leave_nothing_behind_whatever_the_seed() {
    for seed in seeds() {
        let ran = std::panic::catch_unwind(|| run(seed));
        assert!(ran.is_ok(), "HTTPSERVER_SEED={seed}");
    }
}

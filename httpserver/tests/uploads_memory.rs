//! What 64 uploads that are echoed while they come cost over real sockets: counted by the allocator, every byte compared.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use httpserver::{Exchange, HttpOptions, HttpServer, StatusCode};
use peak_alloc::PeakAlloc;
use support::{Running, Seeded, unhurried};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const UPLOADS: usize = 64;
const BYTES: usize = 10 * MIB;

/// Bodies are this again and again, each from another place on. A prime, so that nothing that is lost or doubled looks right.
const PERIOD: usize = 65_537;

/// What an upload may cost, whoever of the two sides is the slower: a block that is read into, and what waits to be sent, which is a
/// block in which 32 KiB have come and one behind it, with 16 KiB of small pieces in between; and the connection and its two clients.
const AT_MOST_EACH: usize = (3 * 64 + 16 + 16) * KIB;
/// What is kept for the next reads and writes: 64 blocks and as many write buffers.
const POOL: usize = 64 * (64 + 16) * KIB;

/// Segments are no longer than this.
const SEGMENT: usize = 48 * KIB;

static PATTERN: [u8; PERIOD + SEGMENT] = {
    let (mut pattern, mut place, mut value) = ([0; PERIOD + SEGMENT], 0, 1_u64);
    while place < pattern.len() {
        if place < PERIOD {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
        pattern[place] = if place < PERIOD { (value >> 33) as u8 } else { pattern[place - PERIOD] };
        place += 1;
    }
    pattern
};

fn body(upload: usize, at: usize, bytes: usize) -> &'static [u8] {
    let place = (upload * 1009 + at) % PERIOD;
    &PATTERN[place..place + bytes]
}

async fn echo(exchange: &mut Exchange<'_>) -> Result<(), httpserver::HttpError> {
    let mut response = exchange.respond(StatusCode::OK).content_length(BYTES as u64).start().await?;
    while let Some(chunk) = exchange.body().chunk().await? {
        response.write(chunk).await?;
    }
    response.finish().await
}

fn send(mut socket: &TcpStream, upload: usize) {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BYTES}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let (mut random, mut at) = (Seeded(upload as u64 + 1), 0);
    while at < BYTES {
        let bytes = (1 + random.below(SEGMENT - 1)).min(BYTES - at);
        socket.write_all(body(upload, at, bytes)).unwrap();
        at += bytes;
    }
}

fn receive(mut socket: &TcpStream, upload: usize) {
    let (mut head, mut one) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut one).unwrap();
        head.push(one[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
    let (mut buffer, mut at) = ([0; SEGMENT], 0);
    loop {
        let n = socket.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        assert!(buffer[..n] == *body(upload, at, n), "upload {upload} differs from byte {at} on");
        at += n;
    }
    assert_eq!(at, BYTES);
}

fn round_trips(address: SocketAddr) {
    thread::scope(|scope| {
        for upload in 0..UPLOADS {
            scope.spawn(move || {
                let socket = TcpStream::connect(address).unwrap();
                thread::scope(|scope| {
                    scope.spawn(|| send(&socket, upload));
                    receive(&socket, upload);
                });
                socket.shutdown(Shutdown::Both).ok();
            });
        }
    });
}

#[test]
fn sixty_four_echoed_uploads_of_10_mib_come_back_whole_and_cost_a_few_blocks_each() {
    let server = Running::start(|| HttpServer::new(echo).options(unhurried(HttpOptions::new())));
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    round_trips(server.address());
    let most = MEMORY.peak_usage().saturating_sub(before);
    println!("{} KiB for each upload at most", most / UPLOADS / KIB);
    assert!(most <= UPLOADS * AT_MOST_EACH + POOL, "{most} bytes");
}

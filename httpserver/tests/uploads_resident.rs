//! What a process has in memory, holes in its allocator's heap included, while bodies that are wanted whole and together are far more
//! than the budget of their loop: no more than that.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use httpserver::{HttpOptions, HttpServer, Request, Response};
use iostream::MemoryBudget;
use support::{Running, Seeded, unhurried};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const HARD: usize = 32 * MIB;
const UPLOADS: usize = 64;

/// What is not counted: blocks that the pool keeps for the next reads and writes (5 MiB), the stacks of the clients here.
const BESIDE: usize = 7 * MIB;

static ZEROS: [u8; 64 * KIB] = [0; 64 * KIB];

/// The most that was resident since the last call of [`forget_peak`].
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * KIB
}

fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

async fn length(request: Request) -> Response {
    Response::text(request.body().len().to_string())
}

/// Sends so many bytes in segments of any size, and gives what was answered.
fn upload(address: SocketAddr, bytes: usize, seed: u64) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let (mut random, mut left) = (Seeded(seed), bytes);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    while left > 0 {
        let segment = (1 + random.below(ZEROS.len() - 1)).min(left);
        socket.write_all(&ZEROS[..segment]).unwrap();
        left -= segment;
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

#[test]
fn sixty_four_uploads_of_any_size_are_never_more_in_memory_than_the_budget_and_all_are_served() {
    let server = Running::start(|| {
        MemoryBudget::new(HARD / 2, HARD).install();
        HttpServer::new(length).options(unhurried(HttpOptions::new()))
    });
    let address = server.address();
    upload(address, KIB, 1);
    forget_peak();
    let before = peak();
    for wave in 0..3 {
        thread::scope(|scope| {
            for number in 0..UPLOADS {
                let seed = (1 + wave * UPLOADS + number) as u64;
                // From 64 KiB to 8 MiB, as many between each and its double as between any other.
                let size = (64 * KIB) << Seeded(seed).below(7);
                let size = size + Seeded(seed).below(size);
                scope.spawn(move || assert_eq!(upload(address, size, seed), size.to_string()));
            }
        });
        let grown = peak() - before;
        println!("{:.1} MiB after wave {wave}", grown as f64 / MIB as f64);
        assert!(grown <= HARD + BESIDE, "{grown} bytes");
    }
}

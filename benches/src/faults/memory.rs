//! What peers make a server keep for them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{get, post};
use super::report::{Finding, bytes};
use super::target::{Kind, LARGE, Target};
use super::{Extent, Findings};
use crate::process_cost::{peak_rss_bytes, reset_peak_rss};

/// One block of the pool of `iostream`.
const BLOCK: i64 = 64 * 1024;

/// Fifty that take a little of 100 MiB every now and then.
pub(super) fn slow_readers(target: &Target, extent: Extent) -> Findings {
    let mut findings =
        vec![fifty(target, extent, "50 slow readers of 100 MiB, memory each", &target.large())?];
    if target.is_ours() {
        let what = "the same of pieces of 1,000 bytes, which are copied";
        findings.push(fifty(target, extent, what, &format!("/pieces/{LARGE}"))?);
    }
    Ok(findings)
}

fn fifty(target: &Target, extent: Extent, what: &str, path: &str) -> io::Result<Finding> {
    const READERS: usize = 50;
    let before = target.memory()?;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = target.connect()?;
        reader.write_all(get(path).as_bytes())?;
        readers.push(reader);
    }
    let mut grown = 0;
    let mut piece = vec![0; 16 * 1024];
    for _ in 0..extent.pick(20, 5) {
        thread::sleep(Duration::from_millis(100));
        for reader in &mut readers {
            let _ = reader.read(&mut piece)?;
        }
        grown = grown.max(target.memory()? - before);
    }
    let each = grown / READERS as i64;
    // A block's worth of output, and a quarter of that for the connection, the request and the allocator's rounding.
    Ok(Finding::fact(what, "64 KiB, one block, and 16", bytes(each), each <= BLOCK + BLOCK / 4))
}

/// Somebody who asks and asks, and reads nothing.
pub(super) fn pipelined_unread(target: &Target, extent: Extent) -> Findings {
    let requests = extent.pick(100_000, 20_000);
    let before = target.memory()?;
    let all = get("/plaintext").repeat(requests);
    let mut client = target.connect()?;
    client.set_nonblocking(true)?;
    let (mut sent, mut last) = (0, Instant::now());
    while sent < all.len() && last.elapsed() < Duration::from_millis(500) {
        match client.write(&all.as_bytes()[sent..]) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let grown = target.memory()? - before;
    let what = "100,000 pipelined requests and nothing read, memory";
    Ok(vec![Finding::fact(what, "0.5 MiB", bytes(grown), grown < 512 * 1024)])
}

/// Uploads that come back, in segments of any size.
pub(super) fn echo_uploads(target: &Target, extent: Extent) -> Findings {
    if target.kind == Kind::Nginx {
        return Ok(Vec::new()); // it has no such handler
    }
    let size = extent.pick(10 << 20, 1 << 20);
    let pattern: Arc<Vec<u8>> = Arc::new((0..1_000_003).map(|_| fastrand::u8(..)).collect());
    let before = target.memory()?;
    reset_peak_rss(target.running.pid())?;
    let base = peak_rss_bytes(target.running.pid())?;
    let mut uploads = Vec::new();
    for number in 0..64_usize {
        let (client, pattern) = (target.connect()?, Arc::clone(&pattern));
        uploads.push(thread::spawn(move || upload(client, &pattern, number * 10_007, size)));
    }
    let mut whole = 0;
    for upload in uploads {
        whole += usize::from(upload.join().is_ok_and(|came_back| came_back.is_ok()));
    }
    let peak = peak_rss_bytes(target.running.pid())? as i64 - base as i64;
    let left = target.memory()? - before;
    // Where both sides keep up. Where one is slow a block is read into and two wait to be sent, beside those that the pool keeps.
    let at_most = 64 * extent.pick(2 * BLOCK, 4 * BLOCK + BLOCK / 2) + (1 << 20);
    Ok(vec![
        Finding::fact(
            "64 echoed uploads of 10 MiB in random segments",
            "all come back whole",
            format!("{whole} of 64"),
            whole == 64,
        ),
        Finding::fact(
            "memory for these, at most",
            "two blocks each, 8 MiB",
            format!("{} ({} afterwards)", bytes(peak), bytes(left)),
            peak <= at_most,
        ),
    ])
}

/// Sends and compares at the same time.
fn upload(client: TcpStream, pattern: &Arc<Vec<u8>>, start: usize, size: usize) -> io::Result<()> {
    let (mut out, source) = (client.try_clone()?, Arc::clone(pattern));
    let sender = thread::spawn(move || -> io::Result<()> {
        out.write_all(post("/echo", size as u64).as_bytes())?;
        let (mut at, mut left) = (start, size);
        while left > 0 {
            let n = fastrand::usize(1..=40_000).min(left).min(source.len() - at % source.len());
            out.write_all(&source[at % source.len()..][..n])?;
            (at, left) = (at + n, left - n);
        }
        Ok(())
    });
    let mut input = client;
    input.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut piece = vec![0; 64 * 1024];
    let mut head = Vec::new();
    let mut body = loop {
        let n = input.read(&mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&piece[..n]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break head.split_off(end + 4);
        }
    };
    let (mut at, mut left) = (start, size);
    loop {
        let mut came = &body[..];
        while !came.is_empty() {
            let expected = &pattern[at % pattern.len()..];
            let n = came.len().min(expected.len());
            if n > left || came[..n] != expected[..n] {
                return Err(io::ErrorKind::InvalidData.into());
            }
            (at, left, came) = (at + n, left - n, &came[n..]);
        }
        if left == 0 {
            break;
        }
        let n = input.read(&mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        body.clear();
        body.extend_from_slice(&piece[..n]);
    }
    input.shutdown(Shutdown::Both)?;
    sender.join().map_err(|_| io::Error::other("a sender panicked"))?
}

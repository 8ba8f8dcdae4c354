//! Requests that are small on the wire and large for who takes them apart.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::client::{Client, get, post};
use super::report::{Finding, bytes};
use super::target::Target;
use super::{Extent, Findings};
use crate::process_cost::{peak_rss_bytes, reset_peak_rss};

/// Forms of too many parts and fields.
pub(super) fn forms(target: &Target, _extent: Extent) -> Findings {
    if !target.is_ours() {
        return Ok(Vec::new()); // the others leave forms to somebody else
    }
    let mut parts = String::new();
    for number in 0..10_000 {
        _ = write!(parts, "--b\r\nContent-Disposition: form-data; name=\"n{number}\"\r\n\r\nv\r\n");
    }
    parts += "--b--\r\n";
    let fields = "n=v&".repeat(10_000);
    let mut findings = Vec::new();
    for (what, kind, body) in [
        ("a form of 10,000 parts", "multipart/form-data; boundary=b", parts),
        ("a form of 10,000 fields", "application/x-www-form-urlencoded", fields),
    ] {
        let memory = target.memory()?;
        let head = post("/form", body.len() as u64);
        let request = head.replace("\r\n\r\n", &format!("\r\nContent-Type: {kind}\r\n\r\n")) + &body;
        let answer = Client::new(target.connect()?).ask(request.as_bytes())?;
        let grown = target.memory()? - memory;
        let after = Client::new(target.connect()?).ask(get("/plaintext").as_bytes())?;
        let seen = format!("{}, {} for {}", answer.status, bytes(grown), bytes(body.len() as i64));
        let holds =
            answer.status == 413 && after.status == 200 && grown <= 2 * body.len() as i64 + (256 << 10);
        findings.push(Finding::fact(what, "413, memory within twice the body", seen, holds));
    }
    Ok(findings)
}

/// Bodies that decompress to a thousand times their size, from many at once.
pub(super) fn compressed(target: &Target, extent: Extent) -> Findings {
    if !target.is_ours() {
        return Ok(Vec::new()); // the others leave decompression to somebody else
    }
    const ATTACKERS: usize = 64;
    let body = Arc::new(bomb(extent.pick(1_000, 100))?);
    let head = post("/count", body.len() as u64);
    let head = head.replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
    let cpu = target.cpu()?;
    reset_peak_rss(target.running.pid())?;
    let before = peak_rss_bytes(target.running.pid())?;
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        let (mut client, head, body) = (Client::new(target.connect()?), head.clone(), Arc::clone(&body));
        attackers.push(thread::spawn(move || {
            client.stream.write_all(head.as_bytes())?;
            let _ = client.stream.write_all(&body); // the answer does not wait for all of it
            client.answer()
        }));
    }
    let mut refused = 0;
    for attacker in attackers {
        let answer = attacker.join().map_err(|_| io::Error::other("an attacker panicked"))?;
        refused += usize::from(answer.is_ok_and(|answer| answer.status == 413));
    }
    let grown = (peak_rss_bytes(target.running.pid())? - before) as i64;
    let spent = (target.cpu()? - cpu) / ATTACKERS as u32;
    let seen = format!(
        "413 for {refused}, {} and {:.1} ms CPU each",
        bytes(grown / ATTACKERS as i64),
        spent.as_secs_f64() * 1e3
    );
    let holds = refused == ATTACKERS && grown <= ATTACKERS as i64 * (256 << 10);
    Ok(vec![Finding::fact("64 gzip bombs at once, each of 1 GB in 1 MB", "413, 256 KiB each", seen, holds)])
}

/// So many megabytes of nothing, compressed, a member of the file for every ten.
fn bomb(megabytes: usize) -> io::Result<Vec<u8>> {
    let mut member = GzEncoder::new(Vec::new(), Compression::best());
    member.write_all(&vec![0; 10_000_000])?;
    Ok(member.finish()?.repeat(megabytes / 10))
}

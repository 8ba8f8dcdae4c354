//! Peers that are slow in every phase, all at the same time, beside one that is not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Polite, get, post};
use super::herd::{Cut, Habit, drive};
use super::report::{Finding, bytes};
use super::target::{Target, sockets};
use super::{Extent, Findings};

/// How long after its limit a slow peer may still be there.
const LEEWAY: Duration = Duration::from_millis(250);
/// How long after that somebody looks whether it is, at most: who is cut is not waited for any longer. Where times are not judged
/// the machine may be slow.
fn look(extent: Extent) -> Duration {
    extent.pick(Duration::from_secs(3), Duration::from_secs(30))
}

pub(super) fn slow_peers(target: &Target, extent: Extent) -> Findings {
    let (address, limit) = (target.address(), target.limit);
    let dribblers = extent.pick(1_000, 50);
    let alone = Polite::watch(target, extent.pick(Duration::from_secs(3), Duration::from_millis(300)))?;
    let memory = target.memory()?;
    let herd = |count: usize, first: String, then: &str| {
        let habit = Habit { first: first.into_bytes(), then: then.as_bytes().to_vec() };
        thread::spawn(move || drive(address, count, &habit, limit + look(extent)))
    };
    let polite = Polite::start(target)?;
    let silent = herd(10, String::new(), "");
    let header = herd(dribblers, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_owned(), "x");
    let body = herd(10, post("/count", 1_000_000), "x");
    let handler = target.is_ours().then(|| herd(5, get("/sleep/86400000"), ""));
    thread::sleep(limit / 2);
    let grown = target.memory()? - memory;
    let connections = dribblers + 20 + if target.is_ours() { 5 } else { 0 };
    let (silent, header, body) = (joined(silent)?, joined(header)?, joined(body)?);
    let handler = handler.map(joined).transpose()?;
    let waits = polite.stop()?;

    let (nothing, little) = (takers(target, 0, extent)?, takers(target, 1, extent)?);
    let mut findings = vec![
        cuts("silent from the start", limit, 10, &silent, None),
        cuts(&format!("one header byte a second × {dribblers}"), limit, dribblers, &header, Some(408)),
        cuts("one body byte a second", limit, 10, &body, Some(408)),
        gone("takes nothing of 100 MiB", limit, &nothing),
        gone("takes one byte a second of 100 MiB", limit, &little),
    ];
    if let Some(handler) = handler {
        findings.push(cuts("a handler that never ends", limit, 5, &handler, Some(503)));
    }
    let each = grown / connections as i64;
    findings.push(Finding::fact(
        "memory for each of those that are slow to ask",
        "4 KiB",
        bytes(each),
        each <= 4096,
    ));
    let unmoved = waits.failures == 0 && waits.p99() <= alone.p99().mul_f64(1.5) + Duration::from_millis(1);
    findings.push(Finding::timed(
        "p99 of a healthy client, before and meanwhile",
        "the same",
        format!("{}, {}", alone.text(), waits.text()),
        unmoved,
    ));
    Ok(findings)
}

fn joined<T>(thread: thread::JoinHandle<std::io::Result<T>>) -> std::io::Result<T> {
    thread.join().map_err(|_| std::io::Error::other("a herd panicked"))?
}

fn cuts(what: &str, limit: Duration, count: usize, cuts: &[Cut], expected: Option<u16>) -> Finding {
    let bound =
        format!("{}, limit + 0.25 s", expected.map_or("closed".to_owned(), |status| status.to_string()));
    if cuts.len() < count {
        let seen = match cuts.len() {
            0 => "not cut".to_owned(),
            some => format!("{some} of {count} cut"),
        };
        return Finding::fact(what, bound, format!("{seen} long after the limit"), false);
    }
    let last = cuts.iter().map(|cut| cut.after).max().unwrap_or_default();
    let first = cuts.iter().map(|cut| cut.after).min().unwrap_or_default();
    let status = cuts[0].status;
    let alike = cuts.iter().all(|cut| cut.status == status);
    let status_text = status.map_or("closed".to_owned(), |status| status.to_string());
    let seen = format!("{status_text}, limit {}", beyond(last, limit));
    let in_time = last <= limit + LEEWAY && first + LEEWAY >= limit;
    let mut finding = Finding::timed(what, bound, seen, in_time && alike && status == expected);
    finding.timed = alike && status == expected; // a wrong status is a fact
    finding
}

fn beyond(after: Duration, limit: Duration) -> String {
    format!("{:+.2} s", after.as_secs_f64() - limit.as_secs_f64())
}

/// How long after the last byte that it could send the server gives up peers that take so many bytes a second of a large answer.
fn takers(target: &Target, a_second: usize, extent: Extent) -> std::io::Result<Vec<Option<Duration>>> {
    let mut takers = Vec::new();
    for _ in 0..5 {
        let mut client = target.connect()?;
        client.write_all(get(&target.large()).as_bytes())?;
        let now = Instant::now();
        takers.push(Taker { client, read: 0, taken: 0, last: now, given_up: None });
    }
    let began = Instant::now();
    let end = began + target.limit + 2 * look(extent);
    let mut next_read = began;
    while takers.iter().any(|taker| taker.given_up.is_none()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
        let reads = a_second > 0 && next_read <= Instant::now();
        if reads {
            next_read += Duration::from_secs(1);
        }
        let table = sockets()?;
        for taker in takers.iter_mut().filter(|taker| taker.given_up.is_none()) {
            match target.under_way(&table, taker.client.local_addr()?.port()) {
                None => taker.given_up = Some(taker.last.elapsed()),
                // Less than before: what was on both sides at once, on its way, no longer is. It came there not long ago.
                Some(under_way) if taker.read + under_way != taker.taken => {
                    (taker.taken, taker.last) = (taker.read + under_way, Instant::now());
                }
                Some(_) => {}
            }
            if reads {
                taker.read += taker.client.read(&mut vec![0; a_second]).unwrap_or(0) as u64;
            }
        }
    }
    for taker in &takers {
        let _ = taker.client.shutdown(Shutdown::Both);
    }
    Ok(takers.into_iter().map(|taker| taker.given_up).collect())
}

/// Somebody who takes little or nothing.
struct Taker {
    client: TcpStream,
    /// What it has read.
    read: u64,
    /// What the kernel has taken from the server for it.
    taken: u64,
    /// When that changed.
    last: Instant,
    given_up: Option<Duration>,
}

fn gone(what: &str, limit: Duration, gone: &[Option<Duration>]) -> Finding {
    let bound = "cut, limit + 0.25 s from the last byte taken";
    match gone.iter().copied().collect::<Option<Vec<_>>>() {
        Some(all) => {
            let last = all.into_iter().max().unwrap_or_default();
            let seen = format!("cut, limit {}", beyond(last, limit));
            Finding::timed(what, bound, seen, last <= limit + LEEWAY)
        }
        None => Finding::fact(what, bound, "not cut long after the limit", false),
    }
}

//! A server that has no descriptor left.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::client::{Client, get};
use super::report::Finding;
use super::target::{Kind, Place, Start};
use super::{Extent, Findings};

/// What the server may have, and how many come.
const DESCRIPTORS: u32 = 128;
const CLIENTS: usize = 200;

pub(super) fn none_left(kind: Kind, place: &Place, extent: Extent) -> Findings {
    // Ours counts how many connections its descriptors allow, unless it is told another number: then it runs out as others do.
    let all: &[(&str, &[&str])] = match kind {
        Kind::Waterspout => &[("", &[]), (" (no limit on connections)", &["--max-connections", "100000"])],
        _ => &[("", &[])],
    };
    let mut findings = Vec::new();
    for (which, arguments) in all {
        let start = Start { descriptors: Some(DESCRIPTORS), arguments, ..Start::default() };
        findings.extend(one(kind, place, start, which, extent)?);
    }
    Ok(findings)
}

fn one(kind: Kind, place: &Place, start: Start<'_>, which: &str, extent: Extent) -> Findings {
    let target = place.start(kind, start)?;
    let (logged, began) = (target.log().len(), Instant::now());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::new(target.connect()?);
        if clients.len() + 1 < CLIENTS {
            client.stream.write_all(b"GET /plain")?; // or it idles, and may be closed for the others
        }
        clients.push(client);
    }
    std::thread::sleep(Duration::from_millis(300)); // from here on it only waits
    let share = target.cpu_share(extent.pick(Duration::from_secs(2), Duration::from_millis(500)))?;
    let lines = target.log().len() - logged;
    let seconds = began.elapsed().as_secs_f64();
    // Who came last waits. It asks, and then the first fifty go.
    let mut waiting = clients.pop().ok_or_else(|| io::Error::other("nobody waits"))?;
    waiting.stream.write_all(get("/plaintext").as_bytes())?;
    let began = Instant::now();
    drop(clients.drain(..CLIENTS - 10));
    let status = waiting.answer().map(|answer| answer.status);
    let took = began.elapsed();
    let served = match &status {
        Ok(status) => format!("{status} after {:.0} ms", took.as_secs_f64() * 1e3),
        Err(error) => format!("not served: {}", error.kind()),
    };
    let in_time = matches!(status, Ok(200)) && took <= Duration::from_millis(250);
    let mut late =
        Finding::timed(format!("descriptors free up{which}: who waits is served"), "0.25 s", served, in_time);
    late.timed = status.is_ok();
    Ok(vec![
        Finding::timed(
            format!("no descriptor left{which}: CPU"),
            "1 %",
            format!("{:.2} %", share * 100.0),
            share < 0.01,
        ),
        Finding::fact(
            format!("no descriptor left{which}: lines of log"),
            "1 a second",
            format!("{lines} in {seconds:.1} s"),
            lines as f64 <= 1.0 + seconds, // the first at once
        ),
        late,
    ])
}

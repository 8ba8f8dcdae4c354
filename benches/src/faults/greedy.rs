//! Three that take all they can get, beside one that asks for little.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Polite, Waits, get, post};
use super::report::{Finding, bytes};
use super::target::{Kind, Target};
use super::{Extent, Findings};

/// What the greedy send or take at a time.
const PIECE: usize = 64 * 1024;

/// Of a few rounds each, the one with the shortest waits: what else the machine does only makes them longer.
pub(super) fn three_greedy_and_one_polite(target: &Target, extent: Extent) -> Findings {
    let rounds = extent.pick(5, 1);
    let time = extent.pick(Duration::from_secs(1), Duration::from_millis(500));
    let requests = get("/plaintext").repeat(1_000).into_bytes();
    let downloads = get("/bytes/1048576").repeat(16).into_bytes();
    let mut upload = post("/count", 1 << 20).into_bytes();
    upload.extend(std::iter::repeat_n(b'x', 1 << 20));
    let alone = best(rounds, || beside(target, &[], time))?;
    let mut findings = vec![Finding::timed("p99 of a polite client alone", "", alone.waits.text(), true)];
    for (what, greed) in [("requests, pipelined", &requests), ("downloads", &downloads), ("uploads", &upload)]
    {
        // nginx would send uploads on.
        if what != "uploads" || target.kind != Kind::Nginx {
            findings.push(judged(what, time, &best(rounds, || beside(target, greed, time))?));
        }
    }
    Ok(findings)
}

fn judged(what: &str, time: Duration, round: &Round) -> Finding {
    let is_served = round.waits.failures == 0 && !round.waits.micros.is_empty();
    let seen = if is_served {
        format!("{}; they took {}/s", round.waits.text(), bytes(round.taken))
    } else {
        format!("not served within {time:?}")
    };
    let holds = is_served && round.waits.p99() <= Duration::from_millis(5);
    let mut finding = Finding::timed(format!("p99 beside three greedy clients: {what}"), "5 ms", seen, holds);
    finding.timed = is_served;
    finding
}

/// What came of one round.
struct Round {
    waits: Waits,
    /// What the greedy took, in bytes a second.
    taken: i64,
}

fn best(rounds: usize, mut round: impl FnMut() -> io::Result<Round>) -> io::Result<Round> {
    let mut best = round()?;
    for _ in 1..rounds {
        let next = round()?;
        if (next.waits.failures, next.waits.p99()) < (best.waits.failures, best.waits.p99()) {
            best = next;
        }
    }
    Ok(best)
}

/// Each of the three sends `greed` over and over and drops what comes back, for so long. Without greed there are none.
fn beside(target: &Target, greed: &[u8], time: Duration) -> io::Result<Round> {
    let mut greedy = Vec::new();
    for _ in 0..if greed.is_empty() { 0 } else { 3 } {
        let stream = target.connect()?;
        let (mut out, mut input, greed) = (stream.try_clone()?, stream.try_clone()?, greed.to_vec());
        // In pieces that do not keep the CPU for long: the polite one is on the same.
        thread::spawn(move || while greed.chunks(PIECE).all(|piece| out.write_all(piece).is_ok()) {});
        let reader = thread::spawn(move || {
            let (mut piece, mut taken) = (vec![0; PIECE], 0);
            while let Ok(n) = input.read(&mut piece)
                && n > 0
            {
                taken += n;
            }
            taken
        });
        greedy.push((stream, reader));
    }
    let began = Instant::now();
    thread::sleep(time / 10);
    let waits = Polite::watch(target, time)?;
    let (took, mut taken) = (began.elapsed(), 0);
    for (stream, reader) in greedy {
        let _ = stream.shutdown(Shutdown::Both);
        taken += reader.join().unwrap_or_default();
    }
    Ok(Round { waits, taken: (taken as f64 / took.as_secs_f64()) as i64 })
}

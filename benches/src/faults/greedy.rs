//! Three that take all they can get, beside one that asks for little.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Polite, get, post};
use super::report::{Finding, bytes};
use super::target::{Kind, Target};
use super::{Extent, Findings};

pub(super) fn three_greedy_and_one_polite(target: &Target, extent: Extent) -> Findings {
    let time = extent.pick(Duration::from_secs(3), Duration::from_millis(500));
    let requests = get("/plaintext").repeat(1_000).into_bytes();
    let downloads = get("/bytes/1048576").repeat(16).into_bytes();
    let mut upload = post("/count", 1 << 20).into_bytes();
    upload.extend(std::iter::repeat_n(b'x', 1 << 20));
    let mut findings = vec![
        beside(target, "requests, pipelined", &requests, time)?,
        beside(target, "downloads", &downloads, time)?,
    ];
    if target.kind != Kind::Nginx {
        findings.push(beside(target, "uploads", &upload, time)?); // that one would send them on
    }
    Ok(findings)
}

/// Each sends `greed` over and over and drops what comes back, for so long.
fn beside(
    target: &Target,
    what: &str,
    greed: &[u8],
    time: Duration,
) -> Result<Finding, Box<dyn std::error::Error>> {
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let stream = target.connect()?;
        let (mut out, mut input, greed) = (stream.try_clone()?, stream.try_clone()?, greed.to_vec());
        thread::spawn(move || while out.write_all(&greed).is_ok() {});
        let reader = thread::spawn(move || {
            let (mut piece, mut taken) = (vec![0; 256 * 1024], 0);
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
    let taken = bytes((taken as f64 / took.as_secs_f64()) as i64);
    let is_served = waits.failures == 0 && !waits.micros.is_empty();
    let seen = if is_served {
        format!("{}; they took {taken}/s", waits.text())
    } else {
        format!("not served within {time:?}")
    };
    let holds = is_served && waits.p99() <= Duration::from_millis(5);
    let mut finding = Finding::timed(format!("p99 beside three greedy clients: {what}"), "5 ms", seen, holds);
    finding.timed = is_served;
    Ok(finding)
}

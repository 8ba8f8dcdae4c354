//! Signals: the process stopped and continued, and storms of those that mean something else.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::{Client, Polite, get};
use super::report::Finding;
use super::target::Target;
use super::{Extent, Findings};

/// Stopped for a while, with a request on its way.
pub(super) fn stopped_and_continued(target: &Target, _extent: Extent) -> Findings {
    let mut client = Client::new(target.connect()?);
    client.ask(get("/plaintext").as_bytes())?;
    target.running.signal(Signal::STOP)?;
    std::io::Write::write_all(&mut client.stream, get("/plaintext").as_bytes())?;
    std::thread::sleep(Duration::from_secs(1));
    target.running.signal(Signal::CONT)?;
    let began = Instant::now();
    let status = client.answer()?.status;
    let took = began.elapsed();
    let share = target.cpu_share(Duration::from_millis(500))?;
    let seen = format!("{status} after {:.1} ms, then {:.2} % CPU", took.as_secs_f64() * 1e3, share * 100.0);
    Ok(vec![Finding::timed(
        "SIGSTOP for a second, SIGCONT",
        "answers, does not spin",
        seen,
        status == 200 && share < 0.01,
    )])
}

/// Tens of thousands, beside a client that must notice nothing; and what the process does when all is over.
pub(super) fn storm(target: &Target, extent: Extent) -> Findings {
    let mut findings = Vec::new();
    if target.is_ours() {
        let polite = Polite::start(target)?;
        let time = extent.pick(Duration::from_secs(2), Duration::from_millis(300));
        let (began, mut sent) = (Instant::now(), 0_u64);
        while began.elapsed() < time {
            for signal in [Signal::USR1, Signal::USR2, Signal::HUP] {
                target.running.signal(signal)?;
                sent += 1;
            }
            // Without an end to them the kernel would have the server do nothing else.
            std::thread::sleep(Duration::from_micros(20));
        }
        let waits = polite.stop()?;
        let counted = target.counters()?.get("signals").copied().unwrap_or_default();
        let seen = format!(
            "{sent} sent, {counted} noted, {} requests, {} failed",
            waits.micros.len(),
            waits.failures
        );
        let holds = waits.failures == 0 && counted > 0 && !waits.micros.is_empty();
        findings.push(Finding::fact(
            "a storm of SIGHUP, SIGUSR1 and SIGUSR2",
            "no request fails",
            seen,
            holds,
        ));
    }
    target.settle(extent)?;
    std::thread::sleep(Duration::from_millis(300));
    let share = target.cpu_share(extent.pick(Duration::from_secs(2), Duration::from_millis(500)))?;
    let seen = format!("{:.2} %", share * 100.0);
    findings.push(Finding::timed("CPU when all that is over", "0.00 %", seen, share < 0.000_05));
    Ok(findings)
}

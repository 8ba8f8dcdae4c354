//! Where we must stand, and where we do.

use crate::report::{Row, aligned};
use crate::results::Results;
use crate::scenario::Scenario;
use crate::server::{BASELINE, OURS};
use crate::spread::Spread;

/// What a request may cost us in server CPU time, as a multiple of what it costs a peer in the same round.
#[derive(Clone, Copy, Debug)]
struct Target {
    scenario: &'static str,
    peer: &'static str,
    at_most: f64,
}

const TARGETS: &[Target] = &[
    at_most("plaintext-64", BASELINE, 1.10),
    at_most("plaintext-64", "hyper", 0.80),
    at_most("plaintext-512", BASELINE, 1.15),
    at_most("plaintext-512", "hyper", 0.70),
    at_most("plaintext-4096", "hyper", 0.80),
    at_most("pipelined-16", "may_minihttp", 0.90),
    at_most("pipelined-16", "hyper", 0.40),
    at_most("browser", "hyper", 0.78),
    at_most("browser", "may_minihttp", 0.95),
    at_most("json", "hyper", 0.82),
    at_most("close", "nginx", 0.88),
    at_most("bytes-1m", "axum", 1.00),
    at_most("chunked-1m", "axum", 0.95),
    at_most("post-100k", "hyper", 0.93),
    at_most("lines-64", "tokio-bufreader", 0.97),
    at_most("lines-1024", "tokio-bufreader", 0.97),
    at_most("lines-pipelined", "tokio-bufreader", 0.10),
    at_most("tls", "hyper", 0.88),
];

/// How much may be counted for a request of ours.
struct Count {
    scenario: &'static str,
    what: &'static str,
    at_most: f64,
    of: fn(&Row) -> Option<f64>,
}

const COUNTS: &[Count] = &[
    Count {
        scenario: "plaintext-64",
        what: "user instructions",
        at_most: 3500.0,
        of: |row| row.instructions,
    },
    Count { scenario: "plaintext-64", what: "system calls", at_most: 2.1, of: |row| row.syscalls },
    Count { scenario: "close", what: "system calls", at_most: 7.0, of: |row| row.syscalls },
];

const fn at_most(scenario: &'static str, peer: &'static str, at_most: f64) -> Target {
    Target { scenario, peer, at_most }
}

/// The table of what we must reach, what was measured, and whether that is enough; what was not measured is left out.
/// None when nothing of it was.
pub fn table(results: &Results) -> Option<String> {
    let head = ["scenario", "ours ÷ it, or counted", "at most", "measured", ""].map(str::to_string).to_vec();
    let mut lines = vec![head];
    for target in TARGETS {
        let Some(measured) = target.measured(results) else { continue };
        lines.push(vec![
            target.scenario.to_string(),
            target.peer.to_string(),
            format!("{:.2}", target.at_most),
            measured.to_string(),
            verdict(measured.median, target.at_most),
        ]);
    }
    for Count { scenario, what, at_most, of } in COUNTS {
        let Some(counted) = results.row(scenario, OURS).as_ref().and_then(of) else { continue };
        let places = if counted < 100.0 { 2 } else { 0 };
        let (most, counted_so) = (at_most.to_string(), format!("{counted:.places$}"));
        lines.push(vec![
            (*scenario).to_string(),
            (*what).to_string(),
            most,
            counted_so,
            verdict(counted, *at_most),
        ]);
    }
    (lines.len() > 1).then(|| aligned(&lines))
}

impl Target {
    fn measured(&self, results: &Results) -> Option<Spread> {
        let rows = results.rows(Scenario::named(self.scenario)?);
        let row = |name| rows.iter().find(|row| row.name == name);
        row(OURS)?.ratio_to(row(self.peer)?)
    }
}

fn verdict(measured: f64, most: f64) -> String {
    if measured <= most {
        "met".to_string()
    } else {
        format!("missed by {:.1} %", (measured / most - 1.0) * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Key, Record};
    use crate::report::tests::sample;
    use crate::server::SERVERS;

    #[test]
    fn every_target_names_a_scenario_and_a_server_that_takes_it() {
        for target in TARGETS {
            let scenario = Scenario::named(target.scenario).unwrap();
            let mut peers = SERVERS.iter().filter(|server| server.takes(scenario));
            assert!(peers.any(|server| server.name == target.peer), "{target:?}");
        }
        assert!(COUNTS.iter().all(|count| Scenario::named(count.scenario).is_some()));
    }

    #[test]
    fn what_was_measured_is_set_against_the_target() {
        let mut results = Results::default();
        assert_eq!(table(&results), None);
        for (server, micros) in [(OURS, 12), (BASELINE, 10), ("hyper", 20)] {
            results.add(Record::Slice(Key::new("plaintext-64", server), 0, sample(micros))).unwrap();
        }
        results.add(Record::Instructions(Key::new("plaintext-64", OURS), 3000.0)).unwrap();
        let table = table(&results).unwrap();
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].contains("1.20 (1.20–1.20)") && lines[0].contains("missed by 9.1 %"), "{table}");
        assert!(lines[1].contains("0.60 (0.60–0.60)") && lines[1].contains("met"), "{table}");
        assert!(lines[2].contains("3000") && lines[2].contains("met"), "{table}");
    }
}

//! How cost grows as the work grows, and whether there is a knee in our curve that no peer's has.

use crate::report::aligned;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::server::OURS;

/// A curve: scenarios that differ in one thing.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// What its picture is called.
    pub name: &'static str,
    /// What grows.
    pub axis: &'static str,
    /// How much of it there is, and the scenario in which there is so much.
    pub points: &'static [(u64, &'static str)],
}

/// Everything that is let grow.
pub const CURVES: &[Curve] = &[
    Curve {
        name: "connections",
        axis: "connections",
        points: &[
            (1, "plaintext-1"),
            (8, "connections-8"),
            (64, "plaintext-64"),
            (512, "plaintext-512"),
            (4096, "plaintext-4096"),
            (16_000, "connections-16000"),
        ],
    },
    Curve {
        name: "depth",
        axis: "requests pipelined",
        points: &[
            (1, "plaintext-64"),
            (4, "depth-4"),
            (16, "pipelined-16"),
            (64, "depth-64"),
            (256, "depth-256"),
        ],
    },
    Curve {
        name: "fields",
        axis: "header fields of a request",
        points: &[
            (1, "fields-1"),
            (3, "fields-3"),
            (10, "fields-10"),
            (30, "fields-30"),
            (100, "fields-100"),
        ],
    },
    Curve {
        name: "body",
        axis: "bytes of a body",
        points: &[
            (1, "body-1"),
            (1 << 10, "body-1k"),
            (16 << 10, "body-16k"),
            (128 << 10, "body-128k"),
            (1 << 20, "body-1m"),
            (10 << 20, "body-10m"),
            (100 << 20, "body-100m"),
        ],
    },
];

/// A step in which our cost grows by this much more than that of any peer is a knee.
const KNEE: f64 = 1.15;

/// One server's points of a curve: how much there was, and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The server.
    pub server: &'static str,
    /// In the order of the curve.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// A line for each server that has more than one point: the median of what is measured in a slice.
    pub fn lines(&self, results: &Results, value: impl Fn(&crate::report::Row) -> Option<f64>) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (amount, name) in self.points {
            let Some(scenario) = Scenario::named(name) else { continue };
            for row in results.rows(scenario) {
                let Some(value) = value(&row) else { continue };
                let point = (*amount as f64, value);
                match lines.iter_mut().find(|line| line.server == row.name) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { server: row.name, points: vec![point] }),
                }
            }
        }
        lines.retain(|line| line.points.len() > 1);
        lines
    }

    /// The server CPU time per request, in microseconds.
    pub fn cost(&self, results: &Results) -> Vec<Line> {
        self.lines(results, |row| Some(row.median_cpu()).filter(|micros| micros.is_finite()))
    }

    /// By how much each step makes a request dearer, for those that were measured at every point; a step that makes ours
    /// dearer, and by 15 % more than it makes any of them, is marked. None when not all of it was measured for us.
    pub fn steps(&self, results: &Results) -> Option<String> {
        let mut lines = self.cost(results);
        lines.retain(|line| line.points.len() == self.points.len());
        let ours = lines.iter().position(|line| line.server == OURS)?;
        let ours = lines.remove(ours);
        let mut head = vec![self.axis.to_string(), OURS.to_string()];
        head.extend(lines.iter().map(|line| line.server.to_string()));
        head.push(String::new());
        let mut table = vec![head];
        for step in 1..self.points.len() {
            let growth = |line: &Line| line.points[step].1 / line.points[step - 1].1;
            let most = lines.iter().map(growth).fold(0.0, f64::max);
            let mut cells = vec![format!("{} to {}", self.points[step - 1].0, self.points[step].0)];
            cells.extend([&ours].into_iter().chain(&lines).map(|line| format!("× {:.2}", growth(line))));
            let knee = !lines.is_empty() && growth(&ours) > (KNEE * most).max(1.0);
            cells.push(if knee { "a knee".to_string() } else { String::new() });
            table.push(cells);
        }
        Some(aligned(&table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Key, Record};
    use crate::report::tests::sample;

    fn results(servers: &[(&'static str, &[u64])], curve: &Curve) -> Results {
        let mut results = Results::default();
        for (server, costs) in servers {
            for (micros, (_, scenario)) in costs.iter().zip(curve.points) {
                results.add(Record::Slice(Key::new(scenario, server), 0, sample(*micros))).unwrap();
            }
        }
        results
    }

    #[test]
    fn every_point_is_a_scenario_and_the_amounts_grow() {
        for curve in CURVES {
            assert!(curve.points.iter().all(|(_, name)| Scenario::named(name).is_some()), "{curve:?}");
            assert!(curve.points.is_sorted_by_key(|(amount, _)| *amount), "{curve:?}");
        }
    }

    #[test]
    fn a_step_that_costs_us_more_than_any_peer_is_a_knee() {
        let curve = CURVES.iter().find(|curve| curve.name == "fields").unwrap();
        let ours: &[u64] = &[10, 10, 20, 40, 100];
        let hyper: &[u64] = &[20, 20, 24, 80, 200];
        let table = curve.steps(&results(&[(OURS, ours), ("hyper", hyper)], curve)).unwrap();
        let knees: Vec<&str> = table.lines().filter(|line| line.contains("a knee")).collect();
        assert_eq!(knees.len(), 1, "{table}");
        assert!(knees[0].contains("3 to 10") && knees[0].contains("× 2.00") && knees[0].contains("× 1.20"));
    }

    #[test]
    fn who_was_not_measured_everywhere_has_a_line_but_no_steps() {
        let curve = CURVES.iter().find(|curve| curve.name == "fields").unwrap();
        let results = results(&[(OURS, &[10, 10, 10, 10, 10]), ("nginx", &[9, 9])], curve);
        assert_eq!(curve.cost(&results).len(), 2);
        assert!(!curve.steps(&results).unwrap().contains("nginx"));
        assert_eq!(CURVES[0].steps(&results), None);
    }
}

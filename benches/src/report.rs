//! Tables of a scenario's samples, in Markdown that also reads well on a terminal.

use crate::scenario::Scenario;
use crate::server::{BASELINE, OURS};
use crate::slice::{DISTURBED, Sample};
use crate::spread::{Spread, short};

/// All samples of one server in one scenario, one place per round.
#[derive(Clone, Debug)]
pub struct Row {
    /// The server.
    pub name: &'static str,
    /// None where the slice failed.
    pub samples: Vec<Option<Sample>>,
}

const HEAD: [&str; 10] = [
    "server",
    "CPU µs/request",
    "÷ floor",
    "ours ÷ it",
    "requests/s",
    "p50 µs",
    "p99 µs",
    "peak MiB",
    "server busy",
    "load busy",
];

/// The scenario's table: medians over the rounds, the least and the greatest in parentheses, ratios paired within
/// rounds, the cheapest server first.
pub fn table(scenario: &Scenario, rows: &[Row]) -> String {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|one, other| one.median_cpu().total_cmp(&other.median_cpu()));
    let reference = |name| rows.iter().find(|row| row.name == name).map(|row| row.cpu_micros());
    let (baseline, ours) = (reference(BASELINE), reference(OURS));
    let mut lines = vec![HEAD.map(str::to_string).to_vec()];
    lines.extend(rows.iter().map(|row| row.cells(baseline.as_deref(), ours.as_deref())));
    let batch = if scenario.depth > 1 { format!(", {} at a time", scenario.depth) } else { String::new() };
    let mut text =
        format!("### {} ({} connections{batch})\n\n{}", scenario.name, scenario.connections, aligned(&lines));
    for note in rows.iter().filter_map(|row| row.note()) {
        text.push_str(&note);
    }
    text
}

impl Row {
    fn cells(&self, baseline: Option<&[Option<f64>]>, ours: Option<&[Option<f64>]>) -> Vec<String> {
        let spread = |spread: Option<Spread>| spread.map_or("-".to_string(), |spread| spread.to_string());
        let cpu = self.cpu_micros();
        let percent = |value: fn(&Sample) -> f64| format!("{:.0} %", self.median(value) * 100.0);
        vec![
            self.name.to_string(),
            spread(Spread::of(cpu.iter().copied().flatten())),
            spread(baseline.and_then(|baseline| Spread::of_ratios(&cpu, baseline))),
            spread(ours.and_then(|ours| Spread::of_ratios(ours, &cpu))),
            format!("{:.0}", self.median(Sample::rate)),
            short(self.median(|sample| sample.p50)),
            short(self.median(|sample| sample.p99)),
            short(self.median(|sample| sample.peak_rss_bytes as f64 / f64::from(1 << 20))),
            percent(Sample::server_busy),
            percent(Sample::load_busy),
        ]
    }

    /// What a reader must know before trusting the row.
    fn note(&self) -> Option<String> {
        let failures: u64 = self.samples.iter().flatten().map(|sample| sample.failures).sum();
        let missing = self.samples.iter().filter(|sample| sample.is_none()).count();
        let disturbed = self.median(Sample::disturbed);
        let mut notes = Vec::new();
        if failures > 0 {
            notes.push(format!("{failures} requests failed"));
        }
        if missing > 0 {
            notes.push(format!("{missing} slices gave nothing"));
        }
        if disturbed > DISTURBED {
            notes.push(format!("kept from the CPU for {:.0} % of the time", disturbed * 100.0));
        }
        (!notes.is_empty()).then(|| format!("- {}: {}\n", self.name, notes.join(", ")))
    }

    fn cpu_micros(&self) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.as_ref().and_then(Sample::cpu_micros)).collect()
    }

    fn median_cpu(&self) -> f64 {
        Spread::of(self.cpu_micros().into_iter().flatten()).map_or(f64::INFINITY, |spread| spread.median)
    }

    fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        Spread::of(self.samples.iter().flatten().map(value)).map_or(0.0, |spread| spread.median)
    }
}

/// A Markdown table: the first column to the left, numbers to the right.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let cell = if column == 0 { format!("| {cell:width$} ") } else { format!("| {cell:>width$} ") };
            text.push_str(&cell);
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                text.push_str(&format!("|{:-<width$}-{}", "-", if column == 0 { "-" } else { ":" }));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process_cost::Cpu;
    use crate::scenario::SCENARIOS;

    fn sample(cpu_micros: u64) -> Option<Sample> {
        let cpu = Cpu { ran: Duration::from_micros(cpu_micros * 100), waited: Duration::ZERO, threads: 1 };
        Some(Sample {
            answers: 100,
            failures: 0,
            seconds: 0.5,
            server: cpu,
            load: cpu,
            p50: 1.0,
            p99: 2.0,
            peak_rss_bytes: 1 << 20,
        })
    }

    #[test]
    fn rows_are_sorted_by_cost_and_ratios_are_paired() {
        let rows = [
            Row { name: "hyper", samples: vec![sample(20), sample(40), None] },
            Row { name: OURS, samples: vec![sample(11), sample(22), sample(11)] },
            Row { name: BASELINE, samples: vec![sample(10), sample(20), sample(10)] },
        ];
        let table = table(&SCENARIOS[0], &rows);
        let line =
            |name: &str| table.lines().position(|line| line.starts_with(&format!("| {name} "))).unwrap();
        assert!(line(BASELINE) < line(OURS) && line(OURS) < line("hyper"));
        let hyper = table.lines().nth(line("hyper")).unwrap();
        assert!(hyper.contains("2.00 (2.00–2.00)") && hyper.contains("0.55 (0.55–0.55)"), "{hyper}");
        assert!(table.contains("- hyper: 1 slices gave nothing"));
    }

    #[test]
    fn columns_line_up() {
        let lines = [vec!["µs".to_string(), "1".to_string()], vec!["a".to_string(), "1000".to_string()]];
        assert_eq!(aligned(&lines), "| µs |    1 |\n|----|-----:|\n| a  | 1000 |\n");
    }
}

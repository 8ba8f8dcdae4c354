//! Tables of a scenario's samples, in Markdown that also reads well on a terminal.

use crate::scenario::Scenario;
use crate::server::{BASELINE, OURS};
use crate::slice::{DISTURBED, Sample};
use crate::spread::{Spread, short};

/// In a cell for which there is no figure.
const NOTHING: &str = "-";

/// What is known of one server in one scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// The server.
    pub name: &'static str,
    /// A place per round; None where the slice failed.
    pub samples: Vec<Option<Sample>>,
    /// User instructions per request, where they were counted.
    pub instructions: Option<f64>,
    /// System calls per request, where they were counted.
    pub syscalls: Option<f64>,
    /// The length of the head of its answer, and the names of the fields in it.
    pub head: Option<(usize, String)>,
}

const HEAD: [&str; 12] = [
    "server",
    "CPU µs/request",
    "÷ floor",
    "ours ÷ it",
    "requests/s",
    "p50 µs",
    "p99 µs",
    "syscalls",
    "instructions",
    "peak MiB",
    "server busy",
    "load busy",
];

/// The scenario's table: medians over the rounds, the least and the greatest in parentheses, ratios paired within
/// rounds, the cheapest server first.
pub fn table(scenario: &Scenario, rows: &[Row]) -> String {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|one, other| one.median_cpu().total_cmp(&other.median_cpu()));
    let named = |name| rows.iter().copied().find(|row| row.name == name);
    let mut lines = vec![HEAD.map(str::to_string).to_vec()];
    lines.extend(rows.iter().map(|row| row.cells(named(BASELINE), named(OURS))));
    drop_empty_columns(&mut lines);
    let mut text = format!("### {} ({})\n\n{}", scenario.name, scenario.load_in_words(), aligned(&lines));
    let notes: Vec<String> = rows.iter().filter_map(|row| row.note(scenario)).collect();
    if !notes.is_empty() {
        text.push_str(&format!("\n{}", notes.concat()));
    }
    text
}

/// What was counted in no row is no column.
fn drop_empty_columns(lines: &mut [Vec<String>]) {
    for column in (0..HEAD.len()).rev() {
        if lines[1..].iter().all(|line| line[column] == NOTHING) {
            lines.iter_mut().for_each(|line| drop(line.remove(column)));
        }
    }
}

impl Row {
    /// A row without slices.
    pub fn new(name: &'static str) -> Row {
        Row { name, samples: Vec::new(), instructions: None, syscalls: None, head: None }
    }

    /// Puts the slice of a round into its place.
    pub fn set(&mut self, round: usize, sample: Sample) {
        if self.samples.len() <= round {
            self.samples.resize(round + 1, None);
        }
        self.samples[round] = Some(sample);
    }

    /// CPU time per request as a multiple of the other's, paired within rounds.
    pub fn ratio_to(&self, other: &Row) -> Option<Spread> {
        Spread::of_ratios(&self.cpu_micros(), &other.cpu_micros())
    }

    /// The median of what is measured in a slice. None without slices.
    pub fn median(&self, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        Spread::of(self.samples.iter().flatten().map(value)).map(|spread| spread.median)
    }

    fn cells(&self, baseline: Option<&Row>, ours: Option<&Row>) -> Vec<String> {
        let spread = |spread: Option<Spread>| spread.map_or(NOTHING.to_string(), |spread| spread.to_string());
        let number = |value: Option<f64>, places: usize| {
            value.map_or(NOTHING.to_string(), |value| format!("{value:.places$}"))
        };
        let median = |value: fn(&Sample) -> f64| self.median(value).map_or(NOTHING.to_string(), short);
        let percent = |value: fn(&Sample) -> f64| {
            self.median(value).map_or(NOTHING.to_string(), |share| format!("{:.0} %", share * 100.0))
        };
        vec![
            self.name.to_string(),
            spread(Spread::of(self.cpu_micros().into_iter().flatten())),
            spread(baseline.and_then(|baseline| self.ratio_to(baseline))),
            spread(ours.and_then(|ours| ours.ratio_to(self))),
            number(self.median(Sample::rate), 0),
            median(Sample::p50),
            median(Sample::p99),
            number(self.syscalls, 2),
            number(self.instructions, 0),
            median(|sample| sample.peak_rss_bytes as f64 / f64::from(1 << 20)),
            percent(Sample::server_busy),
            percent(Sample::load_busy),
        ]
    }

    /// What a reader must know before trusting the row.
    fn note(&self, scenario: &Scenario) -> Option<String> {
        let failures: u64 = self.samples.iter().flatten().map(|sample| sample.failures).sum();
        let missing = self.samples.iter().filter(|sample| sample.is_none()).count();
        let disturbed = self.median(Sample::disturbed).filter(|_| scenario.loops == 1).unwrap_or(0.0);
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

    /// The median of the key figure, in microseconds.
    pub fn median_cpu(&self) -> f64 {
        Spread::of(self.cpu_micros().into_iter().flatten()).map_or(f64::INFINITY, |spread| spread.median)
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
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process_cost::Cpu;
    use crate::scenario::SCENARIOS;
    use crate::slice::QUANTILES;

    /// A slice of 100 requests that cost so much each.
    pub(crate) fn sample(cpu_micros: u64) -> Sample {
        let cpu = Cpu { ran: Duration::from_micros(cpu_micros * 100), waited: Duration::ZERO, threads: 1 };
        Sample {
            answers: 100,
            failures: 0,
            seconds: 0.5,
            server: cpu,
            load: cpu,
            latency: [1.0; QUANTILES.len()],
            peak_rss_bytes: 1 << 20,
        }
    }

    /// A row with a slice in each round.
    pub(crate) fn row(name: &'static str, cpu_micros: &[u64]) -> Row {
        Row { samples: cpu_micros.iter().map(|micros| Some(sample(*micros))).collect(), ..Row::new(name) }
    }

    #[test]
    fn rows_are_sorted_by_cost_and_ratios_are_paired() {
        let mut hyper = row("hyper", &[20, 40]);
        hyper.samples.push(None);
        let rows = [hyper, row(OURS, &[11, 22, 11]), row(BASELINE, &[10, 20, 10])];
        let table = table(&SCENARIOS[0], &rows);
        let line =
            |name: &str| table.lines().position(|line| line.starts_with(&format!("| {name} "))).unwrap();
        assert!(line(BASELINE) < line(OURS) && line(OURS) < line("hyper"));
        let hyper = table.lines().nth(line("hyper")).unwrap();
        assert!(hyper.contains("2.00 (2.00–2.00)") && hyper.contains("0.55 (0.55–0.55)"), "{hyper}");
        assert!(table.contains("- hyper: 1 slices gave nothing"));
    }

    #[test]
    fn what_was_counted_for_nobody_is_no_column() {
        let mut rows = [row(OURS, &[11]), row(BASELINE, &[10])];
        assert!(!table(&SCENARIOS[0], &rows).contains("instructions"));
        rows[0].instructions = Some(2500.4);
        let table = table(&SCENARIOS[0], &rows);
        assert!(table.contains("| instructions |") && table.contains(" 2500 |"), "{table}");
        assert!(!table.contains("syscalls"));
    }

    #[test]
    fn columns_line_up() {
        let lines = [vec!["µs".to_string(), "1".to_string()], vec!["a".to_string(), "1000".to_string()]];
        assert_eq!(aligned(&lines), "| µs |    1 |\n|----|-----:|\n| a  | 1000 |\n");
    }
}

//! The pictures of a comparison.

use crate::growth::{CURVES, Curve, Line};
use crate::report::Row;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::server::{BASELINE, OURS, SERVERS};
use crate::slice::{QUANTILES, Sample};
use crate::svg::{self, Chart, Style, plain};

/// The open loop whose latencies are shown.
const AT_RATE: &str = "rate-10k";

/// A picture, and what is said below it.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Its file's name.
    pub(crate) file: String,
    /// What it shows, in a sentence.
    pub(crate) caption: String,
    /// The picture.
    pub(crate) svg: String,
}

/// Every picture for which there are figures.
pub(crate) fn plots(results: &Results) -> Vec<Plot> {
    let mut plots = vec![throughput(results), latency(results)];
    plots.extend(CURVES.iter().map(|curve| cost(curve, results)));
    plots.into_iter().flatten().collect()
}

fn cost(curve: &Curve, results: &Results) -> Option<Plot> {
    let caption = format!("Server CPU time per request against {}", curve.axis);
    let chart = chart(curve, &caption, "µs of CPU per request", curve.cost(results));
    Some(Plot { file: format!("cpu-{}.svg", curve.name), caption, svg: chart.render()? })
}

fn throughput(results: &Results) -> Option<Plot> {
    let curve = CURVES.iter().find(|curve| curve.name == "connections")?;
    let lines = curve.lines(results, |row| row.median(Sample::rate));
    let caption = "Requests a second against connections".to_string();
    let chart = chart(curve, &caption, "requests a second", lines);
    Some(Plot { file: "throughput-connections.svg".to_string(), caption, svg: chart.render()? })
}

fn chart(curve: &Curve, title: &str, y_label: &str, lines: Vec<Line>) -> Chart {
    let amounts = || curve.points.iter().map(|(amount, _)| *amount as f64);
    Chart {
        title: title.to_string(),
        x_label: curve.axis.to_string(),
        y_label: y_label.to_string(),
        x_ticks: amounts().map(|amount| (amount, binary(amount))).collect(),
        lines: lines.into_iter().map(styled).collect(),
    }
}

/// Quantiles along an axis on which each nine is as far as the one before.
fn latency(results: &Results) -> Option<Plot> {
    let rows = results.rows(Scenario::named(AT_RATE)?);
    // The greatest of all has no place on such an axis.
    let shown: Vec<(usize, f64)> = QUANTILES
        .iter()
        .enumerate()
        .filter(|(_, quantile)| **quantile < 1.0)
        .map(|(at, quantile)| (at, *quantile))
        .collect();
    let place = |quantile: f64| 1.0 / (1.0 - quantile);
    let line = |row: &Row| {
        let point = |(at, quantile): &(usize, f64)| {
            Some((place(*quantile), row.median(|sample| sample.latency[*at])?))
        };
        Some(Line { server: row.name, points: shown.iter().map(point).collect::<Option<_>>()? })
    };
    let caption = "Latency at 10,000 requests a second, open loop".to_string();
    let chart = Chart {
        title: caption.clone(),
        x_label: "percentile".to_string(),
        y_label: "µs".to_string(),
        x_ticks: shown.iter().map(|(_, quantile)| (place(*quantile), plain(quantile * 100.0))).collect(),
        lines: rows.iter().filter_map(line).map(styled).collect(),
    };
    Some(Plot { file: "latency.svg".to_string(), caption, svg: chart.render()? })
}

/// The same server has the same colour in every picture.
fn styled(line: Line) -> svg::Line {
    let style = match line.server {
        OURS => Style::Main,
        BASELINE => Style::Reference,
        other => {
            let others =
                SERVERS.iter().map(|server| server.name).filter(|name| ![OURS, BASELINE].contains(name));
            Style::Other(others.into_iter().position(|name| name == other).unwrap_or(0))
        }
    };
    svg::Line { name: line.server.to_string(), style, points: line.points }
}

/// `128k` for 2¹⁷, and the number itself for what is no multiple of 2¹⁰.
fn binary(amount: f64) -> String {
    match amount as u64 {
        mebi if mebi >= 1 << 20 && mebi.is_multiple_of(1 << 20) => format!("{} MiB", mebi >> 20),
        kibi if kibi > 4096 && kibi.is_multiple_of(1 << 10) => format!("{} KiB", kibi >> 10),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Key, Record};
    use crate::report::tests::sample;

    #[test]
    fn what_was_measured_is_drawn_and_the_rest_is_not() {
        let mut results = Results::default();
        assert!(plots(&results).is_empty());
        for scenario in ["fields-1", "fields-3", AT_RATE] {
            results.add(Record::Slice(Key::new(scenario, OURS), 0, sample(10))).unwrap();
        }
        let drawn: Vec<String> = plots(&results).into_iter().map(|plot| plot.file).collect();
        assert_eq!(drawn, ["latency.svg", "cpu-fields.svg"]);
    }

    #[test]
    fn amounts_of_bytes_are_told_from_others() {
        assert_eq!(
            [1.0, 512.0, 4096.0, 16_000.0, 16_384.0, 1_048_576.0].map(binary),
            ["1", "512", "4096", "16000", "16 KiB", "1 MiB"]
        );
    }
}

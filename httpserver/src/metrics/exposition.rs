//! The text in which metrics are scraped: Prometheus' own and OpenMetrics, which differ in little.

use std::fmt::Write;

use super::histogram::Totals;

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Text that grows family by family.
#[derive(Debug)]
pub(crate) struct Exposition {
    text: String,
    is_openmetrics: bool,
}

type Labels<'a> = [(&'a str, &'a str)];

impl Exposition {
    pub(crate) fn prometheus() -> Exposition {
        Exposition { text: String::new(), is_openmetrics: false }
    }

    pub(crate) fn openmetrics() -> Exposition {
        Exposition { text: String::new(), is_openmetrics: true }
    }

    /// Begins a family. The name of a counter goes without its `_total`.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, unit: &str, help: &str) {
        let (kind, suffix) = match kind {
            Kind::Counter => ("counter", if self.is_openmetrics { "" } else { "_total" }),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {kind}"));
        if self.is_openmetrics && !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &Labels<'_>, value: f64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}{labels} {value}"));
    }

    pub(crate) fn counter(&mut self, name: &str, labels: &Labels<'_>, count: u64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}_total{labels} {count}"));
    }

    /// Bounds and sum are given times `unit`.
    pub(crate) fn histogram(&mut self, name: &str, labels: &Labels<'_>, totals: &Totals, unit: f64) {
        let mut count = 0;
        for (place, more) in totals.counts.iter().enumerate() {
            count += more;
            let bound = totals.bounds.get(place);
            let bound = bound.map_or("+Inf".to_owned(), |&bound| self.bound(rounded(bound, unit)));
            let labels = braced(labels, Some(&bound));
            self.line(format_args!("{name}_bucket{labels} {count}"));
        }
        let (labels, sum) = (braced(labels, None), rounded(totals.sum, unit));
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {count}"));
    }

    pub(crate) fn finish(mut self) -> String {
        if self.is_openmetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// OpenMetrics wants whole numbers to look like floats here.
    fn bound(&self, bound: f64) -> String {
        if self.is_openmetrics { format!("{bound:?}") } else { bound.to_string() }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _infallible = writeln!(self.text, "{line}");
    }
}

/// `value` in a unit that is one or a power of ten below, without the noise of multiplying.
fn rounded(value: u64, unit: f64) -> f64 {
    value as f64 / (1.0 / unit).round()
}

/// Nothing in our labels needs to be escaped.
fn braced(labels: &Labels<'_>, bound: Option<&str>) -> String {
    let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
    let all: Vec<String> = all.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

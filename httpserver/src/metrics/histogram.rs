//! Values counted by where they lie between fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A histogram that one thread fills and any may read.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, of what is not above it, and one for what is above all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [u64]) -> Histogram {
        Histogram {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, value: u64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        self.counts[place].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }
}

/// Histograms of the same bounds, added up.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bounds: &'static [u64],
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: u64,
}

impl Totals {
    pub(crate) fn of<'a>(all: impl Iterator<Item = &'a Histogram>) -> Totals {
        let mut totals = Totals::default();
        for each in all {
            totals.bounds = each.bounds;
            totals.counts.resize(each.counts.len(), 0);
            for (total, count) in totals.counts.iter_mut().zip(&each.counts) {
                *total += count.load(Relaxed);
            }
            totals.sum += each.sum.load(Relaxed);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_below_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[0, 10, 20]);
        for value in [0, 1, 10, 11, 20, 21, 1000] {
            histogram.record(value);
        }
        let totals = Totals::of([&histogram, &histogram].into_iter());
        assert_eq!((totals.counts, totals.sum), (vec![2, 4, 4, 4], 2 * 1063));
    }
}

//! Counts of values by their magnitude.

use std::time::Duration;

/// A bucket for zero, and one for each power of two.
const BUCKETS: usize = 65;

/// How often values of each magnitude occurred: one bucket for zero, one for 1, one for 2 to 3, one for 4 to 7, and so on.
/// So a quantile is exact to a factor of two. 544 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum: u64,
    max: u64,
}

impl Histogram {
    pub(crate) const fn new() -> Histogram {
        Histogram { counts: [0; BUCKETS], sum: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket_of(value)] += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn record_nanos(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum; `u64::MAX` if it is more.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest value ever, exactly; 0 where there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Their mean; 0 where there is none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or(0)
    }

    /// A value that at least this part of them does not exceed, `0.99` for instance: the upper end of the bucket, but no
    /// more than [`max`](Histogram::max). 0 where there is none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> u64 {
        let wanted = (part.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        for (upper, count) in self.buckets() {
            seen += count;
            if seen >= wanted {
                return upper.min(self.max);
            }
        }
        self.max
    }

    /// Each bucket that holds something: the largest value that belongs there, and how many do.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (upper_end(bucket), *count))
    }

    /// What was recorded since `earlier`, a copy of this one. The maximum stays the one of all times.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        Histogram { counts, sum: self.sum.saturating_sub(earlier.sum), max: self.max }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, mean, p99) = (self.count(), self.mean(), self.quantile(0.99));
        write!(f, "Histogram {{ count: {count}, mean: {mean}, p99: ≤{p99}, max: {} }}", self.max)
    }
}

fn bucket_of(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

fn upper_end(bucket: usize) -> u64 {
    u64::MAX.checked_shr(u64::BITS - bucket as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_that_names_their_upper_end() {
        for (value, upper) in
            [(0, 0), (1, 1), (2, 3), (3, 3), (4, 7), (1 << 40, (1 << 41) - 1), (u64::MAX, u64::MAX)]
        {
            let mut histogram = Histogram::new();
            histogram.record(value);
            assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(upper, 1)], "{value}");
            assert_eq!((histogram.quantile(1.0), histogram.max(), histogram.mean()), (value, value, value));
        }
    }

    #[test]
    fn a_quantile_is_not_below_the_value_it_stands_for_and_below_twice_of_it() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value));
        for (part, value) in [(0.0, 1), (0.001, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let quantile = histogram.quantile(part);
            assert!(quantile >= value && quantile < 2 * value, "{part}: {quantile}");
        }
        assert_eq!((histogram.count(), histogram.sum(), histogram.mean()), (1000, 500_500, 500));
    }

    #[test]
    fn an_empty_histogram_is_all_zero() {
        let histogram = Histogram::new();
        assert_eq!(
            (histogram.count(), histogram.quantile(0.5), histogram.mean(), histogram.max()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn a_difference_counts_what_came_between() {
        let mut histogram = Histogram::new();
        histogram.record(5);
        let earlier = histogram;
        histogram.record(5);
        histogram.record(900);
        let between = histogram.since(&earlier);
        assert_eq!((between.count(), between.sum()), (2, 905));
    }
}

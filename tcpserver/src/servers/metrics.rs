//! What the loops of a server have done, side by side.

use crate::metrics::Metrics;

/// The [`Metrics`] of a server on several loops: [`ServersHandle::metrics`](crate::ServersHandle::metrics).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopMetrics {
    /// Those of each loop, by index; what it has done before it was restarted is in them.
    pub loops: Vec<Metrics>,
    /// Those of who accepts for all, with [`AcceptStrategy::Dispatch`](crate::AcceptStrategy::Dispatch): failures and whom it has turned
    /// away. The connections that it hands out count where they are served.
    pub acceptor: Metrics,
}

impl LoopMetrics {
    /// All together.
    #[must_use]
    pub fn total(&self) -> Metrics {
        self.loops.iter().copied().chain([self.acceptor]).sum()
    }

    /// How unevenly connections were spread: those of the loop that has had the most, as a multiple of the mean. 1 is even; as many as
    /// there are loops means that one has had all. 1 while there was none.
    #[must_use]
    pub fn skew(&self) -> f64 {
        self.skew_of(|metrics| metrics.accepted)
    }

    /// [`skew`](LoopMetrics::skew) of the connections that are open now.
    #[must_use]
    pub fn skew_of_active(&self) -> f64 {
        self.skew_of(|metrics| metrics.active)
    }

    fn skew_of(&self, count: impl Fn(&Metrics) -> u64) -> f64 {
        let most = self.loops.iter().map(&count).max().unwrap_or(0);
        let all: u64 = self.loops.iter().map(count).sum();
        if all == 0 { 1.0 } else { most as f64 * self.loops.len() as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ts12_skew_is_the_share_of_the_busiest_loop_in_multiples_of_the_mean() {
        let of = |counts: &[u64]| {
            let loops = counts.iter().map(|&accepted| Metrics { accepted, ..Metrics::default() });
            LoopMetrics { loops: loops.collect(), acceptor: Metrics::default() }.skew()
        };
        assert_eq!((of(&[]), of(&[0, 0]), of(&[5, 5, 5])), (1.0, 1.0, 1.0));
        assert_eq!((of(&[10, 0]), of(&[3, 1]), of(&[1, 1, 4])), (2.0, 1.5, 2.0));
    }
}

//! Chance, for jitter: one small generator per loop, which a virtual clock makes the same in every run.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::clock::Clock;

/// SplitMix64: eight bytes of state and even in every bit; nothing that an adversary must not guess.
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// The same numbers for the same seed.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "used by ioloop::testing alone")
    )]
    pub(crate) fn seeded(seed: u64) -> Random {
        Random(Cell::new(seed))
    }

    /// Seeded from the operating system; a constant under a virtual clock.
    pub(crate) fn new(clock: &Clock) -> Random {
        let seed = if clock.is_virtual() { 0 } else { RandomState::new().hash_one(0) };
        Random(Cell::new(seed))
    }

    fn bits(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from zero up to, but not including, one.
    pub(crate) fn unit(&self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64 // as many bits as a float holds
    }

    /// A number below `end`, which is small: the error of the remainder does not matter.
    pub(crate) fn below(&self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly_below_one() {
        let random = Random(Cell::new(0));
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            tenths[(random.unit() * 10.0) as usize] += 1; // one, or less than zero, would be out of bounds
        }
        assert!(tenths.iter().all(|n| (900..1_100).contains(n)), "{tenths:?}");
    }

    #[test]
    fn two_loops_on_the_real_clock_have_their_own_chance() {
        let [one, other] =
            [Random::new(&Clock::real()), Random::new(&Clock::real())].map(|random| random.unit());
        assert_ne!(one.to_bits(), other.to_bits());
    }
}

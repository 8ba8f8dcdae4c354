//! The seam for time: a loop asks its clock, never the operating system.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::timers::Nanos;

/// Where a loop's time comes from. Monotonic in both arms, so no wall-clock jump moves a deadline (IL17).
pub(crate) enum Clock {
    /// The operating system's monotonic clock.
    Real(Ticks),
    /// Stands still until the loop has nothing else to do, then jumps to the next deadline.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "built by ioloop::testing alone")
    )]
    Virtual(Cell<Instant>),
}

impl Clock {
    pub(crate) fn real() -> Clock {
        Clock::Real(Ticks::new())
    }

    /// The moment from which a loop on this clock counts.
    pub(crate) fn epoch(&self) -> Instant {
        match self {
            Clock::Real(ticks) => ticks.epoch,
            Clock::Virtual(now) => now.get(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::Real(_) => Instant::now(),
            Clock::Virtual(now) => now.get(),
        }
    }

    /// The same as a loop counts that began at `epoch`.
    #[inline]
    pub(crate) fn now_in_nanos(&self, epoch: Instant) -> Nanos {
        match self {
            Clock::Real(ticks) => Nanos::new(ticks.since_epoch()),
            Clock::Virtual(now) => Nanos::between(epoch, now.get()),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// Moves a virtual clock forward to `to`; a real clock moves by itself, and no clock goes back.
    pub(crate) fn advance_to(&self, to: Instant) {
        if let Clock::Virtual(now) = self {
            now.set(now.get().max(to));
        }
    }
}

/// The monotonic clock in whole nanoseconds. A loop looks at it twice a turn, and the difference of two `Instant`s takes longer
/// than the look.
pub(crate) struct Ticks {
    epoch: Instant,
    /// What the clock said then, or a little later: a loop may be late by that, but never early.
    base: u64,
}

/// How far apart the two readings may be that make an epoch, and how often they are tried: the thread may be put aside between them.
const APART: Duration = Duration::from_micros(1);
const TRIES: usize = 10;

impl Ticks {
    fn new() -> Ticks {
        let attempt = || {
            let epoch = Instant::now();
            let base = raw(epoch);
            (epoch.elapsed(), Ticks { epoch, base })
        };
        let mut best = attempt();
        for _ in 1..TRIES {
            if best.0 <= APART {
                break;
            }
            let next = attempt();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }

    #[inline]
    fn since_epoch(&self) -> u64 {
        raw(self.epoch).saturating_sub(self.base)
    }
}

/// Nanoseconds since some moment.
#[cfg(target_os = "linux")]
#[inline]
fn raw(_epoch: Instant) -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(not(target_os = "linux"))]
fn raw(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn il17_a_loop_is_never_early_against_the_clock_of_the_program_and_hardly_late() {
        let clock = Clock::real();
        let lateness = |_| {
            let before = Instant::now();
            let seen = clock.now_in_nanos(clock.epoch()).after(clock.epoch());
            let after = Instant::now();
            assert!(seen <= after, "early by {:?}", seen - after);
            before.saturating_duration_since(seen)
        };
        let least = (0..100).map(lateness).min();
        assert!(least < Some(Duration::from_millis(1)), "late by {least:?}");
    }
}

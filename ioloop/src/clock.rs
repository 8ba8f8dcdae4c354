//! The seam for time: a loop asks its clock, never the operating system.

use std::cell::Cell;
use std::time::Instant;

/// Where a loop's time comes from. Monotonic in both arms, so no wall-clock jump moves a deadline (IL17).
pub(crate) enum Clock {
    /// The operating system's monotonic clock.
    Real,
    /// Stands still until the loop has nothing else to do, then jumps to the next deadline.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "built by ioloop::testing alone")
    )]
    Virtual(Cell<Instant>),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::Real => Instant::now(),
            Clock::Virtual(now) => now.get(),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// Moves a virtual clock forward to `to`; a real clock moves by itself, and no clock goes back. Gives the time.
    pub(crate) fn advance_to(&self, to: Instant) -> Instant {
        if let Clock::Virtual(now) = self {
            now.set(now.get().max(to));
        }
        self.now()
    }
}

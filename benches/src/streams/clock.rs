//! What the measured thread has cost.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread alone: the counterpart has its own.
pub(super) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

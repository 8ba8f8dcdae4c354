//! What a piece of work has cost.

use std::task::Context;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of the process, all its threads: a runtime may do a part of its work on a thread of its own.
pub(super) fn cpu_of(work: impl FnOnce()) -> Duration {
    let began = cpu();
    work();
    cpu() - began
}

/// The same for work that polls.
pub(super) fn cpu_with(work: impl FnOnce(&mut Context<'_>)) -> impl FnOnce(&mut Context<'_>) -> Duration {
    |cx| cpu_of(|| work(cx))
}

/// Time on the wall, for work that several threads share or wait for.
pub(super) fn time_of(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

//! Which CPUs there are for us, and how a thread is tied to one.

use std::num::NonZero;

/// How many CPUs this process may use; at least 1 (PR1).
///
/// On Linux that is what `sched_getaffinity` allows and the cgroup's CPU quota (v1 and v2, rounded down) leaves, so that a
/// container gets as many loops as it has CPUs; elsewhere what the operating system reports
/// ([`std::thread::available_parallelism`], which see for what a sandbox may hide from it). Never fails: 1 where nothing
/// is known.
///
/// It is asked anew each time, and for the calling thread: inside a worker that is pinned to a CPU, the answer is 1.
#[must_use]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(all(target_os = "linux", feature = "affinity"))]
mod linux {
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// Ties this thread to the CPU that is number `index` among those it may use, counted around.
    ///
    /// Called on the new thread, which has the whole set from the supervisor's; so a set that was changed from outside
    /// counts from the next restart on.
    pub(crate) fn pin(index: usize) -> io::Result<()> {
        let allowed = sched_getaffinity(None)?;
        let wanted = index % (allowed.count() as usize).max(1);
        let cpu = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).nth(wanted);
        let mut set = CpuSet::new();
        set.set(cpu.ok_or(io::ErrorKind::NotFound)?);
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(all(target_os = "linux", feature = "affinity"))]
pub(crate) use linux::pin;

/// Never called: `Loops` has refused by then.
#[cfg(not(all(target_os = "linux", feature = "affinity")))]
pub(crate) fn pin(_index: usize) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Whether [`pin`] can work here.
pub(crate) const CAN_PIN: bool = cfg!(all(target_os = "linux", feature = "affinity"));

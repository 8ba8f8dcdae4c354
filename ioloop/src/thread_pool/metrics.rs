//! What a lane counts.

use std::time::Duration;

/// A snapshot of a [`Lane`](crate::Lane). The first three say what is so now; the others only ever grow.
///
/// Every job that was asked for is in exactly one of `queued`, `running`, `completed`, `panicked`, `rejected` and
/// `cancelled`. It is counted as done before its future can give the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LaneMetrics {
    /// Jobs that have not begun.
    pub queued: usize,
    /// Jobs that have begun and have not returned.
    pub running: usize,
    /// Threads that live, with or without a job. On virtual time: none.
    pub threads: usize,
    /// Jobs that have returned.
    pub completed: u64,
    /// Jobs that have panicked.
    pub panicked: u64,
    /// Jobs that were refused: the queue was full, the lane was closed, or no thread could be started.
    pub rejected: u64,
    /// Jobs that were accepted and never begun: their future was dropped, or the lane was closed.
    pub cancelled: u64,
    /// How long the jobs that have begun had waited, together. On virtual time jobs wait for no time.
    pub total_wait: Duration,
    /// The longest that one of them had waited.
    pub longest_wait: Duration,
}

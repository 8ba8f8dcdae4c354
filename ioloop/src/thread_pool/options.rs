//! What whoever makes a lane may choose.

use std::thread;
use std::time::Duration;

/// More threads than this by default help few programs, however many processors there are.
const MOST_THREADS: usize = 32;

/// How many jobs may wait, unless an option says otherwise.
const QUEUED: usize = 1_024;

/// How long a thread waits for a job before it ends, unless an option says otherwise.
const IDLE: Duration = Duration::from_secs(10);

/// The bounds of a [`Lane`](crate::Lane).
///
/// | option | default | why |
/// | --- | --- | --- |
/// | [`threads`](LaneOptions::threads) | processors + 4, at most 32 | Tornado's today (IL39): jobs wait more than they compute |
/// | [`queue`](LaneOptions::queue) | 1,024 jobs | a burst fits; an outage of what the jobs wait for shows as an error, not as memory |
/// | [`idle_timeout`](LaneOptions::idle_timeout) | 10 s | longer than the pauses of a busy program, and a new thread costs microseconds |
///
/// ```
/// use ioloop::{Lane, LaneOptions};
///
/// let dns = Lane::new("dns", LaneOptions::new().threads(10).queue(200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneOptions {
    pub(super) threads: usize,
    pub(super) queue: usize,
    pub(super) idle_timeout: Duration,
}

impl LaneOptions {
    /// The defaults above. The processors are those that the process may use.
    #[must_use]
    pub fn new() -> LaneOptions {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        LaneOptions { threads: MOST_THREADS.min(processors + 4), queue: QUEUED, idle_timeout: IDLE }
    }

    /// How many jobs may run at a time, each on a thread of its own. 0 counts as 1.
    #[must_use]
    #[doc(alias = "max_workers")]
    pub fn threads(mut self, threads: usize) -> LaneOptions {
        self.threads = threads.max(1);
        self
    }

    /// How many jobs may wait while all threads are busy. The next is refused with
    /// [`JobError::QueueFull`](crate::JobError::QueueFull). 0: a job needs a free thread.
    ///
    /// So a lane holds at most `threads + queue` jobs that are not done, running ones included; that sum is what is
    /// looked at, also on virtual time, where jobs have no threads.
    #[must_use]
    pub fn queue(mut self, jobs: usize) -> LaneOptions {
        self.queue = jobs;
        self
    }

    /// How long a thread waits for a job before it ends. [`Duration::MAX`] keeps it until the lane ends.
    #[must_use]
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> LaneOptions {
        self.idle_timeout = idle_timeout;
        self
    }
}

impl Default for LaneOptions {
    fn default() -> LaneOptions {
        LaneOptions::new()
    }
}

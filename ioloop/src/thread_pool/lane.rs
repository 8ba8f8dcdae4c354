//! A lane: what users hold of a pool of threads, and where a job goes.

use std::panic::Location;
use std::sync::Arc;

use super::job::{Job, JobError, Promise};
use super::metrics::LaneMetrics;
use super::options::LaneOptions;
use super::pool::{Pool, Runner, Ticket, Work};
use crate::IoLoop;
use crate::panics::{caught, logged};

/// A bounded pool of threads of its own, so that what is slow here keeps nobody waiting elsewhere. `Send`, `Sync`,
/// cheap to clone; every clone is the same lane.
///
/// Made by [`IoLoop::lane`] for one loop, or by [`Lane::new`] to be shared by several: see [`IoLoop::set_lane`].
///
/// Threads are started when jobs need them, up to [`LaneOptions::threads`], and are named `ioloop-<lane>-<n>` with the
/// least `n` that is free. (Linux shows the first 15 bytes of that.) Jobs begin in the order in which they came. A
/// job costs two allocations and takes the lane's lock three times, which nobody holds for longer than it takes to
/// start a thread.
///
/// When the last handle goes, jobs that were accepted are still run, and then the threads end.
///
/// # On virtual time
///
/// A job that is asked for while the current loop is a `testing::VirtualLoop` has no thread: it runs on the loop's,
/// whole, in the next turn, as a callback does, and takes no virtual time. So every run is the same run. The lane
/// holds as many jobs as ever, `threads + queue`, and runs one at a time; jobs that wait for each other would wait for
/// ever. (A job that is asked for outside the loop's run goes to a thread, for which virtual time does not wait;
/// [`IoLoop::run_in_executor`] knows its loop even there.)
#[derive(Clone)]
#[doc(alias = "ThreadPoolExecutor")]
pub struct Lane {
    handles: Arc<Handles>,
}

/// What the clones of a lane share, and its threads do not: when it goes, nobody can add a job any more.
struct Handles {
    pool: Arc<Pool>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.pool.retire();
    }
}

impl Lane {
    /// Makes a lane that belongs to no loop. It starts no thread before its first job.
    #[must_use]
    pub fn new(name: &str, options: LaneOptions) -> Lane {
        Lane { handles: Arc::new(Handles { pool: Arc::new(Pool::new(name, options)) }) }
    }

    /// The name that the lane was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pool().name()
    }

    /// Runs `f`, which may block, on a thread of this lane; awaiting the [`Job`] gives what it returned, or why there is
    /// nothing: a panic, a full lane, a closed one. Never blocks.
    ///
    /// May be called from any thread, with a loop or without. The future may be awaited anywhere; in a task of a loop
    /// the result arrives on the loop's thread.
    #[track_caller]
    #[doc(alias = "submit")]
    pub fn run<F, T>(&self, f: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_for(IoLoop::try_current().as_ref(), f)
    }

    #[track_caller]
    pub(super) fn run_for<F, T>(&self, io_loop: Option<&IoLoop>, f: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let virtual_loop = io_loop.filter(|io_loop| io_loop.inner.clock.is_virtual());
        let runner = if virtual_loop.is_some() { Runner::Loop } else { Runner::Thread };
        let (promise, outcome) = Promise::new();
        let ticket = match self.pool().submit(runner, work(f, promise, Location::caller())) {
            Ok(ticket) => ticket,
            Err(error) => return Job::refused(error),
        };
        if let Some(virtual_loop) = virtual_loop {
            let held = Held { pool: Arc::clone(self.pool()), ticket };
            virtual_loop.spawn_detached(async move { held.run() });
        }
        Job::accepted(outcome, Arc::clone(self.pool()), ticket)
    }

    /// What the lane has done, and what it does now.
    #[must_use]
    pub fn metrics(&self) -> LaneMetrics {
        self.pool().metrics()
    }

    /// Closes the lane, for all who hold it: jobs that have not begun never do, and like all later ones give
    /// [`JobError::Closed`]. Harmless when repeated.
    ///
    /// **Does not wait for jobs that are running**, for no job can be stopped and one may never end. They run to their
    /// ends, their futures still give their results, and their threads end after them. So await what must be done
    /// before you close; the end of the process cuts the rest off. Threads without a job have ended when this returns
    /// (not on Windows, where waiting for a thread while another ends can hang).
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.pool().close();
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.handles.pool
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Makes a job of `f`: its panic is caught, it is reported as done, and only then its promise is kept.
fn work<F, T>(f: F, promise: Promise<T>, asked_at: &'static Location<'static>) -> Work
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Box::new(move |report| {
        let result = caught(f);
        report(result.is_ok());
        if let Err(panic) = &result {
            logged(|| tracing::error!(%asked_at, panic, "a job panicked"));
        }
        promise.keep(result.map_err(JobError::Panicked));
    })
}

/// A job that a loop on virtual time holds as a callback. If the loop drops that, the job is cancelled.
struct Held {
    pool: Arc<Pool>,
    ticket: Ticket,
}

impl Held {
    fn run(self) {
        self.pool.run_held(self.ticket);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.cancel(self.ticket);
    }
}

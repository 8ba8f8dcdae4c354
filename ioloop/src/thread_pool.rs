//! Work that blocks, off the loop's thread: `run_in_executor`, and the lanes that a loop has by name (IL39).

mod job;
mod lane;
mod metrics;
mod options;
mod pool;

use std::collections::BTreeMap;

pub use job::{Job, JobError};
pub use lane::Lane;
pub use metrics::LaneMetrics;
pub use options::LaneOptions;

use crate::IoLoop;
use crate::io_loop::Inner;

/// The name of the lane that `run_in_executor` uses.
const DEFAULT_LANE: &str = "default";

/// The lanes of one loop, by name.
pub(crate) type Lanes = BTreeMap<String, Entry>;

pub(crate) struct Entry {
    lane: Lane,
    /// Whether the loop made the lane, which then closes with it; one that it was given lives on.
    ours: bool,
}

impl IoLoop {
    /// Runs `f`, which may block, on a thread of the loop's default lane; awaiting the [`Job`] gives what it returned.
    ///
    /// The same as `self.lane("default", LaneOptions::new())` and [`Lane::run`], but for this loop even where another
    /// is current. So the default lane has the options of [`LaneOptions::new`], unless [`lane`](IoLoop::lane) made it
    /// with others first or [`set_default_executor`](IoLoop::set_default_executor) put another into its place.
    ///
    /// `f` runs where this loop is not, and [`current`](IoLoop::current) would make another: what it wants done here
    /// goes through a [`Remote`](crate::Remote). Its panic costs no thread and is a [`JobError`]; its errors are what
    /// it returns. Dropping the future cancels a job that has not
    /// begun; [`Job::detach`] is for one that nobody waits for.
    ///
    /// ```
    /// use ioloop::IoLoop;
    ///
    /// let io_loop = IoLoop::new()?;
    /// let text = io_loop.run_sync(async {
    ///     let io_loop = IoLoop::current();
    ///     io_loop.run_in_executor(|| std::fs::read_to_string("Cargo.toml")).await
    /// })???; // of the run, of the job, of the file
    /// assert!(text.contains("ioloop"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn run_in_executor<F, T>(&self, f: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.lane(DEFAULT_LANE, LaneOptions::new()).run_for(Some(self), f)
    }

    /// The lane of this name, made with `options` if the loop has none yet. Its threads begin with its first jobs.
    ///
    /// **The first call decides**: the options of a lane that exists stay as they are, so that a program can size
    /// the lane of a library before the library first asks for it.
    ///
    /// A lane that the loop made closes with the loop, whoever else holds it; see [`Lane::close`] for what that
    /// means for its jobs. On a loop that has closed, a closed lane is what this gives.
    ///
    /// ```
    /// use ioloop::{IoLoop, LaneOptions};
    ///
    /// let io_loop = IoLoop::new()?;
    /// // Names that are slow to resolve keep no file waiting.
    /// let dns = io_loop.lane("dns", LaneOptions::new().threads(4));
    /// let address = io_loop.run_sync(dns.run(|| std::net::ToSocketAddrs::to_socket_addrs("127.0.0.1:80")))???.next();
    /// assert_eq!(address, "127.0.0.1:80".parse().ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lane(&self, name: &str, options: LaneOptions) -> Lane {
        let mut lanes = self.inner.lanes.borrow_mut();
        if let Some(entry) = lanes.get(name) {
            return entry.lane.clone();
        }
        let lane = Lane::new(name, options);
        if self.inner.closed.get() {
            lane.close();
        } else {
            lanes.insert(name.to_owned(), Entry { lane: lane.clone(), ours: true });
        }
        lane
    }

    /// Has this loop use `lane` under `name` from now on, which need not be the lane's own: how several loops, each
    /// on its thread, share the threads of one lane.
    ///
    /// The loop does not close what it was given. The lane that stood there before is let go: it takes jobs from
    /// those who still hold it, and ends when nobody does. On a loop that has closed this does nothing.
    pub fn set_lane(&self, name: &str, lane: Lane) {
        if self.inner.closed.get() {
            return;
        }
        let before = self.inner.lanes.borrow_mut().insert(name.to_owned(), Entry { lane, ours: false });
        drop(before);
    }

    /// Has [`run_in_executor`](IoLoop::run_in_executor) use `lane` from now on (IL39):
    /// [`set_lane`](IoLoop::set_lane) for the default one. Loops that share no lane have threads of their own each.
    pub fn set_default_executor(&self, lane: Lane) {
        self.set_lane(DEFAULT_LANE, lane);
    }
}

impl Inner {
    /// Closes the lanes that the loop has made and lets go of the others.
    pub(crate) fn close_lanes(&self) {
        let lanes = self.lanes.take();
        for entry in lanes.into_values().filter(|entry| entry.ours) {
            entry.lane.close();
        }
    }
}

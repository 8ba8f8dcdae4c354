//! Many loops: n threads with one loop each, watched over and restarted. Tornado's `process`, without the forks.

mod affinity;
mod error;
mod group;
mod handle;
mod policy;
mod slot;
mod supervisor;
mod watched;
mod worker;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

pub use affinity::cpu_count;
pub use error::{LoopsError, WorkerFailure};
pub use handle::{LoopsHandle, WorkerState, WorkerStatus};
pub use policy::RestartPolicy;
pub use worker::{Worker, WorkerOutcome, worker_index};

use crate::IoLoop;
use group::Group;
use supervisor::{Live, Supervisor};
use watched::Watched;

/// Runs `worker` in `count` threads, each with a loop of its own, and returns when all of them have ended: Tornado's
/// `fork_processes`. 0 means one per CPU ([`cpu_count`]); 1 is one thread beside this one (PR2, PR3).
///
/// `worker` is called on each thread, inside the loop that is current there, and its future is the worker's life. When
/// that gives `()` or `Ok`, the worker has ended, with every task of its loop, and is not restarted; likewise when
/// something stops its loop. When it panics or gives an error, or its loop fails, that is logged and it is restarted with
/// the same index, by the default [`RestartPolicy`] (PR4). The other workers notice nothing.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::sync::Arc;
///
/// let sum = Arc::new(AtomicUsize::new(0));
/// let shared = sum.clone();
/// ioloop::run_loops(4, move |worker| {
///     let sum = shared.clone(); // each worker has its own
///     async move {
///         ioloop::yield_now().await;
///         sum.fetch_add(worker.index(), Ordering::Relaxed);
///     }
/// })?;
/// assert_eq!(sum.load(Ordering::Relaxed), 0 + 1 + 2 + 3);
/// # Ok::<(), ioloop::LoopsError>(())
/// ```
///
/// What differs from processes: memory is shared, a worker that hangs cannot be killed, and one that aborts takes the
/// process with it. There is no generator of random numbers to seed anew, as nothing is copied (PR7), and no orphans, as
/// threads end with their process (PR6).
///
/// # Errors
///
/// [`LoopsError::WorkerFailed`] when a worker has failed too often; the others have been stopped then. Otherwise those of
/// [`Loops::run`].
#[doc(alias = "fork_processes")]
pub fn run_loops<W, F>(count: usize, worker: W) -> Result<(), LoopsError>
where
    W: Fn(Worker) -> F + Send + Sync + 'static,
    F: Future<Output: WorkerOutcome> + 'static,
{
    Loops::new(count).run(worker)
}

/// Many loops with options: [`run_loops`], and a handle to what it starts.
///
/// A thread that has a loop for the signals, so that they are handled once, beside n loops that serve:
///
/// ```no_run
/// # #[cfg(unix)] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ioloop::{IoLoop, Loops, SignalKind, signal};
///
/// let loops = Loops::per_cpu().name("http").spawn(|worker| async move {
///     // … listen …
///     worker.ready();
///     worker.stopping().await;
///     // … finish what has begun …
/// })?;
/// IoLoop::current().run_sync(async {
///     let mut terminate = signal(SignalKind::Terminate)?;
///     let stop = loops.clone();
///     IoLoop::current().spawn_detached(async move {
///         terminate.recv().await;
///         stop.stop();
///     });
///     loops.ended().await?;
///     Ok(())
/// })?
/// # }
/// # #[cfg(not(unix))] fn main() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Loops {
    count: usize,
    name: String,
    restart: RestartPolicy,
    pinned: bool,
}

impl Loops {
    /// `count` loops; 0 means one per CPU.
    pub fn new(count: usize) -> Loops {
        Loops { count, name: "loop".to_owned(), restart: RestartPolicy::new(), pinned: false }
    }

    /// One loop per CPU that this process may use, counted when they are started: see [`cpu_count`].
    pub fn per_cpu() -> Loops {
        Loops::new(0)
    }

    /// So many loops, in the place of what was said before; 0 means one per CPU.
    pub fn count(mut self, count: usize) -> Loops {
        self.count = count;
        self
    }

    /// The name of the workers' threads, which an index follows: `http-0`. Default: `loop`. Linux shows the first 15 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Loops {
        self.name = name.into();
        self
    }

    /// When failed workers are restarted. Default: [`RestartPolicy::new`].
    #[doc(alias = "max_restarts")]
    pub fn restart(mut self, policy: RestartPolicy) -> Loops {
        self.restart = policy;
        self
    }

    /// Ties each worker to one CPU: worker i to the i-th of those that the process may use, beginning again after the
    /// last. Default: the operating system moves threads as it sees fit, which is right for most.
    ///
    /// Threads that a worker starts inherit it. Linux only; elsewhere the workers are not started, with
    /// [`LoopsError::PinningUnsupported`]. With the feature `affinity`.
    #[cfg(feature = "affinity")]
    #[doc(alias = "sched_setaffinity")]
    pub fn pin_to_cpus(mut self) -> Loops {
        self.pinned = true;
        self
    }

    /// Starts the workers and returns when the last has ended for good: see [`run_loops`]. This thread watches over them.
    ///
    /// # Errors
    ///
    /// [`LoopsError::InsideLoop`] where a loop runs on this thread, [`LoopsError::WorkerFailed`] as for
    /// [`LoopsHandle::join`], and those of [`spawn`](Loops::spawn).
    pub fn run<W, F>(self, worker: W) -> Result<(), LoopsError>
    where
        W: Fn(Worker) -> F + Send + Sync + 'static,
        F: Future<Output: WorkerOutcome> + 'static,
    {
        let (_group, supervisor) = self.prepare(worker)?;
        refuse_to_block()?;
        supervisor.run()
    }

    /// Starts the workers, with a thread that watches over them, and returns at once.
    ///
    /// A thread or a loop that the operating system refuses is a failure of that worker, and tried again.
    ///
    /// # Errors
    ///
    /// [`LoopsError::InsideWorker`], [`LoopsError::BadName`], [`LoopsError::PinningUnsupported`],
    /// [`LoopsError::Supervisor`]: nothing was started then.
    pub fn spawn<W, F>(self, worker: W) -> Result<LoopsHandle, LoopsError>
    where
        W: Fn(Worker) -> F + Send + Sync + 'static,
        F: Future<Output: WorkerOutcome> + 'static,
    {
        let thread = std::thread::Builder::new().name(format!("{}-supervisor", self.name));
        let (group, supervisor) = self.prepare(worker)?;
        thread.spawn(|| supervisor.run()).map_err(|error| LoopsError::Supervisor(Arc::new(error)))?;
        Ok(LoopsHandle::new(group))
    }

    fn prepare<W, F>(self, worker: W) -> Result<(Arc<Watched<Group>>, Supervisor), LoopsError>
    where
        W: Fn(Worker) -> F + Send + Sync + 'static,
        F: Future<Output: WorkerOutcome> + 'static,
    {
        if worker_index().is_some() {
            return Err(LoopsError::InsideWorker);
        }
        if self.name.contains('\0') {
            return Err(LoopsError::BadName);
        }
        if self.pinned && !affinity::CAN_PIN {
            return Err(LoopsError::PinningUnsupported);
        }
        let count = if self.count == 0 { cpu_count() } else { self.count };
        let group = Watched::new(Group::new(count, self.restart, Instant::now()));
        let pinned = self.pinned;
        let live: Arc<Live> = Arc::new(move |context| worker::live(&worker, context, pinned));
        Ok((Arc::clone(&group), Supervisor::new(group, self.name, live)))
    }
}

/// A call that waits for other threads would keep the loop of this one from turning, and perhaps for ever.
fn refuse_to_block() -> Result<(), LoopsError> {
    let running = IoLoop::try_current().is_some_and(|io_loop| io_loop.inner.running.get());
    if running { Err(LoopsError::InsideLoop) } else { Ok(()) }
}

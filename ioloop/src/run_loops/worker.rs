//! One worker: what its function is given, and one life of it on a thread of its own.

use std::cell::Cell;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use super::affinity;
use super::error::WorkerFailure;
use super::group::{Group, LifeKey};
use super::handle::LoopsHandle;
use super::watched::Watched;
use crate::panics::caught;
use crate::{IoLoop, Remote, RunError};

thread_local! {
    static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The index of the worker whose thread this is; `None` on any other thread: Tornado's `task_id()` (PR7).
#[must_use]
#[doc(alias = "task_id")]
pub fn worker_index() -> Option<usize> {
    INDEX.get()
}

/// What a worker's function is given: who it is, and how it talks with whoever started it.
///
/// Clones name the same life of the same worker. One that outlives it does nothing any more.
#[derive(Clone)]
pub struct Worker {
    group: Arc<Watched<Group>>,
    life: LifeKey,
}

impl Worker {
    pub(crate) fn new(group: Arc<Watched<Group>>, life: LifeKey) -> Worker {
        Worker { group, life }
    }

    /// Which worker this is, counted from 0. It keeps its index when it is restarted (PR4).
    #[must_use]
    pub fn index(&self) -> usize {
        self.life.index
    }

    /// How often this worker has been restarted, for whatever reason: 0 in its first life.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.life.number.saturating_sub(1)
    }

    /// Says that the worker does what it is for: its listeners are bound, its caches warm (PR8). Nobody else can know
    /// that; a worker that never says so is never [ready](LoopsHandle::ready).
    pub fn ready(&self) {
        self.group.update(|group| group.ready(self.life));
    }

    /// Waits until this worker is to end, be it with the others or to be restarted.
    ///
    /// As with a signal, whoever asks takes over. A worker that never does has its loop stopped and its future dropped.
    /// **From the first call on that is off**, and the worker ends itself by returning, when it has finished what it has
    /// begun. [`LoopsHandle::join_timeout`] tells whether it did.
    ///
    /// Meant for few tasks of a worker: each is looked at when any worker of the group changes its state.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a request that has come stays.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let life = self.life;
        self.group.update(|group| group.handles_stop(life));
        self.group.until(move |group| group.is_asked_to_stop(life).then_some(()))
    }

    /// The group this worker belongs to: reaches the other workers, and may stop them all.
    #[must_use]
    pub fn loops(&self) -> LoopsHandle {
        LoopsHandle::new(Arc::clone(&self.group))
    }

    fn running(&self, remote: Remote) -> bool {
        self.group.update(|group| group.running(self.life, remote, thread::current().id()))
    }

    pub(crate) fn returned(&self, outcome: Result<(), WorkerFailure>) {
        self.group.update(|group| group.returned(self.life, outcome));
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("index", &self.index()).finish_non_exhaustive()
    }
}

/// How a worker ended: `()`, or a result whose error means that it failed. The error may be anything that can be put into
/// words.
pub trait WorkerOutcome: sealed::Sealed {
    /// What went wrong, in words; `None` if nothing did.
    fn failure(self) -> Option<String>;
}

impl WorkerOutcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> WorkerOutcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

/// One life of a worker, on the thread that is its own, from its loop's making to its loop's end.
pub(crate) fn live<W, F>(function: &W, worker: Worker, pinned: bool) -> Result<(), WorkerFailure>
where
    W: Fn(Worker) -> F,
    F: Future<Output: WorkerOutcome>,
{
    let not_started = |error| WorkerFailure::NotStarted(Arc::new(error));
    INDEX.set(Some(worker.index()));
    if pinned {
        affinity::pin(worker.index()).map_err(not_started)?;
    }
    let io_loop = IoLoop::new().map_err(not_started)?;
    // Current until it has closed: what is dropped with it may ask for it.
    io_loop.make_current();
    let ran = caught(|| io_loop.run_sync(serve(function, worker)));
    io_loop.close();
    IoLoop::clear_current();
    match ran {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(RunError::Stopped)) => Ok(()),
        Ok(Err(error)) => Err(WorkerFailure::Loop(error.to_string())),
        Err(panic) => Err(WorkerFailure::Panicked(panic)),
    }
}

async fn serve<W, F>(function: &W, worker: Worker) -> Result<(), WorkerFailure>
where
    W: Fn(Worker) -> F,
    F: Future<Output: WorkerOutcome>,
{
    if !worker.running(IoLoop::current().remote()) {
        return Ok(());
    }
    // Panics are caught here and not above, so that what is left of the future is not dropped while one unwinds: a
    // destructor that panics too would abort the process.
    let mut future = Box::pin(caught(|| function(worker)).map_err(WorkerFailure::Panicked)?);
    let failure = poll_fn(|cx| match caught(|| future.as_mut().poll(cx).map(WorkerOutcome::failure)) {
        Ok(poll) => poll.map(|failure| failure.map(WorkerFailure::Failed)),
        Err(panic) => Poll::Ready(Some(WorkerFailure::Panicked(panic))),
    })
    .await;
    failure.map_or(Ok(()), Err)
}

//! The outside of a group of workers: what can be asked of it, from any thread.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::error::{LoopsError, WorkerFailure};
use super::group::Group;
use super::refuse_to_block;
use super::watched::Watched;
use crate::Remote;

/// A group of workers, as [`Loops::spawn`](crate::Loops::spawn) started it. Clones name the same group and may go to any
/// thread; dropping them all changes nothing, the workers run on and are watched over.
#[derive(Clone)]
pub struct LoopsHandle {
    group: Arc<Watched<Group>>,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It has no thread: it is about to be started, or waits to be restarted after a failure.
    Waiting,
    /// It lives, and has not said that it is ready.
    Running,
    /// It lives, and has said that it is [ready](crate::Worker::ready).
    Ready,
    /// It has been asked to end, or is just ending.
    Stopping,
    /// It has ended and will not be started again by itself.
    Ended,
}

/// A worker at one moment (PR8).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Which worker it is.
    pub index: usize,
    /// What it is doing.
    pub state: WorkerState,
    /// How often it has been restarted, for whatever reason.
    pub restarts: u32,
    /// Its thread, while its loop runs; another one after each restart. The thread's name is the group's and the index.
    pub thread: Option<ThreadId>,
    /// Why it failed the last time, if it ever did.
    pub last_failure: Option<WorkerFailure>,
}

impl LoopsHandle {
    pub(crate) fn new(group: Arc<Watched<Group>>) -> LoopsHandle {
        LoopsHandle { group }
    }

    /// How many workers the group has, those that have ended included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.group.read(Group::count)
    }

    /// Every worker as it is now, by index.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.group.read(Group::status)
    }

    /// The way to a worker's loop, while that runs. After a restart the worker has another loop, and what is sent to the
    /// old one is dropped: ask again rather than keep it.
    #[must_use]
    pub fn remote(&self, index: usize) -> Option<Remote> {
        self.group.read(|group| group.remote(index))
    }

    /// Asks every worker to end, and starts none any more, also where one waits to be restarted (PR6). Returns at once;
    /// [`join`](LoopsHandle::join) waits. Harmless when repeated.
    ///
    /// A worker's loop is stopped at the end of its turn and its future dropped, unless the worker asks for
    /// [`stopping`](crate::Worker::stopping): that one is told and ends by itself. Stopping its loop through
    /// [`remote`](LoopsHandle::remote) still ends it.
    pub fn stop(&self) {
        self.group.update(Group::stop);
    }

    /// Has one worker end, as [`stop`](LoopsHandle::stop) would, and start again with the same index, without delay and
    /// without counting as a failure. One that waits to be restarted, or has ended, is started at once (PR8).
    ///
    /// A rolling restart is this for each index, with [`ready`](LoopsHandle::ready) after each.
    ///
    /// # Errors
    ///
    /// [`LoopsError::NoSuchWorker`], or [`LoopsError::Ending`] if the group is ending or has ended.
    pub fn restart(&self, index: usize) -> Result<(), LoopsError> {
        self.group.update(|group| group.restart(index, Instant::now()))
    }

    /// Waits until every worker is [ready](crate::Worker::ready) or has ended (PR8).
    ///
    /// Gives [`LoopsError::WorkerFailed`] when the group is stopped by a failure instead. Runs on any executor; may be
    /// dropped at any time.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn ready(&self) -> impl Future<Output = Result<(), LoopsError>> + Send + use<> {
        self.group.until(Group::readiness)
    }

    /// [`ready`](LoopsHandle::ready) for a thread without a loop: blocks for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`LoopsError::NotReady`] with those that are not when `limit` has passed, [`LoopsError::InsideLoop`] where it would
    /// block a loop; otherwise as `ready`.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), LoopsError> {
        self.wait(Some(limit), Group::readiness, Group::not_ready)
    }

    /// Waits until every worker has ended; gives how the group ended. Runs on any executor, so that the loop which waits
    /// for signals can wait for this too; may be dropped at any time.
    ///
    /// Everything of the workers is gone then: their threads, their loops, what their function held.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn ended(&self) -> impl Future<Output = Result<(), LoopsError>> + Send + use<> {
        self.group.until(Group::result)
    }

    /// [`ended`](LoopsHandle::ended) for a thread without a loop: blocks until every worker has ended (PR3).
    ///
    /// # Errors
    ///
    /// [`LoopsError::WorkerFailed`] with the worker that failed first for the last time, and why (PR5);
    /// [`LoopsError::InsideLoop`] where it would block a loop, be it a worker's.
    pub fn join(&self) -> Result<(), LoopsError> {
        self.wait(None, Group::result, Group::still_running)
    }

    /// [`join`](LoopsHandle::join) for at most `limit`. It may be called again.
    ///
    /// # Errors
    ///
    /// [`LoopsError::StillRunning`] with those that have not ended when `limit` has passed; otherwise as `join`.
    pub fn join_timeout(&self, limit: Duration) -> Result<(), LoopsError> {
        self.wait(Some(limit), Group::result, Group::still_running)
    }

    fn wait(
        &self,
        limit: Option<Duration>,
        done: impl Fn(&Group) -> Option<Result<(), LoopsError>>,
        late: impl Fn(&Group) -> LoopsError,
    ) -> Result<(), LoopsError> {
        refuse_to_block()?;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.group.wait(|group| match done(group) {
            Some(result) => ControlFlow::Break(result),
            None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                ControlFlow::Break(Err(late(group)))
            }
            None => ControlFlow::Continue(deadline),
        })
    }
}

impl std::fmt::Debug for LoopsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoopsHandle").field("workers", &self.workers()).finish()
    }
}

//! What can go wrong with many loops: in starting them, in one of them, and in waiting for them.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why a worker ended that should have gone on.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WorkerFailure {
    /// Its function or its future panicked, with this message.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// Its future returned an error, which said this.
    #[error("it failed: {0}")]
    Failed(String),
    /// The operating system refused its thread, its loop, or its CPU.
    #[error("it could not be started: {0}")]
    NotStarted(#[source] Arc<io::Error>),
    /// Its loop failed in running.
    #[error("its loop failed: {0}")]
    Loop(String),
}

/// Why workers were not started, or did not end as they should.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LoopsError {
    /// A worker cannot start workers: n loops would become n times n (PR2).
    #[error("a worker cannot start loops of its own")]
    InsideWorker,
    /// A loop runs on this thread, and a call that blocks would stop it.
    #[error("this would block the loop that runs on this thread")]
    InsideLoop,
    /// The name of the threads has a NUL in it.
    #[error("a thread's name cannot contain NUL")]
    BadName,
    /// This operating system does not let a thread be pinned to a CPU, or we do not know how.
    #[error("workers cannot be pinned to CPUs on this operating system")]
    PinningUnsupported,
    /// The thread that watches over the workers could not be started; no worker was.
    #[error("the supervisor's thread could not be started: {0}")]
    Supervisor(#[source] Arc<io::Error>),
    /// A worker failed once too often, or while it was to stop. The others have been stopped in order (PR5).
    #[error("worker {worker} failed after {restarts} restarts: {cause}")]
    #[non_exhaustive]
    WorkerFailed {
        /// Its index.
        worker: usize,
        /// How often it had been restarted, for whatever reason.
        restarts: u32,
        /// What its last failure was.
        #[source]
        cause: WorkerFailure,
    },
    /// The time allowed has passed and these workers have not ended. Their threads run on: nothing can kill a thread.
    #[error("still running: workers {workers:?}")]
    #[non_exhaustive]
    StillRunning {
        /// Their indices.
        workers: Vec<usize>,
    },
    /// The time allowed has passed and these workers have not called [`ready`](crate::Worker::ready).
    #[error("not ready: workers {workers:?}")]
    #[non_exhaustive]
    NotReady {
        /// Their indices.
        workers: Vec<usize>,
    },
    /// There is no worker with this index.
    #[error("there is no worker {index}")]
    #[non_exhaustive]
    NoSuchWorker {
        /// The index that was asked for.
        index: usize,
    },
    /// The workers are being stopped or have all ended; none is started any more.
    #[error("the workers are ending")]
    Ending,
}

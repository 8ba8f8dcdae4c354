//! What can go wrong in running a loop and waiting for tasks.

use std::io;

use thiserror::Error;

/// Why a run of the loop ended without what it was for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The loop runs already; starting it from inside would never return (IL32).
    #[error("the loop is already running")]
    AlreadyRunning,
    /// The loop has been closed, and a closed loop runs nothing any more.
    #[error("the loop has been closed")]
    Closed,
    /// Something stopped the loop before the future was done (IL35).
    #[error("the loop was stopped before the future was done")]
    Stopped,
    /// The time allowed for the future has passed (IL35).
    #[error("the future was not done in time")]
    Timeout,
    /// On a virtual clock: nothing is ready, no timer waits, so the loop would wait for ever.
    #[error("nothing is left that could wake the loop")]
    Stalled,
    /// The operating system's poller failed.
    #[error("polling failed: {0}")]
    Poll(#[source] io::Error),
}

/// Why a task gave no output.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The task was aborted, or its loop closed.
    #[error("the task was aborted")]
    Aborted,
    /// The task panicked, with this message.
    #[error("the task panicked: {0}")]
    Panicked(String),
}

/// The time allowed by [`timeout`](crate::timeout) has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not done in time")]
pub struct TimedOut;

/// A handler id that names nothing: the handler was removed, or was disarmed after a panic (IL3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such handler")]
pub struct NoSuchHandler;

/// Why a handler's interest was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The id names no handler (IL3).
    #[error(transparent)]
    NoSuchHandler(#[from] NoSuchHandler),
    /// The operating system refused.
    #[error("changing the interest failed: {0}")]
    Os(#[from] io::Error),
}

/// Why a [`PeriodicCallback`](crate::PeriodicCallback) was not made (IL24).
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum PeriodicError {
    /// A period of zero would call without end.
    #[error("the period is zero")]
    ZeroPeriod,
    /// A jitter must be at least 0 and less than 2, where intervals would no longer move forward.
    #[error("a jitter of {0} is not at least 0 and less than 2")]
    Jitter(f64),
}

/// Why waiting for a [`ChildProcess`](crate::ChildProcess) gave no status, or one that is a failure.
#[cfg(all(unix, feature = "process"))]
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The process ended with a status other than zero, or by a signal: Tornado's `CalledProcessError`.
    #[error("the process failed: {0}")]
    Failed(std::process::ExitStatus),
    /// Somebody else has taken the status: other code waits for any child, or SIGCHLD is ignored.
    #[error("the exit status was taken by somebody else")]
    ReapedElsewhere,
    /// The loop closed before the process ended.
    #[error("the loop closed before the process ended")]
    LoopClosed,
    /// The operating system has no way left to tell of the end; a lack of descriptors, most likely.
    #[error("the process cannot be watched: {0}")]
    NotWatched(#[source] std::sync::Arc<io::Error>),
}

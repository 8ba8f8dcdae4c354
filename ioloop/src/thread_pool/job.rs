//! A job as its asker sees it: a future, kept by a promise that travels with the work.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use thiserror::Error;

use super::pool::{Pool, Ticket};

/// Why a job gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JobError {
    /// The job panicked, with this message. It is logged, too.
    #[error("the job panicked: {0}")]
    Panicked(String),
    /// As many jobs as the lane may hold are running or waiting; the job was not accepted.
    #[error("the lane is full")]
    QueueFull,
    /// The lane was closed before the job began, perhaps with its loop.
    #[error("the lane was closed before the job began")]
    Closed,
    /// The lane has no thread, and the operating system refused one; the job was not accepted.
    #[error("no thread could be started: {0}")]
    NoThread(io::ErrorKind),
}

/// A job that was given to a lane: the future of what it returns, or of why it did not.
///
/// The work begins whether or not this is awaited. What it returned arrives where this is awaited, on the loop's
/// thread for a task of a loop, and in a later turn than the one that first waits for it, however fast the job was.
///
/// # Cancel safety
///
/// The wait may be dropped and taken up again. **Dropping the `Job` itself cancels it**, if it has not begun: it never
/// runs, and what it owned is dropped at once. A job that is running cannot be stopped; it runs to its end, and its
/// result is dropped, on its thread unless it was there already. [`detach`](Job::detach) lets go of a job without
/// cancelling it.
#[must_use = "dropping a job cancels it unless it has begun; await it, or let it go with `detach`"]
pub struct Job<T> {
    outcome: Arc<Outcome<T>>,
    /// Where the work waits, or waited. `None` if it never did, or is known to be done.
    place: Option<(Arc<Pool>, Ticket)>,
    polled: bool,
}

impl<T> Job<T> {
    pub(super) fn accepted(outcome: Arc<Outcome<T>>, pool: Arc<Pool>, ticket: Ticket) -> Job<T> {
        Job { outcome, place: Some((pool, ticket)), polled: false }
    }

    pub(super) fn refused(error: JobError) -> Job<T> {
        Job { outcome: Outcome::new(State::Done(Err(error))), place: None, polled: false }
    }

    /// Lets the job run without anybody waiting for it; its result is dropped.
    ///
    /// It still ends with its lane if that is closed before it begins.
    ///
    /// # Errors
    ///
    /// When the lane has not accepted the job: it was full, closed or without a thread. A panic is no error here;
    /// it is logged.
    pub fn detach(mut self) -> Result<(), JobError> {
        if self.place.take().is_some() {
            return Ok(());
        }
        match self.outcome.take() {
            Some(Err(error)) => Err(error),
            _ => Ok(()), // its result had been taken already
        }
    }
}

impl<T> Future for Job<T> {
    type Output = Result<T, JobError>;

    /// # Panics
    ///
    /// When polled again after it has given the result.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let first = !std::mem::replace(&mut self.polled, true);
        let waker = cx.waker().clone(); // outside the lock, as is the drop of the one before
        let mut state = self.outcome.lock();
        if let State::Waiting(waiting) = &mut *state {
            let before = waiting.replace(waker);
            drop(state);
            drop(before);
            return Poll::Pending;
        }
        if first {
            drop(state);
            waker.wake(); // it is done, but never in the turn that asked
            return Poll::Pending;
        }
        drop(state);
        self.place = None;
        Poll::Ready(self.outcome.take().expect("a job was polled after it gave its result"))
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        if let Some((pool, ticket)) = self.place.take() {
            pool.cancel(ticket);
        }
    }
}

impl<T> std::fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

/// Where the result lies between promise and future.
pub(super) struct Outcome<T>(Mutex<State<T>>);

enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, JobError>),
    Taken,
}

impl<T> Outcome<T> {
    fn new(state: State<T>) -> Arc<Outcome<T>> {
        Arc::new(Outcome(Mutex::new(state)))
    }

    fn take(&self) -> Option<Result<T, JobError>> {
        match std::mem::replace(&mut *self.lock(), State::Taken) {
            State::Done(result) => Some(result),
            State::Waiting(_) | State::Taken => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of a [`Job`]. One that is dropped unkept says that the lane was closed.
pub(super) struct Promise<T>(Arc<Outcome<T>>);

impl<T> Promise<T> {
    pub(super) fn new() -> (Promise<T>, Arc<Outcome<T>>) {
        let outcome = Outcome::new(State::Waiting(None));
        (Promise(Arc::clone(&outcome)), outcome)
    }

    pub(super) fn keep(self, result: Result<T, JobError>) {
        self.set(result);
    }

    /// Sets the result, if it is the first, and wakes whoever waits.
    fn set(&self, result: Result<T, JobError>) {
        let mut state = self.0.lock();
        if let State::Waiting(waiting) = &mut *state {
            let waker = waiting.take();
            *state = State::Done(result);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.set(Err(JobError::Closed));
    }
}

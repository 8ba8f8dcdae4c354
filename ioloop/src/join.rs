//! Waiting for a task: the handle, and the wrapper that leaves a task's output where the handle finds it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use crate::error::JoinError;
use crate::io_loop::Inner;
use crate::panics::message;
use crate::wake::TaskKey;

/// A task that can be waited for and aborted. Dropping it detaches the task, which runs on.
///
/// Awaiting gives the task's output, or why there is none.
///
/// # Cancel safety
///
/// The wait may be dropped at any time; the output stays with the handle until it is taken.
#[must_use = "dropping the handle detaches the task; say so with `drop` or use `spawn_detached`"]
pub struct JoinHandle<T> {
    inner: Weak<Inner>,
    /// `None` where the loop was closed before the task began.
    key: Option<TaskKey>,
    result: Rc<Outcome<T>>,
}

/// Where the output lies between task and handle.
pub(crate) struct Outcome<T> {
    output: Cell<Option<Result<T, JoinError>>>,
    finished: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl<T> Outcome<T> {
    fn set(&self, output: Result<T, JoinError>) {
        if self.finished.replace(true) {
            return;
        }
        self.output.set(Some(output));
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(inner: Weak<Inner>, key: Option<TaskKey>, result: Rc<Outcome<T>>) -> JoinHandle<T> {
        JoinHandle { inner, key, result }
    }

    /// Ends the task: its future is dropped now, or when its current poll returns if it aborts itself.
    /// Harmless on a task that is done.
    pub fn abort(&self) {
        if self.is_finished() {
            return; // its key may name another task by now
        }
        if let (Some(inner), Some(key)) = (self.inner.upgrade(), self.key) {
            inner.end_by_key(key);
        }
    }

    /// Whether the task has ended, one way or another.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.result.finished.get()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// When polled again after it has given the output.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.result.output.take() {
            return Poll::Ready(output);
        }
        assert!(!self.result.finished.get(), "a join handle was polled after it gave its output");
        self.result.waiting.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// A future that leaves its output, its panic, or the fact that it was dropped in an [`Outcome`].
pub(crate) struct Joinable<F: Future> {
    future: Pin<Box<F>>,
    outcome: Rc<Outcome<F::Output>>,
}

impl<F: Future> Joinable<F> {
    pub(crate) fn new(future: F) -> (Joinable<F>, Rc<Outcome<F::Output>>) {
        let outcome = Rc::new(Outcome {
            output: Cell::new(None),
            finished: Cell::new(false),
            waiting: RefCell::default(),
        });
        (Joinable { future: Box::pin(future), outcome: Rc::clone(&outcome) }, outcome)
    }
}

impl<F: Future> Future for Joinable<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match catch_unwind(AssertUnwindSafe(|| this.future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                this.outcome.set(Ok(output));
                Poll::Ready(())
            }
            Err(panic) => {
                this.outcome.set(Err(JoinError::Panicked(message(&*panic).to_owned())));
                resume_unwind(panic) // the executor counts and logs it, once
            }
        }
    }
}

impl<F: Future> Drop for Joinable<F> {
    fn drop(&mut self) {
        self.outcome.set(Err(JoinError::Aborted));
    }
}

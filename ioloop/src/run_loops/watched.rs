//! A value behind a lock that threads and tasks can wait on: whoever changes it wakes all who wait.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use slab::Slab;

use crate::panics::{caught, logged};

/// A value that changes rarely, and that each change of wakes everybody who waits for one.
pub(crate) struct Watched<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
}

struct Inner<T> {
    value: T,
    /// A place for each [`Until`] that waits; empty once it was woken.
    tasks: Slab<Option<Waker>>,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Arc<Watched<T>> {
        let inner = Inner { value, tasks: Slab::new() };
        Arc::new(Watched { inner: Mutex::new(inner), changed: Condvar::new() })
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock().value)
    }

    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let (result, woken) = {
            let mut inner = self.lock();
            let result = change(&mut inner.value);
            let woken: Vec<Waker> = inner.tasks.iter_mut().filter_map(|(_, waker)| waker.take()).collect();
            (result, woken)
        };
        self.changed.notify_all();
        for waker in woken {
            // Outside the lock, for it may be anybody's code; and nobody's panic may cost the others their wake.
            if let Err(panic) = caught(|| waker.wake()) {
                logged(|| tracing::error!(what = "waker", panic, "a callback panicked"));
            }
        }
        result
    }

    /// Blocks until `look` breaks with a result. It is asked now, after each change, and at the time it continues with.
    pub(crate) fn wait<R>(&self, mut look: impl FnMut(&mut T) -> ControlFlow<R, Option<Instant>>) -> R {
        let mut inner = self.lock();
        loop {
            inner = match look(&mut inner.value) {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(None) => {
                    self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner)
                }
                ControlFlow::Continue(Some(until)) => {
                    let at_most = until.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(inner, at_most).unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }

    /// A future of what `look` gives when it gives something.
    pub(crate) fn until<R, F>(self: &Arc<Self>, look: F) -> Until<T, F>
    where
        F: Fn(&T) -> Option<R> + Unpin,
    {
        Until { watched: Arc::clone(self), look, place: None }
    }

    /// What runs under the lock is this module's siblings' code alone, and leaves whole data also where it panics.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Made by [`Watched::until`].
pub(crate) struct Until<T, F> {
    watched: Arc<Watched<T>>,
    look: F,
    place: Option<usize>,
}

impl<T, R, F: Fn(&T) -> Option<R> + Unpin> Future for Until<T, F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        // Wakers are cloned and dropped outside the lock: they may be anybody's code.
        let waker = Some(cx.waker().clone());
        let this = &mut *self;
        let _previous = {
            let mut inner = this.watched.lock();
            if let Some(result) = (this.look)(&inner.value) {
                return Poll::Ready(result);
            }
            match this.place {
                Some(place) => std::mem::replace(&mut inner.tasks[place], waker),
                None => {
                    this.place = Some(inner.tasks.insert(waker));
                    None
                }
            }
        };
        Poll::Pending
    }
}

impl<T, F> Drop for Until<T, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.watched.lock().tasks.remove(place);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IoLoop;

    #[test]
    fn a_wait_that_is_dropped_leaves_nothing_behind() {
        let watched = Watched::new(0);
        IoLoop::new()
            .unwrap()
            .run_sync(async {
                for n in 0..3 {
                    let mut wait = watched.until(move |value| (*value > n).then_some(()));
                    let once = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut wait).poll(cx).is_pending());
                    assert!(std::future::poll_fn(once).await);
                    assert_eq!(watched.lock().tasks.len(), 1);
                    watched.update(|value| *value += 1);
                    wait.await;
                    assert_eq!(watched.lock().tasks.len(), 0);
                }
            })
            .unwrap();
    }

    #[test]
    fn a_thread_is_asked_again_after_each_change_and_at_its_deadline() {
        let watched = Watched::new(0);
        let changed = Arc::clone(&watched);
        let thread = std::thread::spawn(move || changed.update(|value| *value = 7));
        let seen = watched.wait(|value| match *value {
            0 => ControlFlow::Continue(None),
            other => ControlFlow::Break(other),
        });
        thread.join().unwrap();
        let mut asked = 0;
        watched.wait(|_| {
            asked += 1;
            if asked == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(Some(Instant::now())) }
        });
        assert_eq!((seen, asked), (7, 2));
    }
}

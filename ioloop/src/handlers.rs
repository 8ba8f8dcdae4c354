//! Handlers: callbacks that are told when a source is ready. Tornado's `add_handler` family.

use std::io;
use std::marker::PhantomData;
use std::panic::Location;

use mio::event::Source;

use crate::IoLoop;
use crate::counters::count;
use crate::error::{NoSuchHandler, RunError, UpdateError};
use crate::io_loop::Inner;
use crate::origin::{Place, WorkKind};
use crate::panics::logged;
use crate::ready::{Interest, Ready};
use crate::sources::{Handler, Listener, SourceKey};

/// Names a handler, and remembers the type of the source it owns.
pub struct HandlerId<S> {
    key: SourceKey,
    /// The number of the loop that it belongs to.
    io_loop: usize,
    source: PhantomData<fn() -> S>,
}

impl<S> Clone for HandlerId<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for HandlerId<S> {}

impl<S> std::fmt::Debug for HandlerId<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HandlerId({:?})", self.key)
    }
}

struct Owned<S, F> {
    place: Place,
    source: S,
    callback: F,
}

impl<S, F> Handler for Owned<S, F>
where
    S: Source + 'static,
    F: FnMut(&mut S, Ready) + 'static,
{
    fn run(&mut self, inner: &Inner, ready: Ready) {
        inner.dispatch.began(self.place);
        (self.callback)(&mut self.source, ready);
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut self.source
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        Box::new(self.source)
    }
}

impl IoLoop {
    /// Calls `callback` with `source` whenever it becomes ready for `interest`, and with errors and hang-ups.
    ///
    /// **Readiness is edge-triggered**, unlike Tornado's: the callback is called when something *becomes* ready,
    /// not again and again while it is. Read or write until `WouldBlock`, or be called no more. To stop early
    /// (out of fairness) ask with [`update_handler`](IoLoop::update_handler), which reports anew what is already
    /// ready, also from inside the callback: then the next call comes after everybody else's.
    ///
    /// The loop owns the source until [`remove_handler`](IoLoop::remove_handler) gives it back. A callback that
    /// panics is logged once and reported to the [error hook](IoLoop::set_error_hook), and its handler removed with its
    /// source: it would only fail again (IL7).
    ///
    /// # Errors
    ///
    /// What the operating system says to the registration (a source can be registered once, IL2), and for a loop
    /// that has closed. The source is then dropped.
    #[track_caller]
    pub fn add_handler<S, F>(
        &self,
        mut source: S,
        interest: Interest,
        callback: F,
    ) -> io::Result<HandlerId<S>>
    where
        S: Source + 'static,
        F: FnMut(&mut S, Ready) + 'static,
    {
        if self.inner.closed.get() {
            return Err(io::Error::other(RunError::Closed));
        }
        let key = self.inner.sources.borrow_mut().insert(Listener::handler(interest));
        if let Err(error) = source.register(&self.inner.registry, key.token(), interest.to_mio()) {
            self.inner.sources.borrow_mut().remove(key);
            return Err(error);
        }
        count(&self.inner.tally.registrations);
        let place = Place::of::<F>(WorkKind::Handler, Location::caller());
        self.inner.put_back_handler(key, Box::new(Owned { place, source, callback }));
        Ok(HandlerId { key, io_loop: self.inner.number, source: PhantomData })
    }

    /// Replaces the interest of a handler, and reports anew what is already ready for it (IL3).
    ///
    /// From inside the handler's own callback this takes effect when the callback returns; should the operating
    /// system refuse then, that is logged and the handler removed.
    ///
    /// # Errors
    ///
    /// [`UpdateError::NoSuchHandler`] for a handler that is gone; [`UpdateError::Os`] if the operating system
    /// refuses, and the interest stays as it was.
    pub fn update_handler<S>(&self, id: HandlerId<S>, interest: Interest) -> Result<(), UpdateError> {
        let key = self.key_of(id);
        let taken = {
            let mut sources = self.inner.sources.borrow_mut();
            let slot = sources.handler_mut(key).ok_or(NoSuchHandler)?;
            let taken = slot.handler.take();
            if taken.is_none() {
                slot.interest = interest;
                slot.changed = true;
            }
            taken
        };
        let Some(mut handler) = taken else { return Ok(()) };
        let updated = self.inner.reregister(key, &mut *handler, interest);
        if updated.is_ok()
            && let Some(slot) = self.inner.sources.borrow_mut().handler_mut(key)
        {
            slot.interest = interest;
        }
        self.inner.put_back_handler(key, handler);
        Ok(updated?)
    }

    /// Ends a handler and gives its source back, still open (NU3.7).
    ///
    /// Events for it that the current turn has already collected are not delivered (IL4). Harmless for a handler
    /// that is gone; `None` then, and from inside the handler's own callback, which ends with the callback and
    /// drops the source.
    pub fn remove_handler<S: 'static>(&self, id: HandlerId<S>) -> Option<S> {
        let slot = self.inner.sources.borrow_mut().remove(self.key_of(id))?;
        let mut handler = slot.listener.into_handler()?.handler?;
        if let Err(error) = handler.source().deregister(&self.inner.registry) {
            logged(|| tracing::debug!(%error, "a source could not be deregistered"));
        }
        handler.into_any().downcast::<S>().ok().map(|source| *source)
    }

    /// The key in an id of this loop. Other loops count from the same numbers, so their ids name nothing here.
    fn key_of<S>(&self, id: HandlerId<S>) -> SourceKey {
        if id.io_loop == self.inner.number { id.key } else { SourceKey::NOTHING }
    }
}

impl Inner {
    /// Runs a handler with its source out of the table, so that it may add, update and remove handlers.
    pub(crate) fn run_handler(&self, key: SourceKey, ready: Ready) {
        let taken = match self.sources.borrow_mut().handler_mut(key) {
            // An event may have been collected before the interest was changed.
            Some(slot) if !ready.for_interest(slot.interest).is_empty() => {
                slot.handler.take().map(|handler| (handler, ready.for_interest(slot.interest)))
            }
            _ => None,
        };
        let Some((mut handler, ready)) = taken else { return };
        if self.guarded(|| handler.run(self, ready)) {
            self.put_back_handler(key, handler);
        } else {
            self.end_handler(key, handler);
        }
    }

    /// Returns a handler to its place, unless that has gone meanwhile, and tells the poller of a changed interest.
    fn put_back_handler(&self, key: SourceKey, mut handler: Box<dyn Handler>) {
        loop {
            let interest = {
                let mut sources = self.sources.borrow_mut();
                let Some(slot) = sources.handler_mut(key) else { break };
                if !std::mem::take(&mut slot.changed) {
                    slot.handler = Some(handler);
                    return;
                }
                slot.interest
            };
            if let Err(error) = self.reregister(key, &mut *handler, interest) {
                logged(
                    || tracing::error!(%error, "a handler's interest could not be changed; it is removed"),
                );
                break;
            }
        }
        self.end_handler(key, handler);
    }

    fn reregister(&self, key: SourceKey, handler: &mut dyn Handler, interest: Interest) -> io::Result<()> {
        handler.source().reregister(&self.registry, key.token(), interest.to_mio())?;
        count(&self.tally.reregistrations);
        Ok(())
    }

    /// Drops a handler that is out of its place, and the place if it is still there.
    fn end_handler(&self, key: SourceKey, mut handler: Box<dyn Handler>) {
        let place = self.sources.borrow_mut().remove(key);
        drop(place);
        self.quietly("destructor of a handler", || {
            // Deregistering first: a source may share its descriptor with somebody who lives on.
            let _ = handler.source().deregister(&self.registry);
            drop(handler);
        });
    }
}

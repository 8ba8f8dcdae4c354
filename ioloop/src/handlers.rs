//! Handlers: callbacks that are told when a source is ready. Tornado's `add_handler` family.

use std::io;
use std::marker::PhantomData;

use mio::event::Source;

use crate::IoLoop;
use crate::counters::count;
use crate::error::{NoSuchHandler, UpdateError};
use crate::io_loop::Inner;
use crate::ready::{Interest, Ready};
use crate::sources::{Handler, Listener, SourceKey};

/// Names a handler, and remembers the type of the source it owns.
pub struct HandlerId<S> {
    key: SourceKey,
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
    source: S,
    callback: F,
}

impl<S, F> Handler for Owned<S, F>
where
    S: Source + 'static,
    F: FnMut(&mut S, Ready) + 'static,
{
    fn run(&mut self, ready: Ready) {
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
    /// (out of fairness) arrange to come back, for instance with [`add_callback`](IoLoop::add_callback) and
    /// [`update_handler`](IoLoop::update_handler), which reports anew what is already ready.
    ///
    /// The loop owns the source until [`remove_handler`](IoLoop::remove_handler) gives it back. A callback that
    /// panics is logged, and its handler removed with its source: it would only fail again (IL7).
    ///
    /// # Errors
    ///
    /// What the operating system says to the registration; the source is then dropped.
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
        let key = self.inner.sources.borrow_mut().insert(Listener::Handler(None));
        if let Err(error) = source.register(&self.inner.registry, key.token(), interest.to_mio()) {
            self.inner.sources.borrow_mut().remove(key);
            return Err(error);
        }
        count(&self.inner.tally.registrations);
        if let Some(slot) = self.inner.sources.borrow_mut().get_mut(key) {
            slot.listener = Listener::Handler(Some(Box::new(Owned { source, callback })));
        }
        Ok(HandlerId { key, source: PhantomData })
    }

    /// Replaces the interest of a handler, and reports anew what is already ready for it (IL3).
    ///
    /// # Errors
    ///
    /// [`UpdateError::NoSuchHandler`] for a handler that is gone, or that asks from inside its own callback,
    /// where it has its source in hand; [`UpdateError::Os`] if the operating system refuses.
    pub fn update_handler<S>(&self, id: HandlerId<S>, interest: Interest) -> Result<(), UpdateError> {
        let mut sources = self.inner.sources.borrow_mut();
        let Some(Listener::Handler(Some(handler))) = sources.get_mut(id.key).map(|slot| &mut slot.listener)
        else {
            return Err(NoSuchHandler.into());
        };
        handler.source().reregister(&self.inner.registry, id.key.token(), interest.to_mio())?;
        count(&self.inner.tally.reregistrations);
        Ok(())
    }

    /// Ends a handler and gives its source back, still open (NU3.7).
    ///
    /// Events for it that the current turn has already collected are not delivered (IL4). Harmless for a handler
    /// that is gone; `None` then, and from inside the handler's own callback, which ends with the callback and
    /// drops the source.
    pub fn remove_handler<S: 'static>(&self, id: HandlerId<S>) -> Option<S> {
        let slot = self.inner.sources.borrow_mut().remove(id.key)?;
        let Listener::Handler(Some(mut handler)) = slot.listener else {
            return None;
        };
        if let Err(error) = handler.source().deregister(&self.inner.registry) {
            tracing::debug!(%error, "a source could not be deregistered");
        }
        handler.into_any().downcast::<S>().ok().map(|source| *source)
    }
}

impl Inner {
    /// Runs a handler with its source out of the table, so that it may add, update and remove handlers.
    pub(crate) fn run_handler(&self, key: SourceKey, ready: Ready) {
        let taken = match self.sources.borrow_mut().get_mut(key).map(|slot| &mut slot.listener) {
            Some(Listener::Handler(handler)) => handler.take(),
            _ => None,
        };
        let Some(mut handler) = taken else { return };
        let sound = self.guarded("handler", || handler.run(ready));
        let mut sources = self.sources.borrow_mut();
        match sources.get_mut(key) {
            Some(slot) if sound => slot.listener = Listener::Handler(Some(handler)),
            _ => {
                sources.remove(key);
                drop(sources);
                // Deregistering first: a source may share its descriptor with somebody who lives on.
                let _ = handler.source().deregister(&self.registry);
                self.guarded("handler", || drop(handler));
            }
        }
    }
}

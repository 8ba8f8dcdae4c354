//! What all connections of one server share: options, the date, and heads and workers to use again.

use std::time::Instant;

use ioloop::{Spares, caught};
use tcpserver::{ConnectionContext, PeerAddr};

use crate::ambient::AmbientCache;
use crate::error::{Fault, HttpError};
use crate::http1::RequestHead;
use crate::log_limit::LogLimit;
use crate::options::HttpOptions;
use crate::watch::Watcher;
use crate::worker::Worker;

/// A head that grew beyond this gives its memory back before it is kept.
const KEEP_HEAD_BYTES: usize = 8192;

/// The handler, whatever its type: connections find it here, so that none has a pointer of its own to it.
pub(crate) trait Answers {
    /// What serves requests by it.
    fn new_worker(&self) -> Box<Worker>;

    /// See [`Handler::connection_closed`](crate::Handler::connection_closed).
    fn connection_closed(&self, connection: &ConnectionContext);
}

pub(crate) struct Core {
    pub(crate) options: HttpOptions,
    pub(crate) ambient: AmbientCache,
    pub(crate) watcher: Option<Watcher>,
    pub(crate) handler: Box<dyn Answers>,
    /// Of lines about peers, about handlers, and about the server.
    log_limits: [LogLimit; 3],
    heads: Spares<RequestHead>,
    /// A few kilobytes each.
    workers: Spares<Worker>,
}

impl Core {
    pub(crate) fn new(options: HttpOptions, handler: Box<dyn Answers>) -> Core {
        let ambient = AmbientCache::new(options.ambient.clone());
        let watcher = Watcher::of(&options);
        let log_limits = <[LogLimit; 3]>::default();
        Core {
            options,
            ambient,
            watcher,
            handler,
            log_limits,
            heads: Spares::default(),
            workers: Spares::default(),
        }
    }

    /// Writes down what went wrong, once, and counts it. A peer that has simply gone is counted and not written down, a panic was
    /// written down where it was caught.
    pub(crate) fn note(&self, error: &HttpError, fault: Fault, peer: &PeerAddr, now: Instant) {
        if let Some(watcher) = &self.watcher {
            watcher.count_error(fault, error.reason());
        }
        if fault == Fault::Network && !matches!(error, HttpError::WriteTimeout)
            || matches!(error, HttpError::Panicked)
        {
            return;
        }
        let about = match fault {
            Fault::Peer | Fault::Network => 0,
            Fault::Handler => 1,
            Fault::Server => 2,
        };
        let Some(allowed) = self.log_limits[about].allows(now) else { return };
        let withheld = allowed.withheld;
        let _logged = caught(|| match fault {
            Fault::Peer => tracing::info!(%peer, %error, withheld, "malformed HTTP message"),
            Fault::Network => tracing::info!(%peer, %error, withheld, "closing the connection"),
            Fault::Handler => tracing::error!(%peer, %error, withheld, "a request handler failed"),
            Fault::Server => tracing::warn!(%peer, %error, withheld, "a request was turned away"),
        });
    }

    /// Writes down that a handler panicked.
    pub(crate) fn note_panic(&self, panic: &str, peer: &PeerAddr, now: Instant) {
        if let Some(allowed) = self.log_limits[1].allows(now) {
            // The log is somebody's code too: the client is to have its answer whatever becomes of the line.
            let _logged = caught(|| {
                tracing::error!(panic, %peer, withheld = allowed.withheld, "a request handler panicked");
            });
        }
    }

    /// A worker that waits, or a new one.
    pub(crate) fn lease_worker(&self) -> Box<Worker> {
        self.workers.take().unwrap_or_else(|| self.handler.new_worker())
    }

    pub(crate) fn return_worker(&self, worker: Box<Worker>) {
        self.workers.put(worker);
    }

    pub(crate) fn lease_head(&self) -> Box<RequestHead> {
        self.heads.take().unwrap_or_default()
    }

    pub(crate) fn return_head(&self, mut head: Box<RequestHead>) {
        Core::tidy_head(&mut head);
        self.heads.put(head);
    }

    /// Keeps none of them: the next requests make their own.
    pub(crate) fn release_memory(&self) {
        self.heads.clear();
        self.workers.clear();
    }

    /// Before a head is kept for another request.
    #[inline]
    pub(crate) fn tidy_head(head: &mut RequestHead) {
        if head.memory() > KEEP_HEAD_BYTES {
            *head = RequestHead::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::driver::Answering;
    use crate::exchange::Exchange;

    #[test]
    fn of_many_heads_none_is_kept_when_memory_is_released() {
        let core = Core::new(HttpOptions::default(), Answering::by(Rc::new(|_: &mut Exchange<'_>| {})));
        let heads: Vec<_> = (0..10).map(|_| core.lease_head()).collect();
        heads.into_iter().for_each(|head| core.return_head(head));
        core.release_memory();
        assert!(core.heads.take().is_none());
    }
}

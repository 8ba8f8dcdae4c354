//! A request under way that somebody hears of: by the access log or the metrics, and by its span.

use tracing::Span;

use crate::active::Active;
use crate::exchange::Exchange;
use crate::span;
use crate::watch::{Watched, Watcher};

/// What is kept for them. Boxed, and one look tells that there is nothing: mostly nobody listens.
pub(crate) struct Observed<'w> {
    watched: Option<(&'w Watcher, Watched)>,
    span: Option<Span>,
}

impl<'w> Observed<'w> {
    /// `None` if nobody wants to hear of it.
    #[inline]
    pub(crate) fn begin(watcher: Option<&'w Watcher>, exchange: &Exchange<'_>) -> Option<Box<Observed<'w>>> {
        let span = span::of_request(exchange);
        if watcher.is_none() && span.is_none() {
            return None;
        }
        let watched = watcher.map(|watcher| (watcher, watcher.begin(exchange.head(), exchange)));
        Some(Box::new(Observed { watched, span }))
    }

    /// Does what is part of the request.
    #[inline]
    pub(crate) fn within<R>(observed: Option<&Observed<'_>>, work: impl FnOnce() -> R) -> R {
        match observed.and_then(|observed| observed.span.as_ref()) {
            Some(span) => span.in_scope(work),
            None => work(),
        }
    }

    /// Tells them what has become of it.
    pub(crate) fn end(self, active: &Active<'_>) {
        if let Some(span) = &self.span {
            span::end(span, active.status());
        }
        if let Some((watcher, watched)) = self.watched {
            active.ended(|ended| watcher.end(watched, ended));
        }
    }
}

//! One connection as a task: what comes before its handler, the handler, and how the connection ends.

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use ioloop::caught;
use iostream::IoStream;
use pin_project_lite::pin_project;
use tracing::Span;

use crate::connections::{ConnectionState, Facts};
use crate::context::ConnectionContext;
use crate::handle::OpenConnection;
use crate::handler::{Failure, HandleStream, Outcome};
use crate::log::logged;
use crate::opening;
use crate::reset::reset;

/// One connection from its first byte to its last: the handler, and what happens when it ends (TS7-TS9). Dropping
/// `connection` closes it.
///
/// Not an `async fn`, and nothing is handed on that could stay in its place: a future keeps room for what moves out of
/// it, and this one lives as long as its connection.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn run<H: HandleStream>(connection: OpenConnection) -> impl Future<Output = ()> {
    async move {
        if connection.facts.entrance.has_opening() {
            // Boxed, so that it is no part of the memory of those who are served.
            if Box::pin(opening::complete(&connection)).await.is_none() {
                return;
            }
        }
        let handler = connection.facts.entrance.handler::<H>();
        let ended = if let Some(served) = served_in_span(handler, &connection) {
            note(served.await, &connection.facts)
        } else {
            let served = match begun(Nowhere, handler, &connection) {
                Ok(served) => served,
                Err(panic) => return note_panic(&panic, &connection.facts),
            };
            note(served.await, &connection.facts)
        };
        if ended.is_break() {
            return;
        }
        // Closing with input unread makes the kernel send a reset, which can overtake what was sent last.
        if poll_fn(|cx| Poll::Ready(connection.has_something_left(cx))).await {
            // Boxed, so that the rare case adds nothing to every connection's memory.
            Box::pin(end(&connection)).await;
        }
    }
}

/// How a handler ended: with a failure perhaps, or with the words of its panic.
type Ended = Result<Option<Failure>, String>;

/// A handler that runs in its connection's span, if somebody listens to that.
fn served_in_span<H: HandleStream>(
    handler: &H,
    connection: &OpenConnection,
) -> Option<Pin<Box<impl Future<Output = Ended>>>> {
    let span = span_of(&connection.facts)?;
    Some(Box::pin(async move { begun(span, handler, connection)?.await }))
}

/// Has the handler begin in `scope`. It may do its work, and panic, before it gives a future.
fn begun<'h, H: HandleStream, S: Scope>(
    scope: S,
    handler: &'h H,
    connection: &OpenConnection,
) -> Result<impl Future<Output = Ended> + use<'h, H, S>, String> {
    let context = ConnectionContext::of(&connection.facts);
    let serving = caught(|| scope.within(|| handler.handle_stream(connection.stream().clone(), context)))?;
    Ok(Served { scope, serving })
}

pin_project! {
    /// A handler that runs in `scope` to its end.
    struct Served<S, F> {
        scope: S,
        #[pin]
        serving: F,
    }
}

impl<S: Scope, F: Future<Output: Outcome>> Future for Served<S, F> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.project();
        // The error is put into words in here: its Display is the handler's code too.
        match caught(|| this.scope.within(|| this.serving.poll(cx).map(Outcome::failure))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Where a handler runs. Two types and not an option, because most connections have no span and should not have room for one.
trait Scope {
    fn within<R>(&self, work: impl FnOnce() -> R) -> R;
}

impl Scope for Span {
    fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        self.in_scope(work)
    }
}

/// In no span.
struct Nowhere;

impl Scope for Nowhere {
    fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// Sends what was written and hears the peer out, within the time for it. A peer that does not take it is cut.
async fn end(connection: &OpenConnection) {
    let (stream, facts) = (connection.stream(), &connection.facts);
    facts.state.set(ConnectionState::Closing);
    let (began, linger) = (stream.now(), facts.entrance.options.linger);
    let is_sent = ioloop::timeout(linger, stream.shutdown_write()).await.is_ok();
    let took = stream.now().duration_since(began);
    if !is_sent && !linger.is_zero() {
        reset(stream);
    } else {
        ConnectionContext::of(facts).hear_out(stream, linger.saturating_sub(took)).await;
    }
    let ran_out = !linger.is_zero() && stream.now().duration_since(began) >= linger;
    if ran_out && !stream.is_end_of_stream() {
        facts.server().state.tally.count(|metrics| metrics.timed_out.closing += 1);
    }
}

/// The connection's span, in which its handler runs: made, and paid for, only where somebody listens to it.
fn span_of(facts: &Facts) -> Option<Span> {
    let Facts { id, entrance, .. } = facts;
    let client = || facts.proxied().map(tracing::field::display);
    let span = tracing::debug_span!("connection", id, peer = %facts.peer(), client = client(), label = entrance.label());
    (!span.is_disabled()).then_some(span)
}

/// Writes down how a handler has ended. After a panic the connection ends at once.
fn note(ended: Ended, facts: &Facts) -> ControlFlow<()> {
    match ended {
        Ok(None) => {}
        // Whoever has closed it knows, and after a drain or for want of memory it is a crowd.
        Ok(Some(failure)) if failure.says_closed() && facts.stream().is_none_or(IoStream::is_closed) => {}
        Ok(Some(failure)) => note_failure(&failure, facts),
        Err(panic) => {
            note_panic(&panic, facts);
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

fn note_failure(failure: &Failure, facts: &Facts) {
    let (Facts { id, entrance, .. }, peer) = (facts, facts.peer());
    let (client, label) = (facts.proxied().map(tracing::field::display), entrance.label());
    logged(|| {
        tracing::error!(error = %failure, %peer, client, id, label, "a connection handler failed");
    });
    entrance.server.state.tally.count(|metrics| match failure.is_timeout() {
        true => metrics.timed_out.handler += 1,
        false => metrics.handler_errors += 1,
    });
}

fn note_panic(panic: &str, facts: &Facts) {
    let (Facts { id, entrance, .. }, peer) = (facts, facts.peer());
    let (client, label) = (facts.proxied().map(tracing::field::display), entrance.label());
    logged(|| {
        tracing::error!(panic, %peer, client, id, label, "a connection handler panicked");
    });
    entrance.server.state.tally.count(|metrics| metrics.handler_panics += 1);
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use iostream::testing;

    use super::*;
    use crate::PeerAddr;
    use crate::entrance::Entrance;

    fn run_by<H: HandleStream>(_: &H, connection: OpenConnection) -> impl Future<Output = ()> {
        run::<H>(connection)
    }

    #[test]
    fn a_connection_costs_16_bytes_more_than_its_handlers_future_which_is_kept_once() {
        let handler = |_: IoStream, _: ConnectionContext| async {
            let held = [0_u8; 4096];
            ioloop::yield_now().await;
            assert_eq!(held.iter().max(), Some(&0));
        };
        let entrance = Entrance::of_handler(Rc::new(handler));
        let stream = IoStream::new(testing::scripted().0).expect("a stream");
        let peer = PeerAddr::Unix(None);
        let handlers = size_of_val(&handler(stream.clone(), ConnectionContext::new(peer.clone())));
        let admitted = entrance.admit(&peer, stream.now()).expect("room");
        let connection = entrance.open(stream, peer, admitted);
        let size = size_of_val(&run_by(&handler, connection));
        println!("{} bytes beside the handler's", size - handlers);
        assert!(size <= handlers + 16, "{size} bytes");
    }
}

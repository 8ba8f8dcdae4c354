//! The only file that knows both the stream and the protocol: one task per connection, requests one after another.
//! Step 5 of path 1 and step 1 of path 3 through the house (see ARCHITECTURE.md).
//!
//! ```text
//!            ┌──────────── idle: no buffer, no request state ◀───────────┐
//!            ▼                                                           │ nothing buffered
//!   wait for bytes ──▶ head ──▶ handler ──▶ response done ──▶ rest of body dropped
//!            │           ▲                                        │
//!            │           └────────── pipelined request ───────────┘
//!            └──▶ end of stream, deadline, error ──▶ (error answer) ──▶ linger ──▶ close
//! ```
//!
//! What one turn answers leaves in one write, because the stream flushes before it waits for more requests; nothing that is
//! answered waits behind a handler that does.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ioloop::{Deadline, caught};
use iostream::MemoryBudget;
use tcpserver::ConnectionContext;

use crate::active::{Active, HEAD_BYTES, MOST_DROPPED};
use crate::core::Answers;
use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::handler::Handler;
use crate::http1::{Outcome, Received, RemoteError, RequestHead};
use crate::observed::Observed;
use crate::session::{Arrival, Session, Share};
use crate::worker::{Desk, Place, Worker};

/// How long a peer that was too slow may still send before its connection closes behind the 408.
const BRIEFLY: Duration = Duration::from_millis(100);

/// What is to become of the connection after some requests.
enum Then {
    /// Serve the next one: what was refused had come whole, and was answered.
    GoOn,
    /// Wait for the next request.
    Idle,
    /// All is said and read: close when it has been sent.
    Close,
    /// Close, but not before what the peer still sends has been dropped for a while.
    Linger,
    /// The same for a peer that was too slow: little can be on its way, and it has had its time.
    LingerBriefly,
    /// The connection failed, or the peer is gone.
    Abandon,
    /// It has ended already.
    Nothing,
}

/// Serves one connection from its first byte to its last. As large as its session, and no larger.
pub(crate) struct Serve {
    place: Place,
}

impl Serve {
    pub(crate) fn new(session: Session) -> Serve {
        Serve { place: Place::Here(session) }
    }
}

impl Future for Serve {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let place = &mut self.place;
        loop {
            let mut worker = match place {
                Place::Here(session) => {
                    let Poll::Ready(arrival) = session.poll_idle(cx) else {
                        session.stream.flush_at_end_of_turn();
                        return Poll::Pending;
                    };
                    let worker = session.core.lease_worker();
                    worker.begin(place, arrival);
                    worker
                }
                Place::With(worker) => match worker.take() {
                    Some(worker) => worker,
                    None => return Poll::Ready(()),
                },
            };
            let Poll::Ready(may_idle) = worker.poll(cx) else {
                worker.with_session(|session| session.stream.flush_at_end_of_turn());
                *place = Place::With(Some(worker));
                return Poll::Pending;
            };
            worker.end(place);
            if let Place::Here(session) = place {
                session.core.return_worker(worker);
                if !may_idle {
                    session.core.handler.connection_closed(&session.context);
                    *place = Place::default();
                }
            }
        }
    }
}

/// Answers by a handler of one of the three shapes.
pub(crate) struct Answering<M, H> {
    handler: Rc<H>,
    marker: PhantomData<fn() -> M>,
}

impl<M: 'static, H: Handler<M>> Answering<M, H> {
    pub(crate) fn by(handler: Rc<H>) -> Box<dyn Answers> {
        Box::new(Answering { handler, marker: PhantomData })
    }
}

impl<M: 'static, H: Handler<M>> Answers for Answering<M, H> {
    fn new_worker(&self) -> Box<Worker> {
        Worker::new(|desk| work(Rc::clone(&self.handler), desk))
    }

    fn connection_closed(&self, connection: &ConnectionContext) {
        self.handler.connection_closed(connection);
    }
}

/// Serves one burst of requests after the other, each on the connection whose session it finds.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "nobody takes a session off the desk before it is served"
)]
async fn work<M, H: Handler<M>>(handler: Rc<H>, desk: Rc<Desk>) -> Infallible {
    loop {
        let arrival = desk.next().await;
        let may_idle = {
            let session = desk.session();
            // What is rare is boxed here and elsewhere: the futures of requests should be small.
            let goes_on = matches!(arrival, Arrival::Bytes) || Box::pin(session.goes_on(arrival)).await;
            let then = if goes_on { serve_requests(&session, &*handler).await } else { Then::Nothing };
            match then {
                Then::Idle => true,
                then => {
                    end(&session, then).await;
                    false
                }
            }
        };
        desk.served(may_idle);
    }
}

/// Ends a connection that has been served. What could not be sent is lost with it; there is nobody left to tell.
async fn end(session: &Session, then: Then) {
    let linger = session.core.options.linger;
    match then {
        Then::GoOn | Then::Idle | Then::Nothing => {}
        Then::Close => session.end(linger).await,
        Then::Linger => Box::pin(session.linger(linger)).await,
        Then::LingerBriefly => Box::pin(session.linger(linger.min(BRIEFLY))).await,
        Then::Abandon => session.stream.close(),
    }
}

/// Serves requests until none is buffered, not even in part.
async fn serve_requests<M, H: Handler<M>>(session: &Session, handler: &H) -> Then {
    let active = Active::new(session);
    let mut exchange = Exchange::new(&active);
    let mut share = Share::default();
    loop {
        if session.has_had_its_share(&mut share) {
            share = session.give_way().await;
        }
        let found = match look_for_head(&active, exchange.head_place()) {
            // Boxed, like other rare waits.
            Ok(Found::Part) => Box::pin(rest_of_head(&active, exchange.head_place())).await,
            found => found.map_err(HttpError::from),
        };
        match found {
            Ok(Found::Head) => {}
            Ok(Found::Part | Found::Nothing) => return Then::Idle,
            Err(error) => return refuse_head(&active, exchange.head_place().as_deref(), error),
        }
        if !may_begin(&active, exchange.head_place().as_deref()) {
            return refuse_head(&active, exchange.head_place().as_deref(), HttpError::OverBudget);
        }
        begin_request(&active, &mut exchange);
        let peer_goes_on = exchange.head().framing().keep_alive;
        let observed = Observed::begin(session.core.watcher.as_ref(), &exchange);
        let answered = {
            let mut handling = pin!(handler.handle(&mut exchange));
            // Most answer without waiting; what only a wait needs is not made before there is one.
            let mut giving_up: Option<Pin<Box<dyn Future<Output = HttpError> + '_>>> = None;
            poll_fn(|cx| {
                if let Poll::Ready(result) = poll_handler(&active, observed.as_deref(), handling.as_mut(), cx)
                {
                    return Poll::Ready(result);
                }
                if active.has_made_enough() {
                    session.use_up_share();
                    return Poll::Ready(active.finish(None));
                }
                let reason = giving_up.get_or_insert_with(|| Box::pin(reason_to_give_up(&active)));
                reason.as_mut().poll(cx).map(Err)
            })
            .await
        };
        let answered = answered.and_then(|()| active.expect_end());
        exchange.end();
        active.release();
        let callback = active.on_close.take();
        let refused =
            answered.err().map(|error| Observed::within(observed.as_deref(), || refuse(&active, error)));
        if let Some(observed) = observed {
            observed.end(&active);
        }
        if let Some(then) = refused.filter(|then| !matches!(then, Then::GoOn)) {
            if let (Then::Abandon, Some(callback)) = (&then, callback) {
                callback();
            }
            return then;
        }
        drop(callback);
        if active.taken_over.get() {
            return Then::Linger;
        }
        if active.body_unread()
            && let Err(then) = drop_rest_of_body(&active).await
        {
            return then;
        }
        match active.protocol.borrow_mut().start_next_request() {
            Outcome::KeepAlive => {}
            // A peer that did not expect the end may be sending its next request: it must not be met by a reset.
            Outcome::Close if peer_goes_on => return Then::Linger,
            Outcome::Close => return Then::Close,
            // Nobody took the connection over, so nobody speaks the other protocol.
            Outcome::Switched | Outcome::InProgress => return Then::Linger,
        }
    }
}

/// Whether there is memory for a request with this head.
#[inline]
fn may_begin(active: &Active<'_>, head: Option<&RequestHead>) -> bool {
    #[cfg(feature = "gzip")]
    if let Some(head) = head
        && !active.has_memory_to_decode(head)
    {
        return false;
    }
    let _ = (active, head);
    iostream::relieve_memory()
}

/// The head is there.
#[inline]
fn begin_request(active: &Active<'_>, exchange: &mut Exchange<'_>) {
    let session = active.session;
    exchange.begin();
    active.hold_head(exchange.head());
    session.note_request();
    if session.is_last_request() {
        active.protocol.borrow_mut().close_after_response();
    }
    #[cfg(feature = "gzip")]
    if let Some(head) = exchange.head_place() {
        active.begin_codings(head);
    }
}

/// What is there of the next request's head.
enum Found {
    Head,
    Part,
    /// Not a byte.
    Nothing,
}

/// Looks for the next request's head in what is buffered, and takes it into `head`.
#[inline(always)] // mostly a second look, which finds nothing
fn look_for_head(active: &Active<'_>, head: &mut Option<Box<RequestHead>>) -> Result<Found, RemoteError> {
    let session = active.session;
    if session.stream.buffered() > 0 {
        if take_head(active, head)? {
            return Ok(Found::Head);
        }
        if session.stream.buffered() > 0 {
            return Ok(Found::Part);
        }
        // Only empty lines, which begin nothing.
    }
    session.empty_lines.set(active.protocol.borrow().empty_lines());
    Ok(Found::Nothing)
}

/// Waits for the rest of a head. Nothing is found where what had come was half of an empty line.
async fn rest_of_head(active: &Active<'_>, head: &mut Option<Box<RequestHead>>) -> Result<Found, HttpError> {
    let session = active.session;
    let until = session.after(session.core.options.header_timeout);
    let idles_until = session.deadline.deadline();
    loop {
        match session.arrival(Some(until)).await {
            Arrival::Bytes => {}
            Arrival::EndOfStream => return Err(RemoteError::Truncated.into()),
            Arrival::Timeout => return Err(RemoteError::HeadTimeout.into()),
            Arrival::Failure(error) => return Err(error.into()),
        }
        match look_for_head(active, head)? {
            Found::Part => {}
            Found::Head => return Ok(Found::Head),
            Found::Nothing => {
                session.deadline.set(idles_until);
                return Ok(Found::Nothing);
            }
        }
    }
}

/// Takes what is buffered of a head into `head`; `true` if that is all of it.
#[inline(never)]
fn take_head(active: &Active<'_>, head: &mut Option<Box<RequestHead>>) -> Result<bool, RemoteError> {
    let session = active.session;
    let lent = head.get_or_insert_with(|| session.core.lease_head());
    let limits = &session.core.options.limits;
    let is_whole = session.stream.read_with(|input| {
        match active.protocol.borrow_mut().receive_head(input, limits, lent) {
            Ok(Received::Head { consumed }) => (consumed, Ok(true)),
            Ok(Received::NeedMore { consumed }) => (consumed, Ok(false)),
            Ok(Received::Paused) => (0, Ok(false)),
            Err(error) => (0, Err(error)),
        }
    })?;
    if is_whole {
        active.begin();
    }
    Ok(is_whole)
}

#[inline(always)]
fn poll_handler(
    active: &Active<'_>,
    observed: Option<&Observed<'_>>,
    handling: Pin<&mut impl Future<Output = Result<(), HttpError>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), HttpError>> {
    caught(|| Observed::within(observed, || handling.poll(cx))).unwrap_or_else(|panic| {
        let session = active.session;
        session.core.note_panic(&panic, &session.context.peer_addr(), session.now());
        Poll::Ready(Err(HttpError::Panicked))
    })
}

/// Watches the connection while a handler waits for something else: why that is to be given up, once it is.
async fn reason_to_give_up(active: &Active<'_>) -> HttpError {
    let stream = &active.session.stream;
    let mut gone = pin!(stream.closed());
    let mut patience = Patience { active, began: active.session.now(), deadline: None };
    let mut runs_on = false;
    poll_fn(|cx| {
        if active.taken_over.get() {
            return Poll::Pending; // its deadlines and its end are the handler's affair
        }
        if patience.poll(cx).is_ready() {
            return Poll::Ready(HttpError::HandlerTimeout);
        }
        // The peer has gone for good, not merely ended its side: nobody is left to answer.
        if runs_on || gone.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        runs_on = !active.session.core.options.cancel_on_disconnect;
        if let Some(callback) = active.on_close.take() {
            callback();
        }
        if runs_on {
            return Poll::Pending;
        }
        let reason = stream.close_reason().unwrap_or(iostream::CloseReason::EndOfStream);
        Poll::Ready(HttpError::Stream(iostream::StreamError::Closed(reason)))
    })
    .await
}

/// How long a handler may still take to begin its response. Nothing is armed before it has waited once.
struct Patience<'a> {
    active: &'a Active<'a>,
    began: Instant,
    deadline: Option<Deadline>,
}

impl Patience<'_> {
    /// Ready when it has run out.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.active.session;
        let Some(limit) = session.core.options.handler_timeout else { return Poll::Pending };
        if self.active.protocol.borrow().is_head_sent() {
            return Poll::Pending;
        }
        // A wait for the body that goes on moves the end along; then this is looked at again.
        let allowed = limit.saturating_add(self.active.waited_for_body());
        let deadline = self.deadline.get_or_insert_with(|| Deadline::new(&session.stream.io_loop()));
        deadline.set(self.began.checked_add(allowed));
        deadline.poll(cx)
    }
}

/// Reads and drops what the handler has not read of the body, if that is little and comes soon: then the connection can be
/// kept. Says how it ends otherwise.
async fn drop_rest_of_body(active: &Active<'_>) -> Result<(), Then> {
    if active.protocol.borrow().is_last_response() {
        return Err(Then::Linger);
    }
    let mut dropped = 0;
    loop {
        match active.encoded_chunk().await {
            Ok(Some(chunk)) => dropped += chunk.len() as u64,
            Ok(None) => return Ok(()),
            Err(HttpError::Stream(_)) => return Err(Then::Abandon),
            Err(_) => return Err(Then::Linger),
        }
        if dropped > MOST_DROPPED {
            return Err(Then::Linger);
        }
    }
}

/// Answers what went wrong, if an answer is still possible, and says how the connection ends.
fn refuse(active: &Active<'_>, error: HttpError) -> Then {
    let then = end_with(active, &error);
    active.note(error);
    then
}

/// The same for a request that has not begun.
fn refuse_head(active: &Active<'_>, head: Option<&RequestHead>, error: HttpError) -> Then {
    active.begin();
    let then = refuse(active, error);
    if let Some(watcher) = &active.session.core.watcher {
        active.ended(|ended| watcher.refused(head, active.session.protocol(), ended));
    }
    then
}

fn end_with(active: &Active<'_>, error: &HttpError) -> Then {
    match error {
        HttpError::Stream(_) if active.session.stream.is_peer_gone() => return Then::Abandon,
        HttpError::WriteTimeout => return Then::Abandon,
        // Not even for saying so.
        HttpError::OverBudget if MemoryBudget::left() < HEAD_BYTES => return Then::Abandon,
        _ => {}
    }
    if active.taken_over.get() {
        return Then::Close;
    }
    match active.send_error(error) {
        Ok(true)
            if matches!(error, HttpError::Remote(RemoteError::HeadTimeout | RemoteError::BodyTimeout)) =>
        {
            Then::LingerBriefly
        }
        Ok(true) if active.goes_on_after(error) => Then::GoOn,
        Ok(true) => Then::Linger,
        Ok(false) if active.protocol.borrow().is_response_complete() => Then::Linger,
        // A clean end would say that the response is whole (RFC 9112 §8).
        Ok(false) if active.protocol.borrow().ends_with_connection() => {
            tcpserver::reset(&active.session.stream);
            Then::Abandon
        }
        // Part of a response is out: ending the connection is all that can still be said (matrix row 35).
        Ok(false) => Then::Close,
        Err(_) => Then::Abandon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_a_session_and_nothing_else() {
        assert_eq!(size_of::<Serve>(), size_of::<Session>());
        assert!(size_of::<Serve>() <= 56, "{} bytes", size_of::<Serve>());
    }
}

//! One connection for as long as it lives: its stream, its deadline, and the waits that both take part in.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ioloop::Deadline;
use iostream::{IoStream, MemoryBudget, StreamError};
use tcpserver::ConnectionContext;

use crate::core::Core;
use crate::error::HttpError;
use crate::proxies::Protocol;

/// Pipelined requests of one connection that are served before the others have their turn. Bytes have their bounds in `iostream`.
const REQUESTS_PER_TURN: u8 = 64;

/// Or fewer, if they take long: after so many it is looked whether the connection itself has taken so much time. How old the turn is would
/// not tell, where many pipeline.
const REQUESTS_PER_LOOK: u8 = 16;
const TIME_PER_TURN: Duration = Duration::from_micros(500);

/// So many times as much may wait of what takes no memory: with the default a mebibyte and what frames it, which leaves in one
/// write then. Each further write would wake the peer once more.
const SHARED: usize = 22;

/// What leaves without waiting for the peer to acknowledge any of it: ten segments (RFC 6928).
const UNDER_WAY_AT_ONCE: u64 = 14_600;
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What is kept of a connection between requests: all that an idle one costs here.
pub(crate) struct Session {
    pub(crate) stream: IoStream,
    pub(crate) core: Rc<Core>,
    pub(crate) context: ConnectionContext,
    /// The one deadline of the connection, whatever it waits for; its timer is re-armed lazily.
    pub(crate) deadline: Deadline,
    /// Requests that have begun.
    requests: Cell<u32>,
    /// Empty lines that have come before the next request (RFC 9112 §2.2).
    pub(crate) empty_lines: Cell<u8>,
    /// Whether idling begins anew.
    renews_deadline: Cell<bool>,
    /// Requests that have begun since the peer was last waited for, or the others had their turn.
    in_a_row: Cell<u8>,
    #[cfg(feature = "tls")]
    is_tls: std::cell::OnceCell<bool>,
}

/// How much of a turn requests that come in a row may have.
pub(crate) struct Share {
    /// It is looked at when so many of them have begun.
    next_look: u8,
    /// Since when, from the first look on.
    since: Option<Instant>,
}

impl Default for Share {
    fn default() -> Share {
        Share { next_look: REQUESTS_PER_LOOK, since: None }
    }
}

/// What a wait for bytes ended in.
pub(crate) enum Arrival {
    Bytes,
    EndOfStream,
    Timeout,
    Failure(StreamError),
}

impl Session {
    pub(crate) fn new(stream: IoStream, core: Rc<Core>, context: ConnectionContext) -> Session {
        let deadline = Deadline::new(&stream.io_loop());
        Session {
            stream,
            core,
            context,
            deadline,
            requests: Cell::new(0),
            empty_lines: Cell::new(0),
            renews_deadline: Cell::new(true),
            in_a_row: Cell::new(0),
            #[cfg(feature = "tls")]
            is_tls: std::cell::OnceCell::new(),
        }
    }

    /// Whether the connection is encrypted. Asked once: the answer takes a copy of what the handshake has agreed on.
    #[cfg(feature = "tls")]
    pub(crate) fn is_tls(&self) -> bool {
        *self.is_tls.get_or_init(|| self.stream.tls_info().is_some())
    }

    /// What the connection speaks, whatever proxies say.
    pub(crate) fn protocol(&self) -> Protocol {
        #[cfg(feature = "tls")]
        if self.is_tls() {
            return Protocol::Https;
        }
        Protocol::Http
    }

    pub(crate) fn now(&self) -> Instant {
        self.stream.now()
    }

    /// So long from now. What is as good as never is a century.
    pub(crate) fn after(&self, limit: Duration) -> Instant {
        self.now() + limit.min(CENTURY)
    }

    /// Waits for the first byte of a request. Not an `async fn`: idling must be small.
    pub(crate) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if self.renews_deadline.get() {
            self.deadline.set_after(self.patience());
        }
        let arrival = match self.stream.buffered() {
            0 => self.poll_arrival(cx),
            // Whoever had the stream before, to read a PROXY protocol header perhaps, has read this too: it does not arrive again.
            _ => Poll::Ready(Arrival::Bytes),
        };
        self.context.set_idle(arrival.is_pending());
        if arrival.is_pending() {
            self.in_a_row.set(0);
            self.renews_deadline.set(false); // it is armed only now
        }
        match arrival {
            Poll::Pending if self.context.ends_when_idle() => Poll::Ready(Arrival::Timeout),
            arrival => arrival,
        }
    }

    /// Whether there is a request to be served, or reason to wait on. If not, nothing was asked, so nothing is answered
    /// (H1-4, H1-6); but the last answer is sent.
    pub(crate) async fn goes_on(&self, arrival: Arrival) -> bool {
        match arrival {
            Arrival::Bytes => true,
            // The peer is not idle while it still takes the last answer.
            Arrival::Timeout if self.stream.pending() > 0 => {
                self.renews_deadline.set(true);
                self.flushed().await.is_ok()
            }
            Arrival::EndOfStream if self.stream.pending() > 0 => {
                let _gone_or_sent = self.flushed().await;
                false
            }
            Arrival::EndOfStream | Arrival::Timeout | Arrival::Failure(_) => false,
        }
    }

    /// How long the peer may idle, from the last request on. Empty lines are none.
    fn patience(&self) -> Option<Duration> {
        let options = &self.core.options;
        if self.requests.get() == 0 {
            return Some(options.header_timeout);
        }
        let age_left = self.age_limit().map(|limit| limit.saturating_sub(self.age()));
        match (options.idle_connection_timeout, age_left) {
            (Some(idle), Some(age)) => Some(idle.min(age)),
            (idle, age) => idle.or(age),
        }
    }

    /// Notes that a request has begun.
    pub(crate) fn note_request(&self) {
        self.requests.set(self.requests.get().saturating_add(1));
        self.in_a_row.set(self.in_a_row.get() + 1); // it stays below a share
        self.renews_deadline.set(true);
    }

    /// Whether the connection has had as many requests served in this turn, or has taken as long, as is fair to the others.
    #[inline]
    pub(crate) fn has_had_its_share(&self, share: &mut Share) -> bool {
        self.in_a_row.get() >= share.next_look && self.looks_at(share)
    }

    #[cold]
    #[inline(never)]
    fn looks_at(&self, share: &mut Share) -> bool {
        let served = self.in_a_row.get();
        share.next_look = (served / REQUESTS_PER_LOOK + 1) * REQUESTS_PER_LOOK;
        let mut has_taken_long = || {
            let now = self.precise_now();
            now.saturating_duration_since(*share.since.get_or_insert(now)) >= TIME_PER_TURN
        };
        served >= REQUESTS_PER_TURN || (self.stream.buffered() > 0 && has_taken_long())
    }

    /// Lets the others have their turn; then this connection's share begins anew.
    pub(crate) async fn give_way(&self) -> Share {
        ioloop::yield_now().await;
        self.in_a_row.set(0);
        Share { since: Some(self.precise_now()), ..Share::default() }
    }

    fn precise_now(&self) -> Instant {
        self.stream.io_loop().precise_now()
    }

    /// What was served last was as much as is fair to the others.
    pub(crate) fn use_up_share(&self) {
        self.in_a_row.set(REQUESTS_PER_TURN);
    }

    /// Whether the request that has begun is to be the last one.
    pub(crate) fn is_last_request(&self) -> bool {
        let most = self.core.options.max_requests_per_connection;
        most.is_some_and(|most| self.requests.get() >= most)
            || self.age_limit().is_some_and(|limit| self.age() >= limit)
    }

    fn age(&self) -> Duration {
        self.now().saturating_duration_since(self.context.opened())
    }

    /// The age that this connection may reach: up to a tenth more or less than the option says. Multiples of the golden ratio
    /// spread any row of connection numbers evenly.
    #[inline]
    fn age_limit(&self) -> Option<Duration> {
        self.core.options.max_connection_age.map(|age| self.share_of(age))
    }

    fn share_of(&self, age: Duration) -> Duration {
        let share = (self.context.id() as f64 * 0.618_033_988_749_895).fract();
        (age - age / 10).saturating_add((age / 5).mul_f64(share))
    }

    /// Waits for more input, until `deadline`.
    pub(crate) async fn arrival(&self, deadline: Option<Instant>) -> Arrival {
        poll_fn(|cx| {
            // Each time: a handler that also waits to write has its own deadline in here meanwhile.
            self.deadline.set(deadline);
            self.poll_arrival(cx)
        })
        .await
    }

    #[inline]
    fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<Arrival> {
        match self.stream.poll_fill(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Arrival::EndOfStream),
            Poll::Ready(Ok(_)) => Poll::Ready(Arrival::Bytes),
            Poll::Ready(Err(error)) => Poll::Ready(self.failed(error)),
            Poll::Pending => self.deadline.poll(cx).map(|()| match self.stream.is_held_back() {
                false => Arrival::Timeout,
                true => Arrival::Failure(StreamError::OverBudget), // it was not the peer
            }),
        }
    }

    #[cold]
    fn failed(&self, error: StreamError) -> Arrival {
        // The peer's end may be one over TLS without a word that it is. What matters has its own length here.
        match error.is_disconnect() && !self.stream.is_closed() {
            true => Arrival::EndOfStream,
            false => Arrival::Failure(error),
        }
    }

    /// Whether so little output waits that [`room_for_more`](Self::room_for_more) would not.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.stream.pending() < self.core.options.max_buffered_response.max(1) && self.stream.has_memory(0)
    }

    /// Waits until so many bytes may be held of what is made for this peer, if memory is scarce: first for what waits to leave.
    pub(crate) async fn memory_for(&self, bytes: usize) -> Result<(), HttpError> {
        if self.stream.has_memory(bytes) { Ok(()) } else { Box::pin(self.scarce_memory_for(bytes)).await }
    }

    /// Whether there is memory for so much of a small response that is sent whole: if nothing waits before it, it leaves at once as a
    /// rule, and may take what is kept for those who hold little.
    #[inline]
    pub(crate) fn has_memory_for_whole(&self, bytes: usize) -> bool {
        let is_little = || self.stream.pending() == 0 && MemoryBudget::left() >= bytes;
        self.stream.has_memory(bytes) || is_little()
    }

    async fn scarce_memory_for(&self, bytes: usize) -> Result<(), HttpError> {
        self.flushed().await?;
        Ok(poll_fn(|cx| self.stream.poll_memory(cx, bytes)).await?)
    }

    /// Waits, if as much output waits as may wait, until there is room for more. Sends nothing before.
    pub(crate) async fn room_for_more(&self) -> Result<(), HttpError> {
        self.room_below(self.core.options.max_buffered_response).await
    }

    /// The same behind a piece that is not copied: half as many bytes more may wait. What is echoed comes by blocks, of which one would
    /// pass the limit by itself and leave before the next, though that is there.
    pub(crate) async fn room_for_more_that_is_large(&self) -> Result<(), HttpError> {
        let most = self.core.options.max_buffered_response;
        self.room_below(most.saturating_add(most / 2)).await
    }

    /// The same behind such a piece that others hold too, so that it takes no memory of ours while they do: 22 times as many bytes
    /// may wait, unless much of that kind waits already.
    pub(crate) async fn room_for_more_that_is_shared(&self) -> Result<(), HttpError> {
        match MemoryBudget::lends_freely() {
            true => self.room_below(self.core.options.max_buffered_response.saturating_mul(SHARED)).await,
            false => self.room_for_more_that_is_large().await,
        }
    }

    async fn room_below(&self, most: usize) -> Result<(), HttpError> {
        // Where memory is scarce who holds more than there is left waits for all of it.
        let most = if self.stream.has_memory(0) { most.max(1) } else { 1 };
        // Boxed, so that handlers, which all have this within them, stay small.
        if self.stream.pending() < most { Ok(()) } else { Box::pin(self.room(most - 1)).await }
    }

    /// Waits until at most `pending` bytes of output wait, for as long as `write_timeout` and `minimum_send_rate` allow. Then the
    /// connection is reset.
    async fn room(&self, pending: usize) -> Result<(), HttpError> {
        let options = &self.core.options;
        let rate = u64::from(options.minimum_send_rate.max(1));
        let first = self.stream.bytes_sent();
        let most = self.after(options.write_timeout);
        let (mut sent, mut stalled) = (first, most);
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.stream.poll_flush_to(cx, pending) {
                return Poll::Ready(result.map_err(HttpError::from));
            }
            // To be woken by the next byte that leaves, and not only by the last: the moment of each matters.
            if let Poll::Ready(Err(error)) =
                self.stream.poll_flush_to(cx, self.stream.pending().saturating_sub(1))
            {
                return Poll::Ready(Err(error.into()));
            }
            if self.stream.bytes_sent() > sent {
                (sent, stalled) = (self.stream.bytes_sent(), self.after(options.write_timeout));
            }
            let earned = Duration::from_secs((sent - first) / rate);
            self.deadline.set(Some(stalled.min(most + earned.min(CENTURY))));
            self.deadline.poll(cx).map(|()| {
                // Whoever takes nothing is not waited for again, neither here nor by the kernel.
                tcpserver::reset(&self.stream);
                Err(HttpError::WriteTimeout)
            })
        })
        .await
    }

    /// Sends all that waits.
    pub(crate) async fn flushed(&self) -> Result<(), HttpError> {
        // Boxed, as above, where it has to wait.
        match poll_fn(|cx| Poll::Ready(self.stream.poll_flush_to(cx, 0))).await {
            Poll::Ready(sent) => Ok(sent?),
            Poll::Pending => Box::pin(self.room(0)).await,
        }
    }

    /// The end that the peer expects: sends what waits, and that is all, as long as the peer is silent. Where it has sent on, closing
    /// now would be a reset; and where much was sent, some may still be with the kernel, which drops it if the peer sends on yet.
    pub(crate) async fn end(&self, limit: Duration) {
        if self.flushed().await.is_err() {
            return;
        }
        if self.stream.has_input() || self.stream.bytes_sent() > UNDER_WAY_AT_ONCE {
            Box::pin(self.linger(limit)).await;
        }
    }

    /// Sends what waits, ends our side, and drops what the peer still sends, until `limit` has passed (H1-52, RFC 9112
    /// §9.6), or less while the server drains.
    pub(crate) async fn linger(&self, limit: Duration) {
        if self.flushed().await.is_ok() {
            self.context.hear_out(&self.stream, limit).await;
        }
    }
}

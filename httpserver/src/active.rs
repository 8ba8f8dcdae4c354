//! One request under way: the protocol's state beside the session, and every step that needs both.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use iostream::HeldBytes;

use crate::error::{Fault, HttpError};
use crate::form::BodyError;
use crate::headers::Headers;
use crate::http1::{
    BodyEvent, Connection, DataFrame, LocalError, RemoteError, RequestHead, ResponseHead, ResponseLength,
    check_content_type,
};
use crate::left_out::LeftOut;
use crate::response::Response;
use crate::session::{Arrival, Session};
use crate::watch::Ended;

/// Bodies below this size are copied behind their head, so that both leave in one piece.
pub(crate) const COPY_BODY_BYTES: usize = 16 * 1024;

/// What the head of a response, or what frames a piece, takes at most as a rule.
pub(crate) const HEAD_BYTES: usize = 512;

/// Heads up to this size are not counted.
const SMALL_HEAD_BYTES: usize = 4096;

/// Small pieces of a request body are put together up to this size before a handler sees them.
const GATHER_BYTES: usize = 16 * 1024;

/// What is read and dropped at most of a body that nobody reads. More than this is dearer to read than a new connection.
pub(crate) const MOST_DROPPED: u64 = 64 * 1024;

pub(crate) struct Active<'s> {
    pub(crate) session: &'s Session,
    /// Borrowed for one step at a time; none of them runs anybody else's code.
    pub(crate) protocol: RefCell<Connection>,
    body_clock: Cell<BodyClock>,
    /// Since when the body is waited for, or memory for it, while it is.
    awaits_body: Cell<Option<Instant>>,
    /// Whether the handler speaks to the peer by itself now, and no longer HTTP.
    pub(crate) taken_over: Cell<bool>,
    pub(crate) left_out: LeftOut,
    /// Called when the connection is lost before the response is complete.
    pub(crate) on_close: Cell<Option<Box<dyn FnOnce()>>>,
    /// What is gathered and kept of the request beside its stream.
    pub(crate) held: RefCell<HeldBytes>,
    /// What a read that was given up had of the body: comes first in what is left of it.
    given_back: Cell<Option<Box<Bytes>>>,
    tally: Tally,
    #[cfg(feature = "gzip")]
    pub(crate) codings: crate::content_coding::Codings,
}

/// What came of a request so far.
#[derive(Default)]
struct Tally {
    /// Of the final head.
    status: Cell<Option<StatusCode>>,
    /// Bytes of the bodies, without what frames them.
    received: Cell<u64>,
    sent: Cell<u64>,
    /// What was answered as an error; kept only for who is told when the request has ended.
    error: Cell<Option<Rc<HttpError>>>,
}

/// What the wait for a body has cost so far, and what has come of it.
#[derive(Clone, Copy, Default)]
struct BodyClock {
    waited: Duration,
    /// The same for memory for it, which is not the peer's affair.
    held_back: Duration,
    received: u64,
}

impl<'s> Active<'s> {
    pub(crate) fn new(session: &'s Session) -> Active<'s> {
        let mut protocol = Connection::after_empty_lines(session.empty_lines.take());
        if !session.core.options.keeps_alive() {
            protocol.close_after_response();
        }
        Active {
            session,
            protocol: RefCell::new(protocol),
            body_clock: Cell::default(),
            awaits_body: Cell::default(),
            taken_over: Cell::default(),
            left_out: LeftOut::default(),
            on_close: Cell::default(),
            held: RefCell::default(),
            given_back: Cell::default(),
            tally: Tally::default(),
            #[cfg(feature = "gzip")]
            codings: Default::default(),
        }
    }

    /// Forgets what was noted of the request before.
    pub(crate) fn begin(&self) {
        self.body_clock.set(BodyClock::default());
        self.left_out.begin();
        self.tally.status.set(None);
        self.tally.received.set(0);
        self.tally.sent.set(0);
    }

    /// The request has ended, and what was kept of it goes.
    pub(crate) fn release(&self) {
        let mut held = self.held.borrow_mut();
        if held.get() > 0 {
            held.set(0);
            drop(self.given_back.take());
        }
    }

    /// Says that the head is kept, if it is so large that it matters.
    pub(crate) fn hold_head(&self, head: &RequestHead) {
        let bytes = head.memory();
        if bytes > SMALL_HEAD_BYTES {
            self.hold(bytes);
        }
    }

    /// Says that so many bytes more are kept of the request.
    pub(crate) fn hold(&self, bytes: usize) {
        let mut held = self.held.borrow_mut();
        let all = held.get() + bytes;
        held.set(all);
    }

    /// Has the next read of the body begin with these bytes, which are kept of the request until then.
    pub(crate) fn put_back(&self, bytes: Bytes) {
        self.hold(bytes.len());
        self.given_back.set(Some(Box::new(bytes)));
    }

    fn take_back(&self) -> Option<Bytes> {
        let bytes = *self.given_back.take()?;
        let mut held = self.held.borrow_mut();
        let others = held.get() - bytes.len();
        held.set(others);
        Some(bytes)
    }

    fn has_given_back(&self) -> bool {
        let bytes = self.given_back.take();
        let any = bytes.is_some();
        self.given_back.set(bytes);
        any
    }

    /// A handler that has returned has answered, or speaks to the peer by itself.
    #[inline]
    pub(crate) fn expect_end(&self) -> Result<(), HttpError> {
        let is_done = self.taken_over.get() || self.protocol.borrow().is_response_complete();
        if is_done { Ok(()) } else { Err(HttpError::Unfinished) }
    }

    /// Writes down and counts what went wrong, and was or will be answered.
    pub(crate) fn note(&self, error: HttpError) {
        let session = self.session;
        session.core.note(&error, self.fault(&error), &session.context.peer_addr(), session.now());
        if session.core.watcher.is_some() {
            self.tally.error.set(Some(Rc::new(error)));
        }
    }

    /// By whose doing it is. Of a stream of the handler's own it is an error like any other; but a connection that was taken over
    /// ends as connections do, by one side's leaving.
    fn fault(&self, error: &HttpError) -> Fault {
        match error {
            HttpError::Stream(error) if self.taken_over.get() && error.is_disconnect() => Fault::Network,
            HttpError::Stream(_) if !self.session.stream.is_peer_gone() => Fault::Handler,
            error => error.fault(),
        }
    }

    /// The status of the final head, once there is one.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.tally.status.get()
    }

    /// Gives to `tell` what has become of the request.
    pub(crate) fn ended(&self, tell: impl FnOnce(&Ended<'_>)) {
        let (error, peer) = (self.tally.error.take(), self.session.context.peer_addr());
        tell(&Ended {
            status: self.tally.status.get(),
            bytes_received: self.tally.received.get(),
            bytes_sent: self.tally.sent.get(),
            peer: &peer,
            error: error.as_deref(),
        });
    }

    /// The next piece of the request body; `None` at its end. Sends the 100 that the peer waits for, the first time.
    pub(crate) async fn chunk(&self) -> Result<Option<Bytes>, HttpError> {
        if let Some(bytes) = self.take_back() {
            return Ok(Some(bytes));
        }
        #[cfg(feature = "gzip")]
        if self.is_decoding() {
            return Box::pin(self.decoded_chunk()).await;
        }
        self.encoded_chunk().await
    }

    /// The same as it was sent, whatever its Content-Encoding.
    pub(crate) async fn encoded_chunk(&self) -> Result<Option<Bytes>, HttpError> {
        let chunk = self.piece().await?;
        if let Some(chunk) = &chunk {
            self.tally.received.set(self.tally.received.get() + chunk.len() as u64);
        }
        Ok(chunk)
    }

    async fn piece(&self) -> Result<Option<Bytes>, HttpError> {
        let mut gathered = BytesMut::new();
        loop {
            match self.take_piece(&mut gathered)? {
                Piece::Whole(bytes) => return Ok(Some(bytes)),
                Piece::Gathered => {}
                Piece::End => return Ok((!gathered.is_empty()).then(|| gathered.freeze())),
                Piece::NeedMore if !gathered.is_empty() => return Ok(Some(gathered.freeze())),
                Piece::NeedMore => {
                    self.send_continue_if_wanted()?;
                    self.more_body().await?;
                }
            }
            if gathered.len() >= GATHER_BYTES {
                return Ok(Some(gathered.freeze()));
            }
        }
    }

    fn take_piece(&self, gathered: &mut BytesMut) -> Result<Piece, RemoteError> {
        let stream = &self.session.stream;
        let limits = &self.session.core.options.limits;
        let event = stream.read_with(|input| {
            match self.protocol.borrow_mut().receive_body(input, limits) {
                Ok(BodyEvent::Data { range, consumed }) if range.len() < GATHER_BYTES => {
                    gathered.extend_from_slice(&input[range]);
                    (consumed, Ok(Taken::Piece(Piece::Gathered)))
                }
                // A large piece is taken out behind this, with the block that it lies in.
                Ok(BodyEvent::Data { range, consumed }) => {
                    (range.start, Ok(Taken::Large { len: range.len(), behind: consumed - range.end }))
                }
                Ok(BodyEvent::NeedMore { consumed }) => (consumed, Ok(Taken::Piece(Piece::NeedMore))),
                Ok(BodyEvent::End { consumed }) => (consumed, Ok(Taken::Piece(Piece::End))),
                Err(error) => (0, Err(error)),
            }
        })?;
        Ok(match event {
            Taken::Piece(piece) => piece,
            Taken::Large { len, behind } => {
                let bytes = if gathered.is_empty() {
                    stream.take_buffered(len)
                } else {
                    gathered.extend_from_slice(&stream.take_buffered(len));
                    gathered.split().freeze()
                };
                stream.consume(behind);
                Piece::Whole(bytes)
            }
        })
    }

    /// Waits for more of the body, for as long as `body_timeout` and `minimum_body_rate` allow. The time that a handler
    /// takes between two waits is not the peer's and does not count.
    async fn more_body(&self) -> Result<(), HttpError> {
        let options = &self.session.core.options;
        let BodyClock { waited, received, .. } = self.body_clock.get();
        let earned = Duration::from_secs(received / u64::from(options.minimum_body_rate.max(1)));
        let left = options.body_timeout.saturating_add(earned).saturating_sub(waited);
        let waiting = BodyWait::begin(self, |clock| &mut clock.waited);
        let deadline = self.session.after(left.min(options.body_timeout));
        let before = self.session.stream.buffered();
        let arrival = self.session.arrival(Some(deadline)).await;
        drop(waiting);
        match arrival {
            Arrival::Bytes => {
                let mut clock = self.body_clock.get();
                clock.received += (self.session.stream.buffered() - before) as u64;
                self.body_clock.set(clock);
                Ok(())
            }
            Arrival::EndOfStream => Err(RemoteError::Truncated.into()),
            Arrival::Timeout => Err(RemoteError::BodyTimeout.into()),
            Arrival::Failure(error) => Err(error.into()),
        }
    }

    /// Waits until so many bytes more of the body may be held than the stream holds; behind all others if the peer was slow.
    pub(crate) async fn memory_for_body(&self, bytes: usize, was_slow: bool) -> Result<(), HttpError> {
        let _waiting = BodyWait::begin(self, |clock| &mut clock.held_back);
        let stream = &self.session.stream;
        let memory = poll_fn(|cx| match was_slow {
            false => stream.poll_memory(cx, bytes),
            true => stream.poll_memory_again(cx, bytes),
        });
        Ok(memory.await?)
    }

    fn send_continue_if_wanted(&self) -> Result<(), HttpError> {
        if self.protocol.borrow().expects_continue() {
            self.step(|protocol, out| Ok(protocol.send_continue(out)?))?;
        }
        Ok(())
    }

    /// Sends a whole response whose body is in memory.
    pub(crate) fn send(&self, response: &mut Response) -> Result<(), HttpError> {
        let is_small = response.headers.is_empty() && response.body.len() < COPY_BODY_BYTES;
        if is_small
            && self.protocol.borrow().wants_plain(response.status)
            && !self.session.context.is_leaving()
        {
            return self.send_plain(response);
        }
        self.send_planned(response)
    }

    fn send_plain(&self, response: &Response) -> Result<(), HttpError> {
        let Response { status, content_type, body, .. } = response;
        let content_type = content_type.as_deref();
        check_content_type(content_type)?;
        let ambient = self.session.core.ambient.at(self.session.now());
        self.session.stream.append_with(|out| {
            self.protocol.borrow_mut().send_plain((*status, content_type), body, &ambient, out);
        })?;
        self.tally.status.set(Some(*status));
        self.tally.sent.set(body.len() as u64);
        Ok(())
    }

    /// The same for any response: which needs a plan, or need not be fast. A large body is taken out of it, so that whoever counts what
    /// waits sees that nobody else holds it.
    pub(crate) fn send_planned(&self, response: &mut Response) -> Result<(), HttpError> {
        let status = response.status;
        // Two statuses have no body, whatever they were given.
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        let length = ResponseLength::Known(if has_none { 0 } else { response.body.len() as u64 });
        let mut head = ResponseHead::new(status).headers(&response.headers).length(length);
        if let Some(content_type) = &response.content_type {
            head = head.content_type(content_type);
        }
        // A 304 tells the length of the body that it leaves out, as an answer to HEAD does (H1-37).
        let is_left_out = has_none || status == StatusCode::NOT_MODIFIED;
        let body = if is_left_out { Bytes::new() } else { std::mem::take(&mut response.body) };
        let copied = body.len() < COPY_BODY_BYTES;
        self.announce_end_if_too_much_is_unread();
        self.step(|protocol, out| {
            self.encode_head(protocol, &head, out)?;
            if copied {
                let before = out.len();
                protocol.send_body(&body, out)?;
                self.tally.sent.set((out.len() - before) as u64); // its length is known: no framing is among it
            }
            Ok(())
        })?;
        if !copied {
            self.send_data(body)?;
            self.finish(None)?;
        }
        Ok(())
    }

    /// To be asked before a whole response: a body of which so much is left will be read neither by the handler nor by us.
    pub(crate) fn announce_end_if_too_much_is_unread(&self) {
        let mut protocol = self.protocol.borrow_mut();
        if protocol.missing_body() > MOST_DROPPED {
            protocol.close_after_response();
        }
    }

    pub(crate) fn send_head(&self, head: &ResponseHead<'_>) -> Result<(), HttpError> {
        #[cfg(feature = "gzip")]
        if self.session.core.options.compress_response.is_some() {
            return self.send_negotiated_head(head);
        }
        self.send_plain_head(head)
    }

    pub(crate) fn send_plain_head(&self, head: &ResponseHead<'_>) -> Result<(), HttpError> {
        self.step(|protocol, out| self.encode_head(protocol, head, out))
    }

    fn encode_head(
        &self,
        protocol: &mut Connection,
        head: &ResponseHead<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpError> {
        // Whoever does not raise the limit does not get to answer a request beyond it (H1-11).
        protocol.check_body_size()?;
        if self.session.context.is_leaving() {
            protocol.close_after_response();
        }
        let ambient = self.session.core.ambient.at(self.session.now());
        // A handler that answers all methods alike is not to blame for a CONNECT.
        let opens_tunnel = protocol.opens_tunnel(head.status);
        match protocol.send_head(head, &ambient, out) {
            Err(LocalError::BodyNotAllowed) if opens_tunnel => {
                return Err(RemoteError::TunnelNotSupported.into());
            }
            sent => sent?,
        }
        self.tally.status.set(Some(head.status));
        Ok(())
    }

    /// Sends a piece of the body. A large one is not copied.
    pub(crate) fn send_data(&self, data: Bytes) -> Result<(), HttpError> {
        #[cfg(feature = "gzip")]
        if self.is_encoding() {
            return self.send_encoded(&data);
        }
        self.send_plain_data(data)
    }

    /// The same; where it takes long, others get their turn in between.
    pub(crate) async fn write_data(&self, data: Bytes) -> Result<(), HttpError> {
        self.session.memory_for(data.len().min(COPY_BODY_BYTES) + HEAD_BYTES).await?;
        #[cfg(feature = "gzip")]
        if self.is_encoding() {
            return Box::pin(self.send_encoded_by_blocks(data)).await;
        }
        let (is_large, is_shared) = (data.len() >= COPY_BODY_BYTES, !data.is_unique());
        self.send_plain_data(data)?;
        if self.left_out.is_any() {
            return self.room_for_more_that_is_left_out().await;
        }
        match (is_large, is_shared) {
            (false, _) => self.session.room_for_more().await,
            (true, false) => self.session.room_for_more_that_is_large().await,
            (true, true) => self.session.room_for_more_that_is_shared().await,
        }
    }

    pub(crate) fn send_plain_data(&self, data: Bytes) -> Result<(), HttpError> {
        let copied = data.len() < COPY_BODY_BYTES;
        let frame = self.step(|protocol, out| {
            let frame = protocol.frame_data(data.len(), out)?;
            if let DataFrame::Write { suffix } = frame
                && copied
            {
                out.extend_from_slice(&data);
                out.extend_from_slice(suffix);
            }
            Ok(frame)
        })?;
        let DataFrame::Write { suffix } = frame else {
            // Empty, or left out: then it is counted as if it waited for a peer that takes nothing.
            if self.protocol.borrow().leaves_body_out() {
                self.left_out.count(data.len());
            }
            return Ok(());
        };
        self.tally.sent.set(self.tally.sent.get() + data.len() as u64);
        if !copied {
            self.session.stream.queue(data)?;
            self.session.stream.queue(Bytes::from_static(suffix))?;
        }
        Ok(())
    }

    /// Sends what is kept back, for who wants to see it now, and waits until the kernel has taken it.
    pub(crate) async fn flushed(&self) -> Result<(), HttpError> {
        #[cfg(feature = "gzip")]
        self.flush_encoder()?;
        self.session.flushed().await?;
        if self.left_out.is_any() { self.room_for_more_that_is_left_out().await } else { Ok(()) }
    }

    pub(crate) fn finish(&self, trailers: Option<&Headers>) -> Result<(), HttpError> {
        #[cfg(feature = "gzip")]
        if self.is_encoding() {
            self.finish_encoder()?;
        }
        self.step(|protocol, out| Ok(protocol.finish(trailers, out)?))
    }

    pub(crate) fn send_informational(&self, status: StatusCode, headers: &Headers) -> Result<(), HttpError> {
        self.step(|protocol, out| Ok(protocol.send_informational(status, headers, out)?))
    }

    /// Whether the connection can bring more requests though this one was refused: it had come whole, and nothing is wrong but what it
    /// says.
    pub(crate) fn goes_on_after(&self, error: &HttpError) -> bool {
        let is_about_meaning = match error {
            HttpError::Body(error) => error.is_about_meaning(),
            HttpError::UpgradeRequired(_) => true,
            _ => false,
        };
        is_about_meaning && !self.body_unread()
    }

    /// The response to this error. Who is refused for how the body is encoded is told how it may be (RFC 9110 §12.5.3).
    pub(crate) fn told_codings(&self, response: Response, error: &HttpError) -> Response {
        if !matches!(error, HttpError::Body(BodyError::Encoded)) {
            return response;
        }
        #[cfg(feature = "gzip")]
        let is_decoded = self.session.core.options.decompress_request;
        #[cfg(not(feature = "gzip"))]
        let is_decoded = false;
        let codings = if is_decoded { "gzip, deflate" } else { "identity" };
        response.clone().header("Accept-Encoding", codings).unwrap_or(response)
    }

    /// Answers what went wrong, and makes this the last answer unless the connection [goes on](Self::goes_on_after). `false` if part of
    /// another is out already.
    pub(crate) fn send_error(&self, error: &HttpError) -> Result<bool, HttpError> {
        if self.protocol.borrow().is_head_sent() {
            return Ok(false);
        }
        // What was wrong with the request comes first, also if the handler took no notice of it.
        let refused = self.protocol.borrow_mut().check_body_size().err();
        let remote = if let HttpError::Remote(error) = error { Some(*error) } else { refused };
        if let Some(error) = remote {
            let ambient = self.session.core.ambient.at(self.session.now());
            self.step(|protocol, out| Ok(protocol.send_error(error, &ambient, out)?))?;
            self.tally.status.set(Some(error.status()));
        } else {
            if !self.goes_on_after(error) {
                self.protocol.borrow_mut().close_after_response();
            }
            // What is the client's fault it may know; the rest is for the log.
            let status = error.status();
            let text = match error.is_remote() {
                true => format!("{error}\n"),
                false => format!("{}\n", status.canonical_reason().unwrap_or_default()),
            };
            let response = Response::text(text).status(status).fields_of(error);
            self.send_planned(&mut self.told_codings(response, error))?;
        }
        Ok(true)
    }

    /// One step of the protocol, straight into the output. It is sent when the connection's future is about to wait.
    fn step<T>(
        &self,
        step: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        self.session.stream.append_with(|out| step(&mut self.protocol.borrow_mut(), out))?
    }

    /// How long whoever reads the request's body has waited, for the peer or for memory.
    pub(crate) fn waited_for_body(&self) -> Duration {
        let now = self.session.now();
        let current = self.awaits_body.get().map(|since| now.saturating_duration_since(since));
        let BodyClock { waited, held_back, .. } = self.body_clock.get();
        waited + held_back + current.unwrap_or_default()
    }

    /// Whether there is something of the body that the handler has not read.
    pub(crate) fn has_more_body(&self) -> bool {
        if self.has_given_back() {
            return true;
        }
        #[cfg(feature = "gzip")]
        if self.has_more_to_decode() {
            return true;
        }
        self.body_unread()
    }

    /// How much of the body is still to come, if that is known.
    pub(crate) fn missing_body(&self) -> Option<usize> {
        #[cfg(feature = "gzip")]
        if self.is_decoding() {
            return None;
        }
        let missing = self.protocol.borrow().missing_body();
        (missing > 0).then(|| usize::try_from(missing).unwrap_or(usize::MAX))
    }

    /// Whether the request has a body that has not been read to its end.
    pub(crate) fn body_unread(&self) -> bool {
        !self.protocol.borrow().is_request_complete()
    }
}

/// Adds what a wait for the body took to its clock, also when the wait is given up.
struct BodyWait<'a> {
    active: &'a Active<'a>,
    began: Instant,
    hand: fn(&mut BodyClock) -> &mut Duration,
}

impl<'a> BodyWait<'a> {
    fn begin(active: &'a Active<'a>, hand: fn(&mut BodyClock) -> &mut Duration) -> BodyWait<'a> {
        let began = active.session.now();
        active.awaits_body.set(Some(began));
        BodyWait { active, began, hand }
    }
}

impl Drop for BodyWait<'_> {
    fn drop(&mut self) {
        let mut clock = self.active.body_clock.get();
        *(self.hand)(&mut clock) += self.active.session.now().saturating_duration_since(self.began);
        self.active.body_clock.set(clock);
        self.active.awaits_body.set(None);
    }
}

enum Piece {
    Whole(Bytes),
    Gathered,
    NeedMore,
    End,
}

enum Taken {
    Piece(Piece),
    Large { len: usize, behind: usize },
}

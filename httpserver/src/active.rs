//! One request under way: the protocol's state beside the session, and every step that needs both.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::error::HttpError;
use crate::headers::Headers;
use crate::http1::{BodyEvent, Connection, DataFrame, RemoteError, ResponseHead, ResponseLength};
use crate::response::Response;
use crate::session::{Arrival, Session};

/// Bodies below this size are copied behind their head, so that both leave in one piece.
const COPY_BODY_BYTES: usize = 16 * 1024;

/// Small pieces of a request body are put together up to this size before a handler sees them.
const GATHER_BYTES: usize = 16 * 1024;

pub(crate) struct Active<'s> {
    pub(crate) session: &'s Session,
    /// Borrowed for one step at a time; none of them runs anybody else's code.
    pub(crate) protocol: RefCell<Connection>,
    body_clock: Cell<BodyClock>,
    /// Since when the body is waited for, while it is.
    awaits_body: Cell<Option<Instant>>,
    /// Whether the handler speaks to the peer by itself now, and no longer HTTP.
    pub(crate) taken_over: Cell<bool>,
}

/// What the wait for a body has cost so far, and what has come of it.
#[derive(Clone, Copy, Default)]
struct BodyClock {
    waited: Duration,
    received: u64,
}

impl<'s> Active<'s> {
    pub(crate) fn new(session: &'s Session) -> Active<'s> {
        let mut protocol = Connection::after_empty_lines(session.empty_lines.take());
        if !session.core.options.keep_alive {
            protocol.close_after_response();
        }
        Active {
            session,
            protocol: RefCell::new(protocol),
            body_clock: Cell::default(),
            awaits_body: Cell::default(),
            taken_over: Cell::default(),
        }
    }

    /// Forgets the clock of the last body.
    pub(crate) fn begin(&self) {
        self.body_clock.set(BodyClock::default());
    }

    /// The next piece of the request body; `None` at its end. Sends the 100 that the peer waits for, the first time.
    pub(crate) async fn chunk(&self) -> Result<Option<Bytes>, HttpError> {
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
        let BodyClock { waited, received } = self.body_clock.get();
        let earned = Duration::from_secs(received / u64::from(options.minimum_body_rate.max(1)));
        let left = options.body_timeout.saturating_add(earned).saturating_sub(waited);
        let waiting = BodyWait { active: self, began: self.session.now() };
        self.awaits_body.set(Some(waiting.began));
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

    fn send_continue_if_wanted(&self) -> Result<(), HttpError> {
        if self.protocol.borrow().expects_continue() {
            self.step(|protocol, out| Ok(protocol.send_continue(out)?))?;
        }
        Ok(())
    }

    /// Sends a whole response whose body is in memory.
    pub(crate) fn send(&self, response: Response) -> Result<(), HttpError> {
        let Response { status, content_type, headers, body, file: _ } = response;
        let mut head =
            ResponseHead::new(status).headers(&headers).length(ResponseLength::Known(body.len() as u64));
        if let Some(content_type) = &content_type {
            head = head.content_type(content_type);
        }
        // A 304 tells the length of the body that it leaves out, as an answer to HEAD does (H1-37).
        let body = if status == StatusCode::NOT_MODIFIED { Bytes::new() } else { body };
        let copied = body.len() < COPY_BODY_BYTES;
        self.step(|protocol, out| {
            self.encode_head(protocol, &head, out)?;
            if copied {
                protocol.send_data(&body, out)?;
                protocol.finish(None, out)?;
            }
            Ok(())
        })?;
        if !copied {
            self.send_data(body)?;
            self.finish(None)?;
        }
        Ok(())
    }

    pub(crate) fn send_head(&self, head: &ResponseHead<'_>) -> Result<(), HttpError> {
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
        Ok(protocol.send_head(head, &ambient, out)?)
    }

    /// Sends a piece of the body. A large one is not copied.
    pub(crate) fn send_data(&self, data: Bytes) -> Result<(), HttpError> {
        if data.len() < COPY_BODY_BYTES {
            return self.step(|protocol, out| Ok(protocol.send_data(&data, out)?));
        }
        let frame = self.step(|protocol, out| Ok(protocol.frame_data(data.len(), out)?))?;
        if let DataFrame::Write { suffix } = frame {
            self.session.stream.queue(data)?;
            self.session.stream.queue(Bytes::from_static(suffix))?;
        }
        Ok(())
    }

    pub(crate) fn finish(&self, trailers: Option<&Headers>) -> Result<(), HttpError> {
        self.step(|protocol, out| Ok(protocol.finish(trailers, out)?))
    }

    pub(crate) fn send_informational(&self, status: StatusCode, headers: &Headers) -> Result<(), HttpError> {
        self.step(|protocol, out| Ok(protocol.send_informational(status, headers, out)?))
    }

    /// Answers what went wrong, and makes this the last answer. `false` if part of another is out already.
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
        } else {
            self.protocol.borrow_mut().close_after_response();
            // What is the client's fault it may know; the rest is for the log.
            let status = error.status();
            let text = match error.is_remote() {
                true => format!("{error}\n"),
                false => format!("{}\n", status.canonical_reason().unwrap_or_default()),
            };
            self.send(Response::text(text).status(status))?;
        }
        Ok(true)
    }

    /// One step of the protocol, straight into the output.
    fn step<T>(
        &self,
        step: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        self.session.stream.write_with(|out| step(&mut self.protocol.borrow_mut(), out))?
    }

    /// How long the peer has kept whoever reads the request's body waiting.
    pub(crate) fn waited_for_body(&self) -> Duration {
        let now = self.session.now();
        let current = self.awaits_body.get().map(|since| now.saturating_duration_since(since));
        self.body_clock.get().waited + current.unwrap_or_default()
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
}

impl Drop for BodyWait<'_> {
    fn drop(&mut self) {
        let mut clock = self.active.body_clock.get();
        clock.waited += self.active.session.now().saturating_duration_since(self.began);
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

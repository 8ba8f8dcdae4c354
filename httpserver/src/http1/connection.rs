//! Path 1, step 6 (ARCHITECTURE): one server-side connection; what comes in, and where the exchange stands. What goes out is
//! in `sending.rs`.

use std::ops::Range;

use http::{Method, StatusCode, Version};

use super::chunked::{Chunked, ChunkedStep};
use super::error::RemoteError;
use super::framing::BodyLength;
use super::head::{HeadReader, RequestHead};
use super::limits::Limits;
use super::response::Asked;
use super::scan::{Bounds, Scan};
use super::state::{Outcome, Receiving, Sending, outcome};
use super::trailers;
use crate::headers::Headers;

/// The server side of one HTTP/1.1 connection: bytes in, events out; events in, bytes out.
///
/// It holds no bytes. Whoever drives it keeps what was read and drops what was `consumed`; the rest is given again, with
/// more behind it. Bytes of the next request are left alone until [`start_next_request`](Self::start_next_request).
/// The picture of its states is in the [module](super).
///
/// A `RemoteError` is final: every further call to receive gives the same one.
#[derive(Debug)]
#[doc(alias = "HTTP1Connection")]
#[doc(alias = "HTTP1ServerConnection")]
pub struct Connection {
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    pub(super) asked: Asked,
    /// Of the current request.
    max_body_size: u64,
    trailers: Option<Box<Headers>>,
    /// The current response is the last: the peer, the application or the server wants it so.
    pub(super) closes: bool,
    pub(super) switches: bool,
    /// The server wants every response to be the last.
    pub(super) is_closing: bool,
}

/// What [`Connection::receive_head`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The head is not complete. Only empty lines were consumed; give the rest again when more has arrived.
    NeedMore {
        /// Bytes to drop.
        consumed: usize,
    },
    /// A request begins: the head was filled.
    Head {
        /// Bytes to drop.
        consumed: usize,
    },
    /// The exchange before is not over; nothing was looked at.
    Paused,
}

/// What [`Connection::receive_body`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// There is no data in what is left.
    NeedMore {
        /// Bytes to drop.
        consumed: usize,
    },
    /// A piece of the body, never empty. More may follow it in the same input.
    Data {
        /// Where the piece stands in the input.
        range: Range<usize>,
        /// Bytes to drop, the piece included.
        consumed: usize,
    },
    /// The request is complete; [`Connection::trailers`] may have fields. Given again if asked again.
    End {
        /// Bytes to drop.
        consumed: usize,
    },
}

impl Connection {
    /// A connection on which nothing has happened.
    pub const fn new() -> Self {
        Self {
            receiving: Receiving::Head(HeadReader::new()),
            sending: Sending::Idle,
            asked: Asked::NONE,
            max_body_size: 0,
            trailers: None,
            closes: false,
            switches: false,
            is_closing: false,
        }
    }

    /// A connection on which so many empty lines have come and nothing else: for a driver that keeps no more than
    /// [`empty_lines`](Self::empty_lines) of a connection that idles.
    #[must_use]
    pub fn after_empty_lines(lines: u8) -> Self {
        Self { receiving: Receiving::Head(HeadReader::after_empty_lines(lines)), ..Self::new() }
    }

    /// Empty lines that have come before the next request.
    pub fn empty_lines(&self) -> u8 {
        match &self.receiving {
            Receiving::Head(reader) => reader.empty_lines(),
            _ => 0,
        }
    }

    /// Looks for a request head at the start of `input`, which is all that was read and not consumed.
    ///
    /// A whole head costs one pass. One that arrives in pieces is looked at byte by byte as it comes, once, and parsed when it is whole,
    /// however many pieces there are; `head` is cleared meanwhile. A fault is refused when its byte is seen. The size of the body is not
    /// judged here, so that its limit can be changed: see [`check_body_size`](Self::check_body_size).
    ///
    /// # Errors
    /// What is wrong with the head. `head` then holds as much as was understood, for logs.
    #[doc(alias = "read_message")]
    pub fn receive_head(
        &mut self,
        input: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<Received, RemoteError> {
        let reader = match &mut self.receiving {
            Receiving::Head(reader) => reader,
            Receiving::Refused(error) => return Err(*error),
            _ => return Ok(Received::Paused),
        };
        match reader.read(input, limits, head) {
            Ok(step) if step.is_complete => {
                self.begin(head, limits);
                Ok(Received::Head { consumed: step.consumed })
            }
            Ok(step) => {
                self.asked.is_head = asks_for_head(&input[step.consumed..]);
                Ok(Received::NeedMore { consumed: step.consumed })
            }
            Err(error) => {
                self.asked.is_head = asks_for_head(input);
                Err(self.refuse(error))
            }
        }
    }

    fn begin(&mut self, head: &RequestHead, limits: &Limits) {
        let framing = head.framing();
        self.receiving = match framing.body {
            BodyLength::Empty => Receiving::Done,
            BodyLength::Known(bytes) => Receiving::Known(bytes),
            BodyLength::Chunked => Receiving::Chunked(Chunked::new()),
        };
        self.sending = Sending::Head;
        self.max_body_size = limits.body_bytes;
        let is_http_11 = head.version() == Version::HTTP_11;
        let is_head = *head.method() == Method::HEAD;
        let is_connect = *head.method() == Method::CONNECT;
        self.asked = Asked {
            is_http_11,
            is_head,
            is_connect,
            keep_alive: framing.keep_alive,
            expects_continue: framing.expects_continue,
            upgrade: framing.upgrade,
            is_plain: is_http_11 && !(is_head || is_connect || framing.expects_continue),
        };
        self.closes = false;
        self.switches = false;
    }

    /// Changes the limit on the body of the current request, in place of [`Limits::body_bytes`].
    pub fn set_max_body_size(&mut self, bytes: u64) {
        self.max_body_size = bytes;
    }

    /// The limit on the body of the current request.
    pub fn max_body_size(&self) -> u64 {
        self.max_body_size
    }

    /// Judges the announced size of the body. Ask once the limit for this request is settled and before anything of the body is
    /// waited for; [`receive_body`](Self::receive_body) asks again, and [`expects_continue`](Self::expects_continue) is false
    /// for a body that is too large, so forgetting it costs only time.
    ///
    /// # Errors
    /// [`RemoteError::BodyTooLarge`], or what was refused before.
    pub fn check_body_size(&mut self) -> Result<(), RemoteError> {
        match self.receiving {
            Receiving::Refused(error) => Err(error),
            _ if self.is_too_large() => Err(self.refuse(RemoteError::BodyTooLarge)),
            _ => Ok(()),
        }
    }

    fn is_too_large(&self) -> bool {
        // What is left of a body was within the limit when it began, unless the limit has been lowered since.
        matches!(self.receiving, Receiving::Known(bytes) if bytes > self.max_body_size)
    }

    /// Looks for data of the request's body at the start of `input`, which is all that was read and not consumed.
    ///
    /// Call it until it gives `NeedMore` or `End`. No byte is looked at twice, but for a trailer section, which is consumed when it
    /// is complete.
    ///
    /// # Errors
    /// A malformed chunk, a limit, or what was refused before. Data given out before it was good.
    #[doc(alias = "data_received")]
    pub fn receive_body(&mut self, input: &[u8], limits: &Limits) -> Result<BodyEvent, RemoteError> {
        self.check_body_size()?;
        let max_body_size = self.max_body_size;
        let event = match &mut self.receiving {
            Receiving::Known(remaining) => {
                let taken = (*remaining).min(input.len() as u64);
                *remaining -= taken;
                if *remaining == 0 {
                    self.receiving = Receiving::Done;
                }
                Ok(data(0..taken as usize))
            }
            Receiving::Chunked(chunked) => match chunked.advance(input, limits, max_body_size) {
                Ok(ChunkedStep::NeedMore) => Ok(BodyEvent::NeedMore { consumed: input.len() }),
                Ok(ChunkedStep::Data(range)) => Ok(data(range)),
                Ok(ChunkedStep::Trailers(consumed)) => {
                    self.receiving = Receiving::Trailers(Scan::trailers());
                    self.receive_trailers(input, consumed, limits)
                }
                Err(error) => Err(error),
            },
            Receiving::Trailers(_) => self.receive_trailers(input, 0, limits),
            Receiving::Refused(error) => Err(*error),
            Receiving::Head(_) | Receiving::Done => return Ok(BodyEvent::End { consumed: 0 }),
        };
        // A peer that has begun to send no longer waits.
        self.asked.expects_continue &= input.is_empty();
        event.map_err(|error| self.refuse(error))
    }

    fn receive_trailers(
        &mut self,
        input: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<BodyEvent, RemoteError> {
        let Receiving::Trailers(scan) = &mut self.receiving else {
            return Ok(BodyEvent::End { consumed: 0 });
        };
        let section = &input[start..];
        let Some(len) = scan.advance(section, &Bounds::trailers(limits))? else {
            return Ok(BodyEvent::NeedMore { consumed: start });
        };
        self.trailers = trailers::parse(&section[..len])?;
        self.receiving = Receiving::Done;
        Ok(BodyEvent::End { consumed: start + len })
    }

    /// The fields that followed a chunked body, once it has ended. They are not header fields and must not act as such (RFC 9110 §6.5).
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_deref()
    }

    /// Notes that the peer has ended its side; `unconsumed` is what was read and not consumed.
    ///
    /// # Errors
    /// [`RemoteError::Truncated`] within a request, or what was refused before. `Ok` means that no request was cut: between requests
    /// the connection can be closed quietly, else the response can still be sent.
    pub fn receive_eof(&mut self, unconsumed: &[u8]) -> Result<(), RemoteError> {
        self.is_closing = true;
        self.closes = true;
        match self.receiving {
            Receiving::Done => Ok(()),
            Receiving::Head(_) if unconsumed.is_empty() || unconsumed == b"\r" => Ok(()),
            Receiving::Refused(error) => Err(error),
            _ => Err(self.refuse(RemoteError::Truncated)),
        }
    }

    /// Whether the request is complete. Also true before the first one.
    pub fn is_request_complete(&self) -> bool {
        matches!(self.receiving, Receiving::Done) || self.sending == Sending::Idle
    }

    /// Whether the peer waits for [`send_continue`](Self::send_continue): it said so, nothing of its body has come, nothing
    /// has been answered, and the body is not too large.
    pub fn expects_continue(&self) -> bool {
        self.asked.expects_continue
            && self.sending == Sending::Head
            && !self.is_too_large()
            && !matches!(self.receiving, Receiving::Refused(_))
    }

    /// Whether a response with this status would end HTTP on the connection: 101 to a peer that offered to upgrade, 2xx to CONNECT.
    pub fn may_switch(&self, status: StatusCode) -> bool {
        let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS && self.asked.is_http_11;
        self.sending == Sending::Head && (is_upgrade || self.asked.is_connect && status.is_success())
    }

    /// Whether a response with this status would open a tunnel.
    pub(crate) fn opens_tunnel(&self, status: StatusCode) -> bool {
        self.asked.is_connect && self.may_switch(status)
    }

    /// Whether the head of the response is out, and its body is left out: it answers HEAD.
    pub(crate) fn leaves_body_out(&self) -> bool {
        self.sending == Sending::Omitted
    }

    /// How much is missing of a body whose length is known.
    pub(crate) fn missing_body(&self) -> u64 {
        match self.receiving {
            Receiving::Known(bytes) => bytes,
            _ => 0,
        }
    }

    /// Makes every response from now on the last one. Before its head is sent, the head says so.
    #[doc(alias = "no_keep_alive")]
    pub fn close_after_response(&mut self) {
        self.is_closing = true;
        self.closes = true;
    }

    /// Where the exchange stands.
    pub fn outcome(&self) -> Outcome {
        outcome(&self.receiving, self.sending, self.closes, self.switches)
    }

    /// Makes ready for the next request if the outcome is [`Outcome::KeepAlive`]; says what the outcome was.
    #[doc(alias = "start_serving")]
    pub fn start_next_request(&mut self) -> Outcome {
        let is_usual = matches!(self.receiving, Receiving::Done)
            && self.sending == Sending::Done
            && !(self.closes || self.switches);
        let outcome = if is_usual { Outcome::KeepAlive } else { self.outcome() };
        if outcome == Outcome::KeepAlive {
            self.receiving = Receiving::Head(HeadReader::new());
            self.sending = Sending::Idle;
            self.trailers = None;
        }
        outcome
    }

    pub(super) fn refuse(&mut self, error: RemoteError) -> RemoteError {
        self.receiving = Receiving::Refused(error);
        error
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether an unfinished or bad head is one of HEAD, which gets no body in a refusal either (RFC 9110 §9.3.2).
fn asks_for_head(input: &[u8]) -> bool {
    input.trim_ascii_start().starts_with(b"HEAD ")
}

fn data(range: Range<usize>) -> BodyEvent {
    match range.end {
        end if range.is_empty() => BodyEvent::NeedMore { consumed: end },
        end => BodyEvent::Data { range, consumed: end },
    }
}

//! A request and its response side by side: what streaming and classic handlers are given.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Deref;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tcpserver::ConnectionContext;

use crate::active::Active;
use crate::error::HttpError;
use crate::facts::RequestFacts;
use crate::gathering::Gathering;
use crate::headers::Headers;
use crate::http1::{LocalError, RawHead, RequestHead, ResponseHead};
use crate::options::HttpOptions;
use crate::request::Request;
use crate::response::Response;
use crate::saving::{self, Source};
use crate::whole::Whole;
use crate::writer::ResponseBuilder;

/// One request, and the response to it.
///
/// The request's head is there from the start, as [`RequestFacts`]. Its [`body`](Exchange::body) is read as it arrives; for a classic handler it
/// has been read already. The response begins with [`respond`](Exchange::respond), or is sent whole with
/// [`send`](Exchange::send), or is written in the classic way with [`write`](Exchange::write) and
/// [`finish`](Exchange::finish). All checks apply to all three: what leaves is well-formed, or nothing does.
#[doc(alias = "HTTPConnection")]
pub struct Exchange<'c> {
    active: &'c Active<'c>,
    facts: RequestFacts,
    classic: RefCell<ClassicResponse>,
}

/// What a classic handler has written so far.
enum ClassicResponse {
    Untouched,
    /// The pre-encoded head is not complete yet.
    Head(BytesMut),
    /// The head is known and not sent yet.
    Begun(Box<(StatusCode, Headers)>),
    Body,
    Finished,
    /// The first thing that went wrong; the rest is ignored.
    Failed(HttpError),
}

impl<'c> Exchange<'c> {
    /// Serves one request after the other: each [begins](Self::begin) when its head is in its [place](Self::head_place), and
    /// [ends](Self::end).
    pub(crate) fn new(active: &'c Active<'c>) -> Exchange<'c> {
        Exchange {
            active,
            facts: RequestFacts::new(active.session),
            classic: RefCell::new(ClassicResponse::Untouched),
        }
    }

    #[inline]
    pub(crate) fn head_place(&mut self) -> &mut Option<Box<RequestHead>> {
        self.facts.head_place()
    }

    pub(crate) fn begin(&mut self) {
        self.facts.begin(self.active.session.now());
    }

    /// Nothing of the request is left.
    pub(crate) fn end(&mut self) {
        self.facts.end();
        let classic = self.classic.get_mut();
        if !matches!(classic, ClassicResponse::Untouched) {
            *classic = ClassicResponse::Untouched;
        }
    }

    pub(crate) fn active(&self) -> &'c Active<'c> {
        self.active
    }

    /// The request body, to be read as it comes.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        Body { active: self.active }
    }

    /// Reads the whole body, within its limit, so that all that [`RequestFacts`] knows of bodies works in a handler that streams
    /// too. Read already, it is given again. What was taken with [`body`](Exchange::body) before is not in it.
    ///
    /// # Errors
    ///
    /// As for [`Body::chunk`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Body::bytes`].
    pub async fn read_body(&mut self) -> Result<&Bytes, HttpError> {
        if self.facts.read_body().is_err() {
            // Boxed: requests with a body are the rarer ones, and the usual one should be small.
            let body =
                if self.active.has_more_body() { Box::pin(self.body().kept()).await? } else { Bytes::new() };
            self.facts.set_body(body);
        }
        Ok(self.facts.whole_body())
    }

    /// Allows this request's body this many bytes instead of the server's `limits.body_bytes` (H1-18). To be called before
    /// the body is read; the next request has the server's limit again.
    pub fn set_max_body_size(&self, bytes: u64) {
        self.active.protocol.borrow_mut().set_max_body_size(bytes);
    }

    /// Waits until the client has gone: it has reset the connection, or the connection has failed. A client that has only ended its own side
    /// has not gone: it may still read. Without [`no_cancel_on_disconnect`](HttpOptions::no_cancel_on_disconnect) a handler is dropped then.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn closed(&self) {
        self.active.session.stream.closed().await;
    }

    /// The connection that the request came on: Tornado's `server_connection`.
    #[must_use]
    #[doc(alias = "server_connection")]
    pub fn connection(&self) -> &ConnectionContext {
        &self.active.session.context
    }

    /// Has `callback` called once if the connection is lost before the response is complete (H1-48): the client is gone, or takes
    /// nothing any more. It is called before the handler is dropped, if the handler waits then. A client that has only ended its
    /// side is not gone. Another call replaces the callback.
    #[doc(alias = "set_close_callback")]
    pub fn on_connection_close(&self, callback: impl FnOnce() + 'static) {
        self.active.on_close.set(Some(Box::new(callback)));
    }

    /// Begins a response.
    pub fn respond(&self, status: StatusCode) -> ResponseBuilder<'_> {
        ResponseBuilder::new(self.active, &self.facts, status)
    }

    /// Tells the peer something before the response, in the turn in which it is called: `103 Early Hints`, `102 Processing` (RFC
    /// 9110 §15.2). Any number may go before it. A peer that speaks HTTP/1.0 understands none, so nothing is sent to it. Some that speak
    /// 1.1 understand none either: behind nginx 1.22 with kept-alive connections to its servers the client waits for ever.
    ///
    /// `100 Continue` is sent by itself, when the body is asked for; `101` by
    /// [`ResponseBuilder::switch`](crate::ResponseBuilder::switch).
    ///
    /// # Errors
    ///
    /// When the status is none of 102 to 199, a field frames a body, the response has begun, or the peer is gone.
    pub fn inform(&self, status: StatusCode, headers: &Headers) -> Result<(), HttpError> {
        match self.active.send_informational(status, headers) {
            Err(HttpError::Local(LocalError::InformationalNotAllowed)) => Ok(()),
            sent => sent,
        }
    }

    /// Sends a whole response and waits until the connection has room for the next.
    ///
    /// # Errors
    ///
    /// When the response is not HTTP, a response was begun before, or the peer is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for memory, nothing was sent; dropped later, the response goes out all the same, but for a file, whose
    /// rest is missing, so that the connection ends.
    pub fn send(&self, response: Response) -> impl Future<Output = Result<(), HttpError>> {
        Whole::new(self, response)
    }

    /// Writes part of a response that the handler has encoded itself, head first: Tornado's oldest interface (H1-40).
    ///
    /// The head is parsed and checked when it is complete, and goes out like any other: Date, Server and Connection are
    /// added, and the body must have the length that the head says. What goes wrong is logged, and the peer gets a 500
    /// if the head was at fault, else a closed connection.
    ///
    /// Nothing waits here: what is written stays in memory until the peer takes it. For large or endless responses use
    /// [`respond`](Exchange::respond).
    pub fn write(&mut self, data: impl Into<Bytes>) {
        self.send_begun();
        let state = self.classic.get_mut();
        if let ClassicResponse::Untouched = state {
            *state = ClassicResponse::Head(BytesMut::new());
        }
        let result = match state {
            ClassicResponse::Untouched | ClassicResponse::Begun(_) => return, // neither is left
            ClassicResponse::Head(head) => {
                head.extend_from_slice(&data.into());
                write_raw_head(self.active, head)
            }
            ClassicResponse::Body => self.active.send_data(data.into()).map(|()| false),
            ClassicResponse::Finished => Err(LocalError::AlreadyFinished.into()),
            ClassicResponse::Failed(_) => return,
        };
        match result {
            Ok(true) => *state = ClassicResponse::Body,
            Ok(false) => {}
            Err(error) => *state = ClassicResponse::Failed(error),
        }
    }

    /// Begins a response that [`write`](Exchange::write) goes on with and [`finish`](Exchange::finish) ends: Tornado's `write_headers`
    /// (HU41). A Content-Length among the fields is that of the body; without one it is chunked, or ended by the end of the
    /// connection. What goes wrong is an error of the handler, as with `write`.
    ///
    /// While the request's body is still coming, the head is sent with the first piece of the response's.
    pub fn write_headers(&mut self, status: StatusCode, headers: &Headers) {
        let state = self.classic.get_mut();
        let is_blank = match state {
            ClassicResponse::Untouched => true,
            ClassicResponse::Head(head) => head.is_empty(),
            _ => false,
        };
        match state {
            _ if is_blank && !self.active.protocol.borrow().is_head_sent() => {
                *state = ClassicResponse::Begun(Box::new((status, headers.clone())));
            }
            ClassicResponse::Failed(_) => {}
            _ => *state = ClassicResponse::Failed(LocalError::HeadAlreadySent.into()),
        }
        if !self.active.body_unread() {
            self.send_begun();
        }
    }

    fn send_begun(&mut self) {
        let state = self.classic.get_mut();
        if let ClassicResponse::Begun(begun) = state {
            let (status, headers) = &**begun;
            *state = match self.active.send_head(&ResponseHead::new(*status).headers(headers)) {
                Ok(()) => ClassicResponse::Body,
                Err(error) => ClassicResponse::Failed(error),
            };
        }
    }

    /// Sends what [`write_headers`](Exchange::write_headers) and [`write`](Exchange::write) have written, and waits until the kernel has
    /// taken it (H1-39): so a slow client slows its handler down. In an answer to HEAD it may end the
    /// handler, as [`ResponseWriter::write`](crate::ResponseWriter::write) may.
    ///
    /// # Errors
    ///
    /// What went wrong with the writing so far; that the peer took nothing for `write_timeout`, or is gone.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: only the wait is given up.
    pub async fn flush(&mut self) -> Result<(), HttpError> {
        self.send_begun();
        if let ClassicResponse::Failed(error) = self.classic.get_mut() {
            return Err(error.clone());
        }
        self.active.flushed().await
    }

    /// Ends a response that was written with [`write`](Exchange::write).
    pub fn finish(&mut self) {
        self.send_begun();
        let state = self.classic.get_mut();
        let result = match state {
            ClassicResponse::Begun(_) => return, // it has just been sent
            ClassicResponse::Untouched | ClassicResponse::Head(_) => Err(HttpError::Unfinished),
            ClassicResponse::Body => self.active.finish(None),
            ClassicResponse::Finished => Err(LocalError::AlreadyFinished.into()),
            ClassicResponse::Failed(_) => return,
        };
        *state = match result {
            Ok(()) => ClassicResponse::Finished,
            Err(error) => ClassicResponse::Failed(error),
        };
    }

    /// What a classic handler has left behind when it returns.
    pub(crate) async fn end_of_classic(&mut self) -> Result<(), HttpError> {
        match self.classic.replace(ClassicResponse::Finished) {
            ClassicResponse::Finished => self.active.session.room_for_more().await,
            ClassicResponse::Failed(error) => Err(error),
            ClassicResponse::Untouched
            | ClassicResponse::Head(_)
            | ClassicResponse::Begun(_)
            | ClassicResponse::Body => Err(HttpError::Unfinished),
        }
    }

    /// What a handler has left behind that may have answered in one way or another.
    pub(crate) async fn end_of_writing(&mut self) -> Result<(), HttpError> {
        match self.classic.get_mut() {
            ClassicResponse::Untouched => self.active.session.room_for_more().await,
            ClassicResponse::Head(head) if head.is_empty() => self.active.session.room_for_more().await,
            _ => self.end_of_classic().await,
        }
    }

    /// Whether the response is complete, or has failed.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(*self.classic.borrow(), ClassicResponse::Failed(_))
            || self.active.protocol.borrow().is_response_complete()
    }

    pub(crate) fn is_taken_over(&self) -> bool {
        self.active.taken_over.get()
    }

    pub(crate) fn options(&self) -> &HttpOptions {
        &self.active.session.core.options
    }

    /// Moves the request out, which ends the use of this exchange as one.
    pub(crate) fn take_request(&mut self) -> Request {
        Request::new(self.facts.take())
    }
}

impl Deref for Exchange<'_> {
    type Target = RequestFacts;

    fn deref(&self) -> &RequestFacts {
        &self.facts
    }
}

/// Sends a pre-encoded head if it is complete. What follows it is body.
fn write_raw_head(active: &Active<'_>, head: &mut BytesMut) -> Result<bool, HttpError> {
    let Some(raw) = RawHead::parse(head, &active.session.core.options.limits)? else { return Ok(false) };
    let mut response = ResponseHead::new(raw.status).headers(&raw.headers);
    if let Some(reason) = raw.reason {
        response = response.reason(reason);
    }
    active.send_head(&response)?;
    let at = raw.len;
    // Nobody else holds the body then, so that it counts.
    let body = std::mem::take(head).split_off(at);
    active.send_data(body.freeze())?;
    Ok(true)
}

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exchange").field(&self.facts).finish()
    }
}

/// A request body on its way in.
pub struct Body<'e> {
    active: &'e Active<'e>,
}

impl Body<'_> {
    /// The next piece, never empty; `None` at the end. Nothing more is read from the peer before it is asked for, so a slow
    /// handler slows the peer down. If the peer waits for `100 Continue`, the first call sends it (RFC 9110 §10.1.1).
    ///
    /// # Errors
    ///
    /// [`HttpError::Remote`] when the body breaks the protocol, the limit, or the deadline; [`HttpError::Stream`] when the
    /// connection fails.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has taken nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.active.chunk().await
    }

    /// All that is left of the body, in one piece, within the limit on bodies. While it is gathered it is part of the loop's
    /// [`MemoryBudget`](iostream::MemoryBudget), and waits, if memory is scarce, until it can have all that it needs: its length, or a quarter
    /// of the budget where that is not known. While others wait, what a slow peer does not fill is had back, and waited for anew. Then it is the
    /// handler's.
    ///
    /// # Errors
    ///
    /// As for [`chunk`](Body::chunk), the limit on bodies being also what the budget could hold of one; [`HttpError::OverBudget`]. The next
    /// read begins with what has come.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it gives back what it has: the next read begins with that.
    pub async fn bytes(&mut self) -> Result<Bytes, HttpError> {
        Ok(Gathering::of_body(self.active).await?.into_bytes())
    }

    /// The same, and part of the budget as long as the request lasts.
    pub(crate) async fn kept(&mut self) -> Result<Bytes, HttpError> {
        Ok(Gathering::of_body(self.active).await?.into_kept_bytes())
    }

    /// The fields that followed a chunked body, once it has been read to its end. They are no header fields and must not act as such
    /// (RFC 9110 §6.5); those that would frame or route a message were refused.
    #[must_use]
    pub fn trailers(&self) -> Option<Headers> {
        self.active.protocol.borrow().trailers().cloned()
    }

    /// Writes what is left of the body into a new file, of which there may be so many bytes, and says how many there were. The
    /// file is written on the loop's executor; nothing more is read from the peer meanwhile. If anything fails, or this is
    /// dropped, the file is removed. It is not synced to the disk.
    ///
    /// The limit on bodies holds too: [`Exchange::set_max_body_size`] raises it.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`](crate::BodyError::TooLarge), [`HttpError::Io`] when the file is there already or cannot be
    /// written, and as for [`chunk`](Body::chunk).
    pub async fn save_to(&mut self, path: impl AsRef<Path>, limit: u64) -> Result<u64, HttpError> {
        saving::save(self, path.as_ref(), limit).await
    }
}

impl Source for Body<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.chunk().await
    }
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

//! A response that is sent bit by bit.

use bytes::Bytes;
use http::StatusCode;

use crate::active::Active;
use crate::error::HttpError;
use crate::facts::RequestFacts;
use crate::headers::{HeaderError, Headers};
use crate::http1::{RemoteError, ResponseHead, ResponseLength};

/// A response whose head is not sent yet. Made by [`Exchange::respond`](crate::Exchange::respond).
#[must_use = "a response that is not started or sent is none"]
pub struct ResponseBuilder<'e> {
    active: &'e Active<'e>,
    /// What is answered.
    facts: &'e RequestFacts,
    status: StatusCode,
    headers: Headers,
    length: ResponseLength,
    error: Option<HeaderError>,
}

impl<'e> ResponseBuilder<'e> {
    pub(crate) fn new(
        active: &'e Active<'e>,
        facts: &'e RequestFacts,
        status: StatusCode,
    ) -> ResponseBuilder<'e> {
        ResponseBuilder {
            active,
            facts,
            status,
            headers: Headers::new(),
            length: ResponseLength::Streamed,
            error: None,
        }
    }

    /// Adds a header. A name or value that cannot be sent makes [`start`](ResponseBuilder::start) fail.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> ResponseBuilder<'e> {
        if let Err(error) = self.headers.add(name, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Announces the length of the body, which must then be met. Without it the body is sent chunked, or, to an HTTP/1.0
    /// client, ended by the end of the connection.
    pub fn content_length(mut self, bytes: u64) -> ResponseBuilder<'e> {
        self.length = ResponseLength::Known(bytes);
        self
    }

    /// Begins the response. If the request has arrived whole, its head is sent now, to leave at the end of the turn; otherwise
    /// with the first piece of the body, so that a request that turns out bad, or a peer that waits for `100 Continue`, can still
    /// be answered as it should. [`ResponseWriter::flush`] sends it in any case.
    ///
    /// # Errors
    ///
    /// When a header cannot be sent, a response was begun before, or the peer is gone;
    /// [`TunnelNotSupported`](RemoteError::TunnelNotSupported) for a 2xx to CONNECT, which [`switch`](Self::switch) sends.
    pub async fn start(self) -> Result<ResponseWriter<'e>, HttpError> {
        if self.active.protocol.borrow().opens_tunnel(self.status) {
            return Err(RemoteError::TunnelNotSupported.into());
        }
        self.begin().await
    }

    /// The same, for a response that may end HTTP on the connection.
    pub(crate) async fn begin(self) -> Result<ResponseWriter<'e>, HttpError> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        let active = self.active;
        if active.body_unread() {
            return Ok(ResponseWriter { active, head: Some(Box::new(self)) });
        }
        self.send_head()?;
        Ok(ResponseWriter { active, head: None })
    }

    pub(crate) fn active(&self) -> &'e Active<'e> {
        self.active
    }

    pub(crate) fn facts(&self) -> &'e RequestFacts {
        self.facts
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &Headers {
        &self.headers
    }

    fn send_head(&self) -> Result<(), HttpError> {
        self.active.send_head(&ResponseHead::new(self.status).headers(&self.headers).length(self.length))
    }

    /// Sends the whole response with this body.
    ///
    /// # Errors
    ///
    /// As for [`start`](ResponseBuilder::start).
    ///
    /// # Cancel safety
    ///
    /// As for [`ResponseWriter::write`]; dropped while it waits, the response is not ended.
    pub async fn send(mut self, body: impl Into<Bytes>) -> Result<(), HttpError> {
        let body = body.into();
        self.active.announce_end_if_too_much_is_unread();
        self.length = ResponseLength::Known(body.len() as u64);
        let mut writer = self.start().await?;
        writer.send_head()?;
        // To HEAD that is all, and no reason to drop who has nothing more to write.
        if !writer.leaves_body_out() {
            writer.write(body).await?;
        }
        writer.finish().await
    }
}

impl std::fmt::Debug for ResponseBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBuilder").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A response under way. It must be [`finish`](ResponseWriter::finish)ed.
pub struct ResponseWriter<'e> {
    active: &'e Active<'e>,
    /// Not sent yet. Boxed: most responses have none here, and every handler that streams carries this.
    head: Option<Box<ResponseBuilder<'e>>>,
}

impl ResponseWriter<'_> {
    fn send_head(&mut self) -> Result<(), HttpError> {
        self.head.take().map_or(Ok(()), |head| head.send_head())
    }

    pub(crate) fn leaves_body_out(&self) -> bool {
        self.active.protocol.borrow().leaves_body_out()
    }

    /// Sends what there is, the head included, and waits until the kernel has taken it: for events and other answers whose
    /// beginning matters before their end.
    ///
    /// # Errors
    ///
    /// As for [`write`](ResponseWriter::write).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: only the wait is given up.
    pub async fn flush(&mut self) -> Result<(), HttpError> {
        self.send_head()?;
        self.active.flushed().await
    }

    /// Sends a piece of the body, gathering pieces up to `max_buffered_response` and then waiting for the peer to take some. An
    /// empty piece sends nothing (H1-38).
    ///
    /// To a HEAD request nothing of the body is sent. A handler that has made `max_buffered_response` of it is dropped here: the response
    /// is complete with its head, and nobody would ever hold up one that streams without an end. With
    /// [`no_cancel_on_disconnect`](crate::HttpOptions::no_cancel_on_disconnect) it goes on, and each time that it has made so much again
    /// this fails if the peer has ended its side.
    ///
    /// # Errors
    ///
    /// When the body becomes longer than announced (H1-36), the peer takes nothing for `write_timeout`, or it is gone.
    ///
    /// # Cancel safety
    ///
    /// The piece is queued by the first poll; dropped after that, only the wait is given up.
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<(), HttpError> {
        self.send_head()?;
        self.active.write_data(data.into()).await
    }

    /// Ends the response.
    ///
    /// # Errors
    ///
    /// When the body is shorter than announced (H1-36), or the peer is gone.
    ///
    /// # Cancel safety
    ///
    /// The first poll ends the response; dropped after that, only the wait for the peer is given up.
    pub async fn finish(mut self) -> Result<(), HttpError> {
        self.send_head()?;
        self.active.finish(None)?;
        self.active.session.room_for_more().await
    }

    /// Ends the response with these fields behind its body (RFC 9112 §7.1.2). Left out where the peer cannot get them: in an answer
    /// to HTTP/1.0, and to HEAD.
    ///
    /// # Errors
    ///
    /// As for [`finish`](ResponseWriter::finish); also after a body of announced length, and for a field that would frame or route a
    /// message (RFC 9110 §6.5.1).
    ///
    /// # Cancel safety
    ///
    /// As for [`finish`](ResponseWriter::finish).
    pub async fn finish_with(mut self, trailers: &Headers) -> Result<(), HttpError> {
        self.send_head()?;
        self.active.finish(Some(trailers))?;
        self.active.session.room_for_more().await
    }
}

impl std::fmt::Debug for ResponseWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseWriter").finish_non_exhaustive()
    }
}

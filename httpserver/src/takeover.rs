//! A connection that stops speaking HTTP: upgraded, tunnelled, or taken over as it is.

use http::{StatusCode, Version};
use iostream::IoStream;

use crate::active::Active;
use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::facts::RequestFacts;
use crate::headers::Headers;
use crate::http1::LocalError;
use crate::http1::grammar::list;
use crate::writer::ResponseBuilder;

impl Exchange<'_> {
    /// Takes the connection over without an answer: what the peer has sent behind this request, and all that it sends from now
    /// on, is read from the stream that this gives (H1-47). Whatever is to be said is written to it by hand. To answer with
    /// `101 Switching Protocols` or to a CONNECT, use [`ResponseBuilder::switch`].
    ///
    /// The server's deadlines no longer apply, its limits on bytes in memory do. The connection lasts as long as the handler:
    /// when that returns, what was written is sent and the stream is closed, whoever else holds a clone of it. Responses to
    /// earlier requests of the connection go out first.
    ///
    /// # Errors
    ///
    /// [`HttpError::Local`] if a response has begun. What is left of the request's body is dropped first, and may fail as in
    /// [`Body::chunk`](crate::Body::chunk).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for the rest of the body, nothing has happened but that some of it was dropped.
    pub async fn detach(&mut self) -> Result<IoStream, HttpError> {
        let active = self.active();
        if active.protocol.borrow().is_head_sent() {
            return Err(LocalError::HeadAlreadySent.into());
        }
        take_over(active).await
    }
}

impl ResponseBuilder<'_> {
    /// Sends this response, which must be a 101 to a request that offered an upgrade (RFC 9110 §7.8) or a 2xx to CONNECT (RFC 9110
    /// §9.3.6), and takes the connection over: see [`Exchange::detach`].
    ///
    /// ```
    /// use http::StatusCode;
    /// use httpserver::{Exchange, HttpError};
    ///
    /// /// Speaks a protocol that gives every line back.
    /// async fn lines(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
    ///     let response = exchange.respond(StatusCode::SWITCHING_PROTOCOLS).header("Upgrade", "lines");
    ///     let stream = response.switch().await?;
    ///     loop {
    ///         let line = stream.read_until_max(b"\n", 1024).await?;
    ///         stream.write(line).await?;
    ///     }
    /// }
    /// # httpserver::HttpServer::new(lines);
    /// ```
    ///
    /// # Errors
    ///
    /// [`HttpError::UpgradeRequired`] where the request did not offer what the response's Upgrade field names: a handler that returns
    /// it answers 426, with that field; one that has something else to say to such a client does so, for nothing was sent.
    /// [`LocalError::UpgradeNotOffered`] for a 101 without an Upgrade field, [`LocalError::InvalidStatus`] for a status that does not
    /// switch; nothing was sent then either. Otherwise as for [`start`](ResponseBuilder::start) and [`Exchange::detach`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for the rest of the body, nothing was sent.
    pub async fn switch(self) -> Result<IoStream, HttpError> {
        let active = self.active();
        if self.status() == StatusCode::SWITCHING_PROTOCOLS {
            check_offer(self.facts(), self.headers())?;
        }
        if !active.protocol.borrow().may_switch(self.status()) {
            return Err(LocalError::InvalidStatus.into());
        }
        // Before the head: the peer's body may turn out bad, and what follows it is the other protocol.
        drop_body(active).await?;
        self.begin().await?.finish().await?;
        take_over(active).await
    }
}

/// Whether the client has offered every protocol that it is to be switched to (RFC 9110 §7.8): names are compared without regard to
/// case, and an HTTP/1.0 client offers none.
fn check_offer(request: &RequestFacts, response: &Headers) -> Result<(), HttpError> {
    fn elements<'h>(headers: &'h Headers, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
        headers.get_list(name).flat_map(list).filter(|element| !element.is_empty())
    }
    let headers = request.headers();
    let may_offer = request.version() == Version::HTTP_11
        && elements(headers, "Connection").any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let is_offered =
        |name: &[u8]| may_offer && elements(headers, "Upgrade").any(|offer| offer.eq_ignore_ascii_case(name));
    if elements(response, "Upgrade").all(is_offered) {
        return Ok(());
    }
    let names: Vec<_> = elements(response, "Upgrade").map(String::from_utf8_lossy).collect();
    Err(HttpError::UpgradeRequired(names.join(", ").into()))
}

async fn take_over(active: &Active<'_>) -> Result<IoStream, HttpError> {
    drop_body(active).await?;
    active.taken_over.set(true);
    active.session.context.keep_place(); // its peer may only listen
    Ok(active.session.stream.clone())
}

async fn drop_body(active: &Active<'_>) -> Result<(), HttpError> {
    while active.body_unread() && active.encoded_chunk().await?.is_some() {}
    Ok(())
}

//! A multipart body as it arrives: the parser of [`multipart`](crate::multipart) over the body of an exchange.

use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};
use iostream::HeldBytes;

use crate::active::Active;
use crate::error::HttpError;
use crate::exchange::{Body, Exchange};
use crate::form::{BodyError, check_encoding, sole_content_type};
use crate::gathering::Gathering;
use crate::multipart::{Event, MultipartError, Parser, PartHead};
use crate::saving::{self, Source};

impl Exchange<'_> {
    /// The parts of a `multipart/form-data` body, to be read as they come, within
    /// [`HttpOptions::form`](crate::HttpOptions::form). For bodies that are not to be in memory as a whole; else see
    /// [`RequestFacts::form`](crate::RequestFacts::form).
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the body is of another type, or of two, or encoded.
    pub fn multipart(&self) -> Result<Multipart<'_>, BodyError> {
        check_encoding(self.headers())?;
        let parser = Parser::new(sole_content_type(self.headers())?, &self.options().form.multipart)?;
        Ok(Multipart {
            active: self.active(),
            body: self.body(),
            parser,
            buffered: BytesMut::new(),
            arrived: Bytes::new(),
            is_within_part: false,
            held: HeldBytes::new(),
        })
    }
}

/// The parts of a multipart body. Made by [`Exchange::multipart`].
///
/// ```
/// use httpserver::{Exchange, HttpError, HttpServer, Response};
///
/// async fn sizes(exchange: &mut Exchange<'_>) -> Result<(), HttpError> {
///     let mut text = String::new();
///     let mut parts = exchange.multipart()?;
///     while let Some(mut part) = parts.next_part().await? {
///         let mut bytes = 0;
///         while let Some(chunk) = part.chunk().await? {
///             bytes += chunk.len();
///         }
///         text += &format!("{}: {bytes} bytes\n", part.head().name());
///     }
///     exchange.send(Response::text(text)).await
/// }
///
/// HttpServer::new(sizes);
/// ```
pub struct Multipart<'e> {
    active: &'e Active<'e>,
    body: Body<'e>,
    parser: Parser,
    /// What has arrived and was not consumed: a piece of the body as it came ...
    arrived: Bytes,
    /// ... or, if the parser could not do with that, it and what was left of the piece before. One of the two is empty.
    buffered: BytesMut,
    is_within_part: bool,
    held: HeldBytes,
}

/// A part of a multipart body, on its way in.
#[derive(Debug)]
pub struct Part<'m, 'e> {
    head: PartHead,
    multipart: &'m mut Multipart<'e>,
}

impl<'e> Multipart<'e> {
    /// The next part; `None` when there are no more and the body has been read to its end. What is unread of the part before is
    /// read and dropped.
    ///
    /// # Errors
    ///
    /// [`HttpError::Body`] when the body is malformed or beyond a limit, and as for [`Body::chunk`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has lost nothing but what it was to drop.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_, 'e>>, HttpError> {
        while self.data().await?.is_some() {}
        loop {
            match self.advance()? {
                Event::Part { consumed, head } => {
                    self.consume(consumed);
                    self.is_within_part = true;
                    return Ok(Some(Part { head: *head, multipart: self }));
                }
                Event::NeedMore { consumed } => self.more(consumed).await?,
                Event::Data { consumed, .. } | Event::PartEnd { consumed } => self.consume(consumed),
                Event::End => {
                    // So that the connection can be kept.
                    while self.body.chunk().await?.is_some() {}
                    return Ok(None);
                }
            }
        }
    }

    /// The next piece of the part that was begun; `None` if there is none, or no more of it.
    async fn data(&mut self) -> Result<Option<Bytes>, HttpError> {
        while self.is_within_part {
            match self.advance()? {
                Event::Data { range, consumed } => {
                    self.consume(range.start);
                    return Ok(Some(self.take(consumed - range.start)));
                }
                Event::PartEnd { consumed } => {
                    self.consume(consumed);
                    self.is_within_part = false;
                }
                Event::NeedMore { consumed } => self.more(consumed).await?,
                Event::Part { .. } | Event::End => unreachable!("a part ends before the next begins"),
            }
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<Event, HttpError> {
        let input = if self.buffered.is_empty() { &self.arrived[..] } else { &self.buffered[..] };
        Ok(self.parser.advance(input).map_err(BodyError::from)?)
    }

    fn consume(&mut self, bytes: usize) {
        if self.buffered.is_empty() { self.arrived.advance(bytes) } else { self.buffered.advance(bytes) }
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        if self.buffered.is_empty() {
            self.arrived.split_to(bytes)
        } else {
            self.buffered.split_to(bytes).freeze()
        }
    }

    /// Waits for more of the body. What was left of it stays before that: less than a part's head may have.
    async fn more(&mut self, consumed: usize) -> Result<(), HttpError> {
        self.consume(consumed);
        let Some(chunk) = self.body.chunk().await? else {
            return Err(BodyError::from(MultipartError::Truncated).into());
        };
        if self.buffered.is_empty() && self.arrived.is_empty() {
            self.arrived = chunk;
        } else {
            self.buffered.extend_from_slice(&std::mem::take(&mut self.arrived));
            self.buffered.extend_from_slice(&chunk);
        }
        self.held.set(self.buffered.capacity() + self.arrived.len());
        Ok(())
    }
}

impl Part<'_, '_> {
    /// What the part says of itself.
    #[must_use]
    pub fn head(&self) -> &PartHead {
        &self.head
    }

    /// The next piece of the part, never empty; `None` at its end.
    ///
    /// # Errors
    ///
    /// As for [`Multipart::next_part`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has taken nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.multipart.data().await
    }

    /// All that is left of the part, of which there may be so many bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`], and as for [`chunk`](Self::chunk).
    ///
    /// # Cancel safety
    ///
    /// None: dropped while it waits, it loses what it has of the part. Read it with [`chunk`](Self::chunk) where that matters.
    pub async fn bytes(&mut self, limit: u64) -> Result<Bytes, HttpError> {
        let mut whole = Gathering::of_part(self.multipart.active, limit);
        while let Some(chunk) = whole.read(async || self.chunk().await).await? {
            if (whole.len() + chunk.len()) as u64 > limit {
                return Err(BodyError::TooLarge { limit }.into());
            }
            whole.add(chunk).await?;
            whole.make_room().await?;
        }
        Ok(whole.into_bytes())
    }

    /// All that is left of the part as text, of which there may be so many bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError::NotUtf8`], and as for [`bytes`](Self::bytes).
    ///
    /// # Cancel safety
    ///
    /// As for [`bytes`](Self::bytes).
    pub async fn text(&mut self, limit: u64) -> Result<String, HttpError> {
        let bytes = self.bytes(limit).await?;
        Ok(String::from_utf8(bytes.into()).map_err(|_| BodyError::NotUtf8)?)
    }

    /// Writes what is left of the part into a new file: see [`Body::save_to`].
    ///
    /// # Errors
    ///
    /// As for [`Body::save_to`].
    pub async fn save_to(&mut self, path: impl AsRef<Path>, limit: u64) -> Result<u64, HttpError> {
        saving::save(self, path.as_ref(), limit).await
    }
}

impl Source for Part<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.chunk().await
    }
}

impl std::fmt::Debug for Multipart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multipart").field("parser", &self.parser).finish_non_exhaustive()
    }
}

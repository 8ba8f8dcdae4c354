//! Content-Encoding (RFC 9110 §8.4) both ways, feature `gzip`: request bodies are decoded as they come, responses are encoded where
//! their clients accept it. The state of one request, and every step of it that also needs the connection, is here.

mod decoder;
mod encoder;
mod negotiation;

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http::{Method, StatusCode};
use iostream::{HeldBytes, MemoryBudget};

use crate::active::Active;
use crate::error::HttpError;
use crate::exchange::Exchange;
use crate::headers::Headers;
use crate::http1::{BodyLength, LocalError, RequestHead, ResponseHead, ResponseLength};
use crate::options::HttpOptions;
use crate::response::Response;
use decoder::{DECODER_BYTES, Decoder, Step};
use encoder::{ENCODER_BYTES, Encoder};
use negotiation::{Accepted, Verdict, is_compressible};

/// What is encoded at once before others get their turn; a body that is no larger gets a Content-Length.
const BLOCK_BYTES: usize = 64 * 1024;

/// How responses are compressed: [`HttpOptions::compress_response`](crate::HttpOptions::compress_response).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// 1 is the fastest, 9 the smallest. 6 by default, as in Tornado.
    pub level: u32,
    /// Bodies of fewer bytes are left as they are: they would hardly become smaller. 1024 by default, as in Tornado.
    pub minimum_bytes: u64,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression { level: 6, minimum_bytes: 1024 }
    }
}

impl Compression {
    /// The defaults.
    #[must_use]
    pub fn new() -> Compression {
        Compression::default()
    }

    /// Sets [`level`](Compression::level); what is beyond 1 to 9 is taken for the nearest.
    #[must_use]
    pub fn level(mut self, level: u32) -> Compression {
        self.level = level.clamp(1, 9);
        self
    }

    /// Sets [`minimum_bytes`](Compression::minimum_bytes).
    #[must_use]
    pub fn minimum_bytes(mut self, bytes: u64) -> Compression {
        self.minimum_bytes = bytes;
        self
    }
}

/// What the codings of one request need. Empty where neither way is asked for.
#[derive(Default)]
pub(crate) struct Codings {
    decoder: RefCell<Option<Box<Decoder>>>,
    accepted: RefCell<Option<Box<Accepted>>>,
    encoder: RefCell<Option<Box<Encoder>>>,
    /// Decoded pieces that were given out since anybody else had a turn.
    pieces: Cell<u32>,
    /// Bytes that were encoded since then.
    encoded: Cell<usize>,
}

impl Active<'_> {
    /// Gets ready for a request, whose fields then say what its handler will see of its body (H1-53).
    pub(crate) fn begin_codings(&self, head: &mut RequestHead) {
        let options = &self.session.core.options;
        let Codings { decoder, accepted, encoder, .. } = &self.codings;
        encoder.take();
        accepted.replace(options.compress_response.map(|_| Box::new(Accepted::by(head))));
        let has_body = head.framing().body != BodyLength::Empty;
        let decodes = options.decompress_request && has_body;
        decoder.replace(decodes.then(|| Decoder::of(head, options.max_inflation)).flatten().map(Box::new));
    }

    /// Whether there is memory for the decoder of a request with this head, if it is to have one.
    #[inline]
    pub(crate) fn has_memory_to_decode(&self, head: &RequestHead) -> bool {
        !self.session.core.options.decompress_request
            || MemoryBudget::left() >= DECODER_BYTES
            || head.framing().body == BodyLength::Empty
            || head.headers().get("content-encoding").is_none()
    }

    pub(crate) fn is_decoding(&self) -> bool {
        self.codings.decoder.borrow().is_some()
    }

    pub(crate) fn has_more_to_decode(&self) -> bool {
        self.codings.decoder.borrow().as_ref().is_some_and(|decoder| decoder.has_more())
    }

    /// The next decoded piece of the request's body; `None` at its end.
    pub(crate) async fn decoded_chunk(&self) -> Result<Option<Bytes>, HttpError> {
        /// A small request can become much work.
        const PIECES_PER_TURN: u32 = 4;
        loop {
            match self.decode()? {
                Step::Piece(piece) => {
                    if self.codings.pieces.replace(self.codings.pieces.get() + 1) >= PIECES_PER_TURN {
                        self.codings.pieces.set(0);
                        // Nothing is lost if this is given up: the piece is handed back first.
                        self.with_decoder(|decoder| decoder.hand_back(piece));
                        ioloop::yield_now().await;
                        continue;
                    }
                    return Ok(Some(piece));
                }
                Step::NeedMore => {
                    let more = self.encoded_chunk().await?;
                    self.with_decoder(|decoder| decoder.feed(more));
                }
                Step::End => return Ok(None),
            }
        }
    }

    fn decode(&self) -> Result<Step, HttpError> {
        let limit = self.protocol.borrow().max_body_size();
        self.codings.decoder.borrow_mut().as_mut().map_or(Ok(Step::End), |decoder| decoder.step(limit))
    }

    fn with_decoder(&self, work: impl FnOnce(&mut Decoder)) {
        if let Some(decoder) = &mut *self.codings.decoder.borrow_mut() {
            work(decoder);
        }
    }

    /// What is to become of a response with this head; `None` where nothing is encoded on this server.
    fn verdict(&self, head: &ResponseHead<'_>) -> Option<Verdict> {
        let accepted = self.codings.accepted.borrow();
        let compression = self.session.core.options.compress_response?;
        // Where memory is scarce a body goes as it is: that is what an encoder takes most of.
        let may_encode = self.session.stream.has_memory(ENCODER_BYTES);
        accepted.as_ref()?.judge(head, &compression, may_encode)
    }

    /// Sends a head, and has the body that follows encoded if that is wanted.
    pub(crate) fn send_negotiated_head(&self, head: &ResponseHead<'_>) -> Result<(), HttpError> {
        match self.verdict(head) {
            None => self.send_plain_head(head),
            Some(Verdict::Plain(headers)) => self.send_plain_head(&head.headers(&headers)),
            Some(Verdict::Encoded { headers, length }) => {
                let compression = self.session.core.options.compress_response.unwrap_or_default();
                self.send_plain_head(&head.headers(&headers).length(ResponseLength::Streamed))?;
                if !self.answers_head_request() {
                    self.codings.encoder.replace(Some(Box::new(Encoder::new(&compression, length))));
                }
                Ok(())
            }
        }
    }

    fn answers_head_request(&self) -> bool {
        self.codings.accepted.borrow().as_ref().is_some_and(|accepted| accepted.is_head)
    }

    pub(crate) fn is_encoding(&self) -> bool {
        self.codings.encoder.borrow().is_some()
    }

    /// Encodes a piece of the body, and sends what has become of it so far.
    pub(crate) fn send_encoded(&self, data: &[u8]) -> Result<(), HttpError> {
        self.encode(|encoder| encoder.write(data))
    }

    /// Sends all that was given to the encoder, so that the client can decode it.
    pub(crate) fn flush_encoder(&self) -> Result<(), HttpError> {
        if self.is_encoding() { self.encode(Encoder::flush) } else { Ok(()) }
    }

    pub(crate) fn finish_encoder(&self) -> Result<(), HttpError> {
        self.encode(Encoder::finish)?;
        self.codings.encoder.take();
        Ok(())
    }

    fn encode(
        &self,
        work: impl FnOnce(&mut Encoder) -> Result<Vec<u8>, LocalError>,
    ) -> Result<(), HttpError> {
        let encoded = self.codings.encoder.borrow_mut().as_deref_mut().map(work);
        match encoded.unwrap_or(Ok(Vec::new())) {
            Ok(encoded) => self.send_plain_data(encoded.into()),
            Err(error) => {
                self.codings.encoder.take();
                self.protocol.borrow_mut().abort();
                Err(error.into())
            }
        }
    }

    /// Sends a piece of the body, whatever its size, and lets others have their turn in between. All of it is held meanwhile.
    pub(crate) async fn send_encoded_by_blocks(&self, mut data: Bytes) -> Result<(), HttpError> {
        let mut held = HeldBytes::new();
        held.set(if data.is_unique() { data.len() } else { 0 });
        while !data.is_empty() {
            let block = data.split_to(data.len().min(BLOCK_BYTES));
            self.send_encoded(&block)?;
            self.session.room_for_more().await?;
            self.give_way_behind(block.len()).await;
        }
        Ok(())
    }

    /// Lets others have their turn where a block has been encoded, in whatever pieces: little may come of it, so that the peer holds
    /// nobody up.
    async fn give_way_behind(&self, bytes: usize) {
        /// What a piece costs at least.
        const PIECE_BYTES: usize = 64;
        let encoded = self.codings.encoded.get() + bytes.max(PIECE_BYTES);
        let is_block = encoded >= BLOCK_BYTES;
        self.codings.encoded.set(if is_block { 0 } else { encoded });
        if is_block {
            ioloop::yield_now().await;
        }
    }
}

impl Exchange<'_> {
    /// Encodes what is to be encoded of a response in memory. `None` once it has been sent.
    pub(crate) async fn encode_response(
        &self,
        mut response: Response,
    ) -> Result<Option<Response>, HttpError> {
        let active = self.active();
        let length = ResponseLength::Known(response.body.len() as u64);
        let mut head = ResponseHead::new(response.status).headers(&response.headers).length(length);
        if let Some(content_type) = &response.content_type {
            head = head.content_type(content_type);
        }
        let headers = match active.verdict(&head) {
            None => return Ok(Some(response)),
            Some(Verdict::Plain(headers)) => headers,
            Some(Verdict::Encoded { headers, .. }) => {
                if active.answers_head_request() || response.body.len() > BLOCK_BYTES {
                    active.send_negotiated_head(&head)?;
                    if !active.answers_head_request() {
                        active.send_encoded_by_blocks(response.body).await?;
                    }
                    active.finish(None)?;
                    active.session.room_for_more().await?;
                    return Ok(None);
                }
                let compression = active.session.core.options.compress_response.unwrap_or_default();
                active.give_way_behind(response.body.len()).await;
                response.body = encoder::encode_whole(&compression, &response.body)?.into();
                headers
            }
        };
        response.headers = headers;
        Ok(Some(response))
    }
}

/// Whether a whole body of this type and length may be encoded for one client and not for another. Where it may, Vary says so in answers with
/// a part of it too, and in those that it has not changed (RFC 9110 §15.3.7, §15.4.5).
pub(crate) fn varies(options: &HttpOptions, content_type: &str, length: u64) -> bool {
    let compression = options.compress_response;
    compression.is_some_and(|it| length >= it.minimum_bytes) && is_compressible(content_type.as_bytes())
}

/// Whether a status may come with a body of its own that encoding changes.
fn has_encodable_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
}

fn is_head(method: &Method) -> bool {
    *method == Method::HEAD
}

/// A copy with another value for one field.
fn replaced(headers: &Headers, name: &str, value: &[u8]) -> Headers {
    let mut headers = headers.clone();
    // A value that was there, and `W/` before it: it can be stored.
    let _stored = headers.insert(name, value);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the documentation says that the state of a coding takes.
    #[test]
    fn an_encoder_takes_350_kib_at_most_and_a_decoder_112() {
        let text = "All work and no play makes Jack a dull boy.\n".repeat(BLOCK_BYTES / 44);
        let mut encoded = Vec::new();
        let encodes = allocation_counter::measure(|| {
            let mut encoder = Encoder::new(&Compression::default(), None);
            encoded = encoder.write(text.as_bytes()).unwrap();
            encoded.extend(encoder.finish().unwrap());
        });
        let mut head = RequestHead::new();
        head.headers_mut().add("Content-Encoding", "gzip").unwrap();
        let decodes = allocation_counter::measure(|| {
            let mut decoder = Decoder::of(&mut head, 200).unwrap();
            decoder.feed(Some(encoded.into()));
            let Ok(Step::Piece(piece)) = decoder.step(u64::MAX) else { panic!("no piece") };
            assert_eq!(piece, text); // of which it holds no copy
        });
        let decodes = decodes.bytes_max - text.len() as u64;
        println!("{} and {decodes} bytes", encodes.bytes_max);
        assert!(encodes.bytes_max <= 350 * 1024 && decodes <= 112 * 1024);
    }
}

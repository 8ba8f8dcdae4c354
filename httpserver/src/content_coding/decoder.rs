//! A request body decoded piece by piece (H1-53 to H1-56): gzip with any number of members, zlib for `deflate`.

use std::io::{self, BufRead, ErrorKind, Read};

use bytes::{Buf, Bytes};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use iostream::HeldBytes;

use crate::error::HttpError;
use crate::form::BodyError;
use crate::http1::{RemoteError, RequestHead};

/// The largest piece: Tornado's `chunk_size`.
const PIECE_BYTES: usize = 64 * 1024;

/// Up to here a body may grow as it likes: a bomb of that size is none.
const HARMLESS_BYTES: u64 = 1024 * 1024;

/// What a decoder takes for as long as the request: a piece, and what deflate looks back on.
pub(super) const DECODER_BYTES: usize = 112 * 1024;

/// Decodes one body.
pub(crate) struct Decoder {
    format: Format,
    /// Where pieces are made.
    block: Box<[u8]>,
    /// A piece that was given out and came back.
    returned: Option<Bytes>,
    decoded: u64,
    max_inflation: u64,
    is_over: bool,
    /// What was wrong with the body stays so: what came before it in a step is lost.
    failed: Option<HttpError>,
    _held: HeldBytes,
}

/// What a step has come to.
pub(crate) enum Step {
    /// Never empty.
    Piece(Bytes),
    NeedMore,
    End,
}

enum Format {
    Gzip(MultiGzDecoder<Input>),
    Zlib(ZlibDecoder<Input>),
}

/// What has arrived and is not decoded.
#[derive(Default)]
struct Input {
    bytes: Bytes,
    taken: u64,
    is_last: bool,
}

impl Decoder {
    /// The decoder of a request with one coding that is known. Its head then says, in X-Consumed-Content-Encoding, that it was
    /// undone, and no longer how long the encoded body is.
    pub(crate) fn of(head: &mut RequestHead, max_inflation: u32) -> Option<Decoder> {
        let headers = head.headers_mut();
        let coding = headers.joined("content-encoding")?.to_ascii_lowercase(); // a list is none that is known
        let format = match &*coding {
            b"gzip" | b"x-gzip" => Format::Gzip(MultiGzDecoder::new(Input::default())),
            b"deflate" => Format::Zlib(ZlibDecoder::new(Input::default())),
            _ => return None,
        };
        headers.insert("X-Consumed-Content-Encoding", &coding).ok()?;
        headers.remove("content-length");
        headers.remove("content-encoding");
        let mut held = HeldBytes::new();
        held.set(DECODER_BYTES);
        Some(Decoder {
            format,
            block: vec![0; PIECE_BYTES].into(),
            returned: None,
            decoded: 0,
            max_inflation: u64::from(max_inflation.max(1)),
            is_over: false,
            failed: None,
            _held: held,
        })
    }

    /// Gives more of the encoded body; `None` is its end. To be called when a step wants it.
    pub(crate) fn feed(&mut self, more: Option<Bytes>) {
        let input = self.input();
        input.is_last = more.is_none();
        input.bytes = more.unwrap_or_default();
    }

    /// The next step gives this piece again.
    pub(crate) fn hand_back(&mut self, piece: Bytes) {
        self.returned = Some(piece);
    }

    /// Whether there may be something that has not been given out.
    pub(crate) fn has_more(&self) -> bool {
        !self.is_over || self.returned.is_some()
    }

    /// Decodes up to one piece, of no more than `limit` bytes in all.
    pub(crate) fn step(&mut self, limit: u64) -> Result<Step, HttpError> {
        if let Some(piece) = self.returned.take() {
            return Ok(Step::Piece(piece));
        }
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let step = self.next(limit);
        self.failed = step.as_ref().err().cloned();
        step
    }

    fn next(&mut self, limit: u64) -> Result<Step, HttpError> {
        let mut filled = 0;
        while filled < PIECE_BYTES && !self.is_over {
            match self.read(filled) {
                Ok(0) => {
                    self.end()?;
                    break;
                }
                Ok(read) => {
                    filled += read;
                    self.decoded += read as u64;
                    self.check(limit)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(BodyError::CorruptEncoding.into()),
            }
        }
        if filled > 0 {
            return Ok(Step::Piece(Bytes::copy_from_slice(&self.block[..filled])));
        }
        Ok(if self.is_over && self.input().is_last { Step::End } else { Step::NeedMore })
    }

    fn read(&mut self, filled: usize) -> io::Result<usize> {
        if self.input().is_last && self.input().taken == 0 {
            return Ok(0); // nothing at all was sent: nothing was encoded
        }
        let block = &mut self.block[filled..];
        match &mut self.format {
            Format::Gzip(decoder) => decoder.read(block),
            Format::Zlib(decoder) => decoder.read(block),
        }
    }

    /// The encoded body has ended by itself: nothing may follow.
    fn end(&mut self) -> Result<(), HttpError> {
        self.is_over = self.input().is_last;
        match self.input().bytes.is_empty() {
            true => Ok(()),
            false => Err(BodyError::CorruptEncoding.into()),
        }
    }

    fn check(&mut self, limit: u64) -> Result<(), HttpError> {
        if self.decoded > limit {
            return Err(RemoteError::BodyTooLarge.into());
        }
        let allowed = HARMLESS_BYTES.max(self.input().taken.saturating_mul(self.max_inflation));
        if self.decoded > allowed {
            return Err(BodyError::InflatesTooMuch { times: self.max_inflation }.into());
        }
        Ok(())
    }

    fn input(&mut self) -> &mut Input {
        match &mut self.format {
            Format::Gzip(decoder) => decoder.get_mut(),
            Format::Zlib(decoder) => decoder.get_mut(),
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.is_last {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        self.bytes.advance(bytes);
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

//! The chunked transfer coding (RFC 9112 §7.1), read strictly.
//!
//! Each byte is looked at once and consumed at once, so nothing but the state below is kept between pieces. A chunk's size is
//! checked against the limit before any of its data is given out.
//!
//! ```text
//!   Size ──> SizeMore ──CR──> SizeLf ──LF──> Data ──> DataCr ──CR──> DataLf ──LF──> Size
//!               └─";"──> extensions ──CR──┘    └── size 0: trailer section (scan.rs)
//! ```

use std::ops::Range;

use super::error::RemoteError;
use super::grammar::{is_field_value_byte, is_token_byte};
use super::limits::Limits;

/// A decoder in the middle of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunked {
    /// Of the current chunk: the size while it is read, then what is left of it.
    remaining: u64,
    /// The sizes of all chunks so far.
    total: u64,
    extension_bytes: u32,
    line_bytes: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    SizeMore,
    /// Blanks before the next `;`, which must come.
    BeforeSemicolon,
    NameStart,
    Name,
    AfterName,
    ValueStart,
    Value,
    Quoted,
    QuotedPair,
    AfterQuote,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

pub(crate) enum ChunkedStep {
    /// All was consumed and more is needed.
    NeedMore,
    /// Data; it ends what was consumed.
    Data(Range<usize>),
    /// The last chunk was consumed, up to here; the trailer section follows.
    Trailers(usize),
}

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self { remaining: 0, total: 0, extension_bytes: 0, line_bytes: 0, state: State::Size }
    }

    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        limits: &Limits,
        max_body_size: u64,
    ) -> Result<ChunkedStep, RemoteError> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if self.state == State::Data {
                let available = (input.len() - at) as u64;
                let taken = self.remaining.min(available);
                self.remaining -= taken;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
                return Ok(ChunkedStep::Data(at..at + taken as usize));
            }
            at += 1;
            if self.step(byte, limits)? {
                if self.remaining == 0 {
                    return Ok(ChunkedStep::Trailers(at));
                }
                self.total = self.total.checked_add(self.remaining).ok_or(RemoteError::BodyTooLarge)?;
                if self.total > max_body_size {
                    return Err(RemoteError::BodyTooLarge);
                }
            }
        }
        Ok(ChunkedStep::NeedMore)
    }

    /// Takes a byte that is not data; true if it ends a size line.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, RemoteError> {
        use RemoteError as E;
        use State as S;
        match self.state {
            S::DataCr | S::DataLf => {}
            S::Size | S::SizeMore | S::SizeLf => self.count_line(limits)?,
            _ => {
                self.count_line(limits)?;
                self.count_extension(limits)?;
            }
        }
        self.state = match (self.state, byte) {
            (S::Size | S::SizeMore, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                if self.remaining >> 60 != 0 {
                    return Err(E::InvalidChunkSize);
                }
                self.remaining = self.remaining << 4 | u64::from(digit);
                S::SizeMore
            }
            // A blank may stand before a semicolon or an equals sign, not before the line end.
            (S::SizeMore | S::Name | S::Value | S::AfterQuote, b'\r') => S::SizeLf,
            (S::SizeMore | S::Name | S::AfterName | S::Value | S::AfterQuote | S::BeforeSemicolon, b';') => {
                S::NameStart
            }
            (S::SizeMore | S::Value | S::AfterQuote | S::BeforeSemicolon, b' ' | b'\t') => S::BeforeSemicolon,
            (S::Name | S::AfterName, b' ' | b'\t') => S::AfterName,
            (S::Name | S::AfterName, b'=') => S::ValueStart,
            (S::NameStart | S::ValueStart, b' ' | b'\t') => self.state,
            (S::NameStart | S::Name, _) if is_token_byte(byte) => S::Name,
            (S::ValueStart | S::Value, _) if is_token_byte(byte) => S::Value,
            (S::ValueStart, b'"') => S::Quoted,
            (S::Quoted, b'"') => S::AfterQuote,
            (S::Quoted, b'\\') => S::QuotedPair,
            (S::Quoted | S::QuotedPair, _) if is_field_value_byte(byte) => S::Quoted,

            (S::SizeLf, b'\n') => {
                self.line_bytes = 0;
                self.state = S::Data;
                return Ok(true);
            }
            (S::DataCr, b'\r') => S::DataLf,
            (S::DataLf, b'\n') => S::Size,
            (S::SizeLf | S::DataLf, _) => return Err(E::BareCr),
            (_, b'\n') => return Err(E::BareLf),
            (S::DataCr, _) => return Err(E::InvalidChunkEnd),
            (S::Size | S::SizeMore, _) => return Err(E::InvalidChunkSize),
            _ => return Err(E::InvalidChunkExtension),
        };
        Ok(false)
    }

    fn count_line(&mut self, limits: &Limits) -> Result<(), RemoteError> {
        if self.line_bytes >= limits.chunk_line_bytes {
            return Err(RemoteError::ChunkLineTooLong);
        }
        self.line_bytes += 1;
        Ok(())
    }

    fn count_extension(&mut self, limits: &Limits) -> Result<(), RemoteError> {
        if self.extension_bytes >= limits.chunk_extension_bytes {
            return Err(RemoteError::ChunkExtensionsTooLarge);
        }
        self.extension_bytes += 1;
        Ok(())
    }
}

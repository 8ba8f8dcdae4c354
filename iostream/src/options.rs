//! The limits of a stream, with their defaults.

use crate::pool::MOST_BYTES;

/// The limits of a stream. Sizes are in bytes.
///
/// | limit | default | why |
/// | --- | --- | --- |
/// | `max_buffer_size` | 100 MiB | Tornado's (IO2): room for one large upload, an end to an endless line |
/// | `max_write_buffer_size` | 100 MiB | the same for output; Tornado has none (IO4) |
/// | `read_chunk_size` | 64 KiB | Tornado's (IO3): one read empties what a kernel buffer usually holds |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The most bytes that are buffered for reading (IO2). Exactly full is allowed; one more closes the stream
    /// with [`ReadBufferFull`](crate::CloseReason::ReadBufferFull). 1 to 4 GiB − 64.
    pub max_buffer_size: usize,
    /// The most bytes that may wait to be sent before a write counts as waiting for room (IO32). One write may be larger
    /// than this. Zero means one write at a time.
    pub max_write_buffer_size: usize,
    /// The most bytes asked of the transport in one read (IO3), at least 1. Streams with the default share pooled
    /// blocks.
    pub read_chunk_size: usize,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            max_buffer_size: 100 * 1024 * 1024,
            max_write_buffer_size: 100 * 1024 * 1024,
            read_chunk_size: crate::pool::BLOCK_BYTES,
        }
    }
}

impl StreamOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> StreamOptions {
        StreamOptions::default()
    }

    /// Sets [`max_buffer_size`](StreamOptions::max_buffer_size).
    ///
    /// # Panics
    ///
    /// When it is zero or more than 4 GiB − 64.
    #[must_use]
    pub fn max_buffer_size(mut self, bytes: usize) -> StreamOptions {
        self.max_buffer_size = bytes;
        self.checked()
    }

    /// Sets [`max_write_buffer_size`](StreamOptions::max_write_buffer_size).
    #[must_use]
    pub fn max_write_buffer_size(mut self, bytes: usize) -> StreamOptions {
        self.max_write_buffer_size = bytes;
        self
    }

    /// Sets [`read_chunk_size`](StreamOptions::read_chunk_size).
    ///
    /// # Panics
    ///
    /// When it is zero.
    #[must_use]
    pub fn read_chunk_size(mut self, bytes: usize) -> StreamOptions {
        self.read_chunk_size = bytes;
        self.checked()
    }

    fn checked(self) -> StreamOptions {
        match self.check() {
            Ok(()) => self,
            Err(problem) => panic!("{problem}"),
        }
    }

    /// The fields are public, so they are looked at again when a stream is made.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.max_buffer_size == 0 || self.max_buffer_size > MOST_BYTES {
            return Err("max_buffer_size must be 1 to 4 GiB - 64");
        }
        if self.read_chunk_size == 0 {
            return Err("read_chunk_size must not be zero");
        }
        Ok(())
    }
}

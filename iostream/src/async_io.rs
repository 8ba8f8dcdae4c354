//! A stream in the shape of the traits that codecs of others are written for.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "tokio-io")]
mod tokio_io;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::error::StreamError;
use crate::read_buffer::ReadBuffer;
use crate::stream::IoStream;

/// Bytes that may wait before a write does; and what one write takes at most.
const HIGH_WATER: usize = 64 * 1024;

/// An [`IoStream`] with `AsyncRead`, `AsyncBufRead` and `AsyncWrite`: those of the `futures-io` crate with feature
/// `futures-io`, tokio's with feature `tokio-io`. It needs no runtime but the loop, and it stays on the loop's thread: where
/// foreign code asks for `Send`, it does not fit.
///
/// - **Reading** goes into the caller's memory without a copy in between; `AsyncBufRead` shows the stream's own buffer. The
///   buffer is shared with the stream: what is not consumed is there for its reads too, also after this is dropped.
/// - **Writing** copies, at most 64 KiB in one go, and waits while 64 KiB wait, or `max_write_buffer_size` if that is less.
///   Without a flush the bytes leave at the end of the turn.
/// - **Flushing** is done when everything is in the kernel. **Closing** (`poll_close`, `poll_shutdown`) flushes and ends this
///   side; reading goes on. Dropping the last handle closes the stream, which offers what waits to the kernel once: flush first.
///
/// To read in one task and write in another make one of these from each of two clones of the stream. There is one reader at
/// a time (IO6): while a read of the stream is under way, reading fails with `ResourceBusy`.
///
/// The errors are `io::Error`s that have the kind of the cause, and the [`StreamError`] inside; writing behind the end of this side is a
/// `BrokenPipe`, as with a socket.
///
/// # Cancel safety
///
/// Whatever is built on these traits may be dropped between two polls: bytes that were not given to the caller are still
/// in the stream.
#[derive(Debug)]
pub struct AsyncIo {
    stream: IoStream,
    /// The stream's buffer, out of its place from the moment it was shown until the next call. While it is away, the
    /// stream seems empty to others.
    shown: ReadBuffer,
    closing: Option<Closing>,
}

struct Closing(Pin<Box<dyn Future<Output = Result<(), StreamError>>>>);

impl AsyncIo {
    /// Wraps a handle to a stream. Costs nothing.
    #[must_use]
    pub fn new(stream: IoStream) -> AsyncIo {
        AsyncIo { stream, shown: ReadBuffer::default(), closing: None }
    }

    /// The stream, with every byte that has not been consumed.
    pub fn stream(&mut self) -> &IoStream {
        self.put_back();
        &self.stream
    }

    /// The stream, with every byte that has not been consumed.
    #[must_use]
    pub fn into_inner(self) -> IoStream {
        self.stream.clone() // dropping this puts the buffer back
    }

    fn put_back(&mut self) {
        self.stream.inner.read_side.put_back(std::mem::take(&mut self.shown));
    }

    fn refuse_second_reader(&self) -> io::Result<()> {
        match self.stream.is_reading() {
            true => Err(StreamError::AlreadyReading.into()),
            false => Ok(()),
        }
    }

    fn poll_read_into(&mut self, cx: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        self.put_back();
        self.refuse_second_reader()?;
        let inner = &self.stream.inner;
        ready!(inner.poll_may_take(cx));
        let buffered = inner.read_side.with(|buffer| buffer.copy_to(target));
        if buffered > 0 || target.is_empty() {
            return Poll::Ready(Ok(buffered));
        }
        inner.poll_read_directly(cx, target).map_err(io::Error::from)
    }

    fn poll_show(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.put_back();
        self.refuse_second_reader()?;
        let inner = &self.stream.inner;
        ready!(inner.poll_may_take(cx));
        if inner.read_side.len() == 0 {
            let filled = ready!(inner.poll_fill(cx));
            if inner.read_side.len() == 0 {
                filled?; // else it is what the peer said last
            }
        }
        self.shown = inner.read_side.take();
        Poll::Ready(Ok(self.shown.filled()))
    }

    fn use_up(&mut self, n: usize) {
        self.put_back();
        self.stream.consume(n);
    }

    fn poll_write_from<'a>(
        &mut self,
        cx: &mut Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let inner = &self.stream.inner;
        let most = inner.options.max_write_buffer_size.min(HIGH_WATER);
        let waits = inner.pending();
        if waits > 0 && waits >= most {
            // Down to half of it, so that a fast writer is woken now and then and not for every byte.
            ready!(self.stream.poll_flush_to(cx, most / 2))?;
        }
        if !inner.can_write() {
            let error = inner.write_error();
            // Whose own side has ended gets what a socket says then, by which codecs tell that there is nobody to write to.
            let has_ended = !inner.is_closed() && matches!(error, StreamError::Closed(_));
            let error =
                if has_ended { io::Error::new(io::ErrorKind::BrokenPipe, error) } else { error.into() };
            return Poll::Ready(Err(error));
        }
        let mut taken = 0;
        inner.queue_with(|buffer| {
            for piece in pieces {
                let n = piece.len().min(HIGH_WATER - taken);
                buffer.push_copy(&piece[..n]);
                taken += n;
            }
        });
        Poll::Ready(Ok(taken))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush_to(cx, 0).map_err(io::Error::from)
    }

    fn poll_end_writing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        let closing = self.closing.get_or_insert_with(|| {
            let stream = stream.clone();
            Closing(Box::pin(async move { stream.shutdown_write().await }))
        });
        let result = ready!(closing.0.as_mut().poll(cx));
        self.closing = None;
        Poll::Ready(result.map_err(io::Error::from))
    }
}

impl From<IoStream> for AsyncIo {
    fn from(stream: IoStream) -> AsyncIo {
        AsyncIo::new(stream)
    }
}

impl Drop for AsyncIo {
    fn drop(&mut self) {
        self.put_back();
    }
}

impl std::fmt::Debug for Closing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closing")
    }
}

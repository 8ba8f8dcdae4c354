//! Reading: look at the buffer, read more if that is not enough, and take bytes only when the read is satisfied.
//! Step 5 of path 2 through the house (see ARCHITECTURE.md).
//!
//! That order is what makes every read here cancel-safe: a future that is dropped has taken nothing, and the next
//! read finds every byte where it was (IO9).

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::error::{CloseReason, StreamError};
use crate::stream::{Inner, IoStream};

/// Bytes that one stream may read in one turn of the loop before the others get theirs.
const BYTES_PER_TURN: u32 = 256 * 1024;

impl IoStream {
    /// Reads up to and including `delimiter` (IO14).
    ///
    /// Searching is linear however the bytes arrive. Bytes behind the delimiter stay for the next read.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream ends first; what came stays readable (IO21). When
    /// `max_buffer_size` bytes hold no delimiter the stream closes with
    /// [`ReadBufferFull`](CloseReason::ReadBufferFull) (IO20). An empty delimiter is refused.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns.
    pub async fn read_until(&self, delimiter: &[u8]) -> Result<Bytes, StreamError> {
        self.read_to_delimiter(delimiter, None).await
    }

    /// Reads up to and including `delimiter`, at most `max_bytes` in all, delimiter included (IO15).
    ///
    /// # Errors
    ///
    /// [`DelimiterNotFound`](StreamError::DelimiterNotFound) as soon as it is clear that no match can end within
    /// `max_bytes`. Unlike in Tornado the stream stays open and the bytes stay where they are (IO16). Otherwise
    /// as [`read_until`](IoStream::read_until).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns.
    pub async fn read_until_max(&self, delimiter: &[u8], max_bytes: usize) -> Result<Bytes, StreamError> {
        self.read_to_delimiter(delimiter, Some(max_bytes)).await
    }

    /// Reads exactly `n` bytes; none at once for zero, even on a closed stream (IO12).
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream ends first, and then what came stays readable;
    /// [`ReadTooLarge`](StreamError::ReadTooLarge), at once, for more than `max_buffer_size`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns.
    pub async fn read_bytes(&self, n: usize) -> Result<Bytes, StreamError> {
        let inner = &self.inner;
        inner.check_size(n)?;
        self.read_while(|buffered| if buffered.len() >= n { Found::At(n) } else { Found::NotYet }).await?;
        Ok(inner.read_buffer.borrow_mut().take(n))
    }

    /// Reads whatever is there, at least one byte and at most `max_bytes`: `read_bytes(n, partial=True)` (IO12).
    /// None at once for zero.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) when there is nothing left and nothing more will come.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns.
    #[doc(alias = "read_bytes_partial")]
    pub async fn read_partial(&self, max_bytes: usize) -> Result<Bytes, StreamError> {
        self.read_while(
            |buffered| if buffered.is_empty() && max_bytes > 0 { Found::NotYet } else { Found::At(0) },
        )
        .await?;
        let mut buffer = self.inner.read_buffer.borrow_mut();
        let n = max_bytes.min(buffer.len());
        Ok(buffer.take(n))
    }

    /// Reads into `target`, at least one byte and at most its length, and gives the count (IO13, `partial=True`).
    /// Zero for an empty target; otherwise never zero.
    ///
    /// What is not buffered yet goes from the transport into `target` without a copy in between.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) when there is nothing left and nothing more will come.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; until it returns, nothing has been put into `target`.
    #[doc(alias = "read_into_partial")]
    pub async fn read_into(&self, target: &mut [u8]) -> Result<usize, StreamError> {
        if target.is_empty() {
            return Ok(0);
        }
        let inner = &self.inner;
        let _reading = inner.begin_read()?;
        poll_fn(|cx| {
            let buffered = inner.read_buffer.borrow_mut().copy_to(target);
            if buffered > 0 {
                return Poll::Ready(Ok(buffered));
            }
            match std::task::ready!(inner.poll_read_directly(cx, target)) {
                Ok(0) => Poll::Ready(Err(inner.closed_error().unwrap_or_else(StreamError::end_of_stream))),
                other => Poll::Ready(other),
            }
        })
        .await
    }

    /// Reads everything up to the end of the peer's side, as one piece (IO18).
    ///
    /// On a stream that has ended, and on a closed one: what is left, then nothing, as often as it is asked.
    ///
    /// # Errors
    ///
    /// Unlike in Tornado a reset, or any other failure of the connection, is an error here; what came before it
    /// stays buffered. More than `max_buffer_size` bytes close the stream with
    /// [`ReadBufferFull`](CloseReason::ReadBufferFull).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns.
    pub async fn read_until_close(&self) -> Result<Bytes, StreamError> {
        match self.read_while(|_| Found::NotYet).await {
            Err(StreamError::Closed(CloseReason::EndOfStream | CloseReason::Local)) => {}
            Err(error) => return Err(error),
            Ok(_) => unreachable!("nothing satisfies this read but the end"),
        }
        let mut buffer = self.inner.read_buffer.borrow_mut();
        let n = buffer.len();
        Ok(buffer.take(n))
    }

    /// Reads once from the transport into the buffer and gives the number of new bytes: zero when the peer has
    /// ended its side. The level that protocol drivers work on, with [`read_with`](IoStream::read_with).
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed), with [`ReadBufferFull`](CloseReason::ReadBufferFull) if the buffer is full.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn fill(&self) -> Result<usize, StreamError> {
        let _reading = self.inner.begin_read()?;
        poll_fn(|cx| self.inner.poll_fill(cx)).await
    }

    /// [`fill`](IoStream::fill) for futures written by hand. It does not mark the stream as reading: whoever polls
    /// this is the one reader.
    pub fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        self.inner.poll_fill(cx)
    }

    /// Bytes that have been read and not been taken.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.inner.read_buffer.borrow().len()
    }

    /// Whether the peer has ended its side and this has been read. Buffered bytes may be left.
    #[must_use]
    pub fn is_end_of_stream(&self) -> bool {
        self.inner.flags.end_of_stream.get()
    }

    /// Shows what is buffered to `f`, which says how much of it it has used up, and gives what `f` made of it.
    ///
    /// Within `f` the buffer seems empty to everybody else.
    ///
    /// # Panics
    ///
    /// When `f` claims to have used more than it was shown.
    pub fn read_with<R>(&self, f: impl FnOnce(&[u8]) -> (usize, R)) -> R {
        let mut buffer = self.inner.read_buffer.take();
        let (used, result) = f(buffer.filled());
        assert!(used <= buffer.len(), "used {used} of {} bytes", buffer.len());
        if used > 0 {
            buffer.consume(used);
        }
        if !buffer.is_empty() {
            self.inner.read_buffer.replace(buffer);
        }
        result
    }

    /// Takes the next `n` bytes that are buffered, or as many as there are, without a copy where they are most of
    /// their block.
    pub fn take_buffered(&self, n: usize) -> Bytes {
        let mut buffer = self.inner.read_buffer.borrow_mut();
        let n = n.min(buffer.len());
        buffer.take(n)
    }

    /// Drops the next `n` bytes that are buffered, or as many as there are.
    pub fn consume(&self, n: usize) {
        let mut buffer = self.inner.read_buffer.borrow_mut();
        let n = n.min(buffer.len());
        buffer.consume(n);
    }

    async fn read_to_delimiter(
        &self,
        delimiter: &[u8],
        max_bytes: Option<usize>,
    ) -> Result<Bytes, StreamError> {
        if delimiter.is_empty() {
            return Err(StreamError::EmptyDelimiter);
        }
        let finder = Finder::new(delimiter);
        let mut searched = 0;
        let n = self
            .read_while(|buffered| {
                // A match may have begun in the last bytes of what was searched before.
                let from = searched.min(buffered.len());
                if let Some(at) = finder.find(&buffered[from..]) {
                    let end = from + at + delimiter.len();
                    return match max_bytes {
                        Some(max_bytes) if end > max_bytes => Found::TooLate,
                        _ => Found::At(end),
                    };
                }
                searched = buffered.len().saturating_sub(delimiter.len() - 1);
                match max_bytes {
                    Some(max_bytes) if buffered.len() >= max_bytes => Found::TooLate,
                    _ => Found::NotYet,
                }
            })
            .await;
        match (n, max_bytes) {
            (Ok(Some(n)), _) => Ok(self.inner.read_buffer.borrow_mut().take(n)),
            (Ok(None), max_bytes) => {
                Err(StreamError::DelimiterNotFound { max_bytes: max_bytes.unwrap_or(usize::MAX) })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Reads on until `look` is satisfied with what is buffered. `None` if it never can be.
    async fn read_while(&self, mut look: impl FnMut(&[u8]) -> Found) -> Result<Option<usize>, StreamError> {
        let inner = &self.inner;
        let _reading = inner.begin_read()?;
        poll_fn(|cx| {
            loop {
                match look(inner.read_buffer.borrow().filled()) {
                    Found::At(n) => return Poll::Ready(Ok(Some(n))),
                    Found::TooLate => return Poll::Ready(Ok(None)),
                    Found::NotYet => {}
                }
                if std::task::ready!(inner.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(StreamError::end_of_stream()));
                }
            }
        })
        .await
    }
}

/// What a read makes of the bytes that are buffered.
enum Found {
    At(usize),
    NotYet,
    TooLate,
}

/// Marks the stream as reading for as long as it lives (IO6).
struct Reading<'a>(&'a Inner);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.flags.reading.set(false);
    }
}

impl Inner {
    fn begin_read(&self) -> Result<Reading<'_>, StreamError> {
        if self.flags.reading.replace(true) {
            return Err(StreamError::AlreadyReading);
        }
        Ok(Reading(self))
    }

    fn check_size(&self, asked: usize) -> Result<(), StreamError> {
        let limit = self.options.max_buffer_size;
        if asked > limit { Err(StreamError::ReadTooLarge { asked, limit }) } else { Ok(()) }
    }

    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        let limit = self.options.max_buffer_size;
        self.poll_transport(cx, |socket_read| {
            let mut buffer = self.read_buffer.borrow_mut();
            if buffer.len() >= limit {
                // One byte more than allowed tells "exactly full" from "too much" (IO2).
                let mut one_more = [0];
                return match socket_read(&mut one_more) {
                    Ok(n) if n > 0 => Err(Failure::BufferFull),
                    result => Ok((result, 1)),
                };
            }
            Ok(buffer.fill(self.options.read_chunk_size, limit, socket_read))
        })
    }

    fn poll_read_directly(
        &self,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        let room = target.len();
        self.poll_transport(cx, |socket_read| Ok((socket_read(target), room)))
    }

    /// Reads once, waiting if need be. `read` is given the transport's read function, and gives its result with the
    /// room that it had.
    fn poll_transport(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(
            &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
        ) -> Result<(io::Result<usize>, usize), Failure>,
    ) -> Poll<Result<usize, StreamError>> {
        loop {
            if let Some(error) = self.closed_error() {
                return Poll::Ready(Err(error));
            }
            if self.flags.end_of_stream.get() {
                return Poll::Ready(Ok(0));
            }
            if !self.may_read() {
                self.read_buffer.borrow_mut().park();
                match std::task::ready!(self.poll_readable(cx)) {
                    Ok(()) => continue,
                    Err(error) => return Poll::Ready(Err(self.fail(error))),
                }
            }
            if !self.may_read_on() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let (outcome, short_means_drained) = {
                let mut socket = self.socket.borrow_mut();
                let Some(socket) = socket.as_mut() else {
                    return Poll::Ready(Err(StreamError::Closed(CloseReason::Local)));
                };
                let short_means_drained = socket.short_read_means_drained();
                (read(&mut |room| socket.read(room)), short_means_drained)
            };
            match outcome {
                Err(Failure::BufferFull) => {
                    let reason = CloseReason::ReadBufferFull(self.options.max_buffer_size);
                    self.close(reason.clone());
                    return Poll::Ready(Err(StreamError::Closed(reason)));
                }
                Ok((Ok(0), _)) => {
                    self.flags.end_of_stream.set(true);
                    return Poll::Ready(Ok(0));
                }
                Ok((Ok(n), room)) => {
                    let n = n.min(room);
                    self.count_read(n);
                    if n < room && short_means_drained {
                        self.note_drained();
                    }
                    return Poll::Ready(Ok(n));
                }
                Ok((Err(error), _)) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.note_drained(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(self.fail(error))),
                },
            }
        }
    }

    /// Whether this stream has read less in this turn than its share.
    fn may_read_on(&self) -> bool {
        let (turn, bytes) = self.read_in_turn.get();
        turn != self.turn() || bytes < BYTES_PER_TURN
    }

    fn count_read(&self, n: usize) {
        let (turn, bytes) = self.read_in_turn.get();
        let before = if turn == self.turn() { bytes } else { 0 };
        self.read_in_turn.set((self.turn(), before.saturating_add(u32::try_from(n).unwrap_or(u32::MAX))));
    }

    /// The loop's turn, shortened: two turns that are told apart lie close together.
    fn turn(&self) -> u32 {
        self.registration.turn() as u32
    }
}

/// Why a read was not even tried.
enum Failure {
    BufferFull,
}

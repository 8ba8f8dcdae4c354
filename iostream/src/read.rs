//! Reading: look at the buffer, read more if that is not enough, and take bytes only when the read is satisfied.
//! Step 5 of path 2 through the house (see ARCHITECTURE.md).
//!
//! That order is what makes every read here cancel-safe: a future that is dropped has taken nothing, and the next
//! read finds every byte where it was (IO9).

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::error::{CloseReason, StreamError};
use crate::read_buffer::GIVE_AWAY_BYTES;
use crate::search::end_of;
use crate::stream::{Inner, IoStream};

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
    pub fn read_until<'a>(
        &'a self,
        delimiter: &'a [u8],
    ) -> impl Future<Output = Result<Bytes, StreamError>> + 'a {
        self.read_to_delimiter(delimiter, usize::MAX, Own)
    }

    /// Reads up to and including `delimiter` and puts that behind what is in `target`: [`read_until`](IoStream::read_until) without an
    /// allocation for each line, where `target` is cleared and used again. Gives the number of bytes.
    ///
    /// # Errors
    ///
    /// As for [`read_until_max`](IoStream::read_until_max).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; until it returns, nothing is consumed and nothing is put into `target`.
    pub fn read_until_into<'a>(
        &'a self,
        delimiter: &'a [u8],
        max_bytes: usize,
        target: &'a mut Vec<u8>,
    ) -> impl Future<Output = Result<usize, StreamError>> + 'a {
        self.read_to_delimiter(delimiter, max_bytes, Append(target))
    }

    /// Reads up to and including `delimiter` and shows that to `f` where it lies, at most `max_bytes`: for who makes something else of
    /// it, or sends it on with [`write_with`](IoStream::write_with). Gives what `f` gave; then the bytes are taken.
    ///
    /// Within `f` the buffer seems empty to everybody else, as in [`read_with`](IoStream::read_with). If `f` panics, nothing is taken.
    ///
    /// # Errors
    ///
    /// As for [`read_until_max`](IoStream::read_until_max); `f` is then not called.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; until it returns, nothing is consumed and `f` is not called.
    pub fn read_until_with<'a, R>(
        &'a self,
        delimiter: &'a [u8],
        max_bytes: usize,
        f: impl FnOnce(&[u8]) -> R + Unpin + 'a,
    ) -> impl Future<Output = Result<R, StreamError>> + 'a
    where
        R: 'a,
    {
        self.read_to_delimiter(delimiter, max_bytes, Show(Some(f)))
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
    pub fn read_until_max<'a>(
        &'a self,
        delimiter: &'a [u8],
        max_bytes: usize,
    ) -> impl Future<Output = Result<Bytes, StreamError>> + 'a {
        self.read_to_delimiter(delimiter, max_bytes, Own)
    }

    /// Reads up to and including `delimiter`, at most `max_bytes` in all, or gives the peer up: Tornado's
    /// `read_until(delimiter, max_bytes)`, for protocols in which nothing sensible can follow a line that is too long.
    ///
    /// # Errors
    ///
    /// As [`read_until_max`](IoStream::read_until_max), but when no match can end within `max_bytes` the stream closes with
    /// [`DelimiterNotFound`](CloseReason::DelimiterNotFound), Tornado's `UnsatisfiableReadError` (IO16).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is consumed before it returns.
    pub async fn read_until_or_close(
        &self,
        delimiter: &[u8],
        max_bytes: usize,
    ) -> Result<Bytes, StreamError> {
        let result = self.read_until_max(delimiter, max_bytes).await;
        if let Err(StreamError::DelimiterNotFound { max_bytes }) = result {
            let reason = CloseReason::DelimiterNotFound(max_bytes);
            self.inner.close(reason.clone());
            return Err(StreamError::Closed(reason));
        }
        result
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
        self.read_until_buffered(n).await?;
        Ok(self.inner.read_side.with(|buffer| buffer.take(n)))
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
        Ok(self.inner.read_side.with(|buffer| buffer.take(max_bytes.min(buffer.len()))))
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
            std::task::ready!(inner.poll_may_take(cx));
            let buffered = inner.read_side.with(|buffer| buffer.copy_to(target));
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

    /// Fills `target` with exactly its length (IO13, `partial=False`).
    ///
    /// # Errors
    ///
    /// As [`read_bytes`](IoStream::read_bytes); a target longer than `max_buffer_size` is refused at once.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; until it returns, nothing has been put into `target`.
    #[doc(alias = "read_into")]
    pub async fn read_exact(&self, target: &mut [u8]) -> Result<(), StreamError> {
        self.read_until_buffered(target.len()).await?;
        self.inner.read_side.with(|buffer| buffer.copy_to(target));
        Ok(())
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
            Err(StreamError::Closed(CloseReason::EndOfStream | CloseReason::Local)) => {
                self.inner.end_of_input()?; // closing since makes no end of a cut
            }
            Err(error) => return Err(error),
            Ok(_) => unreachable!("nothing satisfies this read but the end"),
        }
        Ok(self.inner.read_side.with(|buffer| buffer.take(buffer.len())))
    }

    fn read_to_delimiter<'a, T>(
        &'a self,
        delimiter: &'a [u8],
        max_bytes: usize,
        take: T,
    ) -> ReadToDelimiter<'a, T> {
        ReadToDelimiter {
            inner: &self.inner,
            delimiter,
            max_bytes: Most::of(max_bytes),
            searched: None,
            take,
        }
    }

    async fn read_until_buffered(&self, n: usize) -> Result<(), StreamError> {
        let limit = self.inner.options.max_buffer_size;
        if n > limit {
            return Err(StreamError::ReadTooLarge { asked: n, limit });
        }
        self.read_while(|buffered| if buffered.len() >= n { Found::At(n) } else { Found::NotYet }).await?;
        Ok(())
    }

    /// Reads on until `look` is satisfied with what is buffered. `None` if it never can be.
    pub(crate) fn read_while<L: FnMut(&[u8]) -> Found>(&self, look: L) -> ReadWhile<'_, L> {
        ReadWhile { inner: &self.inner, look, reading: false }
    }
}

/// A read that waits until `look` is satisfied. By hand like the one below, because an `async fn` keeps what it was called with
/// beside what it waits with, and most connections do nothing but wait in one of these.
pub(crate) struct ReadWhile<'a, L> {
    inner: &'a Rc<Inner>,
    look: L,
    reading: bool,
}

impl<L: FnMut(&[u8]) -> Found + Unpin> Future for ReadWhile<'_, L> {
    type Output = Result<Option<usize>, StreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.inner.poll_while(cx, &mut this.reading, &mut this.look)
    }
}

impl<L> Drop for ReadWhile<'_, L> {
    fn drop(&mut self) {
        self.inner.end_read(self.reading);
    }
}

/// A read up to a delimiter: what most connections of a protocol of lines consist of while they are idle.
struct ReadToDelimiter<'a, T> {
    inner: &'a Rc<Inner>,
    delimiter: &'a [u8],
    max_bytes: Most,
    /// `None` until this read is under way.
    searched: Option<Searched>,
    take: T,
}

/// How many bytes a read may take, in 32 bits: no buffer has more.
#[derive(Clone, Copy)]
struct Most(u32);

impl Most {
    fn of(bytes: usize) -> Most {
        Most(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    #[inline]
    fn allows(self, bytes: usize) -> bool {
        bytes <= self.0 as usize
    }

    fn bytes(self) -> usize {
        if self.0 == u32::MAX { usize::MAX } else { self.0 as usize }
    }
}

/// In so many bytes no match begins; in 32 bits with its option.
#[derive(Clone, Copy)]
struct Searched(NonZeroU32);

impl Searched {
    fn of(bytes: usize) -> Searched {
        Searched(NonZeroU32::MIN.saturating_add(bytes as u32))
    }

    fn bytes(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<T: Take + Unpin> Future for ReadToDelimiter<'_, T> {
    type Output = Result<T::Taken, StreamError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.take_at_once() {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => self.read_on(cx),
        }
    }
}

impl<T: Take> ReadToDelimiter<'_, T> {
    /// What most reads of lines come to, as one segment brings many: one look at the buffer, and not even a mark that this read
    /// is under way. `None` leaves everything to [`read_on`](Self::read_on).
    #[inline]
    fn take_at_once(&mut self) -> Option<T::Taken> {
        if self.inner.flags.reading.get() || !self.inner.shares.may_take() {
            return None;
        }
        let (delimiter, max_bytes, take) = (self.delimiter, self.max_bytes, &mut self.take);
        let copy_line = |buffered: &[u8]| {
            let end = end_of(delimiter, buffered).filter(|end| max_bytes.allows(*end))?;
            Some((take.copy(&buffered[..end])?, end))
        };
        self.inner.read_side.with(|buffer| buffer.take_with(copy_line))
    }

    #[inline(never)]
    fn read_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<T::Taken, StreamError>> {
        let (delimiter, max_bytes) = (self.delimiter, self.max_bytes.bytes());
        if delimiter.is_empty() {
            return Poll::Ready(Err(StreamError::EmptyDelimiter));
        }
        let mut reading = self.searched.is_some();
        let mut searched = self.searched.map_or(0, Searched::bytes);
        let look = |buffered: &[u8]| {
            // A match may have begun in the last bytes of what was searched before.
            let from = searched.min(buffered.len());
            // Each read looks at a buffer that is empty before it looks at one that is not.
            if from < buffered.len()
                && let Some(end) = end_of(delimiter, &buffered[from..])
            {
                let end = from + end;
                return if end > max_bytes { Found::TooLate } else { Found::At(end) };
            }
            searched = buffered.len().saturating_sub(delimiter.len() - 1);
            if buffered.len() >= max_bytes { Found::TooLate } else { Found::NotYet }
        };
        let polled = self.inner.poll_while(cx, &mut reading, look);
        self.searched = reading.then(|| Searched::of(searched));
        match std::task::ready!(polled)? {
            Some(n) => Poll::Ready(Ok(self.take.take(self.inner, n))),
            None => Poll::Ready(Err(StreamError::DelimiterNotFound { max_bytes })),
        }
    }
}

impl<T> Drop for ReadToDelimiter<'_, T> {
    fn drop(&mut self) {
        self.inner.end_read(self.searched.is_some());
    }
}

/// What becomes of the bytes up to the delimiter's end.
trait Take {
    type Taken;

    /// Copies them. `None` if there is a better way than that.
    fn copy(&mut self, line: &[u8]) -> Option<Self::Taken>;

    /// Takes the first `n` bytes out of the buffer.
    fn take(&mut self, inner: &Inner, n: usize) -> Self::Taken;
}

/// They are a value of their own.
struct Own;

impl Take for Own {
    type Taken = Bytes;

    #[inline]
    fn copy(&mut self, line: &[u8]) -> Option<Bytes> {
        (line.len() < GIVE_AWAY_BYTES).then(|| Bytes::copy_from_slice(line))
    }

    fn take(&mut self, inner: &Inner, n: usize) -> Bytes {
        inner.read_side.with(|buffer| buffer.take(n))
    }
}

/// They go behind what is in somebody's memory.
struct Append<'a>(&'a mut Vec<u8>);

impl Take for Append<'_> {
    type Taken = usize;

    #[inline]
    fn copy(&mut self, line: &[u8]) -> Option<usize> {
        self.0.extend_from_slice(line);
        Some(line.len())
    }

    fn take(&mut self, inner: &Inner, n: usize) -> usize {
        inner.read_side.with(|buffer| {
            self.0.extend_from_slice(&buffer.filled()[..n]);
            buffer.consume(n);
        });
        n
    }
}

/// They are shown to somebody's code. That may call the stream, so the buffer must be out of its place in good order.
struct Show<F>(Option<F>);

impl<R, F: FnOnce(&[u8]) -> R> Take for Show<F> {
    type Taken = R;

    #[inline]
    fn copy(&mut self, _line: &[u8]) -> Option<R> {
        None
    }

    fn take(&mut self, inner: &Inner, n: usize) -> R {
        let show = self.0.take().expect("a future is not polled again when it is done");
        inner.read_with(|buffered| (n, show(&buffered[..n])))
    }
}

/// What a read makes of the bytes that are buffered.
pub(crate) enum Found {
    At(usize),
    NotYet,
    TooLate,
}

/// Marks the stream as reading for as long as it lives (IO6).
pub(crate) struct Reading<'a>(&'a Inner);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.flags.reading.set(false);
    }
}

impl Inner {
    pub(crate) fn begin_read(&self) -> Result<Reading<'_>, StreamError> {
        self.mark_reading()?;
        Ok(Reading(self))
    }

    fn mark_reading(&self) -> Result<(), StreamError> {
        match self.flags.reading.replace(true) {
            true => Err(self.closed_error().unwrap_or(StreamError::AlreadyReading)),
            false => Ok(()),
        }
    }

    /// One look at the buffer after another, with a read in between, until `look` is satisfied. `reading` says whether this read
    /// is the one that is under way; whoever gives it ends that with [`end_read`](Inner::end_read).
    #[inline]
    fn poll_while(
        self: &Rc<Inner>,
        cx: &mut Context<'_>,
        reading: &mut bool,
        mut look: impl FnMut(&[u8]) -> Found,
    ) -> Poll<Result<Option<usize>, StreamError>> {
        if !*reading {
            self.mark_reading()?;
            *reading = true;
        }
        std::task::ready!(self.poll_may_take(cx));
        let result = loop {
            match self.read_side.with(|buffer| look(buffer.filled())) {
                Found::At(n) => break Ok(Some(n)),
                Found::TooLate => break Ok(None),
                Found::NotYet => {}
            }
            match std::task::ready!(self.poll_fill(cx)) {
                Ok(0) => break Err(StreamError::end_of_stream()),
                Ok(_) => {}
                Err(error) => break self.look_once_more(look, error),
            }
        };
        self.end_read(std::mem::take(reading));
        Poll::Ready(result)
    }

    /// A reader sends before it waits. If that fails, the peer's last words have come into the buffer with the failure.
    #[cold]
    fn look_once_more(
        &self,
        look: impl FnOnce(&[u8]) -> Found,
        error: StreamError,
    ) -> Result<Option<usize>, StreamError> {
        match self.read_side.with(|buffer| look(buffer.filled())) {
            Found::At(n) => Ok(Some(n)),
            Found::TooLate => Ok(None),
            Found::NotYet => Err(error),
        }
    }

    /// Gives way once in so many reads, however much is buffered (invariant 9).
    #[inline]
    pub(crate) fn poll_may_take(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shares.may_take() {
            return Poll::Ready(());
        }
        self.shares.gives_way();
        ioloop::give_way(cx);
        Poll::Pending
    }

    fn end_read(&self, reading: bool) {
        if reading {
            self.flags.reading.set(false);
        }
    }
}

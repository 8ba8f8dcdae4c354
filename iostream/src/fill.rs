//! From the transport into the buffer, and out of it as it lies there: what every read stands on, and the level that
//! protocol drivers work on.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ioloop::Interest;

use crate::budget;
use crate::error::{CloseReason, StreamError};
use crate::held_back::{self, StreamId, Wish};
use crate::options::StreamOptions;
use crate::pool;
use crate::read_buffer::{GROWTH_BYTES, ReadBuffer};
use crate::stream::{Due, Inner, IoStream, Side};
use crate::transport::Socket;

/// Bytes that one stream may read in one turn of the loop before the others get theirs.
const BYTES_PER_TURN: usize = 256 * 1024;

/// What is read at most of a stream that cannot be written to any more: a kernel keeps less for a connection, unless it was told to.
const LAST_WORDS: usize = 8 << 20;

impl IoStream {
    /// Reads once from the transport into the buffer and gives the number of new bytes: zero when the peer has
    /// ended its side. The level that protocol drivers work on, with [`read_with`](IoStream::read_with).
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed), with [`ReadBufferFull`](CloseReason::ReadBufferFull) when a byte comes for which
    /// the buffer has no room. What the peer said before it took no more may be in the buffer then.
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
    ///
    /// # Errors
    ///
    /// As for `fill`.
    pub fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        self.inner.poll_fill(cx)
    }

    /// Waits until the stream may hold `bytes` bytes beside [those that it holds](IoStream::held_bytes), as its thread's
    /// [`MemoryBudget`](crate::MemoryBudget) has it. For drivers that gather what comes from this peer in memory of their own
    /// ([`HeldBytes`](crate::HeldBytes)), or make what it is to be sent. To be called by whoever reads: it is woken like a reader.
    ///
    /// # Errors
    ///
    /// [`OverBudget`](StreamError::OverBudget) when the budget's patience is over; [`Closed`](StreamError::Closed).
    pub fn poll_memory(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), StreamError>> {
        self.inner.poll_memory_for(cx, bytes, false)
    }

    /// The same behind all others who wait, and for half of the budget's patience: for who had memory, and had to give it
    /// [back](crate::MemoryGrant::is_due).
    ///
    /// # Errors
    ///
    /// As for [`poll_memory`](IoStream::poll_memory).
    pub fn poll_memory_again(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), StreamError>> {
        self.inner.poll_memory_for(cx, bytes, true)
    }

    /// Whether [`poll_memory`](IoStream::poll_memory) would not wait.
    #[must_use]
    #[inline]
    pub fn has_memory(&self, bytes: usize) -> bool {
        budget::scarce(bytes).is_none_or(|share| self.inner.held().saturating_add(bytes) <= share)
    }

    /// Whether a read, or [`poll_memory`](IoStream::poll_memory), waits for memory: whatever the peer does, it is not what is
    /// waited for.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        held_back::waits(self.inner.id())
    }

    /// Bytes of memory that the stream holds: those that its buffer for reading is in, and output that waits and that nobody else
    /// has. The larger part of its share in [`buffered_bytes`](crate::buffered_bytes).
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.inner.held()
    }

    /// Bytes that have been read and not been taken.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.inner.read_side.len()
    }

    /// Whether there is input as far as is known without asking the system: buffered, or announced by the loop and not read.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.buffered() > 0 || (!self.inner.is_end_of_stream() && self.inner.may_read())
    }

    /// Whether the peer has ended its side and this has been read. Buffered bytes may be left. An end that TLS knows nothing of
    /// ([`TlsError::Truncated`](crate::tls::TlsError::Truncated)) is none.
    #[must_use]
    pub fn is_end_of_stream(&self) -> bool {
        self.inner.is_end_of_stream() && self.inner.cut().is_none()
    }

    /// Shows what is buffered to `f`, which says how much of it it has used up, and gives what `f` made of it.
    ///
    /// Within `f` the buffer seems empty to everybody else. If `f` panics, nothing is used up.
    ///
    /// This and the other methods that take from the buffer are for whoever reads: a read that another task has under
    /// way may overlook what is left.
    ///
    /// # Panics
    ///
    /// When `f` claims to have used more than it was shown.
    pub fn read_with<R>(&self, f: impl FnOnce(&[u8]) -> (usize, R)) -> R {
        self.inner.read_with(f)
    }

    /// Takes the next `n` bytes that are buffered, or as many as there are, without a copy where they are most of
    /// their block.
    pub fn take_buffered(&self, n: usize) -> Bytes {
        self.inner.read_side.with(|buffer| buffer.take(n.min(buffer.len())))
    }

    /// Drops the next `n` bytes that are buffered, or as many as there are.
    pub fn consume(&self, n: usize) {
        self.inner.read_side.with(|buffer| buffer.consume(n.min(buffer.len())));
    }
}

/// The read buffer, out of its place while code runs that may call the stream; goes back however that ends, in front of
/// what was read meanwhile.
struct BorrowedBuffer<'a> {
    inner: &'a Inner,
    buffer: ReadBuffer,
}

impl BorrowedBuffer<'_> {
    fn of(inner: &Inner) -> BorrowedBuffer<'_> {
        BorrowedBuffer { inner, buffer: inner.read_side.take() }
    }
}

impl Drop for BorrowedBuffer<'_> {
    #[inline]
    fn drop(&mut self) {
        self.inner.read_side.put_back(std::mem::take(&mut self.buffer));
    }
}

impl Inner {
    pub(crate) fn read_with<R>(&self, f: impl FnOnce(&[u8]) -> (usize, R)) -> R {
        let mut borrowed = BorrowedBuffer::of(self);
        let buffer = &mut borrowed.buffer;
        let (used, result) = f(buffer.filled());
        assert!(used <= buffer.len(), "used {used} of {} bytes", buffer.len());
        if used > 0 {
            buffer.consume(used);
        }
        result
    }

    pub(crate) fn poll_fill(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        let memory = |cx: &mut Context<'_>| self.poll_memory(cx);
        self.poll_transport(cx, memory, |socket, Memory { chunk, most }| {
            let mut borrowed = BorrowedBuffer::of(self);
            if borrowed.buffer.len() >= self.options.max_buffer_size {
                // One byte more than allowed tells "exactly full" from "too much" (IO2).
                return (socket.read(&mut [0]), 0);
            }
            borrowed.buffer.fill(chunk, most, |room| socket.read(room))
        })
    }

    /// Reads what has come already, for a stream that closes because it cannot be written to: why, is often what the peer has said
    /// before it cut us off. Gives the error that ends the input if that is the peer's own word, as an alert of TLS is.
    #[cold]
    pub(crate) fn save_input(&self) -> Option<io::Error> {
        let StreamOptions { max_buffer_size: limit, read_chunk_size: chunk, .. } = *self.options;
        let mut left = LAST_WORDS;
        while left > 0 && self.flags.input.get() == Side::Open && budget::scarce(0).is_none() {
            let read = self.with_socket(|socket| {
                let mut borrowed = BorrowedBuffer::of(self);
                let is_full = borrowed.buffer.len() >= limit;
                if is_full { Ok(0) } else { borrowed.buffer.fill(chunk, limit, |room| socket.read(room)).0 }
            });
            match read? {
                Ok(0) => break,
                Ok(n) => {
                    self.received.set(self.received.get() + n as u64);
                    left = left.saturating_sub(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => left -= 1,
                Err(error) => return CloseReason::is_word_of_peer(&error).then_some(error),
            }
        }
        None
    }

    /// The memory that this stream holds.
    pub(crate) fn held(&self) -> usize {
        self.read_side.with(|buffer| buffer.size()) + self.write.held()
    }

    /// Which stream this is among those that wait for memory.
    pub(crate) fn id(&self) -> StreamId {
        std::ptr::from_ref(self) as StreamId
    }

    /// Waits until the stream may have memory to read into, if that is scarce.
    #[inline]
    fn poll_memory(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Result<Memory, StreamError>> {
        let StreamOptions { max_buffer_size: most, read_chunk_size: chunk, .. } = *self.options;
        match budget::scarce(0) {
            None => Poll::Ready(Ok(Memory { chunk, most })),
            Some(share) => match self.memory_within(share) {
                Ok(memory) => Poll::Ready(self.may_go_on().map(|()| memory)),
                Err(wish) => self.wait_for_memory(cx, wish).map(Err),
            },
        }
    }

    fn poll_memory_for(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        bytes: usize,
        was_slow: bool,
    ) -> Poll<Result<(), StreamError>> {
        if let Some(error) = self.closed_error() {
            return Poll::Ready(Err(error));
        }
        // Also where there is room: what was just given back may be it, and those who were called for it have not taken it yet.
        let gives_way = was_slow && held_back::anybody_comes_first();
        let share = match budget::scarce(bytes) {
            None if !gives_way => {
                let _enough_for_all = self.may_go_on();
                return Poll::Ready(Ok(()));
            }
            share => share.unwrap_or(usize::MAX),
        };
        let needs = self.held().saturating_add(bytes);
        // Where the peer has gone, what comes next tells so.
        if (needs > share || gives_way) && !self.is_gone() {
            return self.wait_for_memory(cx, Wish { needs, more: bytes, asked: bytes, was_slow }).map(Err);
        }
        Poll::Ready(self.may_go_on())
    }

    /// There is memory for this stream: it does not wait any more, unless it is one that has to go.
    fn may_go_on(&self) -> Result<(), StreamError> {
        match !budget::is_watched() || held_back::resume(self.id()) {
            true => Ok(()),
            false => Err(StreamError::OverBudget),
        }
    }

    /// Waits until the stream may hold what it wants to. Ready when waiting has no use: with the reason.
    #[cold]
    fn wait_for_memory(self: &Rc<Self>, cx: &mut Context<'_>, wish: Wish) -> Poll<StreamError> {
        if let Err(error) = self.attach() {
            return Poll::Ready(self.fail(error));
        }
        let (now, io_loop) = (self.registration.now(), self.registration.io_loop());
        if !held_back::wait(self.id(), wish, now, self.registration.notifier(), &io_loop) {
            return Poll::Ready(StreamError::OverBudget);
        }
        // News of the connection, its end among them, come as ever.
        self.registration.wait_for_event(cx, Interest::READ);
        self.send_before_waiting();
        Poll::Pending
    }

    /// What may be read where the stream may hold `share` bytes; or how much it would have to hold for it, which is more.
    #[cold]
    fn memory_within(&self, share: usize) -> Result<Memory, Wish> {
        let StreamOptions { max_buffer_size: limit, read_chunk_size, .. } = *self.options;
        let look = |buffer: &mut ReadBuffer| (buffer.size(), buffer.room(), buffer.len() >= limit);
        let (size, room, is_full) = self.read_side.with(look);
        if is_full || room > 0 {
            return Ok(Memory { chunk: read_chunk_size.min(room), most: size });
        }
        // Growing by an eighth at least keeps the sum of copies linear.
        let more = (size / 8).max(GROWTH_BYTES).min(read_chunk_size).min(limit.saturating_sub(size)).max(1);
        let held = self.held();
        let more = match share.checked_sub(held) {
            Some(left) if left >= more => left,
            _ if self.is_gone() => more, // reading tells why
            _ => return Err(Wish { needs: held + more, more, asked: 0, was_slow: false }),
        };
        Ok(Memory { chunk: read_chunk_size.min(more), most: limit.min(size.saturating_add(more)) })
    }

    pub(crate) fn poll_read_directly(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        let room = target.len();
        let memory = |_: &mut Context<'_>| Poll::Ready(Ok(())); // it is the caller's
        match self.poll_transport(cx, memory, |socket, ()| (socket.read(target), room)) {
            // Sending before waiting has failed: what the peer said last is in the buffer.
            Poll::Ready(Err(_)) if self.read_side.len() > 0 => {
                Poll::Ready(Ok(self.read_side.with(|buffer| buffer.copy_to(target))))
            }
            polled => polled,
        }
    }

    /// Reads once, waiting if need be: for something to read, then for memory. `read` gives the transport's result with the room that
    /// it had: none for a byte that is one too many.
    fn poll_transport<M>(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        mut memory: impl FnMut(&mut Context<'_>) -> Poll<Result<M, StreamError>>,
        mut read: impl FnMut(&mut Socket, M) -> (io::Result<usize>, usize),
    ) -> Poll<Result<usize, StreamError>> {
        loop {
            if let Some(error) = self.closed_error() {
                return Poll::Ready(Err(error));
            }
            match self.flags.input.get() {
                Side::Open | Side::Ending => {}
                Side::Ended => return Poll::Ready(self.end_of_input()),
                Side::Missing => return Poll::Ready(Err(StreamError::NotReadable)),
            }
            match self.poll_take_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail(error))),
                Poll::Pending => {
                    // Whoever waits for input has said what it had to say. Sending it now instead of at the end of the
                    // turn lets the next stream use the same, still warm, buffer.
                    self.send_before_waiting();
                    if self.is_closed() {
                        continue;
                    }
                    self.read_side.with(|buffer| buffer.park(self.options.read_chunk_size));
                    return Poll::Pending;
                }
            }
            let turn = self.registration.turn();
            if self.shares.left_to_read(turn, BYTES_PER_TURN) == 0 {
                if let Err(error) = self.may_wait() {
                    return Poll::Ready(Err(self.fail(error)));
                }
                self.note_left();
                ioloop::give_way(cx);
                return Poll::Pending;
            }
            let memory = match memory(cx) {
                Poll::Ready(Ok(memory)) => memory,
                other => {
                    self.note_left();
                    return other.map_ok(|_| 0);
                }
            };
            let Some(((result, room), short_means_drained, wants_flush)) = self.with_socket(|socket| {
                (read(socket, memory), socket.short_read_means_drained(), socket.wants_flush())
            }) else {
                // The transport closed its stream while it was attached, or calls from inside its own read.
                let error = self.closed_error().unwrap_or_else(|| {
                    self.note_left();
                    StreamError::AlreadyReading
                });
                return Poll::Ready(Err(error));
            };
            if wants_flush {
                self.flush_transport_when_possible();
            }
            match result {
                Ok(0) => {
                    self.note_left();
                    self.end_input(None);
                    return Poll::Ready(Ok(0));
                }
                Ok(_) if room == 0 => {
                    let reason = CloseReason::ReadBufferFull(self.options.max_buffer_size);
                    self.close(reason.clone());
                    return Poll::Ready(Err(StreamError::Closed(reason)));
                }
                Ok(n) => {
                    let n = n.min(room);
                    self.shares.count_read(turn, n);
                    if pool::lends_many() {
                        self.do_at_end_of_turn(Due::TIDY);
                    }
                    self.received.set(self.received.get() + n as u64);
                    if n == room || !short_means_drained {
                        self.note_left();
                    } else {
                        self.note_emptied();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.note_drained();
                        if self.may_read() {
                            // A side is reported closed, yet there is nothing to show for it: the next event may tell.
                            self.registration.wait_for_event(cx, Interest::READ);
                            self.send_before_waiting();
                            return Poll::Pending;
                        }
                    }
                    io::ErrorKind::Interrupted => self.note_left(),
                    io::ErrorKind::UnexpectedEof => {
                        self.note_left();
                        self.end_input(Some(error));
                        return Poll::Ready(self.end_of_input());
                    }
                    _ => return Poll::Ready(Err(self.fail(error))),
                },
            }
        }
    }
}

/// What the next read may use: at most so many bytes in one go, in a buffer of so many at most.
struct Memory {
    chunk: usize,
    most: usize,
}

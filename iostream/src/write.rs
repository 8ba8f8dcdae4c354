//! Writing: small pieces are queued and leave together at the end of the turn, or when somebody waits for them; large ones, and what is
//! to leave now, go at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::error::{CloseReason, StreamError};
use crate::flush::ReturnsEmptyBuffer;
use crate::stream::{Inner, IoStream};
use crate::write_buffer::{SHARE_BYTES, WriteBuffer};

impl IoStream {
    /// Queues `data` and gives a future of "everything up to here has been handed to the kernel" (IO23-IO25).
    ///
    /// The future may be dropped: the stream sends by itself, all in one go, when its reader is about to wait for input, at
    /// the latest at the end of the turn. Awaiting it sends at once. An empty write is a barrier: it is done when what was written before it
    /// has been sent (IO26). Data of 16 KiB and more is not copied, and is sent at once, unless other data waits before it.
    ///
    /// When `max_write_buffer_size` bytes wait already, or, where memory is scarce, more than the
    /// [`MemoryBudget`](crate::MemoryBudget) has for this stream, the write counts as waiting for room (IO32): its future is to be
    /// awaited, which is how a sender is slowed down to the pace of the peer. If that future is dropped before there is
    /// room, nothing bounds what is queued, so the stream closes with [`WriteAbandoned`](CloseReason::WriteAbandoned).
    ///
    /// # Errors
    ///
    /// From the future: [`Closed`](StreamError::Closed) with the cause, if the stream closes before the data has
    /// been sent (IO28). Where the peer takes no more, the stream closes, and what it had said before can still be read
    /// (IO33).
    pub fn write(&self, data: impl Into<Bytes>) -> Write {
        let data = data.into();
        let inner = &self.inner;
        let state = if inner.can_write() && data.len() >= SHARE_BYTES && inner.may_send_at_once() {
            let queue = |buffer: &mut WriteBuffer, data, sent| {
                buffer.push(data); // all of it, as all of it is kept
                buffer.advance(sent);
            };
            WriteState::Queued(inner.send_at_once(data, queue))
        } else {
            inner.write_behind(data.len(), |buffer| buffer.push(data))
        };
        Write { inner: Rc::clone(inner), state }
    }

    /// Sends `data` at once, from where it lies, and queues a copy of what the kernel does not take now: [`write`](IoStream::write)
    /// for a message that nothing follows, and whose memory is to serve again. Where other data waits, it is queued behind that.
    ///
    /// # Errors
    ///
    /// From the future, as for `write`.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped, with the exception that `write` makes; what was queued is sent all the same.
    pub fn write_now(&self, data: &[u8]) -> Write {
        let inner = &self.inner;
        let state = if inner.can_write() && !data.is_empty() && inner.may_send_at_once() {
            let queue = |buffer: &mut WriteBuffer, data: &[u8], sent| buffer.push_copy(&data[sent..]);
            WriteState::Queued(inner.send_at_once(data, queue))
        } else {
            inner.write_behind(data.len(), |buffer| buffer.push_copy(data))
        };
        Write { inner: Rc::clone(inner), state }
    }

    /// Appends to the output: `f` writes into memory that will be sent, which is empty when it gets it. The loop sends at
    /// the end of the turn. The level that protocol drivers work on; whoever uses it heeds
    /// [`pending`](IoStream::pending). If `f` panics, nothing of its work is sent.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) on a stream that cannot be written to; `f` is then not called, unless it was `f`
    /// that closed the stream.
    pub fn write_with<R>(&self, f: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, StreamError> {
        let result = self.append_with(f)?;
        self.inner.flush_at_end_of_turn();
        Ok(result)
    }

    /// The same, but the loop is not told: what was written leaves when the reader is about to wait for input, or with what is written
    /// otherwise. For a driver that answers and then reads on, which is to call [`flush_at_end_of_turn`](IoStream::flush_at_end_of_turn)
    /// wherever it may wait for something else.
    ///
    /// # Errors
    ///
    /// As for `write_with`.
    pub fn append_with<R>(&self, f: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, StreamError> {
        let inner = &self.inner;
        if !inner.can_write() {
            return Err(inner.write_error());
        }
        let mut piece = inner.write.lend_piece();
        let tidy = ReturnsEmptyBuffer(&inner.write); // `f` may panic or close the stream, and an idle one holds none
        let result = f(&mut piece);
        if !inner.can_write() {
            return Err(inner.write_error());
        }
        std::mem::forget(tidy); // what follows does the same
        inner.write.take_piece(piece);
        Ok(result)
    }

    /// Has the loop send, at the latest at the end of the turn, what has been [appended](IoStream::append_with). Everything else that is
    /// written it sends unasked.
    #[inline]
    pub fn flush_at_end_of_turn(&self) {
        self.inner.flush_at_end_of_turn();
    }

    /// Queues `data` whatever waits already, for drivers that heed [`pending`](IoStream::pending). Data of 16 KiB and
    /// more is not copied.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) on a stream that cannot be written to.
    pub fn queue(&self, data: impl Into<Bytes>) -> Result<(), StreamError> {
        if !self.inner.can_write() {
            return Err(self.inner.write_error());
        }
        self.inner.queue(data.into());
        Ok(())
    }

    /// Bytes that have been written and not been sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.inner.pending()
    }

    /// Bytes handed to the kernel since the stream was made: what tells a peer that takes its time from one that
    /// takes nothing.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.inner.write.sent()
    }

    /// Sends what has been written up to here, at once, and waits until all of it is in the kernel. Waiting costs a step for each other task
    /// that waits for the same bytes to leave; those that wait for others cost nothing.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream closes first.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the loop goes on sending.
    pub async fn flush(&self) -> Result<(), StreamError> {
        let position = self.inner.write.queued();
        poll_fn(|cx| self.inner.poll_sent(cx, position)).await
    }

    /// Sends what waits, at once, and waits until at most `pending` bytes are left.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream closes first.
    pub fn poll_flush_to(&self, cx: &mut Context<'_>, pending: usize) -> Poll<Result<(), StreamError>> {
        let position = self.inner.write.queued().saturating_sub(pending as u64);
        self.inner.poll_sent(cx, position)
    }
}

/// The future of a write, done when everything up to and including it has been handed to the kernel. It may be
/// dropped; see [`IoStream::write`] for the one exception.
#[derive(Debug)]
pub struct Write {
    inner: Rc<Inner>,
    state: WriteState,
}

#[derive(Debug)]
enum WriteState {
    /// Done when this position has been sent.
    Queued(u64),
    /// The same, for data that found no room.
    Waiting {
        start: u64,
        end: u64,
    },
    Refused,
    Done,
}

impl Inner {
    /// Queues `bytes` bytes behind what waits, if anything does.
    fn write_behind(self: &Rc<Self>, bytes: usize, push: impl FnOnce(&mut WriteBuffer)) -> WriteState {
        if !self.can_write() {
            return WriteState::Refused;
        }
        let start = self.write.queued();
        let has_room = bytes == 0 || !self.lacks_room_at(start);
        let end = self.queue_with(push);
        if has_room { WriteState::Queued(end) } else { WriteState::Waiting { start, end } }
    }
}

impl Future for Write {
    type Output = Result<(), StreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.state {
            WriteState::Queued(end) | WriteState::Waiting { end, .. } => {
                std::task::ready!(self.inner.poll_sent(cx, end))
            }
            WriteState::Refused => Err(self.inner.write_error()),
            WriteState::Done => Ok(()),
        };
        self.state = WriteState::Done;
        Poll::Ready(result)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if let WriteState::Waiting { start, .. } = self.state
            && self.inner.lacks_room_at(start)
        {
            self.inner.close(CloseReason::WriteAbandoned);
        }
    }
}

//! Writing: bytes are queued at once and leave together at the end of the turn, or when somebody waits for them.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use ioloop::{BeforePoll, Ready};

use crate::error::{CloseReason, StreamError};
use crate::pool::{lease_write_buffer, return_write_buffer};
use crate::stream::{Inner, IoStream};
use crate::write_buffer::{SLICES, WriteBuffer};

/// Bytes that one stream may send in one turn before the others get theirs (IO30).
const BYTES_PER_TURN: usize = 1024 * 1024;

/// The outgoing half of a stream.
#[derive(Default)]
pub(crate) struct WriteSide {
    /// Leased while bytes wait.
    buffer: Option<Box<WriteBuffer>>,
    /// Bytes taken over and bytes sent since the stream was made.
    queued: u64,
    sent: u64,
    /// Who waits for `sent` to reach a position, in the order in which they came.
    waiting: Vec<(u64, Waker)>,
}

impl WriteSide {
    pub(crate) fn pending(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len())
    }

    fn buffer(&mut self) -> &mut WriteBuffer {
        self.buffer.get_or_insert_with(lease_write_buffer)
    }

    /// Drops what waits, for a stream that closes. Gives who must be told.
    fn discard(&mut self) -> Vec<(u64, Waker)> {
        if let Some(buffer) = self.buffer.take() {
            return_write_buffer(buffer);
        }
        std::mem::take(&mut self.waiting)
    }
}

impl IoStream {
    /// Queues `data` and gives a future of "everything up to here has been handed to the kernel" (IO23-IO25).
    ///
    /// The future may be dropped: the loop sends by itself at the end of the turn, all that the turn has written in
    /// one go. Awaiting it sends at once. An empty write is a barrier: it is done when what was written before it
    /// has been sent (IO26). Data of 16 KiB and more is not copied.
    ///
    /// When `max_write_buffer_size` bytes wait already, the data stays with the future, which waits for room when it
    /// is awaited (IO32). Such a future must not be dropped before it is done: what follows would leave a gap in the
    /// stream, so the stream closes with [`WriteAbandoned`](CloseReason::WriteAbandoned).
    ///
    /// # Errors
    ///
    /// From the future: [`Closed`](StreamError::Closed) with the cause, if the stream closes before the data has
    /// been sent (IO28).
    pub fn write(&self, data: impl Into<Bytes>) -> Write {
        let data = data.into();
        let inner = &self.inner;
        if !inner.can_write() {
            return Write { inner: Rc::clone(inner), state: WriteState::Refused };
        }
        if inner.has_room() {
            let position = inner.queue(|buffer| buffer.push(data));
            return Write { inner: Rc::clone(inner), state: WriteState::Queued(position) };
        }
        Write { inner: Rc::clone(inner), state: WriteState::Waiting(data) }
    }

    /// Appends to the output in place: `f` writes into the buffer that will be sent. The loop sends at the end of the
    /// turn. The level that protocol drivers work on; whoever uses it heeds [`pending`](IoStream::pending).
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) on a stream that cannot be written to; `f` is then not called.
    pub fn write_with<R>(&self, f: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, StreamError> {
        let inner = &self.inner;
        if !inner.can_write() {
            return Err(inner.write_error());
        }
        // The buffer is out of its place while the caller's code runs.
        let mut buffer = inner.write.borrow_mut().buffer.take().unwrap_or_else(lease_write_buffer);
        let before = buffer.len();
        let result = buffer.append_with(f);
        let added = buffer.len() - before;
        {
            let mut write = inner.write.borrow_mut();
            write.queued += added as u64;
            if let Some(meanwhile) = write.buffer.replace(buffer) {
                debug_assert!(meanwhile.is_empty(), "nothing is written while a writer is at work");
                return_write_buffer(meanwhile);
            }
        }
        inner.flush_at_end_of_turn();
        Ok(result)
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
        self.inner.queue(|buffer| buffer.push(data.into()));
        Ok(())
    }

    /// Bytes that have been written and not been sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.inner.write.borrow().pending()
    }

    /// Bytes handed to the kernel since the stream was made: what tells a peer that takes its time from one that
    /// takes nothing.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.inner.write.borrow().sent
    }

    /// Sends what waits, at once, and waits until all of it is in the kernel.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream closes first.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the loop goes on sending.
    pub async fn flush(&self) -> Result<(), StreamError> {
        std::future::poll_fn(|cx| self.poll_flush_to(cx, 0)).await
    }

    /// Sends what waits, at once, and waits until at most `pending` bytes are left.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream closes first.
    pub fn poll_flush_to(&self, cx: &mut Context<'_>, pending: usize) -> Poll<Result<(), StreamError>> {
        let position = self.inner.write.borrow().queued.saturating_sub(pending as u64);
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
    Queued(u64),
    Waiting(Bytes),
    Refused,
    Done,
}

impl Future for Write {
    type Output = Result<(), StreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let WriteState::Waiting(_) = this.state {
            let limit = this.inner.options.max_write_buffer_size as u64;
            let position = this.inner.write.borrow().queued.saturating_sub(limit.saturating_sub(1));
            if let Err(error) = std::task::ready!(this.inner.poll_sent(cx, position)) {
                this.state = WriteState::Done;
                return Poll::Ready(Err(error));
            }
            if let WriteState::Waiting(data) = std::mem::replace(&mut this.state, WriteState::Done) {
                this.state = WriteState::Queued(this.inner.queue(|buffer| buffer.push(data)));
            }
        }
        let result = match this.state {
            WriteState::Queued(position) => std::task::ready!(this.inner.poll_sent(cx, position)),
            WriteState::Refused => Err(this.inner.write_error()),
            WriteState::Waiting(_) | WriteState::Done => Ok(()),
        };
        this.state = WriteState::Done;
        Poll::Ready(result)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if matches!(self.state, WriteState::Waiting(_)) {
            self.inner.close(CloseReason::WriteAbandoned);
        }
    }
}

impl Inner {
    fn can_write(&self) -> bool {
        !self.flags.write_shut.get() && self.closed.borrow().is_none()
    }

    pub(crate) fn write_error(&self) -> StreamError {
        self.closed_error().unwrap_or(StreamError::Closed(CloseReason::Local))
    }

    fn has_room(&self) -> bool {
        let write = self.write.borrow();
        write.pending() == 0 || write.pending() < self.options.max_write_buffer_size
    }

    /// Puts something into the buffer; gives the position behind it.
    fn queue(self: &Rc<Self>, push: impl FnOnce(&mut WriteBuffer)) -> u64 {
        let position = {
            let mut write = self.write.borrow_mut();
            let buffer = write.buffer();
            let before = buffer.len();
            push(buffer);
            let added = buffer.len() - before;
            if buffer.is_empty()
                && let Some(buffer) = write.buffer.take()
            {
                return_write_buffer(buffer); // nothing was written, as with a barrier
            }
            write.queued += added as u64;
            write.queued
        };
        self.flush_at_end_of_turn();
        position
    }

    fn flush_at_end_of_turn(self: &Rc<Self>) {
        if !self.flags.flush_due.get() && !self.flags.awaits_room.get() && self.write.borrow().pending() > 0 {
            self.flags.flush_due.set(true);
            self.registration.before_poll(Rc::clone(self) as Rc<dyn BeforePoll>);
        }
    }

    /// Waits until `position` has been sent, sending as much as the kernel takes.
    fn poll_sent(self: &Rc<Self>, cx: &mut Context<'_>, position: u64) -> Poll<Result<(), StreamError>> {
        let is_sent = |write: &WriteSide| write.sent >= position;
        if is_sent(&self.write.borrow()) {
            return Poll::Ready(Ok(()));
        }
        if !self.flags.awaits_room.get() && self.closed.borrow().is_none() {
            self.send();
            if is_sent(&self.write.borrow()) {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(error) = self.closed_error() {
            return Poll::Ready(Err(error));
        }
        let mut write = self.write.borrow_mut();
        match write.waiting.iter_mut().find(|(at, waker)| *at == position && waker.will_wake(cx.waker())) {
            Some(_) => {}
            None => write.waiting.push((position, cx.waker().clone())),
        }
        Poll::Pending
    }

    /// Sends until nothing is left, the kernel takes no more, or this turn's share is used up; sees to it that the
    /// rest goes later.
    pub(crate) fn send(self: &Rc<Self>) {
        let outcome = self.send_some();
        let told = {
            let mut write = self.write.borrow_mut();
            let sent = write.sent;
            if write.queued == sent
                && let Some(buffer) = write.buffer.take()
            {
                return_write_buffer(buffer);
            }
            extract_reached(&mut write.waiting, sent)
        };
        for waker in told {
            waker.wake();
        }
        match outcome {
            Ok(Sent::All) => {}
            Ok(Sent::Share) => self.flush_at_end_of_turn(),
            Ok(Sent::UntilFull) => {
                self.flags.awaits_room.set(true);
                match self.attach() {
                    Ok(()) => self.registration.call_when_writable(Rc::clone(self) as Rc<dyn BeforePoll>),
                    Err(error) => {
                        self.fail(error);
                    }
                }
            }
            Err(error) => {
                self.fail(error);
            }
        }
    }

    fn send_some(&self) -> io::Result<Sent> {
        let mut write = self.write.borrow_mut();
        let mut socket = self.socket.borrow_mut();
        let (Some(socket), WriteSide { buffer: Some(buffer), sent, .. }) = (socket.as_mut(), &mut *write)
        else {
            return Ok(Sent::All);
        };
        let mut this_turn = 0;
        while !buffer.is_empty() {
            if this_turn >= BYTES_PER_TURN {
                return Ok(Sent::Share);
            }
            let (front, only) = buffer.front();
            let (result, tried) = if only {
                (socket.write(front), front.len())
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = buffer.slices(&mut slices);
                let tried = slices[..count].iter().map(|slice| slice.len()).sum();
                (socket.write_vectored(&slices[..count]), tried)
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let n = n.min(tried);
                    buffer.advance(n);
                    *sent += n as u64;
                    this_turn += n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.registration.clear(Ready::WRITABLE);
                    return Ok(Sent::UntilFull);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::All)
    }

    /// Offers what waits to the kernel once, for a stream that is about to close.
    pub(crate) fn offer_output(&self) {
        if self.write.borrow().pending() > 0 && !self.flags.awaits_room.get() {
            // Nobody is left to be told of a failure: the stream closes either way.
            let _ = self.send_some();
        }
    }

    /// Drops what waits to be sent and tells who waits for it.
    pub(crate) fn discard_output(&self) {
        let waiting = self.write.borrow_mut().discard();
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

impl BeforePoll for Inner {
    fn before_poll(self: Rc<Self>) {
        self.flags.flush_due.set(false);
        self.flags.awaits_room.set(false);
        if self.closed.borrow().is_none() {
            self.send();
        }
    }
}

/// How far a round of sending came.
enum Sent {
    All,
    Share,
    UntilFull,
}

/// Takes out who waits for a position that has been reached.
fn extract_reached(waiting: &mut Vec<(u64, Waker)>, sent: u64) -> Vec<Waker> {
    if waiting.iter().all(|(position, _)| *position > sent) {
        return Vec::new();
    }
    let (reached, later): (Vec<_>, Vec<_>) =
        std::mem::take(waiting).into_iter().partition(|(at, _)| *at <= sent);
    *waiting = later;
    reached.into_iter().map(|(_, waker)| waker).collect()
}

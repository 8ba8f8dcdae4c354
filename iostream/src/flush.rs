//! Sending: what has been queued goes to the transport when the reader is about to wait, when somebody waits for it,
//! when there is room again, and at the latest at the end of the turn.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ioloop::{BeforePoll, Ready};

use crate::budget;
use crate::error::{CloseReason, StreamError};
use crate::held_back;
use crate::pool::{lease_write_buffer, return_write_buffer};
use crate::stream::{Due, Inner, Rare, Side};
use crate::transport::Socket;
use crate::write_buffer::{SLICES, WriteBuffer};

/// Bytes that one stream may send in one turn before the others get theirs (IO30): 1 MiB and what frames it, so that a
/// mebibyte with a head in front leaves in one write.
pub(crate) const BYTES_PER_TURN: usize = (1024 + 64) * 1024;

/// The outgoing half of a stream.
#[derive(Default)]
pub(crate) struct WriteSide {
    /// Leased while bytes wait; out of its place while they are being sent.
    buffer: Cell<Option<Box<WriteBuffer>>>,
    /// Bytes taken over and bytes sent since the stream was made.
    queued: Cell<u64>,
    sent: Cell<u64>,
}

impl WriteSide {
    /// Bytes taken over since the stream was made.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.get()
    }

    /// Bytes sent since the stream was made.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Notes that `bytes` more have been taken over; gives the position behind them.
    pub(crate) fn count_queued(&self, bytes: usize) -> u64 {
        let position = self.queued() + bytes as u64;
        self.queued.set(position);
        position
    }

    /// Notes that `bytes` more have been sent.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.set(self.sent() + bytes as u64);
    }

    /// Has `push` put what is [counted](WriteSide::count_queued) already in front of everything that waits.
    pub(crate) fn queue_in_front(&self, push: impl FnOnce(&mut WriteBuffer)) {
        let mut buffer = lease_write_buffer();
        push(&mut buffer);
        self.put_back(buffer);
    }

    /// The memory that goes when what waits has been sent.
    pub(crate) fn held(&self) -> usize {
        let buffer = self.buffer.take();
        let held = buffer.as_ref().map_or(0, |buffer| buffer.held());
        self.buffer.set(buffer);
        held
    }

    /// Lets `work` use the buffer, which is out of its place meanwhile.
    pub(crate) fn with_buffer<R>(&self, work: impl FnOnce(&mut WriteBuffer) -> R) -> R {
        let mut buffer = self.buffer.take().unwrap_or_else(lease_write_buffer);
        let result = work(&mut buffer);
        self.put_back(buffer);
        result
    }

    /// Empty memory for a writer in place. The buffer stays where it is, for what the writer does meanwhile: it may write, send
    /// and close; so [`take_piece`](Self::take_piece) or [`ReturnsEmptyBuffer`] is to follow.
    #[inline]
    pub(crate) fn lend_piece(&self) -> Vec<u8> {
        let mut buffer = self.buffer.take().unwrap_or_else(lease_write_buffer);
        let piece = buffer.blank_piece();
        self.buffer.set(Some(buffer));
        piece
    }

    /// Queues what the writer has made of it.
    #[inline(always)]
    pub(crate) fn take_piece(&self, piece: Vec<u8>) {
        let mut buffer = self.buffer.take().unwrap_or_else(lease_write_buffer); // the writer may have sent all there was
        self.count_queued(piece.len());
        buffer.push_piece(piece);
        match buffer.is_empty() {
            true => return_write_buffer(buffer),
            false => self.buffer.set(Some(buffer)),
        }
    }

    /// Puts the buffer back, in front of what was written meanwhile; to the pool if nothing is in it.
    #[inline]
    fn put_back(&self, mut buffer: Box<WriteBuffer>) {
        if let Some(meanwhile) = self.buffer.take() {
            put_behind(&mut buffer, meanwhile);
        }
        match buffer.is_empty() {
            true => return_write_buffer(buffer),
            false => self.buffer.set(Some(buffer)),
        }
    }
}

/// Gives the buffer back if nothing is in it.
pub(crate) struct ReturnsEmptyBuffer<'a>(pub(crate) &'a WriteSide);

impl Drop for ReturnsEmptyBuffer<'_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.buffer.take() {
            self.0.put_back(buffer);
        }
    }
}

#[cold]
fn put_behind(buffer: &mut WriteBuffer, mut later: Box<WriteBuffer>) {
    buffer.append(&mut later);
    return_write_buffer(later);
}

impl Inner {
    pub(crate) fn can_write(&self) -> bool {
        self.flags.output.get() == Side::Open && !self.is_closed()
    }

    pub(crate) fn write_error(&self) -> StreamError {
        self.closed_error().unwrap_or(match self.flags.output.get() {
            Side::Missing => StreamError::NotWritable,
            _ => StreamError::Closed(CloseReason::Local), // it was this side that ended its output
        })
    }

    /// Bytes that wait to be sent. Not what is in the buffer: that may be out of its place.
    pub(crate) fn pending(&self) -> usize {
        if self.is_closed() {
            return 0;
        }
        (self.write.queued() - self.write.sent()) as usize
    }

    /// Whether data from the position `start` on must wait for what is queued before it.
    pub(crate) fn lacks_room_at(&self, start: u64) -> bool {
        let before = start.saturating_sub(self.write.sent());
        before > 0 && (before >= self.options.max_write_buffer_size as u64 || self.holds_too_much())
    }

    /// Whether the stream holds more than there is left, where memory is scarce.
    fn holds_too_much(&self) -> bool {
        budget::scarce(0).is_some_and(|share| self.held() > share)
    }

    pub(crate) fn queue(self: &Rc<Self>, data: Bytes) -> u64 {
        self.queue_with(|buffer| buffer.push(data))
    }

    /// Puts something into the buffer; gives the position behind it.
    pub(crate) fn queue_with(self: &Rc<Self>, push: impl FnOnce(&mut WriteBuffer)) -> u64 {
        let added = self.write.with_buffer(|buffer| {
            let before = buffer.len();
            push(buffer);
            buffer.len() - before
        });
        let position = self.write.count_queued(added);
        self.flush_at_end_of_turn();
        position
    }

    #[inline]
    pub(crate) fn flush_at_end_of_turn(self: &Rc<Self>) {
        if !self.flags.due.get().has(Due::FLUSH) && !self.flags.awaits_room.get() && self.pending() > 0 {
            self.do_at_end_of_turn(Due::FLUSH);
        }
    }

    pub(crate) fn do_at_end_of_turn(self: &Rc<Self>, what: Due) {
        let due = self.flags.due.get();
        self.flags.due.set(due.and(what));
        if due == Due::NOTHING {
            self.registration.before_poll(Rc::clone(self) as Rc<dyn BeforePoll>);
        }
    }

    /// Waits until `position` has been sent, sending as much as the kernel takes.
    pub(crate) fn poll_sent(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        position: u64,
    ) -> Poll<Result<(), StreamError>> {
        let is_sent = || self.write.sent() >= position;
        if !is_sent() && !self.flags.awaits_room.get() && !self.is_closed() {
            self.send_now();
        }
        if is_sent() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = self.closed_error() {
            return Poll::Ready(Err(error));
        }
        if let Err(error) = self.may_wait() {
            return Poll::Ready(Err(self.fail(error)));
        }
        if let Some(mut buffer) = self.write.buffer.take() {
            buffer.drop_spare();
            self.write.buffer.set(Some(buffer));
        }
        self.wake_when_sent(cx, position);
        Poll::Pending
    }

    /// Wakes who waits for a position that has been reached, in the order of the writes (IO25).
    #[inline(never)]
    pub(crate) fn wake_reached(&self, rare: &Rare) {
        let (sent, mut waiting) = (self.write.sent(), rare.waiting.take());
        if waiting.is_empty() {
            return;
        }
        let behind = waiting.partition_point(|(position, _)| *position <= sent);
        let reached: Vec<_> = waiting.drain(..behind).collect();
        if !waiting.is_empty() {
            rare.waiting.set(waiting);
        }
        reached.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Has the task woken after the next round of sending that finds `position` sent, or when the stream closes.
    ///
    /// A step for each other that waits for the very same position, as only those do who have flushed with nothing written in between: of 16,000
    /// such each costs 5 µs. A set by waker would be quicker for them, and wake in no order (IO25).
    fn wake_when_sent(&self, cx: &mut Context<'_>, position: u64) {
        let place = &self.rare().waiting;
        let waiting = place.take();
        let from = waiting.partition_point(|(at, _)| *at < position);
        let mut here = waiting.range(from..).take_while(|(at, _)| *at == position);
        let waits_already = here.any(|(_, waker)| waker.will_wake(cx.waker()));
        place.set(waiting);
        if !waits_already {
            let waker = cx.waker().clone(); // while the list is in its place: it may be foreign code
            let mut waiting = place.take();
            let behind = waiting.partition_point(|(at, _)| *at <= position);
            waiting.insert(behind, (position, waker));
            place.set(waiting);
        }
    }

    /// Has the transport end its side behind everything that was sent; waits for room if it needs that, as TLS does.
    pub(crate) fn poll_end_output(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if let Some(error) = self.closed_error() {
            return Poll::Ready(Err(error));
        }
        match self.with_socket(Socket::shutdown_write) {
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(error) = self.closed_error() {
                    return Poll::Ready(Err(error)); // the transport has closed its stream
                }
                let sent = self.write.sent();
                self.wake_when_sent(cx, sent); // first, as waiting for room may close the stream
                if let Err(error) = self.may_wait() {
                    return Poll::Ready(Err(self.fail(error)));
                }
                if !self.flags.awaits_room.get() {
                    self.registration.clear(Ready::WRITABLE);
                    self.send_when_there_is_room();
                }
                Poll::Pending
            }
            Some(Err(error)) => Poll::Ready(Err(self.fail_writing(error))),
            Some(Ok(())) => {
                self.flags.output.set(Side::Ended);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Ok(())),
        }
    }

    /// Sends what would else be sent at the end of the turn.
    pub(crate) fn send_before_waiting(self: &Rc<Self>) {
        if (self.flags.due.get().has(Due::FLUSH) || self.pending() > 0) && !self.flags.awaits_room.get() {
            self.send_now();
        }
    }

    /// Sends what would else be sent at the end of the turn, which then need not be reminded of it.
    fn send_now(self: &Rc<Self>) {
        self.send();
        let is_needless = self.flags.due.get() == Due::FLUSH && self.pending() == 0;
        if is_needless && self.registration.take_back_before_poll(self) {
            self.flags.due.set(Due::NOTHING);
        }
    }

    /// Sends until nothing is left, the kernel takes no more, or this turn's share is used up; sees to it that the
    /// rest goes later.
    fn send(self: &Rc<Self>) {
        let most = self.shares.left_to_write(self.registration.turn(), BYTES_PER_TURN);
        let outcome = self.send_at_most(most);
        if budget::is_watched() {
            held_back::look_again(self.id());
        }
        if let Some(rare) = self.rare_if_any() {
            self.wake_reached(rare);
        }
        match outcome {
            Ok(Sent::Enough) => self.flush_at_end_of_turn(),
            Ok(Sent::UntilFull) => self.send_when_there_is_room(),
            Err(error) => {
                self.fail_writing(error);
            }
        }
    }

    /// Closes because the transport takes nothing more. What the peer has said before stays readable, as far as it has come.
    #[cold]
    pub(crate) fn fail_writing(&self, error: io::Error) -> StreamError {
        let error = self.save_input().unwrap_or(error);
        self.fail(error)
    }

    pub(crate) fn send_when_there_is_room(self: &Rc<Self>) {
        if self.is_closed() {
            return; // by the transport, while it was offered something; waiting, the stream would keep itself
        }
        self.flags.awaits_room.set(true);
        match self.attach() {
            Ok(()) => self.registration.call_when_writable(Rc::clone(self) as Rc<dyn BeforePoll>),
            Err(error) => {
                self.fail(error);
            }
        }
    }

    /// Sees to it that what the transport itself could not send goes when there is room.
    pub(crate) fn flush_transport_when_possible(self: &Rc<Self>) {
        if !self.flags.awaits_room.get() && self.with_socket(|socket| socket.wants_flush()) == Some(true) {
            self.registration.clear(Ready::WRITABLE);
            self.send_when_there_is_room();
        }
    }

    fn flush_transport(&self) -> io::Result<Sent> {
        match self.with_socket(Socket::send_own) {
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.registration.clear(Ready::WRITABLE);
                Ok(Sent::UntilFull)
            }
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => Ok(Sent::Enough),
        }
    }

    fn send_at_most(&self, most: usize) -> io::Result<Sent> {
        let Some(buffer) = self.write.buffer.take() else {
            return self.flush_transport(); // there is nothing, or the transport calls from inside a write
        };
        let mut borrowed = BorrowedOutput { inner: self, buffer: Some(buffer) };
        match &mut borrowed.buffer {
            Some(buffer) => self.send_from(buffer, most),
            None => Ok(Sent::Enough),
        }
    }

    #[inline]
    fn send_from(&self, buffer: &mut WriteBuffer, most: usize) -> io::Result<Sent> {
        let mut left = most;
        while left > 0 && !buffer.is_empty() {
            let Some((result, tried)) = self.with_socket(|socket| send_once(socket, buffer, left)) else {
                break; // the stream was closed, or the transport calls from inside a read
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let n = n.min(tried);
                    buffer.advance(n);
                    self.write.count_sent(n);
                    self.shares.count_written(self.registration.turn(), n);
                    left = left.saturating_sub(n);
                    if n < tried && self.with_socket(|socket| socket.short_write_means_full()) == Some(true) {
                        self.registration.clear(Ready::WRITABLE);
                        return Ok(Sent::UntilFull);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.registration.clear(Ready::WRITABLE);
                    return Ok(Sent::UntilFull);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::Enough)
    }

    /// Offers what waits to the kernel once more, for a stream that is about to close. The transport may say farewell if
    /// that was everything; if it was not, the peer must not take it for everything.
    pub(crate) fn offer_output(&self) {
        // Nobody is left to be told of a failure: the stream closes either way.
        let _ = self.send_at_most(BYTES_PER_TURN);
        if self.pending() == 0 {
            self.with_socket(Socket::say_goodbye);
        }
    }

    /// Drops what waits to be sent and tells who waits for it.
    pub(crate) fn discard_output(&self) {
        self.write.buffer.take().into_iter().for_each(return_write_buffer);
        let waiting = self.rare_if_any().map(|rare| rare.waiting.take());
        for (_, waker) in waiting.into_iter().flatten() {
            waker.wake();
        }
    }
}

impl BeforePoll for Inner {
    fn before_poll(self: Rc<Self>) {
        if self.flags.due.take().has(Due::TIDY) {
            self.read_side.with(|buffer| buffer.park(self.options.read_chunk_size));
        }
        if self.is_closed() {
            return;
        }
        if self.flags.awaits_room.get() {
            if !self.registration.ready().is_writable() {
                return; // this is the call for the end of the turn; the other one is still to come
            }
            self.flags.awaits_room.set(false);
        } else if self.pending() == 0 {
            return; // whoever waited for it has sent it already
        }
        self.send();
    }
}

/// How far a round of sending came.
enum Sent {
    /// To the end, or to the end of its share.
    Enough,
    UntilFull,
}

/// One write of at most `most` bytes: what came of it, and how much was tried.
#[inline]
fn send_once(socket: &mut Socket, buffer: &WriteBuffer, most: usize) -> (io::Result<usize>, usize) {
    match buffer.only_piece(most) {
        Some(piece) => (socket.write(piece), piece.len()),
        None => send_vectored(socket, buffer, most),
    }
}

/// By itself, so that others do not pay for the room that it takes.
#[inline(never)]
fn send_vectored(socket: &mut Socket, buffer: &WriteBuffer, most: usize) -> (io::Result<usize>, usize) {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let (count, tried) = buffer.slices(&mut slices, most);
    (socket.write_vectored(&slices[..count]), tried)
}

/// What waits to be sent, out of its place while the transport is at work; goes back however that ends, in front of what was
/// written meanwhile.
struct BorrowedOutput<'a> {
    inner: &'a Inner,
    buffer: Option<Box<WriteBuffer>>,
}

impl Drop for BorrowedOutput<'_> {
    #[inline]
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        match self.inner.is_closed() {
            true => return_write_buffer(buffer),
            false => self.inner.write.put_back(buffer),
        }
    }
}

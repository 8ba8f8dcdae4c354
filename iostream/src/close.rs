//! Closing: at once, after everything was sent, or because the connection failed; and who is told.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use ioloop::Deadline;

use crate::budget;
use crate::close_watch::CloseCallback;
use crate::error::{CloseReason, StreamError};
use crate::held_back;
use crate::stream::{Inner, IoStream, Side};

impl IoStream {
    /// Closes the stream now (IO34). What waits to be sent is offered to the kernel once more and then dropped; use
    /// [`shutdown`](IoStream::shutdown) to wait for it. What has been read stays readable. Harmless when repeated.
    ///
    /// Over TLS the peer is told of the end if there is room for that at once; otherwise it sees a connection that was
    /// cut.
    ///
    /// Reads and writes that wait fail with [`CloseReason::Local`].
    pub fn close(&self) {
        self.inner.close(CloseReason::Local);
    }

    /// [`close`](IoStream::close) with a cause of your own, for everybody who waits and whoever asks later: Tornado's
    /// `close(exc_info)` (IO35).
    pub fn close_with(&self, cause: io::Error) {
        if !self.is_closed() {
            self.inner.offer_output();
            self.inner.fail(cause);
        }
    }

    /// Closes the stream gracefully: sends everything, tells the peer that nothing more will come, reads and drops
    /// what the peer still sends until it ends its side too, then closes. When `deadline` has passed since the call it
    /// closes in any case, and also when 256 MiB were dropped, which takes a line of more than a gigabit two seconds. If
    /// another task has a read under way, nothing is dropped: that task gets what the peer still sends, in this read and in later ones. If
    /// that task does not read on to the end, this closes at the deadline.
    ///
    /// Waiting for the peer's end matters: closing while bytes arrive makes the kernel send a reset, which can
    /// overtake what was sent last.
    ///
    /// # Errors
    ///
    /// The failure that closed the stream before everything was sent; [`CloseReason::Local`] at the deadline, if not
    /// everything was sent by then.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the stream open, with its side perhaps ended already.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), StreamError> {
        let end = self.now().checked_add(deadline); // `None` is as good as never
        let sent = self.until(end, self.shutdown_write()).await;
        if let Some(Ok(())) = sent {
            self.until(end, self.discard_input()).await;
        }
        self.close();
        sent.unwrap_or(Err(StreamError::Closed(CloseReason::Local)))
    }

    /// Sends everything and tells the peer that nothing more will come. Reading goes on; writing is over. Done when the end,
    /// too, has been handed to the kernel. If the peer goes on sending and the stream is dropped before the peer has ended its side, the
    /// last bytes can still be lost: see [`shutdown`](IoStream::shutdown).
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream closes before everything was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the stream open, with its side perhaps ended already; it may be called again.
    pub async fn shutdown_write(&self) -> Result<(), StreamError> {
        // Unlike `flush` this goes on while others write, so that nothing of theirs is cut off.
        poll_fn(|cx| self.poll_flush_to(cx, 0)).await?;
        let output = &self.inner.flags.output;
        if output.get() == Side::Open {
            output.set(Side::Ending);
        }
        if output.get() == Side::Ending || self.inner.with_socket(|socket| socket.wants_flush()) == Some(true)
        {
            poll_fn(|cx| self.inner.poll_end_output(cx)).await?;
        }
        Ok(())
    }

    /// Waits until the stream is closed, by either side's doing or by a failure. The end of the peer's side alone does
    /// not close it, but a reset that follows is noticed. Any number of tasks may wait, also while others read and
    /// write.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn closed(&self) {
        self.inner.wait_for_end(Inner::is_gone).await;
    }

    /// Has `callback` called once, in a later turn of the loop: when the stream closes for whatever cause, or when
    /// the peer has ended its side, whichever is first (IO38). `None` takes back a callback that was set.
    ///
    /// Unlike in Tornado it is also called on a stream that is closed already, and the end of the peer's side is
    /// noticed however much is unread. A read that is satisfied or fails by the same event is told first. Bytes that
    /// were read stay readable, and after the peer's end the stream can still be written to. A callback that holds a clone
    /// of the stream keeps it open.
    pub fn set_close_callback(&self, callback: Option<CloseCallback>) {
        if callback.is_none() && self.inner.close_watch().is_none() {
            return;
        }
        let watch = self.inner.watch();
        watch.set_callback(callback);
        if self.inner.has_ended() {
            watch.call_later(&self.io_loop());
        }
    }

    /// Reads until the peer has ended its side, or has sent more than is reasonable, or until reading fails; that is of no
    /// interest any more. Where bytes go one way only, nothing that was sent can be lost by what is unread.
    async fn discard_input(&self) {
        let inner = &self.inner;
        if !inner.goes_both_ways() {
            return;
        }
        let Ok(_reading) = inner.begin_read() else {
            // Another task reads: what is buffered is a part of what it waits for, and that the peer has ended its side is news of
            // what it may not have read yet.
            return inner.wait_for_end(Inner::is_read_to_the_end).await;
        };
        let mut left = DISCARDED_BYTES;
        while left > 0 {
            left = left.saturating_sub(self.buffered());
            self.consume(usize::MAX);
            match poll_fn(|cx| inner.poll_fill(cx)).await {
                Ok(0) | Err(StreamError::Closed(_)) => return,
                Ok(_) => {}
                Err(_) => return inner.wait_for_end(Inner::has_ended).await, // there is no memory to read into
            }
        }
    }

    /// `None` if `end` passes first.
    pub(crate) async fn until<T>(&self, end: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
        let deadline = Deadline::new(&self.io_loop());
        deadline.set(end);
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => deadline.poll(cx).map(|()| None),
        })
        .await
    }
}

impl Inner {
    /// Whether nothing is left in the transport for who reads.
    fn is_read_to_the_end(&self) -> bool {
        self.is_closed() || self.is_end_of_stream()
    }

    /// Closes for `reason`, unless the stream is closed already; tells everybody who waits.
    pub(crate) fn close(&self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        // The turn may not have been flushed yet: `write` then `close` in one breath sends, as in Tornado.
        if !reason.is_failure() {
            self.offer_output();
        }
        if self.is_closed() {
            return; // the transport closed its stream while it was offered the rest
        }
        self.note_closed(reason);
        let socket = self.socket.take();
        drop(socket);
        self.discard_output();
        if budget::is_watched() {
            held_back::forget(self.id());
        }
        self.registration.close();
    }

    /// Closes because the transport failed, and gives the error for whoever ran into it.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail(&self, error: io::Error) -> StreamError {
        self.close(CloseReason::of(error));
        self.closed_error().unwrap_or_else(StreamError::end_of_stream)
    }
}

/// What is read and dropped at most of a peer that sends on when our side has ended.
const DISCARDED_BYTES: usize = 256 << 20;

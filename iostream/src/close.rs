//! Closing: at once, after everything was sent, or because the connection failed; and who is told.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ioloop::Deadline;

use crate::error::{CloseReason, StreamError};
use crate::stream::{Inner, IoStream};

/// A callback that waits for the end, until it is taken to be called or replaced.
pub(crate) type CloseCallback = RefCell<Option<Box<dyn FnOnce()>>>;

impl IoStream {
    /// Closes the stream now (IO34). What waits to be sent is offered to the kernel once more and then dropped; use
    /// [`shutdown`](IoStream::shutdown) to wait for it. What has been read stays readable. Harmless when repeated.
    ///
    /// Reads and writes that wait fail with [`CloseReason::Local`].
    pub fn close(&self) {
        self.inner.close(CloseReason::Local);
    }

    /// Ends the stream in good order: sends everything, tells the peer that nothing more will come, reads and drops
    /// what the peer still sends until it ends its side too, then closes. At the deadline it closes in any case.
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
        let sent = self.in_time(deadline, self.shutdown_write()).await;
        if let Some(Ok(())) = sent {
            // Errors on the way are of no interest any more: everything was sent.
            let _ = self.in_time(deadline, self.discard_input()).await;
        }
        self.close();
        sent.unwrap_or(Err(StreamError::Closed(CloseReason::Local)))
    }

    /// Sends everything and tells the peer that nothing more will come. Reading goes on; writing is over.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) if the stream closes before everything was sent.
    pub async fn shutdown_write(&self) -> Result<(), StreamError> {
        self.flush().await?;
        if !self.inner.flags.write_shut.replace(true) {
            let result = match self.inner.socket.borrow_mut().as_mut() {
                Some(socket) => socket.shutdown_write(),
                None => Ok(()),
            };
            result.map_err(|error| self.inner.fail(error))?;
        }
        Ok(())
    }

    /// Waits until the stream is closed, by either side's doing or by a failure. The end of the peer's side alone does
    /// not close it.
    pub async fn closed(&self) {
        poll_fn(|cx| {
            if self.is_peer_gone() {
                return Poll::Ready(());
            }
            if let Err(error) = self.inner.attach() {
                self.inner.fail(error);
                return Poll::Ready(());
            }
            match self.inner.registration.poll_closed(cx) {
                Poll::Ready(_) if self.is_peer_gone() => Poll::Ready(()),
                // The peer has ended its side, and will show nothing more until something is written.
                Poll::Ready(_) | Poll::Pending => Poll::Pending,
            }
        })
        .await;
    }

    /// Has `callback` called once, in a later turn of the loop: when the stream closes for whatever cause, or when
    /// the peer has ended its side, whichever is first (IO38). `None` takes back a callback that was set.
    ///
    /// Unlike in Tornado it is also called on a stream that is closed already, and the end of the peer's side is
    /// noticed however much is unread. A read that is satisfied or fails by the same event is told first. Bytes that
    /// were read stay readable, and after the peer's end the stream can still be written to.
    pub fn set_close_callback(&self, callback: Option<Box<dyn FnOnce()>>) {
        let inner = &self.inner;
        let had = inner.close_callback.borrow_mut().take();
        if let Some(cell) = had {
            // The task that watches finds nothing to call and ends.
            let previous = cell.take();
            drop(previous);
        }
        let Some(callback) = callback else { return };
        let cell: Rc<CloseCallback> = Rc::new(RefCell::new(Some(callback)));
        inner.close_callback.replace(Some(Rc::clone(&cell)));
        if let Err(error) = inner.attach() {
            inner.fail(error);
        }
        let watched = Rc::downgrade(inner);
        inner.registration.io_loop().spawn_detached(async move {
            poll_fn(|cx| match watched.upgrade() {
                Some(inner) if inner.closed.borrow().is_none() => {
                    inner.registration.poll_closed(cx).map(|_| ())
                }
                _ => Poll::Ready(()),
            })
            .await;
            let callback = cell.take();
            if let Some(callback) = callback {
                callback();
            }
        });
    }

    async fn discard_input(&self) -> Result<(), StreamError> {
        loop {
            self.consume(usize::MAX);
            if self.fill().await? == 0 {
                return Ok(());
            }
        }
    }

    /// `None` if `limit` passes first.
    async fn in_time<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut deadline = Deadline::new(&self.io_loop());
        deadline.set(Some(self.inner.registration.now() + limit));
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => deadline.poll(cx).map(|()| None),
        })
        .await
    }
}

impl Inner {
    /// Closes for `reason`, unless the stream is closed already; tells everybody who waits.
    pub(crate) fn close(&self, reason: CloseReason) {
        if self.closed.borrow().is_some() {
            return;
        }
        // The turn may not have been flushed yet: `write` then `close` in one breath sends, as in Tornado.
        if !matches!(reason, CloseReason::Io(_)) {
            self.offer_output();
        }
        self.closed.replace(Some(Box::new(reason)));
        let socket = self.socket.take();
        drop(socket); // outside the borrow: a transport of the user's own has its own destructor
        self.discard_output();
        self.registration.close();
    }

    /// Closes because the transport failed, and gives the error for whoever ran into it.
    pub(crate) fn fail(&self, error: io::Error) -> StreamError {
        self.close(CloseReason::Io(Arc::new(error)));
        self.closed_error().unwrap_or_else(StreamError::end_of_stream)
    }
}

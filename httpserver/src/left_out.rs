//! What a handler makes of a body that an answer to HEAD leaves out: bounded like what waits for a peer that takes nothing.

use std::cell::Cell;

use iostream::{CloseReason, StreamError};

use crate::active::Active;
use crate::error::HttpError;

#[derive(Default)]
pub(crate) struct LeftOut {
    /// What has been made since the handler was last held up.
    bytes: Cell<usize>,
    /// Whether the handler waits, or did, where no more is wanted.
    is_enough: Cell<bool>,
}

impl LeftOut {
    /// Forgets what was noted of the request before.
    pub(crate) fn begin(&self) {
        self.bytes.set(0);
        self.is_enough.set(false);
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.bytes.get() > 0
    }
}

impl Active<'_> {
    /// Nothing holds up a handler whose body nobody is sent, so one that streams without an end would never stop. When it has made as
    /// much as may wait for a peer, it has made enough.
    pub(crate) async fn room_for_more_that_is_left_out(&self) -> Result<(), HttpError> {
        // Who has ended the answer makes nothing more, and is not dropped.
        let goes_on = self.protocol.borrow().leaves_body_out();
        if !goes_on || self.left_out.bytes.get() < self.session.core.options.max_buffered_response {
            return Ok(());
        }
        self.left_out.bytes.set(0);
        Box::pin(self.make_no_more()).await
    }

    /// Whether the handler of an answer to HEAD waits for nothing, and has not ended the answer itself meanwhile.
    pub(crate) fn has_made_enough(&self) -> bool {
        self.left_out.is_enough.get() && self.protocol.borrow().leaves_body_out()
    }

    /// Where the handler of an answer to HEAD is dropped, which is complete with its head. One that is to run to its end lets others have
    /// their turn. That its peer has gone no write will ever tell it, as nothing is sent, so the end of the peer's side does.
    pub(crate) async fn make_no_more(&self) -> Result<(), HttpError> {
        if self.session.core.options.cancel_on_disconnect {
            self.left_out.is_enough.set(true);
            std::future::pending::<()>().await;
        }
        ioloop::yield_now().await;
        let stream = &self.session.stream;
        if stream.has_peer_ended() {
            let reason = stream.close_reason().unwrap_or(CloseReason::EndOfStream);
            return Err(StreamError::Closed(reason).into());
        }
        Ok(())
    }
}

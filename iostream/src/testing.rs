//! Transports for tests, without socket and kernel, every call counted: one that follows a script ([`scripted`]), and
//! two connected streams with all the faults that a connection may have ([`pair`], [`Pair`]).
//!
//! ```
//! use iostream::{IoStream, testing};
//! use ioloop::testing::VirtualLoop;
//!
//! let test = VirtualLoop::new();
//! test.run(async {
//!     let (transport, script) = testing::scripted();
//!     let stream = IoStream::new(transport)?;
//!     script.send(b"PING\r\nPI");
//!     assert_eq!(stream.read_until(b"\r\n").await?, "PING\r\n");
//!     stream.write("PONG\r\n").await?;
//!     assert_eq!(script.received(), b"PONG\r\n");
//!     assert_eq!((script.calls().reads, script.calls().writes), (1, 1));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faults;
mod pair;
mod wire;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use bytes::Bytes;
use ioloop::{Notifier, Ready, Registration};

use crate::transport::Transport;

pub use faults::Faults;
pub use pair::{Pair, Side, Wire, pair};

/// Makes a transport and the script that plays its peer.
#[must_use]
pub fn scripted() -> (Box<Scripted>, Script) {
    let state = Rc::new(RefCell::new(State { short_read_means_drained: true, ..State::default() }));
    (Box::new(Scripted { state: Rc::clone(&state) }), Script { state })
}

/// The transport: it goes into [`IoStream::new`](crate::IoStream::new).
#[derive(Debug)]
pub struct Scripted {
    state: Rc<RefCell<State>>,
}

/// The peer's side of a scripted transport. Clones share one.
#[derive(Debug, Clone)]
pub struct Script {
    state: Rc<RefCell<State>>,
}

/// How often a transport was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Calls {
    /// Reads, those that found nothing included.
    pub reads: usize,
    /// Reads that found nothing: `WouldBlock`.
    pub reads_blocked: usize,
    /// Writes, plain and vectored, those that found no room included.
    pub writes: usize,
    /// Writes that found no room: `WouldBlock`.
    pub writes_blocked: usize,
    /// Times the transport was attached to a loop.
    pub attaches: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Each segment is given by reads of its own, as the segments of a network may be.
    incoming: VecDeque<Bytes>,
    finished: bool,
    failure: Option<io::ErrorKind>,
    outgoing: Vec<u8>,
    /// Bytes that may still be written; `None` for any number.
    room: Option<usize>,
    largest_read: Option<usize>,
    largest_write: Option<usize>,
    short_read_means_drained: bool,
    /// Calls that are still to find nothing, or no room, although there is some.
    block_reads: usize,
    block_writes: usize,
    shut: bool,
    dropped: bool,
    calls: Calls,
    notifier: Option<Notifier>,
}

impl State {
    fn notify(&self, ready: Ready) {
        if let Some(notifier) = &self.notifier {
            notifier.set_ready(ready);
        }
    }

    fn ready(&self) -> Ready {
        let mut ready = Ready::EMPTY;
        if !self.incoming.is_empty() {
            ready |= Ready::READABLE;
        }
        if self.finished {
            ready |= Ready::READABLE | Ready::READ_CLOSED;
        }
        if self.failure.is_some() {
            ready |=
                Ready::READABLE | Ready::WRITABLE | Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR;
        }
        if self.room != Some(0) {
            ready |= Ready::WRITABLE;
        }
        ready
    }
}

impl Script {
    /// Sends `data` as one segment: reads do not reach across its end.
    pub fn send(&self, data: impl AsRef<[u8]>) {
        let mut state = self.state.borrow_mut();
        if !data.as_ref().is_empty() {
            state.incoming.push_back(Bytes::copy_from_slice(data.as_ref()));
            state.notify(Ready::READABLE);
        }
    }

    /// Sends `data` in segments of `size` bytes.
    ///
    /// # Panics
    ///
    /// When `size` is zero.
    pub fn send_in_segments(&self, data: impl AsRef<[u8]>, size: usize) {
        data.as_ref().chunks(size).for_each(|segment| self.send(segment));
    }

    /// Ends the peer's side, behind what was sent. One event tells of both.
    pub fn finish(&self) {
        let mut state = self.state.borrow_mut();
        state.finished = true;
        state.notify(Ready::READABLE | Ready::READ_CLOSED);
    }

    /// Breaks the connection: what was sent and not read is lost, and every operation fails with `kind`.
    pub fn fail(&self, kind: io::ErrorKind) {
        self.state.borrow_mut().incoming.clear();
        self.fail_behind(kind);
    }

    /// Breaks the connection behind what was sent: that can still be read, then reads fail with `kind`. Writes fail at
    /// once. One event tells of everything.
    pub fn fail_behind(&self, kind: io::ErrorKind) {
        let mut state = self.state.borrow_mut();
        state.failure = Some(kind);
        state.notify(state.ready());
    }

    /// Resets the connection.
    pub fn reset(&self) {
        self.fail(io::ErrorKind::ConnectionReset);
    }

    /// Takes everything that has been written so far.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.borrow_mut().outgoing)
    }

    /// Lets `bytes` more be written, `None` for any number; then writes would block.
    pub fn set_room(&self, bytes: Option<usize>) {
        let mut state = self.state.borrow_mut();
        state.room = bytes;
        if bytes != Some(0) {
            state.notify(Ready::WRITABLE);
        }
    }

    /// Lets one read give at most `bytes`, `None` for any number. Short reads then no longer mean "drained".
    pub fn set_largest_read(&self, bytes: Option<usize>) {
        let mut state = self.state.borrow_mut();
        state.largest_read = bytes;
        state.short_read_means_drained = bytes.is_none();
    }

    /// Lets one write take at most `bytes`, `None` for any number.
    pub fn set_largest_write(&self, bytes: Option<usize>) {
        self.state.borrow_mut().largest_write = bytes;
    }

    /// Has the next `reads` reads and `writes` writes say `WouldBlock` whatever there is, each followed by an event that
    /// says otherwise: a storm that must cost no byte.
    pub fn block(&self, reads: usize, writes: usize) {
        let mut state = self.state.borrow_mut();
        (state.block_reads, state.block_writes) = (reads, writes);
    }

    /// Reports readiness although there is nothing: what a poller may do at any time.
    pub fn notify_spuriously(&self) {
        self.notify(Ready::READABLE | Ready::WRITABLE);
    }

    /// Reports `ready`, true or not.
    pub fn notify(&self, ready: Ready) {
        self.state.borrow().notify(ready);
    }

    /// How often the transport has been called.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state.borrow().calls
    }

    /// Whether the stream has ended its side.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.state.borrow().shut
    }

    /// Whether the stream has closed: its transport is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().dropped
    }
}

impl Transport for Scripted {
    fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.calls.attaches += 1;
        state.notifier = Some(registration.notifier());
        state.notify(state.ready());
        Ok(())
    }

    fn detach(&mut self, _registration: &Registration) -> io::Result<()> {
        self.state.borrow_mut().notifier = None;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        state.calls.reads += 1;
        if state.block_reads > 0 {
            state.block_reads -= 1;
            state.calls.reads_blocked += 1;
            state.notify(state.ready());
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let largest = state.largest_read.unwrap_or(usize::MAX);
        let Some(segment) = state.incoming.front_mut() else {
            if let Some(kind) = state.failure {
                return Err(kind.into());
            }
            if state.finished {
                return Ok(0);
            }
            state.calls.reads_blocked += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let n = segment.len().min(buffer.len()).min(largest);
        buffer[..n].copy_from_slice(&segment.split_to(n));
        if segment.is_empty() {
            state.incoming.pop_front();
        }
        // An edge for what is left: a short read at the end of a segment must not look like the end of the data.
        if !state.incoming.is_empty() {
            state.notify(Ready::READABLE);
        }
        Ok(n)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        state.calls.writes += 1;
        if let Some(kind) = state.failure {
            return Err(kind.into());
        }
        let mut left = state.room.unwrap_or(usize::MAX).min(state.largest_write.unwrap_or(usize::MAX));
        if state.block_writes > 0 {
            state.block_writes -= 1;
            state.calls.writes_blocked += 1;
            state.notify(Ready::WRITABLE);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if left == 0 {
            state.calls.writes_blocked += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(left);
            state.outgoing.extend_from_slice(&slice[..n]);
            written += n;
            left -= n;
        }
        state.room = state.room.map(|room| room - written);
        Ok(written)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.state.borrow_mut().shut = true;
        Ok(())
    }

    fn short_read_means_drained(&self) -> bool {
        self.state.borrow().short_read_means_drained
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.state.borrow_mut().dropped = true;
    }
}

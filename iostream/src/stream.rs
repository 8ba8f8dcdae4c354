//! The stream: its state, how it is made, and the questions it answers.
//! Step 4 of path 2 and step 2 of path 3 through the house (see ARCHITECTURE.md).

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ioloop::{BeforePoll, IoLoop, Ready, Registration, RunError};

use crate::close_watch::CloseWatch;
use crate::error::{CloseReason, StreamError};
use crate::flush::WriteSide;
use crate::options::StreamOptions;
use crate::read_buffer::ReadSide;
use crate::transport::{Direction, IntoTransport, Socket};
use crate::turn_share::TurnShares;

/// A buffered stream of bytes over a non-blocking transport: Tornado's `IOStream`.
///
/// This is a handle: clones share one stream, and the stream closes when the last of them goes. All methods take
/// `&self`, so one task may read while another writes. It belongs to the loop that was current when it was made,
/// and to that loop's thread. What must wait on a loop that has closed fails instead, with
/// [`RunError::Closed`](ioloop::RunError::Closed) inside; what has been read stays readable. Only a task of another loop that waits
/// already when this one closes is not told.
///
/// Nothing is read before somebody reads: the kernel's buffer is the back-pressure (IO5). No socket option is
/// set. The transport is registered with the poller once in its life, the first time it would have blocked.
#[derive(Debug)]
#[doc(alias = "IOStream")]
pub struct IoStream {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    /// Before the socket, so that it is dropped first: the slot goes before the descriptor.
    pub(crate) registration: Registration,
    /// Out of its place while it is at work, see `Inner::with_socket`; gone when the stream is closed.
    pub(crate) socket: Cell<Option<Socket>>,
    pub(crate) read_side: ReadSide,
    pub(crate) write: WriteSide,
    pub(crate) flags: Flags,
    pub(crate) shares: TurnShares,
    life: Life,
    /// Bytes read since the stream was made. Beside the shares, which each read writes too: no cache line is touched for it.
    pub(crate) received: Cell<u64>,
    rare: OnceCell<Box<Rare>>,
    pub(crate) options: Rc<StreamOptions>,
}

/// What a stream needs that somebody watches, that has writers who wait, or that failed; others pay for a pointer.
#[derive(Default)]
pub(crate) struct Rare {
    /// Why the stream has closed, if not because this side wanted it to.
    closed: OnceCell<CloseReason>,
    /// Why the end of the peer's side is none to rely on.
    cut: OnceCell<CloseReason>,
    pub(crate) close_watch: OnceCell<Rc<CloseWatch>>,
    /// Who waits for so many bytes to be sent, the fewest first: of thousands of writers each finds its place in a few steps.
    pub(crate) waiting: Cell<VecDeque<(u64, Waker)>>,
}

/// The small facts of a stream.
#[derive(Default)]
pub(crate) struct Flags {
    pub(crate) news: Cell<News>,
    /// Ended when the transport has said that the peer will send nothing more.
    pub(crate) input: Cell<Side>,
    /// Not open when nothing more may be written, ended when the transport has told the peer.
    pub(crate) output: Cell<Side>,
    /// A read is under way.
    pub(crate) reading: Cell<bool>,
    /// What the loop will do at the end of the turn.
    pub(crate) due: Cell<Due>,
    /// The loop will flush when the transport has room.
    pub(crate) awaits_room: Cell<bool>,
}

/// One of the two ways that bytes go.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Open,
    /// That it ends has still to be said.
    Ending,
    Ended,
    /// The transport does not go that way.
    Missing,
}

impl Side {
    fn unless(is_missing: bool) -> Side {
        if is_missing { Side::Missing } else { Side::Open }
    }
}

/// What is to be done at the end of a turn, all of it by one call of the loop.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Due(u8);

impl Due {
    pub(crate) const NOTHING: Due = Due(0);
    /// Send what waits.
    pub(crate) const FLUSH: Due = Due(1);
    /// Move what is left unread to memory of its own size, if it is little.
    pub(crate) const TIDY: Due = Due(2);

    pub(crate) fn has(self, other: Due) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn and(self, other: Due) -> Due {
        Due(self.0 | other.0)
    }
}

/// How many handles there are; beside that, in the highest bit, whether the stream is closed. Together they take a word that is there.
#[derive(Default)]
struct Life(Cell<u32>);

impl Life {
    const IS_OVER: u32 = 1 << 31;

    fn handles(&self) -> u32 {
        self.0.get() & !Life::IS_OVER
    }

    fn add_handle(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// Gives how many are left.
    fn drop_handle(&self) -> u32 {
        self.0.set(self.0.get() - 1);
        self.handles()
    }

    #[inline]
    fn is_over(&self) -> bool {
        self.0.get() & Life::IS_OVER != 0
    }

    fn end(&self) {
        self.0.set(self.0.get() | Life::IS_OVER);
    }
}

/// How a stream hears that its transport can be read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum News {
    /// It has had no need to: a read is worth a try.
    #[default]
    NotYet,
    /// The same, but the last read found the transport empty, so the next must wait.
    Needed,
    /// The transport reports to the registration.
    Reported,
    /// The same, and the last read has left something: the next is worth a try.
    Left,
}

impl IoStream {
    /// Makes a stream with the default limits, on the current loop.
    ///
    /// # Errors
    ///
    /// When a socket or a pipe cannot be switched to non-blocking mode, and for a descriptor that cannot be polled.
    ///
    /// # Panics
    ///
    /// When the thread has no loop and the operating system refuses one; see [`IoLoop::current`].
    pub fn new(transport: impl IntoTransport) -> io::Result<IoStream> {
        IoStream::with_options(transport, Rc::new(StreamOptions::default()))
    }

    /// Makes a stream with limits of its own, on the current loop. Many streams can share one set of limits.
    ///
    /// # Errors
    ///
    /// As for [`new`](IoStream::new), and `InvalidInput` for limits that are out of range.
    pub fn with_options(transport: impl IntoTransport, options: Rc<StreamOptions>) -> io::Result<IoStream> {
        options.check().map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let mut socket = transport.into_socket()?.0;
        let direction = socket.direction();
        let registration = Registration::new(&IoLoop::current());
        socket.settle(&registration);
        let inner = Inner {
            registration,
            socket: Cell::new(Some(socket)),
            read_side: ReadSide::default(),
            write: WriteSide::default(),
            flags: Flags::default(),
            shares: TurnShares::default(),
            life: Life::default(),
            received: Cell::new(0),
            rare: OnceCell::new(),
            options,
        };
        inner.flags.input.set(Side::unless(direction == Direction::WriteOnly));
        inner.flags.output.set(Side::unless(direction == Direction::ReadOnly));
        inner.life.add_handle();
        Ok(IoStream { inner: Rc::new(inner) })
    }

    /// Whether a read is under way (IO22).
    #[must_use]
    #[doc(alias = "reading")]
    pub fn is_reading(&self) -> bool {
        self.inner.flags.reading.get()
    }

    /// Has the task that waits to read look again, as if something had come: for who has changed what it waits for beside the
    /// bytes. Costs that task a read that finds nothing. Where none waits, the next read looks before it waits.
    pub fn wake_reader(&self) {
        if self.inner.flags.news.get() == News::Needed {
            self.inner.flags.news.set(News::NotYet);
        }
        self.inner.registration.set_ready(Ready::READABLE);
    }

    /// Whether bytes wait to be sent (IO22).
    #[must_use]
    #[doc(alias = "writing")]
    pub fn is_writing(&self) -> bool {
        self.pending() > 0
    }

    /// Whether the stream is closed. The end of the peer's side alone does not close it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Why the stream closed, if it did (IO35: `stream.error`).
    #[must_use]
    #[doc(alias = "error")]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.closed().cloned()
    }

    /// Whether the peer is gone for good, reading and writing: a reset or another error of the connection, which
    /// only shows once the transport waits. A peer that has merely ended its side is not gone.
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        self.inner.is_gone()
    }

    /// Whether the peer will send nothing more, as far as is known without asking the system: it has ended its side, or is
    /// [gone](IoStream::is_peer_gone). What it sent before may be unread.
    #[must_use]
    pub fn has_peer_ended(&self) -> bool {
        self.inner.has_ended()
    }

    /// Turns Nagle's algorithm off (`true`) or on. Harmless where there is none (IO40).
    ///
    /// # Errors
    ///
    /// What the operating system says, except that a connection which is already going down is not an error.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self.inner.with_socket(|socket| socket.set_nodelay(nodelay)) {
            Some(Err(error))
                if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::ConnectionReset) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The peer's address, for TCP.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner.with_socket(|socket| socket.peer_addr())?
    }

    /// This side's address, for TCP.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.with_socket(|socket| socket.local_addr())?
    }

    /// Bytes that have been read from the transport since the stream was made, taken or not. With TLS those of the
    /// conversation, not what it was wrapped in. Stays known when the stream is closed.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.inner.received.get()
    }

    pub(crate) fn has_other_handles(&self) -> bool {
        self.inner.life.handles() > 1
    }

    /// Gives the descriptor to `f`, for options that have no method here. `None` once the stream is closed, and
    /// for a transport without a descriptor.
    #[cfg(unix)]
    pub fn with_descriptor<R>(&self, f: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> R) -> Option<R> {
        use std::os::fd::AsFd;
        // A duplicate, so that the socket is in its place while the caller's code runs.
        let copy = self.inner.with_socket(|socket| socket.descriptor()?.try_clone_to_owned().ok())??;
        Some(f(copy.as_fd()))
    }

    /// The time of the stream's loop, read once a turn.
    #[must_use]
    #[inline]
    pub fn now(&self) -> std::time::Instant {
        self.inner.registration.now()
    }

    /// The same in units of 2²⁸ nanoseconds, a good quarter of a second, for what is noted often and need not be exact. It wraps in five hours.
    #[must_use]
    #[inline]
    pub fn coarse_now(&self) -> u16 {
        self.inner.registration.coarse_now()
    }

    /// The loop that the stream belongs to.
    #[must_use]
    pub fn io_loop(&self) -> IoLoop {
        self.inner.registration.io_loop()
    }
}

impl Clone for IoStream {
    fn clone(&self) -> IoStream {
        self.inner.life.add_handle();
        IoStream { inner: Rc::clone(&self.inner) }
    }
}

impl Drop for IoStream {
    fn drop(&mut self) {
        if self.inner.life.drop_handle() == 0 {
            self.inner.close(CloseReason::Local);
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("reading", &self.flags.reading.get())
            .field("closed", &self.closed())
            .finish_non_exhaustive()
    }
}

impl Inner {
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.life.is_over()
    }

    /// Why the stream is closed, if it is.
    #[inline]
    fn closed(&self) -> Option<&CloseReason> {
        if !self.is_closed() {
            return None;
        }
        Some(self.rare_if_any().and_then(|rare| rare.closed.get()).unwrap_or(&CloseReason::Local))
    }

    /// Notes that the stream is closed, for the first reason that is given.
    pub(crate) fn note_closed(&self, reason: CloseReason) {
        if !matches!(reason, CloseReason::Local) {
            let _first = self.rare().closed.set(reason);
        }
        self.life.end();
    }

    #[inline]
    pub(crate) fn rare_if_any(&self) -> Option<&Rare> {
        self.rare.get().map(|rare| &**rare)
    }

    pub(crate) fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// The error of an operation on a stream that is closed.
    #[inline]
    pub(crate) fn closed_error(&self) -> Option<StreamError> {
        #[cold]
        fn closed_for(reason: &CloseReason) -> StreamError {
            StreamError::Closed(reason.clone())
        }
        self.closed().map(closed_for)
    }

    /// Lets `work` use the transport. That is out of its place meanwhile, because a transport of the user's own may call
    /// the stream, and may even close it. `None` on a closed stream, and for such a call from inside.
    #[inline]
    pub(crate) fn with_socket<R>(&self, work: impl FnOnce(&mut Socket) -> R) -> Option<R> {
        let mut socket = self.socket.take()?;
        let harmed = Harmed(self);
        let result = work(&mut socket);
        std::mem::forget(harmed); // no panic
        if !self.is_closed() {
            self.socket.set(Some(socket));
        }
        Some(result)
    }

    /// Whether the peer has ended its side, or has been cut off, and this has been read.
    #[inline]
    pub(crate) fn is_end_of_stream(&self) -> bool {
        self.flags.input.get() == Side::Ended
    }

    /// What reading comes to behind the peer's end.
    pub(crate) fn end_of_input(&self) -> Result<usize, StreamError> {
        match self.cut() {
            None => Ok(0),
            Some(reason) => Err(StreamError::Closed(reason.clone())),
        }
    }

    /// Why the peer's end is none to rely on, if it is that.
    pub(crate) fn cut(&self) -> Option<&CloseReason> {
        self.rare_if_any()?.cut.get()
    }

    /// Notes that the peer will send nothing more: it has said so, or was cut off by this. Nothing is known against writing.
    pub(crate) fn end_input(&self, cut: Option<io::Error>) {
        if let Some(error) = cut {
            let _first = self.rare().cut.set(CloseReason::of(error));
        }
        self.flags.input.set(Side::Ended);
        if let Some(watch) = self.close_watch() {
            self.registration.before_poll(Rc::clone(watch) as Rc<dyn BeforePoll>);
        }
    }

    pub(crate) fn goes_both_ways(&self) -> bool {
        self.flags.input.get() != Side::Missing && self.flags.output.get() != Side::Missing
    }

    /// Whether the transport reports to the registration.
    #[inline]
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.flags.news.get(), News::Reported | News::Left)
    }

    /// An error for a stream that has outlived its loop: nobody would tell it of anything.
    #[inline]
    pub(crate) fn may_wait(&self) -> io::Result<()> {
        match self.registration.is_on_closed_loop() {
            true => Err(io::Error::other(RunError::Closed)),
            false => Ok(()),
        }
    }

    /// Registers the transport with the poller if it is not yet: once in a stream's life. An error also where there
    /// [is no use in waiting](Inner::may_wait).
    pub(crate) fn attach(&self) -> io::Result<()> {
        if self.is_attached() && !self.registration.is_on_closed_loop() {
            return Ok(());
        }
        self.attach_now()
    }

    #[cold]
    fn attach_now(&self) -> io::Result<()> {
        self.may_wait()?;
        let before = self.flags.news.replace(News::Reported); // first: the transport may call the stream
        self.with_socket(|socket| socket.attach(&self.registration)).unwrap_or_else(|| {
            self.flags.news.set(before); // it is at work, and this call comes from there: the next to wait attaches it
            Ok(())
        })
    }

    /// Waits until reading is worth a try.
    #[cfg(feature = "tls")]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.attach()?;
        if self.flags.news.get() == News::Reported {
            let _ready = std::task::ready!(self.registration.poll_ready(cx, ioloop::Interest::READ));
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until reading is worth a try, and takes what says so: that the transport has been emptied is nearly always what comes of a
    /// read. After one that has left something, or that has not come about, [`note_left`](Inner::note_left) is to follow.
    #[inline]
    pub(crate) fn poll_take_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flags.news.get() {
            News::NotYet | News::Left => return Poll::Ready(Ok(())),
            News::Reported | News::Needed => self.attach()?,
        }
        self.registration.poll_take_readable(cx).map(Ok)
    }

    /// Notes that the transport may have more to read.
    #[inline]
    pub(crate) fn note_left(&self) {
        if self.flags.news.get() == News::Reported {
            self.flags.news.set(News::Left);
        }
    }

    /// Notes that a read has emptied the transport. That it was worth a try has been [taken](Inner::poll_take_readable) before, or goes
    /// now.
    #[inline]
    pub(crate) fn note_emptied(&self) {
        if self.flags.news.get() != News::Reported {
            self.note_drained();
        }
    }

    /// Notes that the transport has nothing to read for now. The end of the peer's side stays noted: data and FIN
    /// that arrive together are one event, and the read that finds the FIN is still to come.
    pub(crate) fn note_drained(&self) {
        match self.is_attached() {
            true => {
                self.flags.news.set(News::Reported);
                self.registration.clear(Ready::READABLE);
            }
            false => self.flags.news.set(News::Needed),
        }
    }

    /// Whether a read is worth a try without waiting.
    pub(crate) fn may_read(&self) -> bool {
        match self.flags.news.get() {
            News::NotYet | News::Left => true,
            News::Needed => false,
            News::Reported => self.registration.ready().is_readable(),
        }
    }
}

/// Closes a stream whose transport has panicked.
struct Harmed<'a>(&'a Inner);

impl Drop for Harmed<'_> {
    fn drop(&mut self) {
        self.0.fail(io::Error::other("the transport panicked"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_an_idle_stream_is_small() {
        // With a task and a slot in the loop this is what a connection costs that only waits.
        let size = size_of::<Inner>();
        println!("Inner: {size} bytes");
        // With debug assertions mio remembers in each socket which poller knows it.
        let most = if cfg!(debug_assertions) { 112 } else { 104 };
        assert!(size <= most, "{size} bytes");
    }
}

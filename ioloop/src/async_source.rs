//! Readiness of one source as futures: what makes a foreign descriptor three lines.

use std::io;
use std::task::Poll;

use mio::event::Source;

use crate::IoLoop;
use crate::error::RunError;
use crate::ready::{Interest, Ready};
use crate::registration::Registration;

/// A source that tasks wait on: a mio socket, or any descriptor through [`Fd`]. (tokio has `AsyncFd`, async-io `Async`.)
///
/// ```
/// use std::net::UdpSocket;
/// use ioloop::{AsyncSource, Fd, Interest, IoLoop};
///
/// # let client = UdpSocket::bind("127.0.0.1:0")?;
/// let received = IoLoop::new()?.run_sync(async {
///     let socket = UdpSocket::bind("127.0.0.1:0")?;
///     socket.set_nonblocking(true)?;
/// #   client.send_to(b"hello", socket.local_addr()?)?;
///     let socket = AsyncSource::new(Fd(socket))?;
///     let mut packet = [0; 1500];
///     socket.io(Interest::READ, |socket| socket.recv_from(&mut packet)).await
/// })??;
/// # assert_eq!(received.0, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The source must be non-blocking. It is registered once, for both directions, **edge-triggered**: what says that it is
/// ready stays until an operation through [`try_io`](AsyncSource::try_io) or [`io`](AsyncSource::io) meets `WouldBlock`. One task
/// may wait in each direction; a second in the same direction takes the place of the first, which is then not told.
///
/// Dropping it deregisters the source and drops it. On a loop that has closed [`ready`](AsyncSource::ready) waits for ever, and
/// [`io`](AsyncSource::io) fails where it would wait; a task of another loop that waits already when this one closes is not told.
#[doc(alias = "AsyncFd")]
pub struct AsyncSource<S: Source> {
    registration: Registration,
    /// `None` only once it was given back.
    source: Option<S>,
}

impl<S: Source> AsyncSource<S> {
    /// Registers `source` with the current loop.
    ///
    /// # Errors
    ///
    /// What the operating system says: regular files, for instance, cannot be polled. The source is then dropped.
    pub fn new(source: S) -> io::Result<AsyncSource<S>> {
        AsyncSource::on(&IoLoop::current(), source)
    }

    /// Registers `source` with `io_loop`.
    ///
    /// # Errors
    ///
    /// As [`new`](AsyncSource::new), and for a loop that has closed.
    pub fn on(io_loop: &IoLoop, mut source: S) -> io::Result<AsyncSource<S>> {
        let registration = Registration::new(io_loop);
        registration.attach(&mut source)?;
        Ok(AsyncSource { registration, source: Some(source) })
    }

    /// Waits until the source is ready for `interest`, closed or failed. Returns at once while it is.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; what has been seen stays.
    pub async fn ready(&self, interest: Interest) -> Ready {
        std::future::poll_fn(|cx| self.registration.poll_ready(cx, interest)).await
    }

    /// Tries an operation at once. `WouldBlock` ends what [`ready`](AsyncSource::ready) says about `interest`, so that the next
    /// wait waits for an event; operate on the source in no other way, or nobody learns of that.
    ///
    /// # Errors
    ///
    /// Those of `operation`.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = operation(self.get_ref());
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.registration.clear(interest.answered_by());
        }
        result
    }

    /// Tries `operation`, again after each event, until it says anything but `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of `operation`; where it would wait for a loop that has closed, [`RunError::Closed`] inside.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: between two tries nothing is under way.
    pub async fn io<R>(
        &self,
        interest: Interest,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match self.try_io(interest, &mut operation) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.registration.is_on_closed_loop() {
                        return Err(io::Error::other(RunError::Closed));
                    }
                    self.next_event(interest).await;
                }
                result => return result,
            }
        }
    }

    /// Waits for an event even where a side is reported closed: that stays so, and the operation said to wait.
    async fn next_event(&self, interest: Interest) {
        let mut waited = false;
        std::future::poll_fn(|cx| {
            if waited && self.registration.ready().intersects(interest.answered_by()) {
                return Poll::Ready(());
            }
            waited = true;
            self.registration.wait_for_event(cx, interest);
            Poll::Pending
        })
        .await;
    }

    /// The source.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.source.as_ref().expect("it is given back only by value")
    }

    /// The source, to be changed; what says that it is ready stays.
    pub fn get_mut(&mut self) -> &mut S {
        self.source.as_mut().expect("it is given back only by value")
    }

    /// Deregisters the source and gives it back, open.
    ///
    /// # Errors
    ///
    /// What the operating system says; the source is then dropped.
    pub fn into_inner(mut self) -> io::Result<S> {
        let mut source = self.source.take().expect("it is given back only by value");
        self.registration.detach(&mut source)?;
        Ok(source)
    }
}

impl<S: Source> Drop for AsyncSource<S> {
    fn drop(&mut self) {
        if let Some(source) = &mut self.source {
            // Closing would do, but a descriptor may have copies that live on.
            let _ = self.registration.detach(source);
        }
    }
}

impl<S: Source + std::fmt::Debug> std::fmt::Debug for AsyncSource<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncSource").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Any owner of a descriptor as a source, for [`AsyncSource`] and [`IoLoop::add_handler`]: an inotify instance, a pipe, a
/// socket of the standard library. It must be of a kind that can be polled, and non-blocking.
#[cfg(unix)]
#[derive(Clone, Copy, Debug)]
pub struct Fd<T>(pub T);

#[cfg(unix)]
impl<T> std::ops::Deref for Fd<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(unix)]
impl<T> std::ops::DerefMut for Fd<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(unix)]
impl<T: std::os::fd::AsRawFd> Source for Fd<T> {
    fn register(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interest: mio::Interest,
    ) -> io::Result<()> {
        mio::unix::SourceFd(&self.0.as_raw_fd()).register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interest: mio::Interest,
    ) -> io::Result<()> {
        mio::unix::SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        mio::unix::SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

//! What a stream runs over: TCP, a Unix socket, or anything that behaves like one.

use std::any::Any;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};

use ioloop::Registration;
use mio::event::Source;

use crate::socket_calls;

#[cfg(feature = "tls")]
use crate::tls::TlsTransport;

/// Bytes in and out without blocking: what it takes to be carried by an [`IoStream`](crate::IoStream).
///
/// Every operation either makes progress or fails at once with `WouldBlock`; readiness is reported through the
/// registration that [`attach`](Transport::attach) is given. A transport may call its own stream, except to read from
/// it; it is told nothing more once it has closed that. Its panic closes the stream.
pub trait Transport: Any {
    /// Has readiness reported to `registration`, in both directions. Called at most once, the first time that an
    /// operation would have blocked. What is ready by then must be reported too.
    ///
    /// # Errors
    ///
    /// Closes the stream with that error.
    fn attach(&mut self, registration: &Registration) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes, which is never zero; `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` and `Interrupted` mean "later" and "again". `UnexpectedEof` is an end where there should be none: whoever reads
    /// is told so each time, and the stream can still be written to. Any other closes the stream.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of `data`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` and `Interrupted` as for [`read`](Transport::read); any other closes the stream.
    fn write(&mut self, data: &[u8]) -> io::Result<usize>;

    /// Writes some of `slices`, in order. By default the first that is not empty.
    ///
    /// # Errors
    ///
    /// As for [`write`](Transport::write).
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        first.map_or(Ok(0), |slice| self.write(slice))
    }

    /// Tells the peer that nothing more will be written; reading goes on. Everything written before has left.
    ///
    /// # Errors
    ///
    /// `WouldBlock` means that this needs room: it is called again when there is some. Any other error closes the stream.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Whether a read that returned less than it was given room for has emptied the transport, so that the next
    /// read can wait for an event. True for sockets on epoll and kqueue; when in doubt, false costs one read.
    fn short_read_means_drained(&self) -> bool {
        false
    }

    /// Which way bytes go; asked once, when the stream is made.
    fn direction(&self) -> Direction {
        Direction::Both
    }

    /// Ends what [`attach`](Transport::attach) began, for a transport that leaves its stream
    /// ([`IoStream::detach`](crate::IoStream::detach)). Not called on one that was never attached.
    ///
    /// # Errors
    ///
    /// By default `Unsupported`: the transport stays in its stream.
    fn detach(&mut self, registration: &Registration) -> io::Result<()> {
        let _ = registration;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The descriptor, where there is one, for options of the operating system.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Which way bytes go through a transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// Nothing can be written; a write is refused with [`NotWritable`](crate::StreamError::NotWritable).
    ReadOnly,
    /// Nothing can be read; a read is refused with [`NotReadable`](crate::StreamError::NotReadable).
    WriteOnly,
}

/// The transports that streams know by type, and any other behind a pointer.
pub(crate) enum Socket {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
    /// Behind a second pointer, so that the first is thin: every stream has room for the largest of these.
    Boxed(Box<Own>),
    /// On any of these. Known by type, so that what is asked of a socket is asked of the one beneath.
    #[cfg(feature = "tls")]
    Tls(Box<TlsTransport>),
}

/// A transport whose type is the user's.
pub(crate) struct Own(pub(crate) Box<dyn Transport>);

/// On these systems an edge-triggered poller reports the next arrival after a short read, and the next room after a
/// short write.
pub(crate) const SHORT_MEANS_WAIT: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
));

impl Socket {
    pub(crate) fn own(transport: Box<dyn Transport>) -> Socket {
        Socket::Boxed(Box::new(Own(transport)))
    }

    /// Tells a transport that may have come from another stream whom it wakes now.
    pub(crate) fn settle(&mut self, registration: &Registration) {
        #[cfg(feature = "tls")]
        if let Socket::Tls(tls) = self {
            tls.settle(registration);
        }
        let _ = registration;
    }

    pub(crate) fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => attach_anew(socket, registration),
            #[cfg(unix)]
            Socket::Unix(socket) => attach_anew(socket, registration),
            Socket::Boxed(own) => own.0.attach(registration),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.carrier_mut().attach(registration),
        }
    }

    pub(crate) fn detach(&mut self, registration: &Registration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => registration.detach(socket),
            #[cfg(unix)]
            Socket::Unix(socket) => registration.detach(socket),
            Socket::Boxed(own) => own.0.detach(registration),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.carrier_mut().detach(registration),
        }
    }

    pub(crate) fn direction(&self) -> Direction {
        match self {
            Socket::Boxed(own) => own.0.direction(),
            _ => Direction::Both,
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket_calls::read(socket, buffer),
            #[cfg(unix)]
            Socket::Unix(socket) => socket_calls::read(socket, buffer),
            Socket::Boxed(own) => own.0.read(buffer),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.read(buffer),
        }
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket_calls::write(socket, data),
            #[cfg(unix)]
            Socket::Unix(socket) => socket_calls::write(socket, data),
            Socket::Boxed(own) => own.0.write(data),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.write_vectored(&[IoSlice::new(data)]),
        }
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket_calls::write_vectored(socket, slices),
            #[cfg(unix)]
            Socket::Unix(socket) => socket_calls::write_vectored(socket, slices),
            Socket::Boxed(own) => own.0.write_vectored(slices),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.write_vectored(slices),
        }
    }

    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Boxed(own) => own.0.shutdown_write(),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.shutdown_write(),
        }
    }

    /// Whether the transport holds something of its own making that waits for room: only TLS does.
    pub(crate) fn wants_flush(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.wants_flush(),
            _ => false,
        }
    }

    /// Sends that, or says `WouldBlock`.
    pub(crate) fn send_own(&mut self) -> io::Result<()> {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.send_own(),
            _ => Ok(()),
        }
    }

    /// The last word before the stream closes, everything sent.
    pub(crate) fn say_goodbye(&mut self) {
        #[cfg(feature = "tls")]
        if let Socket::Tls(tls) = self {
            tls.say_goodbye();
        }
    }

    /// The socket at the bottom, for what has nothing to do with the bytes.
    fn bottom(&self) -> &Socket {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.carrier().bottom(),
            other => other,
        }
    }

    pub(crate) fn short_read_means_drained(&self) -> bool {
        match self {
            Socket::Boxed(own) => own.0.short_read_means_drained(),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => tls.short_read_means_drained(),
            _ => SHORT_MEANS_WAIT,
        }
    }

    /// Whether a write that took less than it was given has filled the transport, so that the next one can wait.
    pub(crate) fn short_write_means_full(&self) -> bool {
        match self {
            Socket::Boxed(_) => false,
            #[cfg(feature = "tls")]
            Socket::Tls(_) => false,
            _ => SHORT_MEANS_WAIT,
        }
    }

    /// Turns Nagle's algorithm off or on; other than TCP has none (IO40).
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self.bottom() {
            Socket::Tcp(socket) => socket.set_nodelay(nodelay),
            _ => Ok(()),
        }
    }

    /// The error that the socket keeps, `SO_ERROR`: what a connect or an event ended in.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self.bottom() {
            Socket::Tcp(socket) => socket.take_error(),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.take_error(),
            _ => Ok(None),
        }
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self.bottom() {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            _ => None,
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self.bottom() {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            _ => None,
        }
    }

    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self.bottom() {
            Socket::Tcp(socket) => Some(socket.as_fd()),
            Socket::Unix(socket) => Some(socket.as_fd()),
            Socket::Boxed(own) => own.0.descriptor(),
            #[cfg(feature = "tls")]
            Socket::Tls(_) => None,
        }
    }
}

/// Has `source`, which is the stream's own, reported to `registration`.
///
/// A stream that closes leaves it to the closing of its descriptor to end the registration. Where the socket or pipe has another
/// descriptor, epoll goes on with it under the number of the one that was closed, and refuses the next copy that gets this number.
pub(crate) fn attach_anew(source: &mut impl Source, registration: &Registration) -> io::Result<()> {
    match registration.attach(source) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            registration.detach(source)?;
            registration.attach(source)
        }
        result => result,
    }
}

/// What an [`IoStream`](crate::IoStream) can be made from.
///
/// Sockets of the standard library are switched to non-blocking mode, as Tornado does (IO1); mio's are so
/// already. Everything else comes as a [`Transport`].
pub trait IntoTransport: sealed::Sealed {
    #[doc(hidden)]
    fn into_socket(self) -> io::Result<Carrier>;
}

/// A transport on its way into a stream.
pub struct Carrier(pub(crate) Socket);

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for std::net::TcpStream {}
impl IntoTransport for std::net::TcpStream {
    fn into_socket(self) -> io::Result<Carrier> {
        self.set_nonblocking(true)?;
        Ok(Carrier(Socket::Tcp(mio::net::TcpStream::from_std(self))))
    }
}

impl sealed::Sealed for mio::net::TcpStream {}
impl IntoTransport for mio::net::TcpStream {
    fn into_socket(self) -> io::Result<Carrier> {
        Ok(Carrier(Socket::Tcp(self)))
    }
}

#[cfg(unix)]
impl sealed::Sealed for std::os::unix::net::UnixStream {}
#[cfg(unix)]
impl IntoTransport for std::os::unix::net::UnixStream {
    fn into_socket(self) -> io::Result<Carrier> {
        self.set_nonblocking(true)?;
        Ok(Carrier(Socket::Unix(mio::net::UnixStream::from_std(self))))
    }
}

#[cfg(unix)]
impl sealed::Sealed for mio::net::UnixStream {}
#[cfg(unix)]
impl IntoTransport for mio::net::UnixStream {
    fn into_socket(self) -> io::Result<Carrier> {
        Ok(Carrier(Socket::Unix(self)))
    }
}

impl<T: Transport> sealed::Sealed for Box<T> {}
impl<T: Transport> IntoTransport for Box<T> {
    fn into_socket(self) -> io::Result<Carrier> {
        Ok(Carrier(Socket::own(self)))
    }
}

impl sealed::Sealed for Box<dyn Transport> {}
impl IntoTransport for Box<dyn Transport> {
    fn into_socket(self) -> io::Result<Carrier> {
        Ok(Carrier(Socket::own(self)))
    }
}

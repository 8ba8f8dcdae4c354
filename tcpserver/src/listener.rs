//! Listening sockets of either family, and what they accept.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};

use ioloop::Registration;
use iostream::{IoStream, StreamOptions};

use crate::peer::PeerAddr;

/// A listening socket, TCP or Unix: what [`add_accept_handler`](crate::add_accept_handler) and the server's
/// `add_socket` take. Made from the listeners of the standard library, as `netutil` returns them; one that
/// [`AcceptHandle::remove`](crate::AcceptHandle::remove) gave back can be added again.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(mio::net::TcpListener),
    #[cfg(unix)]
    Unix(mio::net::UnixListener),
}

/// A connection as it was accepted: not yet a stream, no buffer, no task.
#[derive(Debug)]
pub struct Connection(Accepted);

#[derive(Debug)]
enum Accepted {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

impl Listener {
    /// The address that a TCP listener is bound to.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix(_) => None,
        }
    }

    pub(crate) fn attach(&mut self, registration: &Registration) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(listener) => registration.attach(listener),
            #[cfg(unix)]
            Kind::Unix(listener) => registration.attach(listener),
        }
    }

    pub(crate) fn detach(&mut self, registration: &Registration) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(listener) => registration.detach(listener),
            #[cfg(unix)]
            Kind::Unix(listener) => registration.detach(listener),
        }
    }

    pub(crate) fn accept(&self) -> io::Result<(Connection, PeerAddr)> {
        match &self.0 {
            Kind::Tcp(listener) => listener
                .accept()
                .map(|(socket, addr)| (Connection(Accepted::Tcp(socket)), PeerAddr::Tcp(addr))),
            #[cfg(unix)]
            Kind::Unix(listener) => listener.accept().map(|(socket, addr)| {
                (Connection(Accepted::Unix(socket)), PeerAddr::from_unix(addr.as_pathname()))
            }),
        }
    }

    /// Whether somebody is in the queue. Where that cannot be told it is taken for granted.
    pub(crate) fn has_waiting(&self) -> bool {
        #[cfg(unix)]
        {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let mut queue = [PollFd::new(self, PollFlags::IN)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            !matches!(poll(&mut queue, Some(&at_once)), Ok(0))
        }
        #[cfg(not(unix))]
        true
    }

    /// Turns Nagle's algorithm off for everything that is accepted here. Linux hands the option down from the
    /// listener, which saves a syscall per connection; elsewhere see `Connection::set_nodelay`.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Tcp(listener) if cfg!(target_os = "linux") => {
                socket2::SockRef::from(listener).set_tcp_nodelay(true)
            }
            _ => Ok(()),
        }
    }
}

impl Connection {
    /// Makes a stream of it, on the current loop.
    ///
    /// # Errors
    ///
    /// None that is known: the socket is non-blocking already.
    pub fn into_stream(self, options: std::rc::Rc<StreamOptions>) -> io::Result<IoStream> {
        match self.0 {
            Accepted::Tcp(socket) => IoStream::with_options(socket, options),
            #[cfg(unix)]
            Accepted::Unix(socket) => IoStream::with_options(socket, options),
        }
    }

    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match &self.0 {
            Accepted::Tcp(socket) if !cfg!(target_os = "linux") => socket.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

#[cfg(unix)]
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Unix(listener) => listener.as_fd(),
        }
    }
}

impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    /// Switches the socket to non-blocking mode, in case it comes from elsewhere than `netutil`.
    fn try_from(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener(Kind::Tcp(mio::net::TcpListener::from_std(listener))))
    }
}

#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    /// Switches the socket to non-blocking mode, in case it comes from elsewhere than `netutil`.
    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener(Kind::Unix(mio::net::UnixListener::from_std(listener))))
    }
}

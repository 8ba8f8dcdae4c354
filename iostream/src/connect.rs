//! Streams towards a server.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use ioloop::{Interest, Ready};

use crate::error::StreamError;
use crate::options::StreamOptions;
use crate::stream::IoStream;

impl IoStream {
    /// Connects to `addr` over TCP (IO42). Done when the connection stands.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) with the operating system's error inside, for instance "connection refused"
    /// (IO43).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the attempt and its socket.
    pub async fn connect(addr: SocketAddr) -> Result<IoStream, StreamError> {
        IoStream::connect_with_options(addr, Rc::new(StreamOptions::default())).await
    }

    /// [`connect`](IoStream::connect) with limits of its own.
    ///
    /// # Errors
    ///
    /// As for `connect`, and for limits that are out of range.
    ///
    /// # Cancel safety
    ///
    /// As for `connect`.
    pub async fn connect_with_options(
        addr: SocketAddr,
        options: Rc<StreamOptions>,
    ) -> Result<IoStream, StreamError> {
        let failed = |error: io::Error| StreamError::Closed(std::sync::Arc::new(error).into());
        let socket = mio::net::TcpStream::connect(addr).map_err(failed)?;
        let stream = IoStream::with_options(socket, options).map_err(failed)?;
        stream.connected().await.map_err(|error| stream.inner.fail(error))?;
        Ok(stream)
    }

    /// Connects to the Unix socket at `path` (IO42). A path that begins with a NUL byte is an abstract name (Linux and Android).
    ///
    /// The system decides at once, so nothing is waited for: neither for a server that does not accept, as
    /// [`UnixStream::connect`](std::os::unix::net::UnixStream::connect) would, with every task of this loop.
    ///
    /// # Errors
    ///
    /// [`Closed`](StreamError::Closed) with the operating system's error inside: `NotFound` where there is no such file,
    /// `ConnectionRefused` where nobody listens, `WouldBlock` where the server's queue is full. That one is worth another try
    /// a little later.
    #[cfg(unix)]
    pub async fn connect_unix(path: impl AsRef<std::path::Path>) -> Result<IoStream, StreamError> {
        let socket = connect_unix(path.as_ref());
        socket.and_then(IoStream::new).map_err(|error| StreamError::Closed(std::sync::Arc::new(error).into()))
    }

    /// Waits until the connect that was begun on the socket has come to an end; the stream stays open if it failed.
    pub(crate) async fn connected(&self) -> io::Result<()> {
        self.inner.attach()?;
        poll_fn(|cx| {
            loop {
                std::task::ready!(self.inner.registration.poll_ready(cx, Interest::WRITE));
                match self.established() {
                    Ok(false) if !self.is_peer_gone() => self.inner.registration.clear(Ready::WRITABLE),
                    Ok(false) => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                    Ok(true) => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// Whether a connect that was begun has come to an end, as mio's documentation has it: no error is kept, and the
    /// peer has a name.
    fn established(&self) -> io::Result<bool> {
        let state = self.inner.with_socket(|socket| (socket.take_error(), socket.peer_addr()));
        match state {
            Some((Ok(None), peer)) => Ok(peer.is_some()),
            Some((Ok(Some(error)) | Err(error), _)) => Err(error),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(unix)]
fn connect_unix(path: &std::path::Path) -> io::Result<mio::net::UnixStream> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::{ffi::OsStrExt, net::SocketAddr};

        if let Some(name) = path.as_os_str().as_bytes().strip_prefix(&[0]) {
            return mio::net::UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?);
        }
    }
    mio::net::UnixStream::connect(path)
}

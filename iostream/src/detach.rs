//! Taking a stream apart: the transport back, and what had been read from it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::error::CloseReason;
use crate::stream::IoStream;
use crate::transport::{Carrier, IntoTransport, Socket, Transport, sealed::Sealed};

/// What a stream was made of. From [`IoStream::detach`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// The transport, no longer registered with the loop. It is non-blocking still.
    pub transport: DetachedTransport,
    /// What has been read and not been taken, in order: it comes before whatever the transport gives next.
    pub unread: Bytes,
}

/// A transport that has left its stream, as a type of the standard library where there is one. A new stream can be made
/// of it.
#[non_exhaustive]
pub enum DetachedTransport {
    /// A TCP connection.
    Tcp(std::net::TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
    /// A TLS session on any of these, which goes on in the stream that is made of it.
    #[cfg(feature = "tls")]
    Tls(DetachedTls),
    /// Any other, your own among them: `Box<dyn Any>` it to get its type back.
    Other(Box<dyn Transport>),
}

/// A TLS session that has left its stream.
#[cfg(feature = "tls")]
pub struct DetachedTls(Box<crate::tls::TlsTransport>);

/// Why a stream could not be taken apart. It is as it was.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum DetachError {
    /// Other handles exist, whose owners rely on the stream.
    #[error("other handles of the stream exist")]
    Shared,
    /// So many bytes have been written and not been sent; see [`flush`](IoStream::flush).
    #[error("{0} bytes wait to be sent")]
    Unsent(usize),
    /// A read is under way, or the transport is at work.
    #[error("the stream is in use")]
    Busy,
    /// The stream is closed.
    #[error("stream closed: {0}")]
    Closed(CloseReason),
    /// The loop or the transport could not end the registration.
    #[error("the transport cannot be detached: {0}")]
    Transport(#[source] Arc<io::Error>),
}

impl IoStream {
    /// Takes the stream apart, for code that goes on with the bare socket: another protocol, a runtime in another thread,
    /// a child process. Nothing is lost: what was read and not taken comes along, and what waits to be sent is a reason to
    /// refuse.
    ///
    /// The stream is closed from then on, with [`CloseReason::Detached`]; the transport is not. A close callback is dropped
    /// and not called.
    ///
    /// # Errors
    ///
    /// See [`DetachError`]; the stream is then as it was.
    #[doc(alias = "into_parts")]
    pub fn detach(&self) -> Result<Parts, DetachError> {
        let inner = &self.inner;
        if let Some(reason) = self.close_reason() {
            return Err(DetachError::Closed(reason));
        }
        if self.has_other_handles() {
            return Err(DetachError::Shared);
        }
        if self.is_reading() {
            return Err(DetachError::Busy);
        }
        match self.pending() {
            0 => {}
            unsent => return Err(DetachError::Unsent(unsent)),
        }
        if inner.is_attached() {
            let detached = inner.with_socket(|socket| socket.detach(&inner.registration));
            let detached = detached.ok_or(DetachError::Busy)?;
            detached.map_err(|error| DetachError::Transport(Arc::new(error)))?;
        }
        let socket = inner.socket.take().ok_or(DetachError::Busy)?;
        if let Some(watch) = inner.close_watch() {
            watch.set_callback(None);
        }
        let unread = self.take_buffered(usize::MAX);
        inner.close(CloseReason::Detached);
        Ok(Parts { transport: socket.into(), unread })
    }
}

impl From<Socket> for DetachedTransport {
    fn from(socket: Socket) -> DetachedTransport {
        match socket {
            Socket::Tcp(socket) => DetachedTransport::Tcp(socket.into()),
            #[cfg(unix)]
            Socket::Unix(socket) => DetachedTransport::Unix(socket.into()),
            Socket::Boxed(own) => DetachedTransport::Other(own.0),
            #[cfg(feature = "tls")]
            Socket::Tls(tls) => DetachedTransport::Tls(DetachedTls(tls)),
        }
    }
}

impl Sealed for DetachedTransport {}
impl IntoTransport for DetachedTransport {
    fn into_socket(self) -> io::Result<Carrier> {
        match self {
            DetachedTransport::Tcp(socket) => socket.into_socket(),
            #[cfg(unix)]
            DetachedTransport::Unix(socket) => socket.into_socket(),
            DetachedTransport::Other(transport) => Ok(Carrier(Socket::own(transport))),
            #[cfg(feature = "tls")]
            DetachedTransport::Tls(DetachedTls(tls)) => Ok(Carrier(Socket::Tls(tls))),
        }
    }
}

impl std::fmt::Debug for DetachedTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DetachedTransport::Tcp(socket) => f.debug_tuple("Tcp").field(socket).finish(),
            #[cfg(unix)]
            DetachedTransport::Unix(socket) => f.debug_tuple("Unix").field(socket).finish(),
            #[cfg(feature = "tls")]
            DetachedTransport::Tls(_) => f.debug_tuple("Tls").finish_non_exhaustive(),
            DetachedTransport::Other(_) => f.debug_tuple("Other").finish_non_exhaustive(),
        }
    }
}

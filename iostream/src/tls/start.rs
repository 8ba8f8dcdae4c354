//! How a stream begins to speak TLS.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ioloop::{Interest, Ready};
use rustls::{ClientConnection, Connection, ServerConnection};
use rustls_pki_types::ServerName;

use crate::error::{CloseReason, StreamError};
use crate::stream::{Inner, IoStream};
use crate::tls::client::TlsClientConfig;
use crate::tls::error::TlsError;
use crate::tls::info::TlsInfo;
use crate::tls::server::TlsAcceptor;
use crate::tls::transport::TlsTransport;
use crate::transport::{IntoTransport, Socket};

impl IoStream {
    /// Makes a stream with the default limits and has the client at the other end begin TLS: `new`, then
    /// [`start_tls_server`](IoStream::start_tls_server).
    ///
    /// # Errors
    ///
    /// As for these.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    #[doc(alias = "SSLIOStream")]
    #[doc(alias = "ssl_wrap_socket")]
    #[doc(alias = "wait_for_handshake")]
    pub async fn accept_tls(
        transport: impl IntoTransport,
        acceptor: &TlsAcceptor,
    ) -> Result<IoStream, StreamError> {
        let stream = IoStream::new(transport).map_err(|error| StreamError::Closed(Arc::new(error).into()))?;
        stream.start_tls_server(acceptor).await?;
        Ok(stream)
    }

    /// Connects to `addr` and begins TLS with `server_name`: done when the handshake is, names checked (IO45).
    ///
    /// # Errors
    ///
    /// As for [`connect`](IoStream::connect) and [`start_tls_client`](IoStream::start_tls_client).
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub async fn connect_tls(
        addr: SocketAddr,
        server_name: &str,
        config: &TlsClientConfig,
    ) -> Result<IoStream, StreamError> {
        let name = server_name_of(server_name)?;
        let stream = IoStream::connect(addr).await?;
        stream.start_tls_with(client(config, name)?, config.handshake_timeout, Unread::IsRefused).await?;
        Ok(stream)
    }

    /// Begins TLS as a client, on a new connection or in the middle of a conversation (`STARTTLS`), and waits for the
    /// handshake (IO48). `server_name` is the host name, or IP address, that the server's certificate must be for (IO47); a host name is
    /// also sent to it (SNI, RFC 6066 §3).
    ///
    /// The stream must be idle, so that nothing which came or goes unprotected can pass for protected (IO49). It is the same stream
    /// afterwards: its clones, limits and close callback stay. While this waits nobody else can read; what is written goes
    /// out behind the handshake.
    ///
    /// A TLS 1.3 server that does not like the client says so only after this: the first read shows it.
    ///
    /// # Errors
    ///
    /// [`Tls`](StreamError::Tls) with [`UnreadInput`](TlsError::UnreadInput), [`UnsentOutput`](TlsError::UnsentOutput) or
    /// [`InvalidServerName`](TlsError::InvalidServerName), [`AlreadyReading`](StreamError::AlreadyReading): nothing has
    /// happened, the stream is as it was. Otherwise [`Closed`](StreamError::Closed) with
    /// [`CloseReason::Tls`], and the stream is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is done closes the stream.
    #[doc(alias = "start_tls")]
    pub async fn start_tls_client(
        &self,
        config: &TlsClientConfig,
        server_name: &str,
    ) -> Result<(), StreamError> {
        let name = server_name_of(server_name)?;
        self.start_tls_with(client(config, name)?, config.handshake_timeout, Unread::IsRefused).await
    }

    /// Begins TLS as a server and waits for the handshake (IO48), as
    /// [`start_tls_client`](IoStream::start_tls_client) does as a client.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is done closes the stream.
    #[doc(alias = "start_tls")]
    pub async fn start_tls_server(&self, acceptor: &TlsAcceptor) -> Result<(), StreamError> {
        self.start_tls_server_with(acceptor, Unread::IsRefused).await
    }

    /// [`start_tls_server`](IoStream::start_tls_server) on a stream that has read some of the handshake already: what is buffered
    /// counts as the first that the client says. For who has taken something off the stream that came before the
    /// client's own words, as a proxy's header does.
    ///
    /// Not for `STARTTLS`: there, what lies behind the command may have been put in by a stranger (IO49).
    ///
    /// # Errors
    ///
    /// As there, but for unread input.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is done closes the stream.
    pub async fn start_tls_server_on_unread(&self, acceptor: &TlsAcceptor) -> Result<(), StreamError> {
        self.start_tls_server_with(acceptor, Unread::IsHandshake).await
    }

    async fn start_tls_server_with(&self, acceptor: &TlsAcceptor, unread: Unread) -> Result<(), StreamError> {
        let config = acceptor.config();
        let connection = ServerConnection::new(Arc::clone(&config.rustls)).map_err(TlsError::of)?;
        self.start_tls_with(connection.into(), config.handshake_timeout, unread).await
    }

    /// What the handshake has agreed on (IO54). `None` on a stream without TLS, before the handshake is done, and once the
    /// stream is closed.
    #[must_use]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.inner.with_socket(|socket| match socket {
            Socket::Tls(tls) => tls.info(),
            _ => None,
        })?
    }

    async fn start_tls_with(
        &self,
        connection: Connection,
        within: Duration,
        unread: Unread,
    ) -> Result<(), StreamError> {
        let inner = &self.inner;
        if let Some(error) = inner.closed_error() {
            return Err(error);
        }
        let _reading = inner.begin_read()?;
        inner.check_idle(unread)?;
        let Some(carrier) = inner.socket.take() else {
            return Err(StreamError::AlreadyReading); // the carrier calls from inside its own work
        };
        let begun = inner.read_side.take();
        let transport = TlsTransport::new(carrier, connection, inner.registration.notifier(), begun.filled());
        inner.socket.set(Some(Socket::Tls(Box::new(transport))));

        let unfinished = CloseUnlessDone(inner);
        let end = self.now().checked_add(within); // `None` is as good as never
        let result = match self.until(end, poll_fn(|cx| inner.poll_handshake(cx))).await {
            Some(result) => result,
            None => Err(inner.fail(TlsError::HandshakeTimedOut.into())),
        };
        std::mem::forget(unfinished);
        result
    }
}

/// Whether a certificate could be for `name`: a host name or an IP address.
#[cfg(feature = "client")]
pub(crate) fn check_server_name(name: &str) -> Result<(), StreamError> {
    server_name_of(name).map(drop)
}

fn server_name_of(name: &str) -> Result<ServerName<'static>, StreamError> {
    let name = ServerName::try_from(name).map_err(|_| TlsError::InvalidServerName)?;
    Ok(name.to_owned())
}

fn client(config: &TlsClientConfig, name: ServerName<'static>) -> Result<Connection, StreamError> {
    let connection = ClientConnection::new(Arc::clone(&config.rustls), name).map_err(TlsError::of)?;
    Ok(connection.into())
}

/// What becomes of that which was read before TLS begins, and not taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    IsRefused,
    IsHandshake,
}

/// Half a handshake cannot be taken up again.
struct CloseUnlessDone<'a>(&'a Inner);

impl Drop for CloseUnlessDone<'_> {
    fn drop(&mut self) {
        self.0.close(CloseReason::Local);
    }
}

impl Inner {
    /// Nothing that came unprotected may be read as protected, nor the other way round (IO49).
    fn check_idle(&self, unread: Unread) -> Result<(), StreamError> {
        let buffered = self.read_side.len();
        if buffered > 0 && unread == Unread::IsRefused {
            return Err(TlsError::UnreadInput(buffered).into());
        }
        let unsent = self.pending();
        if unsent > 0 {
            return Err(TlsError::UnsentOutput(unsent).into());
        }
        if self.is_end_of_stream() {
            return Err(StreamError::end_of_stream());
        }
        if !self.can_write() {
            return Err(self.write_error());
        }
        Ok(())
    }

    fn poll_handshake(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
            if let Some(error) = self.closed_error() {
                return Poll::Ready(Err(error));
            }
            let step = self.with_socket(|socket| match socket {
                Socket::Tls(tls) => (tls.handshake(), tls.is_drained()),
                _ => (Ok(Poll::Ready(())), false),
            });
            let is_drained = matches!(step, Some((_, true)));
            self.flush_transport_when_possible();
            if is_drained {
                self.note_drained();
            }
            match step.map(|(step, _)| step) {
                Some(Ok(Poll::Ready(()))) => {
                    // What came behind the handshake may be here already, and somebody may wait to write.
                    let readable = if is_drained { Ready::EMPTY } else { Ready::READABLE };
                    self.registration.set_ready(readable | Ready::WRITABLE);
                    return Poll::Ready(Ok(()));
                }
                Some(Ok(Poll::Pending)) => {
                    if let Err(error) = std::task::ready!(self.poll_readable(cx)) {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.note_drained();
                    if self.may_read() {
                        // A side is reported closed, yet there is nothing to show for it: the next event may tell.
                        self.registration.wait_for_event(cx, Interest::READ);
                        return Poll::Pending;
                    }
                    if let Err(error) = std::task::ready!(self.poll_readable(cx)) {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(error)) => return Poll::Ready(Err(self.fail(error))),
                None => return Poll::Ready(Err(self.closed_error().unwrap_or(StreamError::AlreadyReading))),
            }
        }
    }
}

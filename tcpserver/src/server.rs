//! The server: listeners whose connections each become a task.
//! Step 3 of path 2 through the house (see ARCHITECTURE.md).

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ioloop::caught;
use iostream::StreamOptions;
use netutil::{BindOptions, bind_sockets};

use crate::accept::{AcceptHandle, add_accept_handler};
use crate::context::ConnectionContext;
use crate::error::ListenError;
use crate::handle::{OpenConnection, ServerHandle, remove_all};
use crate::handler::{HandleStream, Outcome};
use crate::listener::{Connection, Listener};
use crate::peer::PeerAddr;

/// A server for a protocol of your own: Tornado's `TCPServer`.
///
/// It serves on the loop that is current when it begins to listen. Clones share one server; dropping them all changes
/// nothing, as the loop keeps serving until [`stop`](TcpServer::stop). A loop that closes closes its listeners and
/// connections.
///
/// Nagle's algorithm is off for its connections.
#[doc(alias = "TCPServer")]
pub struct TcpServer<H> {
    handler: Rc<H>,
    server: ServerHandle,
}

impl<H: HandleStream> TcpServer<H> {
    /// A server whose connections are served by `handler` (TS1). It does not listen yet.
    #[must_use]
    pub fn new(handler: H) -> TcpServer<H> {
        TcpServer { handler: Rc::new(handler), server: ServerHandle::new() }
    }

    /// Gives connections that are accepted from now on these limits.
    #[must_use]
    #[doc(alias = "max_buffer_size")]
    #[doc(alias = "read_chunk_size")]
    pub fn stream_options(self, options: StreamOptions) -> TcpServer<H> {
        self.server.state.options.replace(Rc::new(options));
        self
    }

    /// How long a connection whose handler has ended may take to send what was written and, where the peer was still
    /// talking, to hear it out. 5 seconds by default; then it is closed as it is.
    #[must_use]
    pub fn linger(self, limit: Duration) -> TcpServer<H> {
        self.server.state.linger.set(limit);
        self
    }

    /// Listens on `port` of all interfaces, IPv4 and IPv6, and serves at once (TS3). May be called several times. Port 0
    /// lets the kernel choose one port for all.
    ///
    /// Gives the addresses that are listened on.
    ///
    /// # Errors
    ///
    /// When nothing can be bound, or the loop refuses a socket; no listener of this call is left open then.
    pub fn listen(&self, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
        self.listen_with(port, &BindOptions::new())
    }

    /// Listens on `port` with options: address, family, backlog and the others of `bind_sockets`.
    ///
    /// # Errors
    ///
    /// As for [`listen`](TcpServer::listen).
    pub fn listen_with(&self, port: u16, options: &BindOptions) -> Result<Vec<SocketAddr>, ListenError> {
        let listeners = bind_sockets(port, options)?;
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        self.add_sockets(listeners)?;
        Ok(addresses)
    }

    /// Serves listeners that were bound before, at once (TS4): `bind_sockets` returns such, and so does a supervisor.
    ///
    /// # Errors
    ///
    /// As for [`add_socket`](TcpServer::add_socket); all of them are then closed, and none was served.
    pub fn add_sockets<L>(&self, listeners: impl IntoIterator<Item = L>) -> Result<(), ListenError>
    where
        L: TryInto<Listener, Error: Into<ListenError>>,
    {
        let mut added = Vec::new();
        for listener in listeners {
            match self.accept_on(listener) {
                Ok(handle) => added.push(handle),
                Err(error) => {
                    remove_all(added);
                    return Err(error);
                }
            }
        }
        self.server.state.listeners.borrow_mut().extend(added);
        Ok(())
    }

    /// Serves one listener, TCP or Unix, at once (TS4).
    ///
    /// # Errors
    ///
    /// When the socket cannot be made non-blocking, or the loop refuses it; it is then closed.
    pub fn add_socket(
        &self,
        listener: impl TryInto<Listener, Error: Into<ListenError>>,
    ) -> Result<(), ListenError> {
        self.add_sockets([listener])
    }

    /// Stops accepting and closes the listeners; live connections go on (TS6). Harmless when repeated; a handler
    /// reaches it through [`ConnectionContext::server`]. The server may listen again afterwards.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.server.open_connections()
    }

    /// Connections accepted since the server was made.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.server.accepted_connections()
    }

    fn accept_on(
        &self,
        listener: impl TryInto<Listener, Error: Into<ListenError>>,
    ) -> Result<AcceptHandle, ListenError> {
        let listener = listener.try_into().map_err(Into::into)?;
        listener.set_nodelay()?;
        let server = self.clone();
        add_accept_handler(listener, move |connection, peer| server.serve(connection, peer))
    }

    fn serve(&self, connection: Connection, peer: PeerAddr) {
        if let Err(error) = connection.set_nodelay() {
            tracing::debug!(%error, %peer, "cannot turn Nagle's algorithm off");
        }
        let options = Rc::clone(&self.server.state.options.borrow());
        let stream = match connection.into_stream(options) {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, %peer, "an accepted connection cannot be used"),
        };
        let io_loop = stream.io_loop();
        let (connection, id) = self.server.open(stream);
        io_loop.spawn_detached(run(Rc::clone(&self.handler), connection, id, peer));
    }
}

impl<H> Clone for TcpServer<H> {
    fn clone(&self) -> TcpServer<H> {
        TcpServer { handler: Rc::clone(&self.handler), server: self.server.clone() }
    }
}

impl<H> std::fmt::Debug for TcpServer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpServer").field("server", &self.server).finish_non_exhaustive()
    }
}

/// One connection from its first byte to its last: the handler, and what happens when it ends (TS7-TS9). Dropping
/// `connection` closes it.
///
/// Not an `async fn`, and nothing is handed on that could stay in its place: a future keeps room for what moves out of
/// it, and this one lives as long as its connection.
#[expect(clippy::manual_async_fn, reason = "see above")]
fn run<H: HandleStream>(
    handler: Rc<H>,
    connection: OpenConnection,
    id: u64,
    peer: PeerAddr,
) -> impl Future<Output = ()> {
    async move {
        let stream = &connection.stream;
        {
            let context = ConnectionContext::accepted(id, peer.clone(), connection.server.clone());
            // A handler may do its work, and panic, before it gives a future.
            let mut served = pin!(match caught(|| handler.handle_stream(stream.clone(), context)) {
                Ok(served) => served,
                Err(panic) => return log_panic(&panic, &peer, id),
            });
            // The error is put into words in here: its Display is the handler's code too.
            let outcome = poll_fn(|cx| match caught(|| served.as_mut().poll(cx).map(Outcome::failure)) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            });
            match outcome.await {
                Ok(None) => {}
                Ok(Some(error)) => tracing::error!(%error, %peer, id, "a connection handler failed"),
                Err(panic) => return log_panic(&panic, &peer, id),
            }
        }
        // Closing with input unread makes the kernel send a reset, which can overtake what was sent last.
        if !stream.is_closed() && (stream.pending() > 0 || stream.buffered() > 0) {
            let linger = connection.server.state.linger.get();
            // Boxed, so that the rare case adds nothing to every connection's memory.
            let _sent_or_not = Box::pin(stream.shutdown(linger)).await;
        }
    }
}

fn log_panic(panic: &str, peer: &PeerAddr, id: u64) {
    tracing::error!(panic, %peer, id, "a connection handler panicked");
}

#[cfg(test)]
mod tests {
    use iostream::{IoStream, testing};

    use super::*;

    #[test]
    fn a_connection_costs_little_more_than_its_handlers_future_which_is_kept_once() {
        const HANDLERS: usize = 4096;
        let handler = |_: IoStream, _: ConnectionContext| async {
            let held = [0_u8; HANDLERS];
            ioloop::yield_now().await;
            assert_eq!(held.iter().max(), Some(&0));
        };
        let server = ServerHandle::new();
        let stream = IoStream::new(testing::scripted().0).expect("a stream");
        let (connection, id) = server.open(stream);
        let size = size_of_val(&run(Rc::new(handler), connection, id, PeerAddr::Unix(None)));
        assert!(size < HANDLERS + 192, "{size} bytes");
    }
}

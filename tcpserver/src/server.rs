//! The server: listeners whose connections each become a task.
//! Step 3 of path 2 through the house (see ARCHITECTURE.md).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ioloop::IoLoop;
use iostream::{IoStream, StreamOptions};
use netutil::{BindOptions, bind_sockets};

use crate::accept::{AcceptHandle, add_accept_handler};
use crate::context::ConnectionContext;
use crate::error::ListenError;
use crate::handler::{HandleStream, Outcome};
use crate::listener::{Connection, Listener};
use crate::peer::PeerAddr;

/// How long a handler's last words may take to leave after it has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A server for a protocol of your own: Tornado's `TCPServer`.
///
/// It serves on the loop that is current when it begins to listen. Clones share one server; dropping them all changes
/// nothing, as the loop keeps serving until [`stop`](TcpServer::stop).
///
/// Nagle's algorithm is off for its connections.
#[doc(alias = "TCPServer")]
pub struct TcpServer<H> {
    shared: Rc<Shared<H>>,
}

struct Shared<H> {
    handler: H,
    options: RefCell<Rc<StreamOptions>>,
    listeners: RefCell<Vec<AcceptHandle>>,
    accepted: Cell<u64>,
    open: Cell<usize>,
}

impl<H: HandleStream> TcpServer<H> {
    /// A server whose connections are served by `handler` (TS1). It does not listen yet.
    #[must_use]
    pub fn new(handler: H) -> TcpServer<H> {
        let shared = Shared {
            handler,
            options: RefCell::default(),
            listeners: RefCell::default(),
            accepted: Cell::new(0),
            open: Cell::new(0),
        };
        TcpServer { shared: Rc::new(shared) }
    }

    /// Gives connections that are accepted from now on these limits.
    #[must_use]
    #[doc(alias = "max_buffer_size")]
    #[doc(alias = "read_chunk_size")]
    pub fn stream_options(self, options: StreamOptions) -> TcpServer<H> {
        self.shared.options.replace(Rc::new(options));
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
    /// When the loop refuses one; none of them is then served.
    pub fn add_sockets(&self, listeners: impl IntoIterator<Item = TcpListener>) -> Result<(), ListenError> {
        let before = self.shared.listeners.borrow().len();
        for listener in listeners {
            if let Err(error) = self.add_socket(listener) {
                let added = self.shared.listeners.borrow_mut().split_off(before);
                close(added);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Serves one listener, TCP or Unix, at once (TS4).
    ///
    /// # Errors
    ///
    /// When the socket cannot be made non-blocking, or the loop refuses it; it is then closed.
    pub fn add_socket(
        &self,
        listener: impl TryInto<Listener, Error = std::io::Error>,
    ) -> Result<(), ListenError> {
        let listener = listener.try_into()?;
        listener.set_nodelay()?;
        let server = self.clone();
        let handle = add_accept_handler(listener, move |connection, peer| server.serve(connection, peer))?;
        self.shared.listeners.borrow_mut().push(handle);
        Ok(())
    }

    /// Stops accepting and closes the listeners; live connections go on (TS6). Harmless when repeated, and from inside a
    /// handler. The server may listen again afterwards.
    pub fn stop(&self) {
        let listeners = self.shared.listeners.take();
        close(listeners);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.open.get()
    }

    /// Connections accepted since the server was made.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.shared.accepted.get()
    }

    fn serve(&self, connection: Connection, peer: PeerAddr) {
        if let Err(error) = connection.set_nodelay() {
            tracing::debug!(%error, %peer, "cannot turn Nagle's algorithm off");
        }
        let options = Rc::clone(&self.shared.options.borrow());
        let stream = match connection.into_stream(options) {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, %peer, "an accepted connection cannot be used"),
        };
        let id = self.shared.accepted.get() + 1;
        self.shared.accepted.set(id);
        let open = Open::new(Rc::clone(&self.shared));
        IoLoop::current().spawn_detached(run(open, stream, ConnectionContext::new(id, peer)));
    }
}

impl<H> Clone for TcpServer<H> {
    fn clone(&self) -> TcpServer<H> {
        TcpServer { shared: Rc::clone(&self.shared) }
    }
}

impl<H> std::fmt::Debug for TcpServer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpServer")
            .field("listeners", &self.shared.listeners.borrow().len())
            .field("open", &self.shared.open.get())
            .finish_non_exhaustive()
    }
}

fn close(listeners: Vec<AcceptHandle>) {
    for handle in listeners {
        drop(handle.remove());
    }
}

/// Counts a connection for as long as it lives.
struct Open<H> {
    shared: Rc<Shared<H>>,
}

impl<H> Open<H> {
    fn new(shared: Rc<Shared<H>>) -> Open<H> {
        shared.open.set(shared.open.get() + 1);
        Open { shared }
    }
}

impl<H> Drop for Open<H> {
    fn drop(&mut self) {
        self.shared.open.set(self.shared.open.get() - 1);
    }
}

/// One connection from its first byte to its last: the handler, and what happens when it ends (TS7-TS9).
async fn run<H: HandleStream>(open: Open<H>, stream: IoStream, context: ConnectionContext) {
    let (id, peer) = (context.id(), context.peer_addr().clone());
    let handler = &open.shared.handler;
    match caught(async { handler.handle_stream(stream.clone(), context).await }).await {
        Ok(outcome) => match outcome.failure() {
            None => {}
            Some(error) => tracing::error!(%error, %peer, id, "a connection handler failed"),
        },
        Err(panic) => {
            tracing::error!(panic = message(&*panic), %peer, id, "a connection handler panicked");
            stream.close();
        }
    }
    if stream.pending() > 0 {
        // Boxed, so that the rare case adds nothing to every connection's memory.
        let _sent_or_not = Box::pin(stream.shutdown(LAST_WORDS)).await;
    }
    stream.close();
}

/// Runs a future; gives the panic if there is one, with the future dropped either way.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a panic without a message)")
}

//! The HTTP server: a TCP server whose handler speaks HTTP.
//! Step 4 of path 1 through the house (see ARCHITECTURE.md).

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;

use iostream::{IoStream, StreamOptions};
use tcpserver::{
    BindOptions, ConnectionContext, HandleStream, ListenError, Listener, Outcome, PeerAddr, TcpServer,
};

use crate::core::Core;
use crate::driver::{Answering, Serve};
use crate::handler::Handler;
use crate::options::HttpOptions;
use crate::session::Session;

/// An HTTP/1.1 server: Tornado's `HTTPServer`, with the interface of its [`TcpServer`].
///
/// ```no_run
/// use httpserver::{HttpServer, Request, Response};
/// use ioloop::IoLoop;
///
/// async fn hello(request: Request) -> Response {
///     Response::text(format!("You requested {}\n", request.uri()))
/// }
///
/// let server = HttpServer::new(hello);
/// server.listen(8888)?;
/// IoLoop::current().start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It serves on the loop that is current when it begins to listen. Clones share one server. It goes on until it is
/// stopped, even if all clones are dropped.
#[doc(alias = "HTTPServer")]
pub struct HttpServer<H, M> {
    pub(crate) tcp: TcpServer<Http<H, M>>,
    pub(crate) http: Http<H, M>,
}

/// The handler of the TCP server underneath.
pub(crate) struct Http<H, M> {
    pub(crate) handler: Rc<H>,
    pub(crate) core: Rc<RefCell<Rc<Core>>>,
    marker: PhantomData<fn() -> M>,
}

impl<M: 'static, H: Handler<M>> HttpServer<H, M> {
    /// A server with the default options whose requests are answered by `handler`, which has one of three shapes: see
    /// [`Handler`]. It does not listen yet.
    #[must_use]
    pub fn new(handler: H) -> HttpServer<H, M> {
        let handler = Rc::new(handler);
        let core = Core::new(HttpOptions::default(), Answering::by(Rc::clone(&handler)));
        let http = Http { handler, core: Rc::new(RefCell::new(Rc::new(core))), marker: PhantomData };
        HttpServer { tcp: TcpServer::new(http.clone()).idle_makes_room(), http }
    }

    /// Sets the options of connections that are accepted from now on.
    #[must_use]
    pub fn options(self, options: HttpOptions) -> HttpServer<H, M> {
        let core = Core::new(options, Answering::by(Rc::clone(&self.http.handler)));
        self.http.core.replace(Rc::new(core));
        self
    }

    /// Sets the stream limits of connections that are accepted from now on.
    #[must_use]
    pub fn stream_options(self, options: StreamOptions) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.stream_options(options), http: self.http }
    }

    /// Listens on `port` of all interfaces, IPv4 and IPv6, and serves at once. Port 0 lets the kernel choose one. Returns the
    /// addresses that it listens on.
    ///
    /// # Errors
    ///
    /// When nothing can be bound, or the loop refuses a socket.
    pub fn listen(&self, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
        self.tcp.listen(port)
    }

    /// Listens on `port` with options: address, family, backlog and the others of `bind_sockets`.
    ///
    /// # Errors
    ///
    /// As for [`listen`](HttpServer::listen).
    pub fn listen_with(&self, port: u16, options: &BindOptions) -> Result<Vec<SocketAddr>, ListenError> {
        self.tcp.listen_with(port, options)
    }

    /// Listens on a Unix socket, and serves at once: see [`TcpServer::listen_unix`].
    ///
    /// # Errors
    ///
    /// As for [`listen`](HttpServer::listen), or when the path is taken.
    #[cfg(unix)]
    pub fn listen_unix(
        &self,
        path: impl AsRef<std::path::Path>,
        options: &tcpserver::UnixBindOptions,
    ) -> Result<(), ListenError> {
        self.tcp.listen_unix(path, options)
    }

    /// Serves listeners that are bound already, at once.
    ///
    /// # Errors
    ///
    /// When the loop refuses one; none of them is then served.
    pub fn add_sockets<L>(&self, listeners: impl IntoIterator<Item = L>) -> Result<(), ListenError>
    where
        L: TryInto<Listener, Error: Into<ListenError>>,
    {
        self.tcp.add_sockets(listeners)
    }

    /// Serves one listener, TCP or Unix, at once.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made non-blocking, or the loop refuses it.
    pub fn add_socket(
        &self,
        listener: impl TryInto<Listener, Error: Into<ListenError>>,
    ) -> Result<(), ListenError> {
        self.tcp.add_socket(listener)
    }

    /// Serves a stream from elsewhere as if it had been accepted: one end of a pair, the scripted transport of a
    /// test, a connection that something else has accepted. It counts and drains like the others. It does not wait for
    /// room, but is closed where [`max_connections_per_ip`](HttpServer::max_connections_per_ip) or
    /// [`WhenFull::Close`](tcpserver::WhenFull::Close) says so. Over TLS if the server does.
    pub fn add_stream(&self, stream: IoStream, peer: PeerAddr) {
        self.tcp.add_stream(stream, peer);
    }

    /// Stops accepting and closes the listeners; live connections go on (HS13).
    pub fn stop(&self) {
        self.tcp.stop();
    }

    /// Serves one stream from elsewhere until its end, in the task that awaits this;
    /// [`add_stream`](HttpServer::add_stream) has a task of the server do it.
    pub async fn serve_stream(&self, stream: IoStream, context: ConnectionContext) {
        self.http.handle_stream(stream, context).await;
    }
}

impl<M: 'static, H: Handler<M>> HandleStream for Http<H, M> {
    fn handle_stream(
        &self,
        stream: IoStream,
        context: ConnectionContext,
    ) -> impl Future<Output: Outcome> + 'static {
        let core = Rc::clone(&self.core.borrow());
        Serve::new(Session::new(stream, core, context))
    }

    fn release_memory(&self) {
        let core = Rc::clone(&self.core.borrow());
        core.release_memory();
    }
}

impl<H, M> Clone for Http<H, M> {
    fn clone(&self) -> Http<H, M> {
        Http { handler: Rc::clone(&self.handler), core: Rc::clone(&self.core), marker: PhantomData }
    }
}

impl<H, M> Clone for HttpServer<H, M> {
    fn clone(&self) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.clone(), http: self.http.clone() }
    }
}

impl<H, M> std::fmt::Debug for HttpServer<H, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HttpServer").field(&self.tcp).finish()
    }
}

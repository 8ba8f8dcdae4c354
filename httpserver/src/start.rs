//! HTTP on many loops: `bind` and `start`, which the TCP server beneath has.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tcpserver::{AcceptStrategy, AnyServer, BindOptions, ListenError, Server, ServersHandle, SharedListener};

use crate::handler::Handler;
use crate::server::HttpServer;

impl<M: 'static, H: Handler<M>> HttpServer<H, M> {
    /// How the loops come by their connections, if [`start`](HttpServer::start) has several. To be said before anything is bound.
    /// Default: [`AcceptStrategy::Shared`].
    #[must_use]
    pub fn accept_strategy(self, strategy: AcceptStrategy) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.accept_strategy(strategy), http: self.http }
    }

    /// Binds `port` on all interfaces, IPv4 and IPv6, to be served from [`start`](HttpServer::start) on (HS1). May be called several
    /// times. Port 0 lets the kernel choose one. Gives the addresses.
    ///
    /// # Errors
    ///
    /// When nothing can be bound, or the server was started.
    pub fn bind(&self, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
        self.tcp.bind(port)
    }

    /// Binds `port` with options: address, family, backlog and the others of `bind_sockets`.
    ///
    /// # Errors
    ///
    /// As for [`bind`](HttpServer::bind).
    pub fn bind_with(&self, port: u16, bind: &BindOptions) -> Result<Vec<SocketAddr>, ListenError> {
        self.tcp.bind_with(port, bind)
    }

    /// Queues a listener that was bound elsewhere, to be served from [`start`](HttpServer::start) on: a Unix socket, one that a supervisor
    /// has passed.
    ///
    /// # Errors
    ///
    /// When the server was started.
    pub fn bind_socket(&self, listener: impl Into<SharedListener>) -> Result<(), ListenError> {
        self.tcp.bind_socket(listener)
    }

    /// Serves what was bound, on so many loops: 1 means the current loop, any other number threads with a loop and a clone of the
    /// handler each, and 0 one of them for each CPU that the process may use. Once only. From then on what this gives stops and drains
    /// them, not this server. See [`TcpServer::start`](tcpserver::TcpServer::start).
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use httpserver::{HttpServer, Request, Response};
    ///
    /// async fn hello(request: Request) -> Response {
    ///     Response::text(format!("You requested {}\n", request.uri()))
    /// }
    ///
    /// let server = HttpServer::new(hello);
    /// server.bind(8888)?;
    /// server.start(0)?.run_until_signal(Duration::from_secs(10))?; // a loop for each CPU
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A handler that cannot change threads is made anew on each loop: `Servers::new(|_| HttpServer::new(handler))`, see
    /// [`Servers`](tcpserver::Servers).
    ///
    /// # Errors
    ///
    /// When the server was started before, listeners cannot be multiplied, or no threads can be had.
    pub fn start(&self, loops: usize) -> Result<ServersHandle, ListenError>
    where
        H: Clone + Send,
    {
        let handler = Mutex::new(H::clone(&self.http.handler));
        let options = self.http.core.borrow().options.clone();
        self.tcp.start_with(loops, move |_index| {
            let handler = handler.lock().unwrap_or_else(PoisonError::into_inner).clone();
            HttpServer::new(handler).options(options.clone())
        })
    }
}

impl<M: 'static, H: Handler<M>> Server for HttpServer<H, M> {
    fn erased(&self) -> AnyServer {
        self.tcp.erased()
    }
}

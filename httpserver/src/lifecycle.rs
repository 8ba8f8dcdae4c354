//! How an HTTP server listens beyond `listen`, how many connections it has, and how it ends: what it has from the TCP server
//! beneath.

use std::future::Future;
use std::io;
use std::time::Duration;

use tcpserver::{Drain, DrainReport, ListenOptions, ServerHandle, WhenFull};

use crate::handler::Handler;
use crate::server::HttpServer;

impl<M: 'static, H: Handler<M>> HttpServer<H, M> {
    /// The same server, whose listeners are treated like this where they are added through what is returned: see
    /// [`TcpServer::with`](tcpserver::TcpServer::with).
    ///
    /// ```no_run
    /// use httpserver::{HttpServer, ListenOptions, Request, Response};
    ///
    /// # async fn hello(_: Request) -> Response { Response::text("hello") }
    /// let server = HttpServer::new(hello);
    /// server.listen(8888)?;
    /// server.with(ListenOptions::new().label("admin").max_connections(10)).listen(8889)?;
    /// # Ok::<(), httpserver::ListenError>(())
    /// ```
    #[must_use]
    pub fn with(&self, options: ListenOptions) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.with(options), http: self.http.clone() }
    }

    /// Serves `https`: the listeners that are added through what is returned speak TLS, and a request's
    /// [`protocol`](crate::RequestFacts::protocol) says so. See [`ListenOptions::tls`]. The configuration should offer `http/1.1`
    /// ([`alpn`](iostream::tls::TlsServerBuilder::alpn)), which is what is spoken.
    #[cfg(feature = "tls")]
    #[must_use]
    #[doc(alias = "ssl_options")]
    pub fn tls(self, acceptor: impl Into<iostream::tls::TlsAcceptor>) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.tls(acceptor), http: self.http }
    }

    /// Has at most so many TLS handshakes under way at once: see
    /// [`TcpServer::max_handshakes`](tcpserver::TcpServer::max_handshakes). 512 by default.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn max_handshakes(self, most: usize) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.max_handshakes(most), http: self.http }
    }

    /// Serves at most so many connections at a time: see [`TcpServer::max_connections`](tcpserver::TcpServer::max_connections). By
    /// default the limit on descriptors decides.
    #[must_use]
    pub fn max_connections(self, most: usize) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.max_connections(most), http: self.http }
    }

    /// Serves at most so many connections at a time of one client: see
    /// [`TcpServer::max_connections_per_ip`](tcpserver::TcpServer::max_connections_per_ip). No limit by default.
    #[must_use]
    pub fn max_connections_per_ip(self, most: usize) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.max_connections_per_ip(most), http: self.http }
    }

    /// What becomes of those who come while the server is full: they wait, by default. [`WhenFull`] says which connections make room for them: those
    /// that idle between requests, the longest first.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> HttpServer<H, M> {
        HttpServer { tcp: self.tcp.when_full(when_full), http: self.http }
    }

    /// The server without the type of its handler: its connections, its counters, and its end, to be watched from elsewhere.
    #[must_use]
    pub fn handle(&self) -> &ServerHandle {
        self.tcp.handle()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.tcp.open_connections()
    }

    /// Connections accepted since the server was made.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.tcp.accepted_connections()
    }

    /// Begins to end: goes on accepting, and has every response say `Connection: close`, so that clients and balancers go
    /// elsewhere.
    pub fn lame_duck(&self) {
        self.tcp.lame_duck();
    }

    /// Ends in good order: accepts nobody any more, closes who is between two requests, answers the others with `Connection: close`,
    /// and closes what is left when `grace` has passed. See [`TcpServer::drain`](tcpserver::TcpServer::drain).
    pub fn drain(&self, grace: Duration) -> Drain {
        self.tcp.drain(grace)
    }

    /// Stops, and closes all connections at once.
    pub fn abort(&self) {
        self.tcp.abort();
    }

    /// Closes all connections at once, those that were taken over included, and waits until they are gone (HS14). Goes on accepting.
    /// What was being answered is cut off: [`drain`](HttpServer::drain) is the end in good order.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the connections are closed whether or not this is awaited.
    pub fn close_all_connections(&self) -> impl Future<Output = ()> + use<M, H> {
        self.tcp.close_all_connections()
    }

    /// Waits for SIGTERM or SIGINT, then is a lame duck for so long, and drains. A second signal aborts. See
    /// [`TcpServer::drained_by_signal`](tcpserver::TcpServer::drained_by_signal).
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for.
    pub fn drained_by_signal(
        &self,
        lame_duck: Duration,
        grace: Duration,
    ) -> impl Future<Output = io::Result<DrainReport>> {
        self.tcp.drained_by_signal(lame_duck, grace)
    }

    /// Runs the current loop until SIGTERM or SIGINT, and until the server has drained since, at most `grace`: the last line of
    /// a server's `main`. A second signal aborts.
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for, or the loop cannot run.
    pub fn run_until_signal(&self, grace: Duration) -> io::Result<DrainReport> {
        self.tcp.run_until_signal(grace)
    }

    /// Passes the listeners on to a successor by `name`: see [`TcpServer::pass_on`](tcpserver::TcpServer::pass_on).
    ///
    /// # Errors
    ///
    /// When there is no descriptor for one.
    #[cfg(target_os = "linux")]
    pub fn pass_on(&self, handover: tcpserver::Handover, name: &str) -> io::Result<tcpserver::Handover> {
        self.tcp.pass_on(handover, name)
    }

    /// Waits until SIGHUP has called for a successor that is ready, or for SIGTERM or SIGINT, and drains; for `lame_duck` before that
    /// each response says `Connection: close`, so that clients lose no request that they are about to send. See
    /// [`TcpServer::drained_when_replaced`](tcpserver::TcpServer::drained_when_replaced).
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for.
    #[cfg(target_os = "linux")]
    pub fn drained_when_replaced(
        &self,
        name: &str,
        sockets: tcpserver::ActivatedSockets,
        lame_duck: Duration,
        grace: Duration,
    ) -> impl Future<Output = io::Result<DrainReport>> {
        self.tcp.drained_when_replaced(name, sockets, lame_duck, grace)
    }

    /// Runs the current loop until SIGTERM or SIGINT, or until SIGHUP has called for a successor that is ready, and until the
    /// server has drained since: the last line of the `main` of a server that is replaced while it serves. See
    /// [`TcpServer::run_until_replaced`](tcpserver::TcpServer::run_until_replaced).
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for, or the loop cannot run.
    #[cfg(target_os = "linux")]
    pub fn run_until_replaced(
        &self,
        name: &str,
        sockets: tcpserver::ActivatedSockets,
        grace: Duration,
    ) -> io::Result<DrainReport> {
        self.tcp.run_until_replaced(name, sockets, grace)
    }
}

//! The server: listeners whose connections each become a task.
//! Step 3 of path 2 through the house (see ARCHITECTURE.md).

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use iostream::{IoStream, StreamOptions};
use netutil::{BindOptions, bind_sockets};
#[cfg(unix)]
use netutil::{UnixBindOptions, bind_unix_socket};

use crate::admission::{Admitted, WhenFull};
use crate::any_server::Server;
use crate::connections::ConnectionInfo;
use crate::drain::{Drain, DrainProgress, DrainReport};
use crate::entrance::{Entrance, ListenOptions};
use crate::error::ListenError;
use crate::handle::ServerHandle;
use crate::handler::HandleStream;
use crate::listener::{Connection, Listener};
use crate::log::logged;
use crate::metrics::Metrics;
use crate::peer::PeerAddr;
use crate::serving::run;

/// A server for a protocol of your own: Tornado's `TCPServer`.
///
/// It serves on the loop that is current when it begins to listen. Clones share one server. Dropping all of them changes
/// nothing: the loop keeps serving until [`stop`](TcpServer::stop). When a loop closes, its listeners and
/// connections close.
///
/// Nagle's algorithm is off for its connections.
#[doc(alias = "TCPServer")]
pub struct TcpServer<H> {
    /// Which knows the handler too.
    pub(crate) entrance: Rc<Entrance>,
    handler: PhantomData<fn() -> H>,
}

impl<H: HandleStream> TcpServer<H> {
    /// A server whose connections are served by `handler` (TS1). It does not listen yet.
    #[must_use]
    pub fn new(handler: H) -> TcpServer<H> {
        TcpServer::at(&Entrance::of_handler(Rc::new(handler)))
    }

    /// The server of an entrance whose handler is of this type.
    pub(crate) fn at(entrance: &Rc<Entrance>) -> TcpServer<H> {
        TcpServer { entrance: Rc::clone(entrance), handler: PhantomData }
    }

    pub(crate) fn handler(&self) -> &H {
        self.entrance.handler()
    }

    /// The same server with other options for the listeners that are added through the returned value, so that
    /// each listener can have its own.
    ///
    /// ```no_run
    /// use iostream::{IoStream, StreamError};
    /// use tcpserver::{ConnectionContext, ListenOptions, TcpServer};
    ///
    /// # async fn serve(_: IoStream, _: ConnectionContext) -> Result<(), StreamError> { Ok(()) }
    /// let server = TcpServer::new(serve);
    /// server.listen(7000)?;
    /// server.with(ListenOptions::new().label("admin")).listen(7001)?;
    /// # Ok::<(), tcpserver::ListenError>(())
    /// ```
    #[must_use]
    pub fn with(&self, options: ListenOptions) -> TcpServer<H> {
        TcpServer::at(&self.entrance.with(options))
    }

    /// As [`with`](TcpServer::with), with these stream limits and the other options unchanged.
    #[must_use]
    #[doc(alias = "max_buffer_size")]
    #[doc(alias = "read_chunk_size")]
    pub fn stream_options(self, options: StreamOptions) -> TcpServer<H> {
        self.with(self.entrance.options.clone().stream_options(options))
    }

    /// As [`with`](TcpServer::with), with this time for the end of a connection and the other options unchanged: see
    /// [`ListenOptions::linger`].
    #[must_use]
    pub fn linger(self, limit: Duration) -> TcpServer<H> {
        self.with(self.entrance.options.clone().linger(limit))
    }

    /// Serves at most `most` connections at a time (TS7); [`when_full`](TcpServer::when_full) says what happens to the
    /// others, and for whom connections that idle make room. Every connection counts until it is closed. With a limit of zero no connection is
    /// served. Where each of several loops has its server, each has a limit of its own.
    ///
    /// By default the process's limit on descriptors decides, as it is at that moment: a sixteenth of the descriptors, at
    /// least 16 and at most 1024, is left for whatever else the process opens, and all servers of the process that have no limit of
    /// their own share the rest, whatever loop they are on. With 1024 descriptors that is 960 connections; see
    /// [`netutil::raise_descriptor_limit`].
    #[must_use]
    pub fn max_connections(self, most: usize) -> TcpServer<H> {
        self.handle().state.admission.limit(most);
        self
    }

    /// Serves at most `most` connections of one client at a time (TS7): of one IPv4 address, or one IPv6 /64, which is what one
    /// subscriber has. Further ones are accepted and closed. There is no limit by default, because many clients may share one
    /// address, and behind a proxy all do.
    ///
    /// Counting takes memory only for clients that are connected. Peers of Unix sockets have no address and are not
    /// limited; connections that were open before the limit was set do not count. Each of several loops counts
    /// by itself, so a client may have this many on each.
    #[must_use]
    pub fn max_connections_per_ip(self, most: usize) -> TcpServer<H> {
        self.handle().state.admission.limit_per_ip(most);
        self
    }

    /// What happens to new connections while the server is full. By default they wait.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> TcpServer<H> {
        self.handle().state.admission.set_when_full(when_full);
        self
    }

    /// Lets connections that idle make room for newcomers when the server is full; [`WhenFull`] says which, and how. Those idle that wait
    /// in [`until_drained`](crate::ConnectionContext::until_drained), which then gives `None` as it does for a drain. For protocols whose
    /// clients ask, and expect to connect again when they have not asked for a while: as with HTTP, whose server has this on. Off by
    /// default, because a client that says nothing may listen; a handler can say so of one too
    /// ([`keep_place`](crate::ConnectionContext::keep_place)).
    ///
    /// ```
    /// # use iostream::{IoStream, StreamError};
    /// # use tcpserver::{ConnectionContext, TcpServer};
    /// async fn echo(stream: IoStream, context: ConnectionContext) -> Result<(), StreamError> {
    ///     while let Some(line) = context.until_drained(stream.read_until_max(b"\n", 8192)).await {
    ///         stream.write(line?).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let server = TcpServer::new(echo).max_connections(5000).idle_makes_room();
    /// # let _ = server;
    /// ```
    #[must_use]
    pub fn idle_makes_room(self) -> TcpServer<H> {
        self.handle().state.admission.let_idle_make_room();
        self
    }

    /// As [`with`](TcpServer::with), with TLS and the other options unchanged: see [`ListenOptions::tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    #[doc(alias = "ssl_options")]
    pub fn tls(self, acceptor: impl Into<iostream::tls::TlsAcceptor>) -> TcpServer<H> {
        self.with(self.entrance.options.clone().tls(acceptor))
    }

    /// Limits the TLS handshakes that are under way at once: 512 by default, at least one. Others wait for their turn, no
    /// longer than a handshake may take. While any wait, the oldest handshake is given up once it has lasted a second.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn max_handshakes(self, most: usize) -> TcpServer<H> {
        self.handle().state.handshakes.limit(most);
        self
    }

    /// Listens on `port` of all interfaces, IPv4 and IPv6, and serves at once (TS3). May be called several times. Port 0
    /// lets the kernel choose one port for all.
    ///
    /// Returns the addresses that it listens on.
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

    /// Listens on a Unix socket, and serves at once. [`bind_unix_socket`] says what happens if the path exists already. The socket's
    /// file stays when the server ends, as in Tornado; to have it removed, add the listener of
    /// [`bind_unix_socket_guarded`](netutil::bind_unix_socket_guarded) and keep its guard.
    ///
    /// # Errors
    ///
    /// When the socket cannot be bound, or the loop refuses it; it is not left open then.
    #[cfg(unix)]
    pub fn listen_unix(&self, path: impl AsRef<Path>, options: &UnixBindOptions) -> Result<(), ListenError> {
        self.add_socket(bind_unix_socket(path, options)?)
    }

    /// Serves listeners that are bound already, at once (TS4): those of `bind_sockets`, or those of a supervisor.
    ///
    /// # Errors
    ///
    /// As for [`add_socket`](TcpServer::add_socket); all of them are then closed, and none was served.
    pub fn add_sockets<L>(&self, listeners: impl IntoIterator<Item = L>) -> Result<(), ListenError>
    where
        L: TryInto<Listener, Error: Into<ListenError>>,
    {
        let ready = listeners.into_iter().map(|listener| listener.try_into().map_err(Into::into));
        self.erased().add(ready.collect::<Result<_, _>>()?)
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

    /// Serves a stream from elsewhere as if it had been accepted: one end of a pair, the scripted transport of a
    /// test, a connection that something else has accepted. It counts and drains like the others. It does not wait for
    /// room, but is closed where [`max_connections_per_ip`](TcpServer::max_connections_per_ip) or
    /// [`WhenFull::Close`] says so.
    pub fn add_stream(&self, stream: IoStream, peer: PeerAddr) {
        if let Some(admitted) = self.entrance.admit(&peer, stream.now()) {
            self.begin(stream, peer, admitted);
        }
    }

    /// Stops accepting and closes the listeners; live connections go on (TS6). May be called again; a handler
    /// reaches it through [`ConnectionContext::server`](crate::ConnectionContext::server). The server may listen again afterwards.
    pub fn stop(&self) {
        self.handle().stop();
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn entrance(&self) -> &Rc<Entrance> {
        &self.entrance
    }

    /// A handle without the type of the handler, for code that monitors or stops the server.
    #[must_use]
    pub fn handle(&self) -> &ServerHandle {
        &self.entrance.server
    }

    /// Begins a graceful end: goes on accepting, while clients are told to leave, if their protocol can say so
    /// ([`ConnectionContext::is_leaving`](crate::ConnectionContext::is_leaving)). This is for the time that a load balancer
    /// takes to notice; [`drain`](TcpServer::drain) comes next.
    pub fn lame_duck(&self) {
        self.handle().lame_duck();
    }

    /// Ends gracefully (TS6): accepts the connections that are queued already and no others, closes those that are
    /// [idle](crate::ConnectionContext::until_drained), lets the others finish what they are doing, and closes what is left
    /// when `grace` has passed. Handlers that never ask whether the server drains run until then.
    ///
    /// Connections accepted last may still make one request. A client that connects while the listener closes is refused by the kernel; only
    /// another process with the same listener can serve it. A second call begins a new grace; the server may listen again
    /// afterwards.
    pub fn drain(&self, grace: Duration) -> Drain {
        self.handle().drain(grace)
    }

    /// Stops and closes all connections at once. A handler that waits for something other than its stream notices when it next uses it.
    pub fn abort(&self) {
        self.handle().abort();
    }

    /// Closes all connections at once and waits until their handlers have ended, as Tornado's HTTP server can. Goes on accepting.
    /// See [`ServerHandle::close_all_connections`].
    ///
    /// # Cancel safety
    ///
    /// The connections are closed by the call; dropping the future changes nothing.
    pub fn close_all_connections(&self) -> impl Future<Output = ()> + use<H> {
        self.handle().close_all_connections()
    }

    /// The phase that the server is in, and how many connections are left, while it drains and at any other time.
    #[must_use]
    pub fn drain_progress(&self) -> DrainProgress {
        self.handle().drain_progress()
    }

    /// Waits for SIGTERM or SIGINT, then is a [`lame_duck`](TcpServer::lame_duck) for the given time, then [drains](TcpServer::drain).
    /// A second signal cuts that short: it aborts. Signals are caught from this call on, on the current loop; from then on they no longer
    /// end the process by themselves.
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before a signal has come, the only effect is that signals no longer end the process. If it is dropped later, the server
    /// goes on draining, without a deadline.
    pub fn drained_by_signal(
        &self,
        lame_duck: Duration,
        grace: Duration,
    ) -> impl Future<Output = io::Result<DrainReport>> {
        self.handle().drained_by_signal(lame_duck, grace)
    }

    /// Runs the current loop until SIGTERM or SIGINT comes, then until the server has drained, which takes at most `grace`: the last line of
    /// a server's `main`. A second signal aborts.
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened for, or the loop cannot run.
    pub fn run_until_signal(&self, grace: Duration) -> io::Result<DrainReport> {
        let drained = self.drained_by_signal(Duration::ZERO, grace);
        IoLoop::current().run_sync(drained).map_err(io::Error::other)?
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.handle().open_connections()
    }

    /// Connections accepted since the server was made.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.handle().accepted_connections()
    }

    /// The server's metrics (TS12). Adds up the bytes of each open connection; the other numbers are kept ready.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.handle().metrics()
    }

    /// The connections that are open now, the oldest first (TS12).
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.handle().connections()
    }

    /// The options of the listeners that are added through this.
    pub(crate) fn listen_options(&self) -> &ListenOptions {
        &self.entrance.options
    }

    pub(crate) fn serve(&self, connection: Connection, peer: PeerAddr) {
        let Some(admitted) = self.entrance.admit(&peer, IoLoop::current().now()) else { return };
        if let Err(error) = connection.set_nodelay() {
            logged(|| tracing::debug!(%error, %peer, "cannot turn Nagle's algorithm off"));
        }
        let stream = match connection.into_stream(Rc::clone(&self.entrance.stream_options)) {
            Ok(stream) => stream,
            Err(error) => {
                logged(|| tracing::warn!(%error, %peer, "an accepted connection cannot be used"));
                return self.entrance.leave(&peer, &admitted);
            }
        };
        self.begin(stream, peer, admitted);
    }

    fn begin(&self, stream: IoStream, peer: PeerAddr, admitted: Admitted) {
        let io_loop = stream.io_loop();
        let connection = self.entrance.open(stream, peer, admitted);
        io_loop.spawn_detached(run::<H>(connection));
    }
}

impl<H> Clone for TcpServer<H> {
    fn clone(&self) -> TcpServer<H> {
        TcpServer { entrance: Rc::clone(&self.entrance), handler: PhantomData }
    }
}

impl<H> std::fmt::Debug for TcpServer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpServer").field("server", &self.entrance.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ioloop::testing::VirtualLoop;

    use super::*;
    use crate::ConnectionContext;

    #[test]
    fn ts6_a_loop_that_closes_leaves_nothing_of_its_server_behind() {
        let test = VirtualLoop::new();
        test.make_current();
        let server = TcpServer::new(|_: IoStream, _: ConnectionContext| std::future::pending::<()>());
        let address = server.listen_with(0, &BindOptions::new().address("127.0.0.1")).expect("a port")[0];
        let _client = std::net::TcpStream::connect(address).expect("it listens");
        test.run_until_stalled();
        assert_eq!(server.open_connections(), 1);
        let state = Rc::downgrade(&server.handle().state);
        drop(server);
        assert!(state.upgrade().is_some(), "it serves on");
        IoLoop::clear_current();
        drop(test);
        assert!(state.upgrade().is_none());
    }

    #[test]
    fn ts6_a_loop_that_closes_before_it_has_run_closes_the_listeners_too() {
        let io_loop = IoLoop::new().expect("a loop");
        io_loop.make_current();
        let server = TcpServer::new(|_: IoStream, _: ConnectionContext| std::future::pending::<()>());
        let address = server.listen_with(0, &BindOptions::new().address("127.0.0.1")).expect("a port")[0];
        let state = Rc::downgrade(&server.handle().state);
        IoLoop::clear_current();
        drop(io_loop);
        let refused = std::net::TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(server);
        assert!(state.upgrade().is_none());
    }
}

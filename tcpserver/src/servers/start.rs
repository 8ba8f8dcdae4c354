//! `bind` and `start` of a server whose handler can be cloned for each loop.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ioloop::Loops;
use netutil::BindOptions;

use crate::any_server::Server;
use crate::error::ListenError;
use crate::handler::HandleStream;
use crate::server::TcpServer;
use crate::servers::member::{Plan, lock};
use crate::servers::queue::Queued;
use crate::servers::{AcceptStrategy, Servers, ServersHandle, SharedListener, serve_here};

impl<H: HandleStream> TcpServer<H> {
    /// How the loops come by their connections, if [`start`](TcpServer::start) has several. To be said before anything is bound. Default:
    /// [`AcceptStrategy::Shared`].
    #[must_use]
    pub fn accept_strategy(self, strategy: AcceptStrategy) -> TcpServer<H> {
        self.handle().state.queue.set_strategy(strategy);
        self
    }

    /// Binds `port` on all interfaces, IPv4 and IPv6, to be served from [`start`](TcpServer::start) on; until then clients wait (TS4).
    /// May be called several times, also [`with`](TcpServer::with) other options. Port 0 lets the kernel choose one port for all.
    ///
    /// Gives the addresses.
    ///
    /// # Errors
    ///
    /// When nothing can be bound, or the server was started.
    pub fn bind(&self, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
        self.bind_with(port, &BindOptions::new())
    }

    /// Binds `port` with options: address, family, backlog and the others of `bind_sockets`.
    ///
    /// # Errors
    ///
    /// As for [`bind`](TcpServer::bind).
    pub fn bind_with(&self, port: u16, bind: &BindOptions) -> Result<Vec<SocketAddr>, ListenError> {
        self.handle().state.queue.bind(port, bind, Some(self.listen_options().clone()))
    }

    /// Queues a listener that was bound elsewhere, to be served from [`start`](TcpServer::start) on: a Unix socket, one that a supervisor
    /// has passed.
    ///
    /// # Errors
    ///
    /// When the server was started.
    pub fn bind_socket(&self, listener: impl Into<SharedListener>) -> Result<(), ListenError> {
        let options = Some(self.listen_options().clone());
        self.handle().state.queue.push(Queued::sockets(vec![listener.into()], options))
    }

    /// Serves what was bound, on so many loops (TS5): 1 means the current loop, any other number threads with a loop and a clone of the
    /// handler each, and 0 one of them for each CPU that the process may use. Once only.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iostream::{IoStream, StreamError};
    /// use tcpserver::{ConnectionContext, TcpServer};
    ///
    /// async fn echo(stream: IoStream, _context: ConnectionContext) -> Result<(), StreamError> {
    ///     loop {
    ///         let line = stream.read_until_max(b"\n", 8192).await?;
    ///         stream.write(line).await?;
    ///     }
    /// }
    ///
    /// let server = TcpServer::new(echo);
    /// server.bind(9999)?;
    /// server.start(0)?.run_until_signal(Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Limits and options go along, and so does the [`MemoryBudget`](iostream::MemoryBudget) of this thread; each loop has them for itself: with
    /// `max_connections(1000)` on four loops there are 4000 at most, and a client may have its number on each. (The limit that holds by
    /// default, that of descriptors, is one for all.) What holds beside that is said at [`Servers::start`], which is for
    /// handlers that are made anew on each loop.
    ///
    /// To stop, to drain and to be asked how it fares is from then on for what this gives: `stop`, `drain` and `run_until_signal` of this
    /// server concern the current loop alone.
    ///
    /// # Errors
    ///
    /// As for [`Servers::start`].
    pub fn start(&self, loops: usize) -> Result<ServersHandle, ListenError>
    where
        H: Clone + Send,
    {
        let handler = Mutex::new(H::clone(self.handler()));
        self.start_with(loops, move |_index| {
            let handler = lock(&handler).clone();
            TcpServer::new(handler)
        })
    }

    /// [`start`](TcpServer::start) for servers that are built on this one: `make` makes one for a loop, which is given the number of the
    /// loop, counted from 0. What was bound here, limits and options go along.
    ///
    /// # Errors
    ///
    /// As for [`Servers::start`].
    pub fn start_with<S: Server>(
        &self,
        loops: usize,
        make: impl Fn(usize) -> S + Send + Sync + 'static,
    ) -> Result<ServersHandle, ListenError> {
        let state = &self.handle().state;
        if loops == 1 {
            let (_, queued) = state.queue.start()?;
            return serve_here(&self.erased(), queued);
        }
        let servers = Servers {
            plan: Plan {
                make: Arc::new(move |index| make(index).erased()),
                settings: Some(self.handle().settings()),
            },
            queue: state.queue.clone(),
            options: None,
            loops: Loops::new(0).name("server"),
        };
        servers.start(loops)
    }
}

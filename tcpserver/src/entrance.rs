//! One way into a server: what is said of its listeners, and shared by all connections that come through them.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use iostream::StreamOptions;
#[cfg(feature = "tls")]
use iostream::tls::TlsAcceptor;

use crate::admission::Gate;
use crate::handle::ServerHandle;
use crate::handler::{AnyHandler, HandleStream};
use crate::peer::PeerAddr;
use crate::proxy_protocol::ProxyProtocol;

/// Options for some of a server's listeners and their connections: see [`TcpServer::with`](crate::TcpServer::with). Everything else
/// is set for the server as a whole.
///
/// ```
/// use tcpserver::ListenOptions;
/// use std::time::Duration;
///
/// let admin = ListenOptions::new().label("admin").linger(Duration::ZERO);
/// # let _ = admin;
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    pub(crate) stream: StreamOptions,
    pub(crate) linger: Duration,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) max_connections: Option<usize>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsAcceptor>,
}

impl ListenOptions {
    /// The defaults: no label, no limit, no PROXY protocol, no TLS, the limits of [`StreamOptions`], a linger of 5 seconds.
    #[must_use]
    pub fn new() -> ListenOptions {
        ListenOptions {
            stream: StreamOptions::default(),
            linger: LINGER,
            label: None,
            proxy_protocol: None,
            max_connections: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A name for the listeners. It is in the span of their connections, and in the log line of a connection that
    /// fails. None by default.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> ListenOptions {
        self.label = Some(label.into());
        self
    }

    /// Limits the connections through these listeners that are served at a time; the limits of the server apply as well. None by default.
    /// With it, a public listener leaves room for a private one. With [`AcceptStrategy::Dispatch`](crate::AcceptStrategy::Dispatch) further
    /// connections are closed, because the loop that accepts does not know this limit.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> ListenOptions {
        self.max_connections = Some(most);
        self
    }

    /// Speaks TLS. The handshake is done before the handler is called; its result is in
    /// [`ConnectionContext::tls_info`](crate::ConnectionContext::tls_info). None by default.
    ///
    /// The handshake may take as long as the configuration says, 10 seconds by default, and the number of handshakes [at
    /// once](crate::TcpServer::max_handshakes) is limited. If one fails, its connection is closed without the handler being called; it is
    /// counted, and logged at most once in ten seconds. The acceptor takes a new certificate at any time
    /// ([`replace`](TlsAcceptor::replace)), for all clones and loops at once.
    #[cfg(feature = "tls")]
    #[must_use]
    #[doc(alias = "ssl_options")]
    pub fn tls(mut self, acceptor: impl Into<TlsAcceptor>) -> ListenOptions {
        self.tls = Some(acceptor.into());
        self
    }

    /// Expects connections to begin with a PROXY protocol header, by which a proxy names its client; with TLS it comes before the handshake.
    /// Off by default: a header is then data from the client, like any other bytes.
    ///
    /// The handler is called when the header has been read, and finds its content in the context:
    /// [`client_addr`](crate::ConnectionContext::client_addr), [`proxy_header`](crate::ConnectionContext::proxy_header).
    /// A connection with a bad header is closed, [counted](crate::Metrics::proxy_failures), and logged at most once in ten
    /// seconds. One that ends before its first byte is only closed, because health checks do that.
    #[must_use]
    pub fn proxy_protocol(mut self, policy: ProxyProtocol) -> ListenOptions {
        self.proxy_protocol = Some(policy);
        self
    }

    /// The limits of the streams.
    #[must_use]
    #[doc(alias = "max_buffer_size")]
    #[doc(alias = "read_chunk_size")]
    pub fn stream_options(mut self, options: StreamOptions) -> ListenOptions {
        self.stream = options;
        self
    }

    /// How long a connection whose handler has ended may take to send what was written and, if the peer was still
    /// sending, to read and drop that. 5 seconds by default, and 20 ms for the latter while the server
    /// [drains](crate::TcpServer::drain); then it is closed as it is. If the peer begins to send only when the
    /// handler has ended, a reset may still cost it the last bytes: a handler whose last answer is large should await
    /// [`IoStream::shutdown`](iostream::IoStream::shutdown).
    #[must_use]
    pub fn linger(mut self, limit: Duration) -> ListenOptions {
        self.linger = limit;
        self
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

/// A server with the options of some of its listeners. Each connection keeps the entrance through which it came.
pub(crate) struct Entrance {
    pub(crate) server: ServerHandle,
    /// Here and not with each connection, for which a pointer would be one in ten that it has.
    handler: Option<Rc<dyn AnyHandler>>,
    pub(crate) options: ListenOptions,
    /// Those of `options`, as streams take them.
    pub(crate) stream_options: Rc<StreamOptions>,
    pub(crate) gate: Gate,
}

impl Entrance {
    /// Into a server whose connections somebody else serves.
    pub(crate) fn new(server: ServerHandle, options: ListenOptions) -> Rc<Entrance> {
        Entrance::made(server, None, options)
    }

    pub(crate) fn of_handler(handler: Rc<dyn AnyHandler>) -> Rc<Entrance> {
        let server = ServerHandle::new();
        server.has_handler(&handler);
        Entrance::made(server, Some(handler), ListenOptions::new())
    }

    /// The same with other options.
    pub(crate) fn with(&self, options: ListenOptions) -> Rc<Entrance> {
        Entrance::made(self.server.clone(), self.handler.clone(), options)
    }

    fn made(
        server: ServerHandle,
        handler: Option<Rc<dyn AnyHandler>>,
        options: ListenOptions,
    ) -> Rc<Entrance> {
        let stream_options = Rc::new(options.stream);
        let gate = Gate::new(options.max_connections);
        Rc::new(Entrance { server, handler, options, stream_options, gate })
    }

    /// Whoever serves those who come in: for the server that was made with it, which knows its type.
    pub(crate) fn handler<H: HandleStream>(&self) -> &H {
        let handler = self.handler.as_deref().map(|handler| handler as &dyn Any);
        handler.and_then(<dyn Any>::downcast_ref).expect("the handler that the server was made with")
    }

    /// For listeners without a server, which would have to say when a connection ends.
    pub(crate) fn unlimited() -> Rc<Entrance> {
        let server = ServerHandle::new();
        server.state.admission.limit(usize::MAX);
        Entrance::new(server, ListenOptions::new())
    }

    /// Whether something is to be done before a handler is given the connection.
    pub(crate) fn has_opening(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.options.tls.is_some() {
            return true;
        }
        self.options.proxy_protocol.is_some()
    }

    /// The address that is the client's as far as is known when it is accepted: a proxy's is not.
    pub(crate) fn ip_at_the_door(&self, peer: &PeerAddr) -> Option<IpAddr> {
        let may_be_proxy =
            self.options.proxy_protocol.as_ref().is_some_and(|policy| policy.may_come_from(peer));
        if may_be_proxy { None } else { peer.ip() }
    }

    pub(crate) fn label(&self) -> Option<&str> {
        self.options.label.as_deref()
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").field("server", &self.server).finish_non_exhaustive()
    }
}

/// How long a connection may take to end after its handler has, unless something else is said.
const LINGER: Duration = Duration::from_secs(5);

//! What a handler is told about its connection beside the stream.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use ioloop::IoLoop;
use iostream::IoStream;

use crate::admission::Admitted;
use crate::connections::Facts;
use crate::entrance::{Entrance, ListenOptions};
use crate::handle::ServerHandle;
use crate::peer::PeerAddr;
use crate::proxy_protocol::ProxyHeader;

/// The facts of one connection. Clones share them. Whoever keeps one keeps the server's handler: a handler in whose state they are kept has to let
/// them go when their connections end, or neither ever goes.
#[derive(Debug, Clone)]
pub struct ConnectionContext {
    facts: Rc<Facts>,
}

impl ConnectionContext {
    /// The context of a stream that no server has accepted: a socket pair, or the scripted transport of a test. It opens
    /// now, by the time of the current loop if there is one. Its number is 0, and its server is one that never listens.
    #[must_use]
    pub fn new(peer: PeerAddr) -> ConnectionContext {
        let entrance = Entrance::new(ServerHandle::new(), ListenOptions::new());
        let now = IoLoop::try_current().map_or_else(Instant::now, |io_loop| io_loop.now());
        let facts = Facts::new(0, None, peer, entrance, now, Admitted::default());
        ConnectionContext { facts }
    }

    /// Adds what a proxy has said of the connection, for a context that no server has made.
    #[must_use]
    pub fn proxied(self, header: ProxyHeader) -> ConnectionContext {
        self.facts.set_proxied(header);
        self
    }

    pub(crate) fn of(facts: &Rc<Facts>) -> ConnectionContext {
        ConnectionContext { facts: Rc::clone(facts) }
    }

    /// The number of the connection: accepted ones are counted from 1, per server.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// When the connection was accepted, by the time of its loop: before its TLS handshake, and before what a proxy says of its client.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.facts.opened()
    }

    /// The address of the other end of the socket (TS11), which may be a proxy's.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.facts.peer()
    }

    /// The address of the client: the one that a PROXY protocol header names, else the peer's.
    #[must_use]
    pub fn client_addr(&self) -> PeerAddr {
        self.facts.client()
    }

    /// The PROXY protocol header of the connection, if the listener
    /// [expects one](ListenOptions::proxy_protocol).
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.facts.proxy_header()
    }

    /// The address at which the peer has reached the server; for a listener on all interfaces that says which. `None` for a
    /// connection that is not TCP, or has ended. Asks the operating system.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream()?.local_addr()
    }

    /// The result of the TLS handshake, the client's certificate included; `None` for a connection without TLS. Also there if the
    /// handler has begun TLS by itself.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_info(&self) -> Option<iostream::tls::TlsInfo> {
        self.stream()?.tls_info()
    }

    /// The process, user and group at the other end of a Unix socket. Asks the operating system. `None` for a connection of another kind,
    /// for one that has ended, and elsewhere than on Linux.
    #[cfg(all(unix, feature = "credentials"))]
    #[must_use]
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_credentials(&self) -> Option<crate::PeerCredentials> {
        let stream = self.stream().filter(|_| matches!(self.peer_addr(), PeerAddr::Unix(_)))?;
        crate::PeerCredentials::of(stream)
    }

    fn stream(&self) -> Option<&IoStream> {
        self.facts.stream().filter(|stream| !stream.is_closed())
    }

    /// The [label](ListenOptions::label) of the listener through which the connection came.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.facts.entrance.label()
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The server that accepted the connection: for a handler that stops it (TS6), or looks at how busy it is.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.facts.server()
    }
}

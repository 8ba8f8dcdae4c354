//! What a handler is told about its connection beside the stream.

use crate::handle::ServerHandle;
use crate::peer::PeerAddr;

/// The facts of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionContext {
    id: u64,
    peer: PeerAddr,
    server: ServerHandle,
}

impl ConnectionContext {
    /// The context of a stream that no server has accepted: a socket pair, or the scripted transport of a test. Its
    /// number is 0, and its server is one that never listens.
    #[must_use]
    pub fn new(peer: PeerAddr) -> ConnectionContext {
        ConnectionContext { id: 0, peer, server: ServerHandle::new() }
    }

    pub(crate) fn accepted(id: u64, peer: PeerAddr, server: ServerHandle) -> ConnectionContext {
        ConnectionContext { id, peer, server }
    }

    /// The number of the connection: accepted ones are counted from 1, per server.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who is at the other end (TS11).
    #[must_use]
    pub fn peer_addr(&self) -> &PeerAddr {
        &self.peer
    }

    /// The server that accepted the connection: for a handler that stops it (TS6), or heeds how much it has to do.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }
}

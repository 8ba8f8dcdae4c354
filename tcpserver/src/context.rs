//! What a handler is told about its connection beside the stream.

use crate::peer::PeerAddr;

/// The facts of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionContext {
    id: u64,
    peer: PeerAddr,
}

impl ConnectionContext {
    pub(crate) fn new(id: u64, peer: PeerAddr) -> ConnectionContext {
        ConnectionContext { id, peer }
    }

    /// The number of the connection: counted from 1, per server and loop.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who is at the other end (TS11).
    #[must_use]
    pub fn peer_addr(&self) -> &PeerAddr {
        &self.peer
    }
}

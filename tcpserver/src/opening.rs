//! What a connection goes through before its handler is given it: the PROXY protocol header, if its listener expects one, then the
//! TLS handshake, if it speaks TLS.

#[cfg(feature = "tls")]
mod tls;

use crate::connections::ConnectionState;
use crate::handle::OpenConnection;
use crate::proxy_protocol;

/// `None` if the connection is not fit to be served. Why not has been counted then.
pub(crate) async fn complete(connection: &OpenConnection) -> Option<()> {
    let facts = &connection.facts;
    facts.state.set(ConnectionState::Opening);
    if let Some(policy) = &facts.entrance.options.proxy_protocol {
        proxy_protocol::open(connection, policy).await?;
    }
    #[cfg(feature = "tls")]
    if let Some(acceptor) = &facts.entrance.options.tls {
        tls::shake_hands(connection, acceptor).await?;
    }
    facts.state.set(ConnectionState::Serving);
    Some(())
}

//! The TLS handshake of a connection whose listener speaks TLS.

use std::pin::pin;

use iostream::tls::{TlsAcceptor, TlsError};
use iostream::{CloseReason, StreamError};

use crate::connections::Facts;
use crate::ending::unless;
use crate::handle::OpenConnection;
use crate::log::logged;

/// Waits for a place, then for the handshake. Each has the time that the acceptor gives a handshake.
pub(super) async fn shake_hands(connection: &OpenConnection, acceptor: &TlsAcceptor) -> Option<()> {
    let (stream, facts) = (connection.stream(), &connection.facts);
    let server = facts.server();
    let place = server.state.handshakes.place(stream, &server.state.tally);
    let place = unless(pin!(stream.closed()), ioloop::timeout(acceptor.handshake_timeout(), place)).await?;
    let Ok(place) = place else {
        note_timeout(facts);
        return None;
    };
    // A PROXY protocol header may have come in one piece with the beginning of the handshake.
    let shaken = stream.start_tls_server_on_unread(acceptor).await;
    drop(place);
    match shaken {
        Ok(()) => return Some(()),
        Err(StreamError::Closed(CloseReason::Tls(TlsError::HandshakeTimedOut))) => note_timeout(facts),
        // It was put an end to from here, or by a peer that only wanted to know whether somebody listens.
        Err(StreamError::Closed(CloseReason::Local)) => {}
        Err(error) if error.is_disconnect() => {}
        Err(error) => note_failure(facts, &error),
    }
    None
}

fn note_timeout(facts: &Facts) {
    logged(|| tracing::debug!(peer = %facts.peer(), id = facts.id, "the TLS handshake timed out"));
    facts.server().state.tally.count(|metrics| metrics.timed_out.handshake += 1);
}

fn note_failure(facts: &Facts, error: &StreamError) {
    let (Facts { id, entrance, .. }, peer) = (facts, facts.peer());
    let state = &entrance.server.state;
    state.tally.count(|metrics| metrics.handshake_errors += 1);
    let now = ioloop::IoLoop::current().now();
    if let Some(left_out) = state.handshakes.failures.line(now) {
        let label = entrance.label();
        logged(|| tracing::warn!(%error, %peer, id, label, left_out, "a TLS handshake failed"));
    }
}

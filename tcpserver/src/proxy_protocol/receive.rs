//! The header of one connection: read from its stream before its handler is called.

use iostream::{CloseReason, IoStream, StreamError};

use super::policy::Expected;
use super::{ProxyError, ProxyHeader, ProxyProtocol};
use crate::connections::Facts;
use crate::handle::OpenConnection;
use crate::log::logged;

/// Reads the header, as far as `policy` expects one. `None` if the connection is not fit to be served; why not has been counted
/// then.
pub(crate) async fn open(connection: &OpenConnection, policy: &ProxyProtocol) -> Option<()> {
    let (stream, facts) = (connection.stream(), &connection.facts);
    match receive(stream, facts, policy).await {
        Ok(header) => {
            let names_client = header.as_ref().is_none_or(|header| header.source().is_some());
            if let Some(header) = header {
                facts.set_proxied(header);
            }
            let admission = &facts.server().state.admission;
            // A proxy that speaks for itself is nobody's client.
            let is_admitted = !names_client || admission.admit_client(&facts.client(), &facts.admitted);
            is_admitted.then_some(())
        }
        Err(error) => {
            // Who has asked for nothing may only want to know whether somebody listens.
            if let Some(error) = error {
                note_failure(facts, error);
            }
            None
        }
    }
}

fn note_failure(facts: &Facts, error: ProxyError) {
    let (Facts { id, entrance, .. }, peer) = (facts, facts.peer());
    let state = &facts.server().state;
    state.tally.count(|metrics| {
        metrics.proxy_failures += 1;
        metrics.timed_out.proxy_header += u64::from(error == ProxyError::TimedOut);
    });
    if let Some(left_out) = state.proxy_failures.line(ioloop::IoLoop::current().now()) {
        let label = entrance.label();
        logged(|| tracing::warn!(%error, %peer, id, label, left_out, "closed for its PROXY protocol header"));
    }
}

/// The header, if there is one. No error if the peer went away before it said anything.
async fn receive(
    stream: &IoStream,
    facts: &Facts,
    policy: &ProxyProtocol,
) -> Result<Option<ProxyHeader>, Option<ProxyError>> {
    let is_required = match policy.expected_from(&facts.peer()) {
        Expected::No => return Ok(None),
        Expected::Refused => return Err(Some(ProxyError::Untrusted)),
        Expected::Optional => false,
        Expected::Required => true,
    };
    match ioloop::timeout(policy.timeout, read(stream, policy.max_bytes)).await {
        Ok(Ok(header)) => Ok(Some(header)),
        Ok(Err(Some(ProxyError::Absent))) if !is_required => Ok(None),
        // Half the word "PROXY" and no more is the handler's, too.
        Ok(Err(Some(ProxyError::Truncated))) if !is_required => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_elapsed) if !is_required && stream.buffered() == 0 => Ok(None),
        Err(_elapsed) => Err(Some(ProxyError::TimedOut)),
    }
}

/// Takes the header off the stream, and nothing else.
async fn read(stream: &IoStream, max_bytes: usize) -> Result<ProxyHeader, Option<ProxyError>> {
    loop {
        let header = stream.read_with(|input| match ProxyHeader::parse(input, max_bytes) {
            Ok(Some((header, used))) => (used, Ok(Some(header))),
            Ok(None) => (0, Ok(None)),
            Err(error) => (0, Err(error)),
        });
        if let Some(header) = header? {
            return Ok(header);
        }
        match stream.fill().await {
            Ok(1..) => {}
            // The stream's own limit is below that of the header.
            Err(StreamError::Closed(CloseReason::ReadBufferFull(max_bytes))) => {
                return Err(Some(ProxyError::TooLong { max_bytes }));
            }
            Ok(0) | Err(_) if stream.buffered() == 0 => return Err(None),
            Ok(0) | Err(_) => return Err(Some(ProxyError::Truncated)),
        }
    }
}

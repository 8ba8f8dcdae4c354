//! What can be wrong with a PROXY protocol header.

use thiserror::Error;

/// Why a connection was closed that should have begun with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// What came begins with something else.
    #[error("no PROXY protocol header")]
    Absent,
    /// The header is not what the specification says.
    #[error("malformed PROXY protocol header: {0}")]
    Malformed(&'static str),
    /// The header is longer than [`ProxyProtocol::max_bytes`](crate::ProxyProtocol::max_bytes), or a text line longer than
    /// the 107 bytes that the specification allows.
    #[error("the PROXY protocol header is longer than {max_bytes} bytes")]
    TooLong {
        /// The limit that was met.
        max_bytes: usize,
    },
    /// The header's CRC32C is not that of its bytes.
    #[error("the checksum of the PROXY protocol header is wrong")]
    WrongChecksum,
    /// The peer went away in the middle of the header.
    #[error("the connection ended within the PROXY protocol header")]
    Truncated,
    /// The header was not there in time: see [`ProxyProtocol::timeout`](crate::ProxyProtocol::timeout).
    #[error("the PROXY protocol header did not come in time")]
    TimedOut,
    /// The peer is not among those who may send one: see
    /// [`ProxyProtocol::required_from`](crate::ProxyProtocol::required_from).
    #[error("the peer may not send a PROXY protocol header")]
    Untrusted,
}

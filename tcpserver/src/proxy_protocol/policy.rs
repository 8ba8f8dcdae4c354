//! From whom a header is expected, how long and how large.

use std::net::IpAddr;
use std::time::Duration;

use netutil::{Network, NetworkError};

use crate::peer::PeerAddr;

/// How long a header may be, and how long it may take, unless something else is said.
const MAX_BYTES: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the connections of a listener begin with a PROXY protocol header, of version 1 or 2: see
/// [`ListenOptions::proxy_protocol`](crate::ListenOptions::proxy_protocol).
///
/// A header makes its sender's word count for who the client is. Where others than your proxies can reach the listener, say
/// who they are: [`required_from`](ProxyProtocol::required_from), [`optional_from`](ProxyProtocol::optional_from).
///
/// ```
/// use tcpserver::{ListenOptions, ProxyProtocol};
///
/// let behind_balancer = ListenOptions::new().proxy_protocol(ProxyProtocol::required_from(["10.0.0.0/8"])?);
/// # let _ = behind_balancer;
/// # Ok::<(), tcpserver::NetworkError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    is_required: bool,
    /// `None`: anybody.
    senders: Option<Vec<Network>>,
    unix_sockets: bool,
    pub(super) timeout: Duration,
    pub(super) max_bytes: usize,
}

/// What is done about one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Required,
    Optional,
    /// What comes is what the client says.
    No,
    /// Nothing is taken from this peer.
    Refused,
}

impl ProxyProtocol {
    /// Every connection begins with a header. For a listener that only proxies can reach.
    #[must_use]
    pub fn required() -> ProxyProtocol {
        ProxyProtocol {
            is_required: true,
            senders: None,
            unix_sockets: true,
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
        }
    }

    /// Connections come from these networks (`10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`) and begin with a header; all others
    /// are closed.
    ///
    /// # Errors
    ///
    /// For the first that is no network.
    pub fn required_from<'a>(
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<ProxyProtocol, NetworkError> {
        let senders = networks.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(ProxyProtocol { senders: Some(senders), unix_sockets: false, ..ProxyProtocol::required() })
    }

    /// Connections from these networks may begin with a header. What others send is theirs: a header from them is not looked
    /// at, and goes to the handler as it is.
    ///
    /// One that does not begin like a header, or has sent nothing when the [`timeout`](ProxyProtocol::timeout) is over, has none. So
    /// a client in these networks that waits for the server to speak first waits that long.
    ///
    /// # Errors
    ///
    /// For the first that is no network.
    pub fn optional_from<'a>(
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<ProxyProtocol, NetworkError> {
        Ok(ProxyProtocol { is_required: false, ..ProxyProtocol::required_from(networks)? })
    }

    /// Counts peers on Unix sockets, which only local programs can be, among those networks. Without networks they are anyway.
    #[must_use]
    pub fn unix_sockets(mut self) -> ProxyProtocol {
        self.unix_sockets = true;
        self
    }

    /// How long the header may take, from when the connection is accepted. 5 seconds by default: proxies send it at once.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> ProxyProtocol {
        self.timeout = limit;
        self
    }

    /// How long the header may be. 4096 bytes by default: a header of version 1 has 107 at most, and one of version 2 is seldom
    /// longer than 250 unless it carries a certificate.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> ProxyProtocol {
        self.max_bytes = bytes;
        self
    }

    /// Whether a header from this peer is looked for.
    pub(crate) fn may_come_from(&self, peer: &PeerAddr) -> bool {
        matches!(self.expected_from(peer), Expected::Required | Expected::Optional)
    }

    pub(super) fn expected_from(&self, peer: &PeerAddr) -> Expected {
        let is_member = |ip: IpAddr| {
            self.senders.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(ip)))
        };
        match (peer.ip().map_or(self.unix_sockets, is_member), self.is_required) {
            (true, true) => Expected::Required,
            (true, false) => Expected::Optional,
            (false, true) => Expected::Refused,
            (false, false) => Expected::No,
        }
    }
}

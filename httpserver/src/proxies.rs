//! What a trusted proxy says of its client: address and protocol.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tcpserver::{Network, NetworkError};

use crate::forwarded;
use crate::headers::Headers;
use crate::http1::grammar::{list, trim_ows};

/// The protocol that the client speaks: the scheme of the URL (HU22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Not encrypted.
    Http,
    /// By TLS.
    Https,
}

impl Protocol {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
        }
    }

    fn parse(text: &[u8]) -> Option<Protocol> {
        match text {
            b"http" => Some(Protocol::Http),
            b"https" => Some(Protocol::Https),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which fields the proxy writes. **Only one kind is read**: a proxy that writes one passes on whatever its client put into
/// the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProxyHeaders {
    /// As Tornado: `X-Real-Ip`, else `X-Forwarded-For`; `X-Scheme`, else `X-Forwarded-Proto`. The proxy must write or remove all
    /// four, or clients write the first of each pair for it.
    #[default]
    Tornado,
    /// `X-Forwarded-For` and `X-Forwarded-Proto` alone.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Whose word is taken for the address and the protocol of a client: Tornado's `xheaders` and `trusted_downstream`, but no
/// peer is believed that was not named (HS11).
///
/// The address is looked for from the right, where the nearest proxy has written: members of the trusted networks are passed
/// over, the first other one is the client, and if all are trusted, the leftmost. What is no IP address there leaves the
/// address of the connection in force (HS8). A port goes unnoticed, brackets are taken off.
///
/// ```
/// use httpserver::{HttpOptions, TrustedProxies};
///
/// let proxies = TrustedProxies::networks(["127.0.0.1", "10.0.0.0/8"])?.unix_sockets();
/// let options = HttpOptions::new().xheaders(proxies);
/// # Ok::<(), httpserver::NetworkError>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "xheaders")]
#[doc(alias = "trusted_downstream")]
pub struct TrustedProxies {
    networks: Vec<Network>,
    any_peer: bool,
    unix_sockets: bool,
    headers: ProxyHeaders,
    hops: usize,
}

impl TrustedProxies {
    /// Proxies with an address in these networks (`10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`).
    ///
    /// # Errors
    ///
    /// For the first that is none.
    pub fn networks<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<TrustedProxies, NetworkError> {
        Ok(TrustedProxies {
            networks: networks.into_iter().map(str::parse).collect::<Result<_, _>>()?,
            any_peer: false,
            unix_sockets: false,
            headers: ProxyHeaders::default(),
            hops: usize::MAX,
        })
    }

    /// Takes the word of any peer, as Tornado does; the networks are only passed over. For a server that nobody but its proxies
    /// can reach: whoever else does can claim any address.
    #[must_use]
    pub fn any_peer(mut self) -> TrustedProxies {
        self.any_peer = true;
        self
    }

    /// Takes the word of peers on Unix sockets too, which only local programs can be.
    #[must_use]
    pub fn unix_sockets(mut self) -> TrustedProxies {
        self.unix_sockets = true;
        self
    }

    /// Says which fields the proxies write. Default: [`ProxyHeaders::Tornado`].
    #[must_use]
    pub fn headers(mut self, headers: ProxyHeaders) -> TrustedProxies {
        self.headers = headers;
        self
    }

    /// Looks at this many addresses at most, for proxies whose own addresses are not known: with two proxies in a row, two. The
    /// last one looked at is the client, trusted or not. Default: all. Zero is taken as one.
    #[must_use]
    pub fn hops(mut self, hops: usize) -> TrustedProxies {
        self.hops = hops.max(1);
        self
    }

    fn trusts_peer(&self, peer: Option<IpAddr>) -> bool {
        self.any_peer || peer.map_or(self.unix_sockets, |peer| self.is_member(peer))
    }

    fn is_member(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The client's address, if the peer may say and does.
    pub(crate) fn client_ip(&self, peer: Option<IpAddr>, headers: &Headers) -> Option<IpAddr> {
        if !self.trusts_peer(peer) {
            return None;
        }
        match self.headers {
            ProxyHeaders::Tornado if headers.contains("x-real-ip") => address(headers.sole("x-real-ip")?),
            ProxyHeaders::Tornado | ProxyHeaders::XForwarded => {
                let fields: Vec<&[u8]> = headers.get_list("x-forwarded-for").collect();
                self.nearest_untrusted(
                    fields
                        .into_iter()
                        .rev()
                        .flat_map(|field| field.rsplit(|&byte| byte == b','))
                        .map(|entry| address(trim_ows(entry))),
                )
            }
            ProxyHeaders::Forwarded => {
                let elements = forwarded::elements(headers)?;
                self.nearest_untrusted(elements.iter().rev().map(|element| address(element.for_.as_deref()?)))
            }
        }
    }

    /// The first address that is none of ours, from the nearest on. `None` once something is no address.
    fn nearest_untrusted(&self, addresses: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut farthest = None;
        for address in addresses.take(self.hops) {
            let address = address?;
            farthest = Some(address);
            if !self.is_member(address) {
                break;
            }
        }
        farthest
    }

    /// The client's protocol, if the peer may say and does (HS9).
    pub(crate) fn client_protocol(&self, peer: Option<IpAddr>, headers: &Headers) -> Option<Protocol> {
        if !self.trusts_peer(peer) {
            return None;
        }
        let name = match self.headers {
            ProxyHeaders::Tornado if headers.contains("x-scheme") => "x-scheme",
            ProxyHeaders::Tornado | ProxyHeaders::XForwarded => "x-forwarded-proto",
            ProxyHeaders::Forwarded => {
                let elements = forwarded::elements(headers)?;
                return Protocol::parse(&elements.last()?.proto.as_ref()?.to_ascii_lowercase());
            }
        };
        Protocol::parse(headers.get_list(name).last().and_then(|field| list(field).last())?)
    }
}

/// An address as proxies write it: alone, with a port, in brackets, in brackets with a port. One of IPv4 that is written as one of
/// IPv6 is the same client's.
fn address(text: &[u8]) -> Option<IpAddr> {
    written_address(str::from_utf8(text).ok()?).map(|address| address.to_canonical())
}

fn written_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse().ok().map(IpAddr::V6);
    }
    text.parse::<SocketAddr>().ok().map(|address| address.ip())
}

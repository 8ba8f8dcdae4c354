//! The PROXY protocol: what a proxy says of its client before anything else is said.
//!
//! The specification is HAProxy's `proxy-protocol.txt`, versions 1 and 2. What is here sees no socket and no clock; `receive`
//! joins it to a stream.

mod crc32c;
mod error;
mod policy;
mod receive;
mod tlv;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

pub use error::ProxyError;
pub use policy::ProxyProtocol;
pub(crate) use receive::open;
pub use tlv::{ProxySsl, Tlv, Tlvs, kind};

use crate::peer::PeerAddr;

/// A PROXY protocol header: who a proxy says that its client is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    is_local: bool,
    source: Option<PeerAddr>,
    destination: Option<PeerAddr>,
    /// Checked when they were read.
    tlvs: Box<[u8]>,
}

/// A header and the bytes that it takes, or nothing as long as some of it is missing.
type Parsed = Result<Option<(ProxyHeader, usize)>, ProxyError>;

impl ProxyHeader {
    /// Reads the header with which `input` begins, of either version, and says how many bytes it takes. `None` as long as it
    /// may be one and is not whole: call again with more. A header that is longer than `max_bytes` is refused, as soon
    /// as it shows.
    ///
    /// It is as strict as the specification: addresses and ports are of their family and written plainly, what has a length
    /// is as long as that, and a checksum is right where there is one.
    ///
    /// ```
    /// use tcpserver::{ProxyError, ProxyHeader};
    ///
    /// let input = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1";
    /// let (header, used) = ProxyHeader::parse(input, 4096)?.expect("all of it is there");
    /// assert_eq!(header.source().map(ToString::to_string).as_deref(), Some("192.0.2.1:56324"));
    /// assert_eq!(&input[used..], b"GET / HTTP/1.1");
    ///
    /// assert_eq!(ProxyHeader::parse(&input[..20], 4096), Ok(None));
    /// assert_eq!(ProxyHeader::parse(b"GET / HTTP/1.1", 4096), Err(ProxyError::Absent));
    /// # Ok::<(), ProxyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ProxyError`]; those about time, trust and the end of the connection are not said here.
    pub fn parse(input: &[u8], max_bytes: usize) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
        let begins_with = |signature: &[u8]| input.iter().zip(signature).all(|(is, should)| is == should);
        if begins_with(v2::SIGNATURE) {
            v2::parse(input, max_bytes)
        } else if begins_with(v1::SIGNATURE) {
            v1::parse(input, max_bytes)
        } else {
            Err(ProxyError::Absent)
        }
    }

    /// The client: who connected to the proxy. `None` if the proxy does not say, or speaks for itself.
    #[must_use]
    pub fn source(&self) -> Option<&PeerAddr> {
        self.source.as_ref()
    }

    /// Where the client connected to: an address of the proxy. `None` where there is no [`source`](ProxyHeader::source).
    #[must_use]
    pub fn destination(&self) -> Option<&PeerAddr> {
        self.destination.as_ref()
    }

    /// Whether the proxy speaks for itself (`LOCAL`), which is how it asks after the server's health.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// What the proxy says beside: none in version 1, and none when it speaks for itself.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'_> {
        Tlvs(&self.tlvs)
    }

    /// The host name that the client asked for (SNI).
    #[must_use]
    #[doc(alias = "PP2_TYPE_AUTHORITY")]
    pub fn authority(&self) -> Option<&str> {
        self.tlvs().value(kind::AUTHORITY).and_then(|value| str::from_utf8(value).ok())
    }

    /// The protocol that the client and the proxy have agreed on (ALPN), `h2` for instance.
    #[must_use]
    #[doc(alias = "PP2_TYPE_ALPN")]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlvs().value(kind::ALPN)
    }

    /// The proxy's name for the connection.
    #[must_use]
    #[doc(alias = "PP2_TYPE_UNIQUE_ID")]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlvs().value(kind::UNIQUE_ID)
    }

    /// What the proxy knows of the client's TLS.
    #[must_use]
    pub fn ssl(&self) -> Option<ProxySsl<'_>> {
        self.tlvs().value(kind::SSL).and_then(ProxySsl::of)
    }
}

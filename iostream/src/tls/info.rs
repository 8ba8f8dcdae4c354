//! What a handshake has agreed on.

use rustls::{Connection, HandshakeKind, ProtocolVersion};
use rustls_pki_types::CertificateDer;

use crate::tls::config::TlsVersion;

/// What both sides have agreed on, and who the peer is (IO54). Got from [`IoStream::tls_info`](crate::IoStream::tls_info).
#[derive(Debug, Clone)]
pub struct TlsInfo {
    version: TlsVersion,
    cipher: &'static str,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    peer_certificates: Vec<CertificateDer<'static>>,
    resumed: bool,
}

impl TlsInfo {
    /// `None` until the handshake is done.
    pub(crate) fn of(connection: &Connection) -> Option<TlsInfo> {
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
            ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
            _ => return None, // rustls speaks no other
        };
        Some(TlsInfo {
            version,
            cipher: connection.negotiated_cipher_suite()?.suite().as_str()?,
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: match connection {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => None,
            },
            peer_certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// The version that is spoken.
    #[must_use]
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The name of the cipher suite, for instance `TLS13_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn cipher(&self) -> &'static str {
        self.cipher
    }

    /// The application protocol that was agreed on, for instance `h2` (ALPN, RFC 7301). `None` if a side has no list.
    #[must_use]
    #[doc(alias = "selected_alpn_protocol")]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// On a server: the host name that the client has asked for, in lower case (SNI, RFC 6066 §3). Clients that asked for an
    /// address name none. `None` on a client.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The peer's certificate and the chain it sent along, each as DER; nothing if it gave none. Verified, unless this is a
    /// client that was told to take any.
    #[doc(alias = "getpeercert")]
    pub fn peer_certificates(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.peer_certificates.iter().map(AsRef::as_ref)
    }

    /// Whether an earlier session was resumed, which spares certificates and most of the work.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }
}

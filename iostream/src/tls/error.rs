//! What can go wrong with TLS: between the peers, and when a configuration is made.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{CertificateError, PeerIncompatible};
use thiserror::Error;

/// Why TLS with this peer failed.
///
/// As the cause inside [`CloseReason::Tls`](crate::CloseReason::Tls) it has closed the stream. As
/// [`StreamError::Tls`](crate::StreamError::Tls) TLS was not even begun, and the stream is as it was.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The handshake took longer than its configuration allows.
    #[error("the TLS handshake timed out")]
    HandshakeTimedOut,
    /// What the peer sent first is no TLS. Nothing was answered.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The connection ended without the peer having said so in TLS (`close_notify`): what it sent last may be missing
    /// (IO53). Many peers end like that when there was nothing left to say, so what is whole by its own length may be
    /// taken for whole.
    #[error("the connection was cut off without a TLS close_notify")]
    Truncated,
    /// The peer's certificate, or one in its chain, has expired.
    #[error("the peer's certificate has expired")]
    CertificateExpired,
    /// The peer's certificate, or one in its chain, is not valid yet.
    #[error("the peer's certificate is not valid yet")]
    CertificateNotYetValid,
    /// The chain leads to nobody who is trusted; a self-signed certificate does not either.
    #[error("the peer's certificate has no trusted issuer")]
    UnknownIssuer,
    /// The certificate is for other names than the one that was asked for.
    #[error("the peer's certificate is for another name")]
    WrongName,
    /// Something else is wrong with the peer's certificate.
    #[error("the peer's certificate was refused: {0}")]
    BadCertificate(Details),
    /// The peer was asked for a certificate and gave none.
    #[error("the peer gave no certificate")]
    NoCertificate,
    /// The peer gave up, and this is what it had to say.
    #[error("the peer sent the TLS alert {0}")]
    AlertReceived(TlsAlert),
    /// There is no version, cipher suite or the like that both sides allow.
    #[error("nothing in common with the peer: {0}")]
    NothingInCommon(Details),
    /// Both sides have a list of application protocols (ALPN), with nothing on both.
    #[error("no application protocol in common with the peer")]
    NoCommonProtocol,
    /// The peer broke the rules of TLS.
    #[error("TLS protocol error: {0}")]
    Protocol(Details),
    /// TLS cannot begin while this many bytes have been read and not been taken: nobody could tell them from what
    /// comes protected (IO49).
    #[error("TLS cannot begin with {0} unread bytes")]
    UnreadInput(usize),
    /// TLS cannot begin while this many bytes wait to be sent (IO49): await the write first.
    #[error("TLS cannot begin with {0} unsent bytes")]
    UnsentOutput(usize),
    /// What was given as the server's name is neither a host name nor an IP address.
    #[error("not a host name or IP address")]
    InvalidServerName,
}

/// A few words about what happened, for people.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{0}")]
pub struct Details(Arc<rustls::Error>);

/// An alert, as in RFC 8446 §6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0:?} ({code})", code = self.code())]
pub struct TlsAlert(rustls::AlertDescription);

impl TlsAlert {
    /// Its number, for instance 48 for `unknown_ca`.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0.into()
    }
}

impl TlsError {
    pub(crate) fn of(error: rustls::Error) -> TlsError {
        use rustls::Error as E;
        match error {
            E::InvalidCertificate(problem) => TlsError::from_certificate(problem),
            E::NoCertificatesPresented => TlsError::NoCertificate,
            E::AlertReceived(alert) => TlsError::AlertReceived(TlsAlert(alert)),
            E::NoApplicationProtocol => TlsError::NoCommonProtocol,
            E::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(_)) => {
                TlsError::Protocol(Details(Arc::new(error)))
            }
            E::PeerIncompatible(_) => TlsError::NothingInCommon(Details(Arc::new(error))),
            other => TlsError::Protocol(Details(Arc::new(other))),
        }
    }

    fn from_certificate(problem: CertificateError) -> TlsError {
        use CertificateError as E;
        match problem {
            E::Expired | E::ExpiredContext { .. } => TlsError::CertificateExpired,
            E::NotValidYet | E::NotValidYetContext { .. } => TlsError::CertificateNotYetValid,
            E::UnknownIssuer => TlsError::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => TlsError::WrongName,
            other => TlsError::BadCertificate(Details(Arc::new(rustls::Error::InvalidCertificate(other)))),
        }
    }

    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            TlsError::HandshakeTimedOut => io::ErrorKind::TimedOut,
            TlsError::Truncated => io::ErrorKind::UnexpectedEof,
            TlsError::UnreadInput(_) | TlsError::UnsentOutput(_) | TlsError::InvalidServerName => {
                io::ErrorKind::InvalidInput
            }
            _ => io::ErrorKind::InvalidData,
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

/// What is wrong with a configuration. Found when it is built, not at the first connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A PEM section is damaged.
    #[error("{place} is not valid PEM: {problem}")]
    BadPem {
        /// The file, or "the text given".
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no certificate where one was said to be.
    #[error("no certificate in {0}")]
    NoCertificate(String),
    /// There is no private key where one was said to be. Encrypted keys are not read.
    #[error("no private key in {0}")]
    NoPrivateKey(String),
    /// A server must have a certificate, and none was given.
    #[error("no certificate was given")]
    MissingCertificate,
    /// The private key is not that of the first certificate in the chain.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A certificate to be trusted cannot be used as that.
    #[error("a certificate in {place} cannot be trusted: {problem}")]
    BadRoot {
        /// The file, or "the text given".
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The system names nobody whom it trusts: say whom to trust.
    #[error("no trusted certificates on this system: {0}")]
    NoSystemRoots(String),
    /// There is no cipher suite of this name.
    #[error("unknown cipher suite {0}")]
    UnknownCipher(String),
    /// No version is allowed, or none that has an allowed cipher suite.
    #[error("no TLS version is left that could be spoken")]
    NoVersion,
    /// The name of an application protocol has 1 to 255 bytes.
    #[error("the name of an application protocol must have 1 to 255 bytes")]
    BadProtocolName,
    /// Something else in the certificate or the key is wrong.
    #[error("unusable certificate or key: {0}")]
    Unusable(Details),
}

impl TlsConfigError {
    pub(crate) fn of(error: rustls::Error) -> TlsConfigError {
        match error {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                TlsConfigError::KeyMismatch
            }
            other => TlsConfigError::Unusable(Details(Arc::new(other))),
        }
    }
}

//! TLS, as the load generator speaks it and as the servers are given it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, version};

/// The name in the certificate.
const NAME: &str = "localhost";

/// A self-signed certificate and its key, as files for the servers.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, PEM.
    pub chain: PathBuf,
    /// Its key: ECDSA on P-256, PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one and writes it into `folder`.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub fn create(folder: &Path) -> io::Result<Certificate> {
        let certificate = Certificate { chain: folder.join("cert.pem"), key: folder.join("key.pem") };
        if !certificate.chain.exists() {
            let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
            fs::write(&certificate.key, issued.signing_key.serialize_pem())?;
            fs::write(&certificate.chain, issued.cert.pem())?;
        }
        Ok(certificate)
    }
}

/// The client's end of a TLS connection over a nonblocking socket: reads and writes as the socket would, the handshake
/// included.
#[derive(Debug)]
pub(crate) struct TlsStream {
    session: ClientConnection,
    socket: TcpStream,
}

impl TlsStream {
    pub(crate) fn new(socket: TcpStream) -> io::Result<TlsStream> {
        Ok(TlsStream { session: session()?, socket })
    }
}

/// A client's session that has not begun.
pub(crate) fn session() -> io::Result<ClientConnection> {
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    ClientConnection::new(Arc::clone(&CLIENT), name).map_err(io::Error::other)
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.session.read_tls(&mut self.socket)?;
            self.session.process_new_packets().map_err(io::Error::other)?;
            // The handshake's next flight, and what has waited for its end.
            self.flush()?;
        }
    }
}

impl Write for TlsStream {
    /// Takes all that the session has room for. What the socket does not take at once, [`flush`](Write::flush) sends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.flush()?;
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Sends what the socket takes; what is left waits for the next call, and that is no error.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One version, one suite, one group, no resumption: every server does the same work.
static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(provider());
    let verifier = Arc::new(Loopback(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&version::TLS13]);
    // The provider is made below, for this version.
    let builder = builder.expect("a provider that has TLS 1.3");
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
});

fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    }
}

/// Believes the server at once: the load is for loopback, and what the client does not check costs the load nothing.
#[derive(Debug)]
struct Loopback(Arc<CryptoProvider>);

impl ServerCertVerifier for Loopback {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_string()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

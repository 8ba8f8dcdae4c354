//! The same TLS for everybody: one suite, one self-signed certificate.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

const NAME: &str = "localhost";

/// What a server and its client have in common.
pub(super) struct Sides {
    pub(super) server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Sides {
    pub(super) fn new() -> Sides {
        let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let certificate = issued.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("its versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("its key");
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("its versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Sides { server: Arc::new(server), client: Arc::new(client) }
    }

    pub(super) fn client(&self) -> ClientConnection {
        let name = ServerName::try_from(NAME).expect("a name");
        ClientConnection::new(Arc::clone(&self.client), name).expect("a client")
    }
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

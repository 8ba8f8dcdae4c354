//! A peer that is rustls alone.

use std::io::{Read, Write};
use std::sync::Arc;

use iostream::IoStream;
use iostream::testing::Script;
use iostream::tls::TlsVersion;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::support::{poll_once, stream, turns};
use crate::wire::{Authority, NAME};

/// A client that is rustls alone, at the other end of a script: a test decides when it does what.
pub(crate) struct Peer {
    pub(crate) tls: ClientConnection,
    pub(crate) script: Script,
}

impl Peer {
    /// A stream, and a peer that is about to begin with it.
    pub(crate) fn new(authority: &Authority) -> (IoStream, Peer) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        let (stream, script) = stream();
        (stream, Peer { tls: ClientConnection::new(Arc::new(config), name).unwrap(), script })
    }

    /// A stream and a peer that have finished their handshake.
    pub(crate) async fn connected(version: TlsVersion) -> (IoStream, Peer) {
        let authority = Authority::new();
        let acceptor = authority.issue(NAME).server().versions([version]).build().unwrap().into();
        let (stream, mut peer) = Peer::new(&authority);
        let mut accepting = std::pin::pin!(stream.start_tls_server(&acceptor));
        loop {
            peer.send();
            if let Some(result) = poll_once(accepting.as_mut()).await {
                result.unwrap();
                break;
            }
            peer.receive();
            turns(1).await;
        }
        peer.receive();
        (stream.clone(), peer)
    }

    /// Everything that it has to say.
    pub(crate) fn ciphertext(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn send(&mut self) {
        let bytes = self.ciphertext();
        self.script.send(bytes);
    }

    pub(crate) fn say(&mut self, data: &[u8]) {
        self.tls.writer().write_all(data).unwrap();
    }

    /// Takes what the stream has sent, and gives what it says.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let received = self.script.received();
        let mut rest = &received[..];
        let mut plaintext = Vec::new();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            let state = self.tls.process_new_packets().unwrap();
            let mut piece = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut piece).unwrap();
            plaintext.extend(piece);
        }
        plaintext
    }

    pub(crate) fn has_heard_the_end(&mut self) -> bool {
        self.tls.process_new_packets().unwrap().peer_has_closed()
    }
}

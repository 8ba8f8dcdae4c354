//! The server's side: its configuration, and the acceptor through which a running server changes it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring::Ticketer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::tls::config::{Common, DEFAULT_HANDSHAKE_TIMEOUT, TlsVersion, common_settings};
use crate::tls::error::TlsConfigError;
use crate::tls::pem::{Identity, Pem};

/// How a server speaks TLS. Cheap to clone.
#[derive(Clone)]
pub struct TlsServerConfig {
    pub(crate) rustls: Arc<ServerConfig>,
    pub(crate) handshake_timeout: Duration,
}

impl TlsServerConfig {
    /// Begins a configuration; it needs at least a [`certificate`](TlsServerBuilder::certificate).
    pub fn builder() -> TlsServerBuilder {
        TlsServerBuilder { common: Common::default(), identity: None, client_roots: None }
    }

    /// The chain and key in two files, everything else by default. The second may be the same file (NU6.2).
    ///
    /// # Errors
    ///
    /// When they cannot be read or do not fit each other.
    pub fn from_pem_files(
        chain: impl AsRef<std::path::Path>,
        key: impl AsRef<std::path::Path>,
    ) -> Result<TlsServerConfig, TlsConfigError> {
        TlsServerConfig::builder().certificate(Pem::file(chain), Pem::file(key)).build()
    }

    /// A configuration of rustls itself, for what the builder does not have: several certificates chosen by name,
    /// revocation lists, another provider.
    #[cfg(feature = "rustls-0_23")]
    #[must_use]
    pub fn from_rustls(config: Arc<ServerConfig>) -> TlsServerConfig {
        TlsServerConfig { rustls: config, handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT }
    }

    /// How long a handshake may take. Default: [`DEFAULT_HANDSHAKE_TIMEOUT`].
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> TlsServerConfig {
        self.handshake_timeout = timeout;
        self
    }
}

/// Makes a [`TlsServerConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsServerBuilder {
    common: Common,
    identity: Option<Identity>,
    client_roots: Option<(Vec<Pem>, Demand)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Required,
    Optional,
}

impl TlsServerBuilder {
    /// The server's certificate, followed by those that lead to a trusted one, and its key (NU6.1: `certfile`, `keyfile`).
    /// Both may be the same [`Pem`]. The key may be PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> TlsServerBuilder {
        self.identity = Some(Identity { chain, key });
        self
    }

    /// Asks clients for a certificate from one of these issuers, and turns those away that have none (NU6.1: `CERT_REQUIRED`).
    /// Default: clients are not asked.
    #[doc(alias = "ca_certs")]
    #[doc(alias = "cert_reqs")]
    pub fn require_client_certificates(self, issuers: Pem) -> TlsServerBuilder {
        self.client_certificates(issuers, Demand::Required)
    }

    /// Asks clients for a certificate from one of these issuers, and lets those in that give none: look at
    /// [`peer_certificates`](crate::tls::TlsInfo::peer_certificates) (NU6.1: `CERT_OPTIONAL`). A bad one is still refused.
    pub fn accept_client_certificates(self, issuers: Pem) -> TlsServerBuilder {
        self.client_certificates(issuers, Demand::Optional)
    }

    fn client_certificates(mut self, issuers: Pem, demand: Demand) -> TlsServerBuilder {
        let (mut all, _) = self.client_roots.unwrap_or((Vec::new(), demand));
        all.push(issuers);
        self.client_roots = Some((all, demand));
        self
    }

    common_settings!();

    /// Reads the files and checks that everything fits.
    ///
    /// # Errors
    ///
    /// What is missing, unreadable or wrong.
    pub fn build(self) -> Result<TlsServerConfig, TlsConfigError> {
        let provider = self.common.provider()?;
        let (chain, key) = self.identity.as_ref().ok_or(TlsConfigError::MissingCertificate)?.load()?;
        let versions = self.common.versions(&provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(TlsConfigError::of)?;
        let builder = match &self.client_roots {
            None => builder.with_no_client_auth(),
            Some((issuers, demand)) => {
                let mut roots = RootCertStore::empty();
                issuers.iter().try_for_each(|issuers| issuers.add_to(&mut roots))?;
                let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                if *demand == Demand::Optional {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier
                    .build()
                    .map_err(|problem| TlsConfigError::of(rustls::Error::General(problem.to_string())))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsConfigError::of)?;
        config.alpn_protocols = self.common.alpn()?;
        config.ticketer = Ticketer::new().map_err(TlsConfigError::of)?;
        Ok(TlsServerConfig { rustls: Arc::new(config), handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT })
    }
}

/// Begins TLS on the connections of a server, with a configuration that can be replaced while it runs. Clones share one, on
/// whatever threads.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    current: Arc<RwLock<TlsServerConfig>>,
}

impl TlsAcceptor {
    /// An acceptor that begins with `config`.
    #[must_use]
    pub fn new(config: TlsServerConfig) -> TlsAcceptor {
        TlsAcceptor { current: Arc::new(RwLock::new(config)) }
    }

    /// Puts `config` in the place of the one there is, for all clones: later handshakes use it, those under way and
    /// the streams that stand keep theirs. This is how a renewed certificate gets into a running server (NU6.5), from a
    /// signal's task or from another thread. Sessions from before it are not resumed.
    pub fn replace(&self, config: TlsServerConfig) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut *current, config);
        drop(current);
        drop(previous); // outside the lock: it may be the last that holds a large configuration
    }

    /// How long a handshake may take now.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.current.read().unwrap_or_else(PoisonError::into_inner).handshake_timeout
    }

    /// What handshakes use now.
    #[must_use]
    pub fn config(&self) -> TlsServerConfig {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<TlsServerConfig> for TlsAcceptor {
    fn from(config: TlsServerConfig) -> TlsAcceptor {
        TlsAcceptor::new(config)
    }
}

impl fmt::Debug for TlsServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServerConfig").finish_non_exhaustive()
    }
}

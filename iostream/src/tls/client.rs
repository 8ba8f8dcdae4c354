//! The client's side: whom it trusts, and how it shows itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};

use crate::tls::config::{Common, DEFAULT_HANDSHAKE_TIMEOUT, TlsVersion, common_settings};
use crate::tls::error::TlsConfigError;
use crate::tls::pem::{Identity, Pem};
use crate::tls::verify::AnyCertificate;

/// How a client speaks TLS. Cheap to clone; one serves any number of connections, which then resume each other's
/// sessions.
#[derive(Clone)]
pub struct TlsClientConfig {
    pub(crate) rustls: Arc<ClientConfig>,
    pub(crate) handshake_timeout: Duration,
}

impl TlsClientConfig {
    /// Begins a configuration. As it stands it trusts whom the system trusts, and checks chains and names (NU6.4).
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder {
            common: Common::default(),
            trusted: Vec::new(),
            system: false,
            any: false,
            identity: None,
        }
    }

    /// A configuration of rustls itself, for what the builder does not have. Whether and how it checks certificates is
    /// its own affair.
    #[cfg(feature = "rustls-0_23")]
    #[must_use]
    pub fn from_rustls(config: Arc<ClientConfig>) -> TlsClientConfig {
        TlsClientConfig { rustls: config, handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT }
    }

    /// How long a handshake may take. Default: [`DEFAULT_HANDSHAKE_TIMEOUT`].
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> TlsClientConfig {
        self.handshake_timeout = timeout;
        self
    }
}

/// Makes a [`TlsClientConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsClientBuilder {
    common: Common,
    trusted: Vec<Pem>,
    system: bool,
    any: bool,
    identity: Option<Identity>,
}

impl TlsClientBuilder {
    /// Trusts these issuers, and the system's no longer unless [`trust_system`](TlsClientBuilder::trust_system) says so
    /// (NU6.1: `ca_certs`). May be repeated. A server's own certificate, self-signed, works too.
    #[doc(alias = "ca_certs")]
    pub fn trust(mut self, issuers: Pem) -> TlsClientBuilder {
        self.trusted.push(issuers);
        self
    }

    /// Trusts whom the system trusts; the default where [`trust`](TlsClientBuilder::trust) names nobody. On Unix `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` are heeded.
    pub fn trust_system(mut self) -> TlsClientBuilder {
        self.system = true;
        self
    }

    /// The client's own certificate with its chain, and its key, for servers that ask for one.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> TlsClientBuilder {
        self.identity = Some(Identity { chain, key });
        self
    }

    /// Takes any certificate, for any name, from anybody (NU6.2: `cert_reqs=NONE`). **Whoever stands between can then read and
    /// change everything.** Whom this client is told to trust no longer matters.
    #[doc(alias = "cert_reqs")]
    pub fn danger_accept_any_certificate(mut self) -> TlsClientBuilder {
        self.any = true;
        self
    }

    common_settings!();

    /// Reads the files and checks that everything fits.
    ///
    /// # Errors
    ///
    /// What is missing, unreadable or wrong.
    pub fn build(self) -> Result<TlsClientConfig, TlsConfigError> {
        let provider = self.common.provider()?;
        let versions = self.common.versions(&provider)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(TlsConfigError::of)?;
        let builder = if self.any {
            let verifier = Arc::new(AnyCertificate::new(&provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.load()?;
                builder.with_client_auth_cert(chain, key).map_err(TlsConfigError::of)?
            }
        };
        config.alpn_protocols = self.common.alpn()?;
        Ok(TlsClientConfig { rustls: Arc::new(config), handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT })
    }

    fn roots(&self) -> Result<RootCertStore, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        self.trusted.iter().try_for_each(|issuers| issuers.add_to(&mut roots))?;
        if self.system || self.trusted.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs); // some systems keep oddities
            if added == 0 {
                let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                return Err(TlsConfigError::NoSystemRoots(why.join("; ")));
            }
        }
        Ok(roots)
    }
}

impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig").finish_non_exhaustive()
    }
}

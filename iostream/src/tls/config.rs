//! What configurations of clients and servers have in common: versions, cipher suites, application protocols.

use std::sync::Arc;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};

use crate::tls::error::TlsConfigError;

/// How long a handshake may take unless a configuration says otherwise: 10 s, enough for four lost packets in a row, and
/// what clients elsewhere commonly allow.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A version of TLS. Older ones are broken and cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The settings that both sides have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Common {
    pub(crate) versions: Option<Vec<TlsVersion>>,
    pub(crate) ciphers: Option<Vec<String>>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

impl Common {
    /// ring with the allowed cipher suites. Passed on explicitly, so that nothing else in the process, such as a default
    /// that another crate has installed, changes what is spoken here.
    pub(crate) fn provider(&self) -> Result<Arc<CryptoProvider>, TlsConfigError> {
        let mut provider = ring::default_provider();
        if let Some(ciphers) = &self.ciphers {
            let all = std::mem::take(&mut provider.cipher_suites);
            for name in ciphers {
                let suite = all.iter().find(|suite| suite.suite().as_str() == Some(name));
                provider
                    .cipher_suites
                    .push(*suite.ok_or_else(|| TlsConfigError::UnknownCipher(name.clone()))?);
            }
        }
        Ok(Arc::new(provider))
    }

    pub(crate) fn versions(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Vec<&'static SupportedProtocolVersion>, TlsConfigError> {
        let allowed = self.versions.as_deref().unwrap_or(&[TlsVersion::Tls12, TlsVersion::Tls13]);
        let versions: Vec<_> = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)]
            .into_iter()
            .filter(|(version, _)| allowed.contains(version))
            .map(|(_, version)| version)
            .filter(|version| {
                provider.cipher_suites.iter().any(|suite| suite.version().version == version.version)
            })
            .collect();
        if versions.is_empty() { Err(TlsConfigError::NoVersion) } else { Ok(versions) }
    }

    pub(crate) fn alpn(&self) -> Result<Vec<Vec<u8>>, TlsConfigError> {
        if self.alpn.iter().any(|name| !(1..=255).contains(&name.len())) {
            return Err(TlsConfigError::BadProtocolName);
        }
        Ok(self.alpn.clone())
    }
}

/// The builder methods that both sides have.
macro_rules! common_settings {
    () => {
        /// The versions of TLS that are spoken. Default: 1.2 and 1.3 (NU6.1: `ssl_version`).
        #[doc(alias = "ssl_version")]
        pub fn versions(mut self, versions: impl IntoIterator<Item = TlsVersion>) -> Self {
            self.common.versions = Some(versions.into_iter().collect());
            self
        }

        /// The cipher suites that are used, best first, by their names in IANA's registry; those of TLS 1.3 are written
        /// `TLS13_AES_128_GCM_SHA256`. Default: what rustls holds to be safe (NU6.1: `ciphers`).
        pub fn ciphers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
            self.common.ciphers = Some(names.into_iter().map(Into::into).collect());
            self
        }

        /// The application protocols that are spoken, best first (ALPN, RFC 7301), such as `h2` and `http/1.1`. Default: none,
        /// which leaves the matter open. The server chooses, by its own order.
        pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
            self.common.alpn = protocols.into_iter().map(|name| name.as_ref().to_vec()).collect();
            self
        }
    };
}
pub(crate) use common_settings;

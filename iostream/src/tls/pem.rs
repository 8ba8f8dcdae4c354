//! Certificates and keys out of PEM, from files or from memory.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::error::TlsConfigError;

/// Where a certificate, a chain or a key is: in a file, or in text at hand. The format is PEM (RFC 7468); sections of
/// other kinds are passed over, so that a chain and its key may share a file (NU6.2).
///
/// It is read when a configuration is built, each time anew: building again is how a renewed certificate gets in.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Text(Vec<u8>),
}

impl Pem {
    /// A file, read when the configuration is built.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Pem {
        Pem(Source::File(path.as_ref().to_owned()))
    }

    /// The text itself.
    #[must_use]
    pub fn text(text: impl AsRef<[u8]>) -> Pem {
        Pem(Source::Text(text.as_ref().to_vec()))
    }

    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
        let text = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(|problem| self.bad(&problem))?;
        if certificates.is_empty() {
            return Err(TlsConfigError::NoCertificate(self.place()));
        }
        Ok(certificates)
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|problem| match problem {
            PemError::NoItemsFound => TlsConfigError::NoPrivateKey(self.place()),
            problem => self.bad(&problem),
        })
    }

    /// Adds all certificates that are here to those that are trusted.
    pub(crate) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), TlsConfigError> {
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|problem| TlsConfigError::BadRoot {
                place: self.place(),
                problem: problem.to_string(),
            })?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<u8>, TlsConfigError> {
        match &self.0 {
            Source::File(path) => {
                std::fs::read(path).map_err(|cause| TlsConfigError::Read { path: path.clone(), cause })
            }
            Source::Text(text) => Ok(text.clone()),
        }
    }

    fn bad(&self, problem: &PemError) -> TlsConfigError {
        TlsConfigError::BadPem { place: self.place(), problem: problem.to_string() }
    }

    fn place(&self) -> String {
        match &self.0 {
            Source::File(path) => path.display().to_string(),
            Source::Text(_) => "the text given".to_owned(),
        }
    }
}

impl std::fmt::Debug for Pem {
    /// Never the text: it may be a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pem").field(&self.place()).finish()
    }
}

/// A chain and the key of its first certificate.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Pem,
    pub(crate) key: Pem,
}

impl Identity {
    pub(crate) fn load(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsConfigError> {
        Ok((self.chain.certificates()?, self.key.private_key()?))
    }
}

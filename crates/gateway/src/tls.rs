//! TLS by the operator's certificate, which may be renewed while the gateway runs.
//!
//! The proof is what makes an answer sound; TLS keeps requests from other eyes, and unsigned ones
//! from other hands. The certificate is whatever the operator has, from any authority.

use quorate_types::Digest;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Where a certificate and its key lie, in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate, then those that lead from it to its authority.
    pub certificate: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Both are sound, and not made for each other; or the library cannot use them.
    #[error("{} and {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The library's reason.
        source: rustls::Error,
    },
}

impl TlsError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "tls-unreadable",
            Self::Malformed { .. } => "tls-malformed",
            Self::Unusable { .. } => "tls-unusable",
        }
    }
}

/// A listener's side of every handshake. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    /// What the files held when they were last looked at, usable or not.
    seen: Arc<Mutex<Digest>>,
}

/// The certificate that handshakes show from now on.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let texts = Texts::read(&files)?;
        let certified = texts.certified(&files)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|source| unusable(&files, source))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let seen = Arc::new(Mutex::new(texts.digest()));
        Ok(Self { files, config: config.into(), current, seen })
    }

    /// Looks at the files again; whether handshakes use another certificate from now on. What is
    /// open goes on as it began.
    ///
    /// # Errors
    /// [`TlsError`], once for the same content of the files; the certificate so far stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let texts = Texts::read(&self.files);
        let digest = texts.as_ref().map_or(Digest::ZERO, Texts::digest);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == digest {
            return Ok(false);
        }
        *seen = digest;
        let certified = texts?.certified(&self.files)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(true)
    }

    /// Looks at the files every `period`, for ever, and says what came of it.
    pub async fn watch(self, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(false)) | Err(_) => {}
                Ok(Ok(true)) => {
                    let certificate = self.files.certificate.display();
                    tracing::info!(%certificate, "the certificate was renewed");
                }
                Ok(Err(error)) => {
                    let code = error.code();
                    tracing::warn!(code, %error, "the old certificate stays in use");
                }
            }
        }
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.clone()).accept(socket).await
    }
}

/// The bytes of both files.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
        };
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)? })
    }

    fn digest(&self) -> Digest {
        let length = (self.certificate.len() as u64).to_be_bytes();
        let hash = Sha256::new().chain_update(length).chain_update(&self.certificate);
        Digest(hash.chain_update(&self.key).finalize().into())
    }

    fn certified(&self, files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
        let malformed =
            |path: &Path, reason: String| TlsError::Malformed { path: path.to_owned(), reason };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| malformed(&files.certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(malformed(&files.certificate, "it holds no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| malformed(&files.key, error.to_string()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|source| unusable(files, source))
    }
}

fn unusable(files: &TlsFiles, source: rustls::Error) -> TlsError {
    let TlsFiles { certificate, key } = files.clone();
    TlsError::Unusable { certificate, key, source }
}

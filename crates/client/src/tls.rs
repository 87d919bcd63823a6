//! Whose certificates are believed of gateways that speak TLS.
//!
//! TLS keeps requests from other eyes, and unsigned ones from other hands. What an answer is worth
//! it does not say: that is the proof's matter, over TLS or not.

use crate::transport::TransportError;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where systems keep the certificates of the authorities that they believe.
const OF_SYSTEMS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The authorities whose certificates are believed: those of a file, or those of the system. The
/// file is read when the first gateway is reached by TLS; clones read it together, once.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    file: Option<PathBuf>,
    read: Arc<OnceLock<Result<Arc<ClientConfig>, TransportError>>>,
}

impl Authorities {
    /// Those of `$SSL_CERT_FILE` where it is set, else those that the system believes.
    #[must_use]
    pub fn of_system() -> Self {
        Self::default()
    }

    /// Those in a PEM file, and no others.
    #[must_use]
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), read: Arc::default() }
    }

    /// Reads the file now, for who would rather know at once.
    ///
    /// # Errors
    /// [`TransportError::Authorities`].
    pub fn check(&self) -> Result<(), TransportError> {
        self.config().map(|_| ())
    }

    /// The client's side of a handshake with whom a URL names.
    pub(crate) async fn secure(
        &self,
        host: &str,
        socket: TcpStream,
        http2: bool,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        let mut config = ClientConfig::clone(&*self.config()?);
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        // An IPv6 address stands in brackets in a URL, and without them in a certificate.
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| TransportError::Untrusted(format!("no certificate names {host}")))?;
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(|e| told(&e))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TransportError> {
        self.read.get_or_init(|| self.load().map_err(TransportError::Authorities)).clone()
    }

    fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let path = self.path().ok_or_else(|| {
            "this system keeps no certificates of authorities where others do".to_owned()
        })?;
        let told = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let pem = fs::read(&path).map_err(|error| told(&error))?;
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| told(&error))?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(told(&"it holds no certificate of an authority"));
        }
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| told(&e))?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    fn path(&self) -> Option<PathBuf> {
        let named = env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
        let of_system = || OF_SYSTEMS.iter().map(Path::new).find(|path| path.is_file());
        self.file
            .clone()
            .or_else(|| named.map(PathBuf::from))
            .or_else(|| of_system().map(Path::to_owned))
    }
}

/// What went wrong in a handshake.
fn told(error: &io::Error) -> TransportError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            TransportError::Untrusted(reason.to_string())
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            TransportError::Handshake("what listens there does not speak TLS".to_owned())
        }
        Some(other) => TransportError::Handshake(other.to_string()),
        None => TransportError::Handshake(error.to_string()),
    }
}

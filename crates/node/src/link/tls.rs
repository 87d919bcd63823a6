//! TLS 1.3 with raw public keys (RFC 7250) on both sides, each pinned to the membership.
//!
//! No certificates, names or authorities: a replica *is* its TLS key. The application protocol
//! (ALPN, RFC 7301) is `quorate-replica/VERSION/CHAIN/POLICY`, so that a handshake between two
//! chains or two versions of the link fails before a byte of either is read. POLICY is the digest
//! of the policy that entry 0 of the log names, which nothing ever changes: members who were made
//! for two of them share no log, and would sign different states. Each side also offers the name
//! without a POLICY, for no other use than to tell such members why they are refused.

use quorate_crypto::SecretKey;
use quorate_types::{Chain, Digest, PublicKey, ReplicaId};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The version of what is spoken on a link; it stands in the ALPN name.
const LINK_VERSION: u32 = 4;

/// DER of a `SubjectPublicKeyInfo` that holds an Ed25519 key, up to the key (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The peer is a member of this chain, and was made for another policy.
#[derive(Debug, thiserror::Error)]
#[error(
    "the peer was made for another policy: `name`, `members` or the rules about answers of its \
     `[copy]` are not this replica's"
)]
struct OtherPolicy;

/// The code of a handshake that failed: the usual one, or one that says more.
pub(crate) fn code_of(failed: &io::Error, usual: &'static str) -> &'static str {
    let is_policy = failed.get_ref().is_some_and(|inner| inner.is::<OtherPolicy>());
    if is_policy { "link-policy-differs" } else { usual }
}

/// What a side of a link calls what it speaks: with the policy, which is spoken, then without it.
#[derive(Clone)]
struct Protocol {
    offered: Vec<Vec<u8>>,
}

impl Protocol {
    fn new(chain: Chain, policy: &Digest) -> Self {
        let any_policy = format!("quorate-replica/{LINK_VERSION}/{chain}");
        let spoken = format!("{any_policy}/{policy}");
        Self { offered: vec![spoken.into_bytes(), any_policy.into_bytes()] }
    }

    /// A peer that names no protocol passes the handshake, but not this.
    fn check(&self, agreed: Option<&[u8]>) -> io::Result<()> {
        match self.offered.iter().position(|name| agreed == Some(name)) {
            Some(0) => Ok(()),
            Some(_) => Err(io::Error::other(OtherPolicy)),
            None => Err(io::Error::other(
                "the peer speaks for another chain or another version of the link",
            )),
        }
    }
}

/// This replica's side of every handshake.
pub(crate) struct Identity {
    protocol: Protocol,
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// An identity by a TLS key, in one chain, under the policy that its entry 0 names.
    pub(crate) fn new(chain: Chain, policy: &Digest, key: &SecretKey) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let der = key.pkcs8();
        let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&der[..]))?;
        let public = CertificateDer::from(spki(&key.public()));
        Ok(Self {
            protocol: Protocol::new(chain, policy),
            key: Arc::new(CertifiedKey::new(vec![public], signer)),
            provider,
        })
    }

    /// An identity that names no protocol in its handshakes.
    #[cfg(test)]
    pub(crate) fn without_alpn(key: &SecretKey) -> Self {
        let chain = Chain::of(&Digest::ZERO);
        let mut identity = Self::new(chain, &Digest::ZERO, key).expect("a key");
        identity.protocol.offered.clear();
        identity
    }

    /// What accepts links from any of `members`, each by its own key.
    pub(crate) fn acceptor(&self, members: Vec<(ReplicaId, PublicKey)>) -> Result<Acceptor, Error> {
        let members: Arc<[_]> = members.into();
        let verifier = Pinned { members: Arc::clone(&members), provider: self.provider.clone() };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = self.protocol.offered.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Acceptor { tls: Arc::new(config).into(), protocol: self.protocol.clone(), members })
    }

    /// What dials the one replica that holds `key`.
    pub(crate) fn connector(&self, peer: ReplicaId, key: PublicKey) -> Result<Connector, Error> {
        let members = Arc::from([(peer, key)]);
        let verifier = Pinned { members, provider: self.provider.clone() };
        let resolver = AlwaysResolvesClientRawPublicKeys::new(self.key.clone());
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = self.protocol.offered.clone();
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Connector { tls: Arc::new(config).into(), protocol: self.protocol.clone() })
    }
}

/// Accepts links.
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    protocol: Protocol,
    members: Arc<[(ReplicaId, PublicKey)]>,
}

impl Acceptor {
    /// Shakes hands; tells who came.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(ReplicaId, server::TlsStream<TcpStream>)> {
        let stream = self.tls.accept(stream).await?;
        let (_, session) = stream.get_ref();
        self.protocol.check(session.alpn_protocol())?;
        let shown = session.peer_certificates().and_then(|all| all.first());
        let who = shown.and_then(|key| member_of(&self.members, key.as_ref()));
        let who = who.ok_or_else(|| io::Error::other("the peer showed no member's key"))?;
        Ok((who, stream))
    }
}

/// Dials one replica.
pub(crate) struct Connector {
    tls: TlsConnector,
    protocol: Protocol,
}

impl Connector {
    /// Shakes hands; the other side holds the pinned key, or this fails.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        // The name is neither sent nor checked: the key is.
        let name = ServerName::try_from("replica.invalid").map_err(io::Error::other)?;
        let stream = self.tls.connect(name, stream).await?;
        self.protocol.check(stream.get_ref().1.alpn_protocol())?;
        Ok(stream)
    }
}

#[cfg(test)]
impl Connector {
    /// Shakes hands, whatever protocol the other side names.
    pub(crate) async fn connect_unchecked(
        &self,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from("replica.invalid").map_err(io::Error::other)?;
        self.tls.connect(name, stream).await
    }
}

fn spki(key: &PublicKey) -> Vec<u8> {
    [&SPKI_PREFIX[..], &key.0].concat()
}

fn member_of(members: &[(ReplicaId, PublicKey)], shown: &[u8]) -> Option<ReplicaId> {
    let key = shown.strip_prefix(&SPKI_PREFIX)?;
    members.iter().find(|(_, member)| member.0 == key).map(|(id, _)| *id)
}

/// Believes whoever holds one of the pinned keys, and nobody else.
#[derive(Debug)]
struct Pinned {
    members: Arc<[(ReplicaId, PublicKey)]>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if member_of(&self.members, shown.as_ref()).is_some() {
            return Ok(());
        }
        let reason = OtherError(Arc::new(io::Error::other("the peer's key is no member's")));
        Err(Error::InvalidCertificate(CertificateError::Other(reason)))
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(shown.as_ref()),
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }
}

fn only_tls13() -> Error {
    Error::General("links speak TLS 1.3 only".to_owned())
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

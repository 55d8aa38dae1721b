//! TLS for callers from elsewhere: our certificate, and what is asked of theirs.
//!
//! The texts stand in cells that a reload fills anew when the mounted files change. Each connection is accepted with what
//! stands there at that moment; those that are open go on as they began. Texts that do not go together (between a
//! certificate and its key) leave the ones before in force.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::domain::secret::{Secret, SecretCell};
use crate::grpc::caller::certificate::Names;

/// Who listens for callers from elsewhere, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// PEM, the server's own first.
    pub certificate: SecretCell,
    pub key: SecretCell,
    pub clients: Clients,
}

/// What is asked of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// None is asked for.
    Anonymous,
    /// Who shows one must be vouched for by this authority.
    MayShow(SecretCell),
    /// Nobody is let in without one.
    MustShow(SecretCell),
}

/// What is wrong with a text; says in which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    #[error("is no certificate in PEM")]
    Certificate,
    #[error("is no private key in PEM")]
    Key,
    #[error("is not the key of the certificate")]
    Mismatch,
    #[error("holds no certificate of an authority in PEM")]
    Authority,
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Tls {
    config: Config,
    ready: Arc<Mutex<Ready>>,
}

struct Ready {
    /// The newest texts seen, whether or not they could be used.
    texts: Texts,
    server: Arc<ServerConfig>,
}

#[derive(Clone, PartialEq, Eq)]
struct Texts {
    certificate: Secret,
    key: Secret,
    authority: Option<Secret>,
}

impl Tls {
    pub fn new(config: Config) -> Result<Self, TlsProblem> {
        let texts = Texts::of(&config);
        let server = Arc::new(server(&texts, &config.clients)?);
        Ok(Self { config, ready: Arc::new(Mutex::new(Ready { texts, server })) })
    }

    /// The handshake; answers what the client's certificate calls it. None where it failed, or took too long.
    pub async fn accept<IO>(&self, io: IO, longest: Duration) -> Option<(TlsStream<IO>, Option<Arc<Names>>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = timeout(longest, TlsAcceptor::from(self.server()).accept(io)).await.ok()?;
        let stream = accepted.inspect_err(|error| tracing::debug!(%error, "a handshake failed")).ok()?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = shown.map(|certificate| Names::of(certificate).map(Arc::new));
        match names {
            // It was verified and cannot be read: nobody knows whose it is.
            Some(None) => None,
            None => Some((stream, None)),
            Some(names) => Some((stream, names)),
        }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let texts = Texts::of(&self.config);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.texts != texts {
            match server(&texts, &self.config.clients) {
                Ok(server) => ready.server = Arc::new(server),
                Err(problem) => tracing::warn!(%problem, "the new certificate is unusable; the old one stays"),
            }
            ready.texts = texts;
        }
        ready.server.clone()
    }
}

impl Clients {
    fn authority(&self) -> Option<&SecretCell> {
        match self {
            Self::Anonymous => None,
            Self::MayShow(authority) | Self::MustShow(authority) => Some(authority),
        }
    }
}

impl Texts {
    fn of(config: &Config) -> Self {
        Self {
            certificate: config.certificate.get(),
            key: config.key.get(),
            authority: config.clients.authority().map(SecretCell::get),
        }
    }
}

fn server(texts: &Texts, clients: &Clients) -> Result<ServerConfig, TlsProblem> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&texts.certificate).ok_or(TlsProblem::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(texts.key.expose().as_bytes()).map_err(|_| TlsProblem::Key)?;
    // 1.2 and 1.3: there is nothing older in it.
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| TlsProblem::Certificate)?;
    let builder = match &texts.authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(certificates(authority).ok_or(TlsProblem::Authority)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients {
                Clients::MustShow(_) => verifier,
                Clients::Anonymous | Clients::MayShow(_) => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().ok().filter(|_| added > 0).ok_or(TlsProblem::Authority)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|_| TlsProblem::Mismatch)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok(server)
}

/// None where there is none, or one that is broken.
fn certificates(text: &Secret) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(text.expose().as_bytes()).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;

    /// A certificate and its key, as PEM.
    fn pair() -> (Secret, Secret) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("good");
        let certificate = params.self_signed(&key).expect("signed");
        (Secret::new(certificate.pem()), Secret::new(key.serialize_pem()))
    }

    fn tls() -> (Tls, Config) {
        let (certificate, key) = pair();
        let (certificate, key) = (SecretCell::new(certificate), SecretCell::new(key));
        let config = Config { certificate, key, clients: Clients::Anonymous };
        (Tls::new(config.clone()).expect("they fit"), config)
    }

    #[test]
    fn a_pair_that_is_replaced_is_used_once_it_fits() {
        let (tls, config) = tls();
        let first = tls.server();
        assert!(Arc::ptr_eq(&first, &tls.server()), "nothing has changed");
        let (certificate, key) = pair();
        config.certificate.set(certificate);
        assert!(Arc::ptr_eq(&first, &tls.server()), "its key is not here yet");
        config.key.set(key);
        let second = tls.server();
        assert!(!Arc::ptr_eq(&first, &second));
        config.key.set(Secret::new("half a fi"));
        assert!(Arc::ptr_eq(&second, &tls.server()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_shake_hands_is_sent_away() {
        let (tls, _) = tls();
        let (_silent, server) = tokio::io::duplex(64);
        let began = Instant::now();
        assert!(tls.accept(server, Duration::from_secs(2)).await.is_none());
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        let (mut clear, server) = tokio::io::duplex(1_024);
        clear.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("room");
        assert!(tls.accept(server, Duration::from_secs(2)).await.is_none());
    }
}

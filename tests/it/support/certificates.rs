//! A certificate authority of the test's own, a server certificate for loopback and a client certificate, as files and
//! as the server's side of TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

/// The files go when this is dropped.
pub struct Certificates {
    dir: TempDir,
    ca: CertificateDer<'static>,
    server: CertificateDer<'static>,
    server_key: KeyPair,
}

/// What the server asks of its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Anyone,
    WithCertificate,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let mut params = CertificateParams::new(Vec::new()).expect("good params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let sign = |usage: ExtendedKeyUsagePurpose| {
            let key = KeyPair::generate().expect("a key");
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let mut params = CertificateParams::new(names).expect("good params");
            params.extended_key_usages = vec![usage];
            (params.signed_by(&key, &ca).expect("signed"), key)
        };
        let (server, server_key) = sign(ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = sign(ExtendedKeyUsagePurpose::ClientAuth);
        let write = |file: &str, text: String| std::fs::write(dir.path().join(file), text).expect("writable");
        write("ca.pem", ca.pem());
        write("client.pem", client.pem());
        write("client.key", client_key.serialize_pem());
        Self { ca: ca.der().clone(), server: server.der().clone(), server_key, dir }
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn client_file(&self) -> PathBuf {
        self.dir.path().join("client.pem")
    }

    pub fn client_key_file(&self) -> PathBuf {
        self.dir.path().join("client.key")
    }

    pub fn server_config(&self, clients: Clients) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions of the provider");
        let builder = match clients {
            Clients::Anyone => builder.with_no_client_auth(),
            Clients::WithCertificate => {
                let mut roots = RootCertStore::empty();
                roots.add(self.ca.clone()).expect("our own authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(self.server_key.serialize_der()).expect("a key");
        let mut config = builder.with_single_cert(vec![self.server.clone()], key).expect("a matching key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

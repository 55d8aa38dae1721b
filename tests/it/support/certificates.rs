//! A certificate authority of the test's own and what it signed, for a server on loopback and for a client: as files, as
//! the arguments of a redis-server, and as the server's side of TLS.

use std::path::PathBuf;
use std::sync::Arc;

use hydrant::remote::{ClientCertificate, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
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
        // Of the same name, server and authority would be taken for one self-signed certificate.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let write = |file: &str, text: String| std::fs::write(dir.path().join(file), text).expect("writable");
        let sign = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let mut params = CertificateParams::new(names).expect("good params");
            params.distinguished_name.push(DnType::CommonName, name);
            // Between nodes of a cluster a server is a client too.
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, &ca).expect("signed");
            write(&format!("{name}.crt"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
            (certificate, key)
        };
        let (server, server_key) = sign("server");
        sign("client");
        write("ca.crt", ca.pem());
        Self { ca: ca.der().clone(), server: server.der().clone(), server_key, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.crt")
    }

    pub fn client_file(&self) -> PathBuf {
        self.path("client.crt")
    }

    pub fn client_key_file(&self) -> PathBuf {
        self.path("client.key")
    }

    /// The server's certificate and its key, for a server that wants files of its own.
    pub fn server_files(&self) -> [PathBuf; 2] {
        [self.path("server.crt"), self.path("server.key")]
    }

    /// For a redis-server.
    pub fn redis_args(&self) -> Vec<String> {
        [("--tls-ca-cert-file", "ca.crt"), ("--tls-cert-file", "server.crt"), ("--tls-key-file", "server.key")]
            .into_iter()
            .flat_map(|(name, file)| [name.to_owned(), self.path(file).display().to_string()])
            .collect()
    }

    /// For a client of that redis-server: trusts our authority and shows a certificate of its own.
    pub fn redis_client(&self) -> Tls {
        let client = ClientCertificate { certificate: self.client_file(), key: self.client_key_file() };
        Tls { ca: Some(self.ca_file()), client: Some(client) }
    }

    /// For an HTTP server.
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

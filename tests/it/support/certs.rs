//! A certificate authority and what it signed, made on the spot.

use std::path::PathBuf;

use hydrant::remote::{ClientCertificate, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

/// Files in a folder that goes when this is dropped.
pub struct Certs {
    dir: TempDir,
}

impl Certs {
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        // Of the same name, server and authority would be taken for one self-signed certificate.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        std::fs::write(dir.path().join("ca.crt"), ca.pem()).expect("writable");
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
            params.distinguished_name.push(DnType::CommonName, name);
            // Between nodes of a cluster a server is a client too.
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, &ca).expect("signed");
            std::fs::write(dir.path().join(format!("{name}.crt")), certificate.pem()).expect("writable");
            std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).expect("writable");
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn server_args(&self) -> Vec<String> {
        [("--tls-ca-cert-file", "ca.crt"), ("--tls-cert-file", "server.crt"), ("--tls-key-file", "server.key")]
            .into_iter()
            .flat_map(|(name, file)| [name.to_owned(), self.path(file).display().to_string()])
            .collect()
    }

    /// Trusts our CA and shows a certificate of its own.
    pub fn client(&self) -> Tls {
        let client = ClientCertificate { certificate: self.path("client.crt"), key: self.path("client.key") };
        Tls { ca: Some(self.path("ca.crt")), client: Some(client) }
    }
}

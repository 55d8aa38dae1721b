//! The HTTP client of one source: its own connections, its own certificates, nothing from the environment.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Url, tls};

use crate::source::http::{BuildError, Config, SourceTls};

const USER_AGENT: &str = concat!("hydrant/", env!("CARGO_PKG_VERSION"));
/// Shorter than the idle timeout of common servers and load balancers (60 s and more), so that seldom a request meets
/// a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(50);
/// An HTTP/2 connection carries every call: one that went silent must be noticed before all of them time out.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

pub fn build(config: &Config, origin: &Url) -> Result<Client, BuildError> {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(config.concurrency)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .tls_version_min(tls::Version::TLS_1_2);
    let builder = if origin.scheme() == "https" {
        trust(builder.https_only(true), &config.tls)?
    } else {
        // Without TLS no certificate is looked at; the system's own are not even loaded.
        builder.tls_certs_only([])
    };
    // The error's source names what is wrong with a certificate; it never holds a key.
    builder.build().map_err(|error| BuildError::Client(describe(&error)))
}

fn trust(mut builder: reqwest::ClientBuilder, config: &SourceTls) -> Result<reqwest::ClientBuilder, BuildError> {
    if let Some(path) = &config.ca {
        let certificates = Certificate::from_pem_bundle(&read("tls.ca", path)?);
        let certificates = certificates.map_err(|_| bad_pem("tls.ca", path, "not a bundle of PEM certificates"))?;
        if certificates.is_empty() {
            return Err(bad_pem("tls.ca", path, "no certificate in it"));
        }
        builder = builder.tls_certs_only(certificates);
    }
    match (&config.client_certificate, &config.client_key) {
        (None, None) => Ok(builder),
        (None, Some(_)) => Err(BuildError::KeyAlone),
        (Some(path), key) => {
            let mut pem = read("tls.client_certificate", path)?;
            if let Some(key) = key {
                pem.push(b'\n');
                pem.extend(read("tls.client_key", key)?);
            }
            let identity = Identity::from_pem(&pem);
            let why = "not a PEM certificate with its private key";
            Ok(builder.identity(identity.map_err(|_| bad_pem("tls.client_certificate", path, why))?))
        }
    }
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, BuildError> {
    let told =
        |error: std::io::Error| BuildError::File { field, path: path.display().to_string(), why: error.to_string() };
    fs::read(path).map_err(told)
}

fn bad_pem(field: &'static str, path: &Path, why: &str) -> BuildError {
    BuildError::File { field, path: path.display().to_string(), why: why.to_owned() }
}

fn describe(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    source.to_string()
}

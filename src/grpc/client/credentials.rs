//! What a client shows of itself where it calls from outside the pod, and whom it trusts to be Hydrant.

use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use crate::domain::secret::Secret;
use crate::grpc::client::CallError;

/// A connection that says who calls with every call.
pub type Wire = InterceptedService<Channel, Bearer>;

/// All of it is optional; texts are PEM.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The authority that vouches for the server; the system's, if none is named.
    pub authority: Option<String>,
    /// The name in the server's certificate, where it is not the endpoint's.
    pub server_name: Option<String>,
    pub certificate: Option<ClientCertificate>,
    /// A JWT.
    pub token: Option<Secret>,
}

#[derive(Clone, Debug)]
pub struct ClientCertificate {
    pub certificate: String,
    pub key: Secret,
}

/// Puts the token into each call.
#[derive(Clone, Debug, Default)]
pub struct Bearer {
    header: Option<HeaderValue>,
}

/// A peer that takes longer for a handshake is not the one that is meant.
const HANDSHAKE: Duration = Duration::from_secs(5);

impl Credentials {
    /// Nothing in it says who calls.
    pub fn is_anonymous(&self) -> bool {
        self.certificate.is_none() && self.token.is_none()
    }

    pub(super) fn tls(&self) -> ClientTlsConfig {
        let mut tls = ClientTlsConfig::new().timeout(HANDSHAKE);
        tls = match &self.authority {
            Some(authority) => tls.ca_certificate(Certificate::from_pem(authority)),
            None => tls.with_native_roots(),
        };
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        match &self.certificate {
            Some(ClientCertificate { certificate, key }) => tls.identity(Identity::from_pem(certificate, key.expose())),
            None => tls,
        }
    }

    pub(super) fn bearer(&self) -> Result<Bearer, CallError> {
        let Some(token) = &self.token else { return Ok(Bearer::default()) };
        let header = HeaderValue::try_from(format!("Bearer {}", token.expose().trim()));
        let mut header = header.map_err(|_| CallError::BadCredentials("the token is no token".to_owned()))?;
        header.set_sensitive(true);
        Ok(Bearer { header: Some(header) })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(header) = &self.header else { return Ok(request) };
        let (metadata, extensions, message) = request.into_parts();
        let mut headers = metadata.into_headers();
        headers.insert(AUTHORIZATION, header.clone());
        Ok(Request::from_parts(MetadataMap::from_headers(headers), extensions, message))
    }
}

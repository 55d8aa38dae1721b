//! Opens one connection: a socket, TLS where asked for, and the greeting.
//!
//! `Dial` is the seam: whatever reads and writes bytes can be a Redis, so a simulator can stand below everything else in
//! `remote/`. Certificates and password are read anew each time, so a rotated file is followed without a restart. The
//! greeting is one `HELLO`: RESP3, credentials and name in one round trip, and its answer says what the server is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{Value, ValueCodec};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::codec::Decoder;

use crate::domain::secret::Secret;
use crate::remote::error::{ConnectError, refused};
use crate::remote::request::Request;
use crate::remote::{Address, Auth, Tls};

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reaches an address. Whoever calls it sets the time limit.
pub trait Dial: Send + Sync {
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<Box<dyn Stream>, ConnectError>>;
}

/// The real one: TCP, with TLS inside where configured.
#[derive(Clone, Debug)]
pub struct Network {
    pub tls: Option<Tls>,
}

/// A stream with the decoder's state, before a link drives it.
pub struct Wire {
    pub stream: Box<dyn Stream>,
    pub codec: ValueCodec,
    pub inbox: BytesMut,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Functions came with 7.0; before that there are scripts.
    pub has_functions: bool,
    pub is_primary: bool,
    /// Which life of the process it is, where the server was asked and the user may ask.
    pub run: Option<String>,
}

impl Dial for Network {
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<Box<dyn Stream>, ConnectError>> {
        async move {
            let tcp = TcpStream::connect((to.host.as_str(), to.port)).await.map_err(ConnectError::Dial)?;
            // Requests are put together before they are written: waiting for more would only add delay.
            tcp.set_nodelay(true).map_err(ConnectError::Dial)?;
            let Some(tls) = &self.tls else { return Ok(Box::new(tcp) as Box<dyn Stream>) };
            let connector = TlsConnector::from(Arc::new(client_config(tls).await?));
            let name = ServerName::try_from(to.host.clone())
                .map_err(|_| ConnectError::Tls(format!("{} cannot be the name in a certificate", to.host)))?;
            let stream = connector.connect(name, tcp).await.map_err(ConnectError::Dial)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }
}

/// Dials and greets.
pub async fn open(dial: &dyn Dial, to: &Address, auth: Option<&Auth>) -> Result<(Wire, Server), ConnectError> {
    let stream = dial.dial(to).await?;
    let mut wire = Wire { stream, codec: ValueCodec::default(), inbox: BytesMut::with_capacity(1024) };
    let password = auth.map(|auth| auth.password.get());
    let user = auth.and_then(|auth| auth.username.as_deref()).unwrap_or("default");
    let hello = match password.as_ref().map(Secret::expose) {
        Some(password) => {
            Request::one(&[b"HELLO", b"3", b"AUTH", user.as_bytes(), password.as_bytes(), b"SETNAME", b"hydrant"])
        }
        None => Request::one(&[b"HELLO", b"3", b"SETNAME", b"hydrant"]),
    };
    let greeting = wire.ask(&hello).await?;
    match greeting.as_slice() {
        [Value::Map(fields)] => Ok((wire, server(fields))),
        _ => Err(ConnectError::Protocol),
    }
}

impl Wire {
    /// Sends one request and waits for its replies; any refusal among them is an error. Whoever calls it sets the time
    /// limit. For conversations that are short and have one speaker: a link takes over after the greeting.
    pub async fn ask(&mut self, request: &Request) -> Result<Vec<Value>, ConnectError> {
        self.stream.write_all(request.bytes()).await.map_err(ConnectError::Dial)?;
        self.stream.flush().await.map_err(ConnectError::Dial)?;
        let mut replies = Vec::with_capacity(request.replies());
        while replies.len() < request.replies() {
            match self.codec.decode(&mut self.inbox) {
                Ok(Some(Value::Push { .. })) => {}
                Ok(Some(value)) => match refused(&value) {
                    Some(refusal) => return Err(ConnectError::Refused(refusal)),
                    None => replies.push(value),
                },
                Ok(None) => match self.stream.read_buf(&mut self.inbox).await {
                    Ok(0) => return Err(ConnectError::Closed),
                    Ok(_) => {}
                    Err(error) => return Err(ConnectError::Dial(error)),
                },
                Err(_) => return Err(ConnectError::Protocol),
            }
        }
        Ok(replies)
    }
}

/// Asks which run of the server this is; a user that may not ask leaves it open.
pub async fn run_of(wire: &mut Wire) -> Result<Option<String>, ConnectError> {
    match wire.ask(&Request::one(&[b"INFO", b"server"])).await {
        Ok(replies) => {
            let info = replies.first().and_then(text).unwrap_or_default();
            Ok(info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().to_owned()))
        }
        Err(ConnectError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn server(fields: &[(Value, Value)]) -> Server {
    let field = |name: &str| {
        fields.iter().find_map(|(key, value)| (text(key)? == name).then(|| text(value)).flatten()).unwrap_or_default()
    };
    let major = field("version").split('.').next().and_then(|digits| digits.parse::<u32>().ok());
    Server { has_functions: major.is_some_and(|major| major >= 7), is_primary: field("role") == "master", run: None }
}

/// A reply that is text, of whichever kind.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// What `TIME` answers, since 1970.
pub fn server_time(reply: &Value) -> Option<Duration> {
    let Value::Array(parts) = reply else { return None };
    let [seconds, micros] = parts.as_slice() else { return None };
    let number = |value| text(value)?.parse::<u64>().ok();
    Some(Duration::from_secs(number(seconds)?) + Duration::from_micros(number(micros)?))
}

async fn client_config(tls: &Tls) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .with_root_certificates(roots(tls.ca.as_deref()).await?);
    let Some(client) = &tls.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&client.certificate).await?;
    let key = PrivateKeyDer::from_pem_slice(&file(&client.key).await?).map_err(tls_error)?;
    builder.with_client_auth_cert(chain, key).map_err(tls_error)
}

async fn roots(ca: Option<&Path>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path).await? {
                roots.add(certificate).map_err(tls_error)?;
            }
        }
        // Some of a system's certificates may be unusable; the others still count.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let pem = file(path).await?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(tls_error)
}

async fn file(path: &Path) -> Result<Vec<u8>, ConnectError> {
    tokio::fs::read(path).await.map_err(|source| ConnectError::File { path: path.display().to_string(), source })
}

fn tls_error(error: impl ToString) -> ConnectError {
    ConnectError::Tls(error.to_string())
}

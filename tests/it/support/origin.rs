//! A real HTTP origin on a free port of loopback, over TCP or TLS, whose answers the test writes down and which remembers
//! what it was asked.
//!
//! A route is an exact path, or one that ends in `*`; the longest that fits answers, and 404 where none does. The origin
//! stops when it is dropped.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hydrant::tasks::Tasks;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::support::certificates::{Certificates, Clients};

pub struct Origin {
    url: String,
    shared: Arc<Shared>,
    tasks: Tasks,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Json(String),
    Status(u16),
    Redirect(String),
    /// The headers of the request, as a JSON object.
    Echo,
    /// A JSON string of this many letters, its length announced.
    Large(usize),
    /// The same in chunks, its length not announced.
    LargeInChunks(usize),
    /// The answer with one more header.
    With(&'static str, &'static str, Box<Answer>),
    After(Duration, Box<Answer>),
    /// Nothing, ever.
    Hang,
    /// Headers, and then nothing.
    HangInBody,
    /// The connection ends without an answer.
    HangUp,
    /// These bytes on the socket instead of HTTP (over plain TCP, and as a connection's first answer).
    Garbage(&'static [u8]),
    /// One after another; the last again and again.
    InTurn(Vec<Answer>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// With its query.
    pub path: String,
    pub method: String,
    pub version: Version,
    pub headers: HeaderMap,
}

#[derive(Default)]
struct Shared {
    routes: Mutex<BTreeMap<String, Answer>>,
    seen: Mutex<Vec<Seen>>,
    answered: Mutex<HashMap<String, usize>>,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

type Body = BoxBody<Bytes, Infallible>;

impl Origin {
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    pub async fn start_tls(certificates: &Certificates, clients: Clients) -> Self {
        Self::serve(Some(TlsAcceptor::from(Arc::new(certificates.server_config(clients))))).await
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn on(&self, route: &str, answer: Answer) {
        self.shared.routes.lock().expect("unpoisoned").insert(route.to_owned(), answer);
    }

    pub fn json(&self, route: &str, body: &str) {
        self.on(route, Answer::Json(body.to_owned()));
    }

    /// How many requests there were for paths that begin like this.
    pub fn calls(&self, prefix: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path.starts_with(prefix)).count()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("unpoisoned").clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most requests that were being answered at once.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
        let (tasks, _) = Tasks::new();
        let shared = Arc::new(Shared::default());
        let (accepting, origin) = (tasks.clone(), Self { url, shared: Arc::clone(&shared), tasks: tasks.clone() });
        tasks.until_stop(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                accepting.until_stop(async move {
                    // A connection that breaks is the client's to notice.
                    let _ = match tls {
                        None => talk(stream, shared).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => talk_http(stream, shared).await,
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        origin
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

impl Shared {
    /// Remembers the request and finds what to answer.
    fn ask(&self, seen: Seen) -> Answer {
        let path = seen.path.split('?').next().unwrap_or_default().to_owned();
        self.seen.lock().expect("unpoisoned").push(seen);
        let answer = self.route(&path).unwrap_or(Answer::Status(404));
        match answer {
            Answer::InTurn(answers) => {
                let mut answered = self.answered.lock().expect("unpoisoned");
                let count = answered.entry(path).or_default();
                *count += 1;
                answers[(*count - 1).min(answers.len() - 1)].clone()
            }
            answer => answer,
        }
    }

    fn route(&self, path: &str) -> Option<Answer> {
        let routes = self.routes.lock().expect("unpoisoned");
        let fits = |route: &str| route == path || route.strip_suffix('*').is_some_and(|start| path.starts_with(start));
        let best = routes.iter().filter(|(route, _)| fits(route)).max_by_key(|(route, _)| route.len());
        best.map(|(_, answer)| answer.clone())
    }
}

/// Counts a request as in flight until it is dropped, answered or not.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn enter(shared: &Arc<Shared>) -> Self {
        let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Looks at the first request before HTTP does: a route of garbage is answered here.
async fn talk(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut head = [0; 1024];
    let length = stream.peek(&mut head).await?;
    let line = String::from_utf8_lossy(&head[..length]).into_owned();
    let path = line.split(' ').nth(1).unwrap_or_default();
    if let Some(Answer::Garbage(bytes)) = shared.route(path) {
        let (method, version) = ("GET".to_owned(), Version::HTTP_11);
        shared.ask(Seen { path: path.to_owned(), method, version, headers: HeaderMap::new() });
        return stream.write_all(bytes).await;
    }
    talk_http(stream, shared).await
}

async fn talk_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let _in_flight = InFlight::enter(&shared);
            let headers = request.headers().clone();
            let seen = Seen {
                path: request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned(),
                method: request.method().to_string(),
                version: request.version(),
                headers: headers.clone(),
            };
            respond(shared.ask(seen), &headers).await
        }
    });
    let served = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    served.map_err(io::Error::other)
}

async fn respond(answer: Answer, headers: &HeaderMap) -> io::Result<Response<Body>> {
    match answer {
        Answer::Json(body) => Ok(json(body)),
        Answer::Status(status) => {
            let mut response = json(format!("{{\"status\":{status}}}"));
            *response.status_mut() = status.try_into().expect("a status");
            if status == 204 {
                *response.body_mut() = full(String::new());
            }
            Ok(response)
        }
        Answer::Redirect(to) => {
            let mut response = json("{}".to_owned());
            *response.status_mut() = 302.try_into().expect("a status");
            response.headers_mut().insert(LOCATION, HeaderValue::try_from(to).expect("a location"));
            Ok(response)
        }
        Answer::Echo => {
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let echo: BTreeMap<&str, String> =
                headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
            Ok(json(serde_json::to_string(&echo).expect("a map of strings")))
        }
        Answer::Large(letters) => Ok(json(format!("\"{}\"", "x".repeat(letters)))),
        Answer::LargeInChunks(letters) => {
            const CHUNK: usize = 16 * 1024;
            let chunk = move |at: usize| Bytes::from(vec![b'x'; CHUNK.min(letters - at)]);
            let quote = || std::iter::once(Bytes::from_static(b"\""));
            let chunks = quote().chain((0..letters).step_by(CHUNK).map(chunk)).chain(quote());
            let frames = futures_util::stream::iter(chunks.map(|chunk| Ok(Frame::data(chunk))));
            Ok(Response::new(StreamBody::new(frames).boxed()))
        }
        Answer::With(name, value, answer) => {
            let mut response = Box::pin(respond(*answer, headers)).await?;
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            Ok(response)
        }
        Answer::After(delay, answer) => {
            // tidy: waits because being slow is what this answer is for
            sleep(delay).await;
            Box::pin(respond(*answer, headers)).await
        }
        Answer::Hang => std::future::pending().await,
        Answer::HangInBody => {
            let never = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            Ok(Response::new(StreamBody::new(never).boxed()))
        }
        Answer::HangUp | Answer::Garbage(_) => Err(io::Error::other("the origin hangs up")),
        Answer::InTurn(_) => unreachable!("turns are taken when the route is found"),
    }
}

fn json(body: String) -> Response<Body> {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn full(body: String) -> Body {
    Full::new(Bytes::from(body)).boxed()
}

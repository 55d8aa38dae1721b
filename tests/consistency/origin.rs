//! The system of record over HTTP: one listener for each sidecar, in that sidecar's place, so that it knows who asks.
//!
//! An answer is decided when the request arrives and sent a little later: the time in between is where a fill can be
//! overtaken by an invalidation. How slow it is, how often it fails and how far it lags are set by the faults.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hydrant::tasks::Tasks;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::net::{Net, Place, SIDECARS};
use crate::truth::{Entity, Truth};

pub struct Origin {
    /// Where each sidecar finds it.
    pub addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    truth: Arc<Truth>,
    random: Mutex<StdRng>,
    slowest_ms: AtomicU32,
    failing_percent: AtomicU32,
    lag_ms: AtomicU32,
    /// Whose answers are held back.
    held: watch::Sender<Option<usize>>,
    waiting: AtomicUsize,
}

/// On a good day most answers come within this.
const USUAL_SLOWEST_MS: u32 = 30;
/// How far the notes' source may lag at any time; the configuration declares a little more.
pub const NOTES_LAG: Duration = Duration::from_millis(1_500);

impl Origin {
    pub fn start(net: &Net, truth: Arc<Truth>, seed: u64) -> Self {
        let (tasks, _) = Tasks::new();
        let shared = Arc::new(Shared {
            truth,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            slowest_ms: AtomicU32::new(USUAL_SLOWEST_MS),
            failing_percent: AtomicU32::new(0),
            lag_ms: AtomicU32::new(0),
            held: watch::Sender::new(None),
            waiting: AtomicUsize::new(0),
        });
        let mut addresses = Vec::new();
        for sidecar in 0..SIDECARS {
            let listener =
                net.inside(Place::Sidecar(sidecar), || StdListener::bind("127.0.0.1:0").expect("a free port"));
            addresses.push(listener.local_addr().expect("bound"));
            listener.set_nonblocking(true).expect("a socket");
            let listener = TcpListener::from_std(listener).expect("a socket");
            let (shared, accepting) = (shared.clone(), tasks.clone());
            tasks.until_stop(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = shared.clone();
                    let service = service_fn(move |request| answer(shared.clone(), sidecar, request));
                    accepting.until_stop(async move {
                        let builder = auto::Builder::new(TokioExecutor::new());
                        // A connection that breaks is the client's to notice.
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        }
        Self { addresses, shared, tasks }
    }

    /// As on a good day.
    pub fn be_well(&self) {
        self.be_slow(USUAL_SLOWEST_MS);
        self.fail(0);
        self.lag(Duration::ZERO);
        self.hold(None);
    }

    /// Answers take up to so long.
    pub fn be_slow(&self, slowest_ms: u32) {
        self.shared.slowest_ms.store(slowest_ms, Ordering::Relaxed);
    }

    pub fn fail(&self, percent: u32) {
        self.shared.failing_percent.store(percent, Ordering::Relaxed);
    }

    /// The notes' source answers what was true so long ago.
    pub fn lag(&self, lag: Duration) {
        self.shared.lag_ms.store(lag.as_millis() as u32, Ordering::Relaxed);
    }

    /// Holds back what one sidecar is answered, or lets go.
    pub fn hold(&self, sidecar: Option<usize>) {
        self.shared.held.send_replace(sidecar);
    }

    /// How many answers are held back: so many fills stand between claim and commit.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

/// `GET /<entity>/<id>`
async fn answer(
    shared: Arc<Shared>,
    sidecar: usize,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (body, delay, fails) = shared.decide(sidecar, request.uri().path()).unwrap_or_default();
    // tidy: waits because being slow is what a source is for here
    sleep(delay).await;
    let mut held = shared.held.subscribe();
    shared.waiting.fetch_add(1, Ordering::Relaxed);
    // A sender that is gone holds nothing back.
    let _ = held.wait_for(|held| *held != Some(sidecar)).await;
    shared.waiting.fetch_sub(1, Ordering::Relaxed);
    let mut response = Response::new(Full::new(Bytes::from(body.clone())));
    response.headers_mut().insert("content-type", "application/json".try_into().expect("a header"));
    if fails {
        *response.status_mut() = 500.try_into().expect("a status");
    } else if body.is_empty() {
        *response.status_mut() = 404.try_into().expect("a status");
    }
    Ok(response)
}

impl Shared {
    fn decide(&self, sidecar: usize, path: &str) -> io::Result<(String, Duration, bool)> {
        let unknown = || io::Error::other("no such member");
        let (entity, id) = path.trim_start_matches('/').split_once('/').ok_or_else(unknown)?;
        let entity = Entity::named(entity).ok_or_else(unknown)?;
        let id: usize = id.parse().map_err(io::Error::other)?;
        if id >= self.truth.members() {
            return Err(unknown());
        }
        let mut random = self.random.lock().expect("unpoisoned");
        let slowest = self.slowest_ms.load(Ordering::Relaxed);
        // One in fifty takes ten times as long, so that some fill is always being overtaken.
        let slowest = if random.random_ratio(1, 50) { slowest * 10 } else { slowest };
        let delay = Duration::from_millis(u64::from(random.random_range(0..=slowest.min(1_900))));
        let fails = random.random_range(0..100) < self.failing_percent.load(Ordering::Relaxed);
        drop(random);
        let lag = Duration::from_millis(u64::from(self.lag_ms.load(Ordering::Relaxed)));
        let state = match entity {
            Entity::Note => self.truth.then(entity, id, lag),
            Entity::User | Entity::Basket | Entity::Price => self.truth.now(entity, id),
        };
        let value = self.truth.value(entity, id, state, &format!("sidecar {sidecar}"));
        Ok((value.to_string(), delay, fails))
    }
}

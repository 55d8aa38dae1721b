//! The probe port's own small server: HTTP/1 for probes and scrapers, HTTP/2 for grpc.health, every bound named.
//!
//! It listens on all interfaces, so whoever reaches the pod reaches it: connections, headers and times are limited, and
//! nothing can be sent that is kept.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// A kubelet, a Prometheus or two, a person.
const CONNECTIONS: usize = 64;

/// The least that HTTP/1 needs here, and hyper's own minimum.
const HEADER_BYTES: usize = 8 * 1024;
const HEADERS: usize = 32;

/// From accept, or from the last answer, to the end of the next request's headers.
const HEADER_WAIT: Duration = Duration::from_secs(10);

/// A scrape of everything takes milliseconds; a reader that does not read is not waited for.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);

const STREAMS: u32 = 16;
const PENDING_RESETS: usize = 16;
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(10);

/// After an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long answers under way may take once the port stops.
const DRAIN: Duration = Duration::from_secs(1);

pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the probe port cannot be served");
            return;
        }
    };
    // Its own set: this thread's tasks end with this thread.
    let (tasks, _deaths) = Tasks::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // One connection too many is closed unread.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (router, of_connection, stop) = (router.clone(), tasks.clone(), stop.clone());
        drop(tasks.finish(async move {
            connection(stream, router, of_connection, stop).await;
            drop(place);
        }));
    }
    drop(listener);
    tasks.drain(DRAIN).await;
}

async fn connection(stream: TcpStream, router: Router, tasks: Tasks, stop: CancellationToken) {
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move { answer(router, request).await }
    });
    let builder = builder(tasks);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        ended = timeout(CONNECTION_LIFE, served.as_mut()) => ended.ok(),
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(error, "a connection to the probe port broke"),
        None => {
            served.as_mut().graceful_shutdown();
            // What does not end by then is dropped.
            let _ = timeout(DRAIN, served).await;
        }
    }
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    tower::ServiceExt::oneshot(router, request).await
}

fn builder(tasks: Tasks) -> Builder<Spawn> {
    let mut builder = Builder::new(Spawn { tasks });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES as u32)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER);
    builder
}

/// HTTP/2 answers on tasks of their own, by the one place that spawns.
#[derive(Clone)]
struct Spawn {
    tasks: Tasks,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, answer: F) {
        drop(self.tasks.finish(answer));
    }
}

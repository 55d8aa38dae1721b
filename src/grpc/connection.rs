//! One HTTP/2 connection from accept to end.
//!
//! Driven with hyper itself and not by tonic's server, which cannot refuse a connection over a limit, has no time limit
//! for the preface, and cannot cut what is left when a drain is over. A peer that stalls in the middle of a frame or of a
//! header block cannot answer a ping either, so the keepalive ends it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming as RequestBody;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use crate::grpc::Limits;
use crate::grpc::metrics::ConnectionEnd;
use crate::tasks::Tasks;

/// A peer that does not answer a ping is gone or stuck. Both ends share a pod, so a ping costs nothing.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(10);

/// What a peer may send of one stream before we have read it: a whole request of the ordinary size. Larger ones are read
/// as they come.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all streams of a connection. Times the number of connections it is what callers can make us hold unread,
/// beside the budget of bytes in flight: 32 MiB.
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Errors of a peer that we answered with resets before the connection is closed.
const LOCAL_RESETS: usize = 64;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`.
const PREFACE_BYTES: usize = 24;

/// When to stop: first asked to, then made to.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Takes no new calls and ends with its last.
    pub go_away: CancellationToken,
    /// Ends at once.
    pub cut: CancellationToken,
}

/// Serves one connection to its end.
pub async fn serve<IO, S>(io: IO, stack: S, limits: &Limits, tasks: Tasks, stop: Stop) -> ConnectionEnd
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let io = TokioIo::new(Preface::new(io, limits.handshake));
    let served = builder(limits, tasks).serve_connection(io, TowerToHyperService::new(stack));
    let mut served = pin!(served);
    let ended = tokio::select! {
        biased;
        () = stop.go_away.cancelled() => None,
        ended = served.as_mut() => Some(ended),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                () = stop.cut.cancelled() => return ConnectionEnd::Cut,
                ended = served => ended,
            }
        }
    };
    match ended {
        Ok(()) => ConnectionEnd::Closed,
        Err(error) => {
            tracing::debug!(%error, "a connection broke");
            ConnectionEnd::Broken
        }
    }
}

fn builder(limits: &Limits, tasks: Tasks) -> http2::Builder<Spawn> {
    let mut builder = http2::Builder::new(Spawn { tasks });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_bytes)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        // gRPC has no use for it.
        .auto_date_header(false);
    builder
}

/// Each call runs on a task of its own, by the one place that spawns.
#[derive(Clone)]
struct Spawn {
    tasks: Tasks,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, call: F) {
        // The connection follows its calls by itself.
        drop(self.tasks.finish(call));
    }
}

/// A stream that fails unless HTTP/2's first bytes come in time: whoever connects and says nothing holds one of a limited
/// number of places.
struct Preface<IO> {
    io: IO,
    missing: usize,
    /// None once the preface is here.
    end: Option<Pin<Box<Sleep>>>,
}

impl<IO> Preface<IO> {
    fn new(io: IO, longest: Duration) -> Self {
        Self { io, missing: PREFACE_BYTES, end: Some(Box::pin(sleep(longest))) }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Preface<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match (Pin::new(&mut this.io).poll_read(cx, buffer), &mut this.end) {
            (Poll::Ready(read), None) => Poll::Ready(read),
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Ready(read), Some(_)) => {
                this.missing = this.missing.saturating_sub(buffer.filled().len() - before);
                if this.missing == 0 {
                    this.end = None;
                }
                Poll::Ready(read)
            }
            (Poll::Pending, Some(end)) => {
                ready!(end.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 preface in time")))
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Preface<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_connects_and_says_nothing_is_cut_off() {
        let (_client, server) = duplex(64);
        let began = Instant::now();
        let error = Preface::new(server, Duration::from_secs(2)).read_u8().await.expect_err("nothing came");
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_that_trickles_is_cut_off_too() {
        let (mut client, server) = duplex(64);
        let mut preface = Preface::new(server, Duration::from_secs(2));
        let began = Instant::now();
        let trickle = async {
            while client.write_u8(b'P').await.is_ok() {
                sleep(Duration::from_millis(300)).await;
            }
        };
        let read = async {
            let mut byte = [0];
            while preface.read_exact(&mut byte).await.is_ok() {}
        };
        tokio::select! { biased; () = read => {}, () = trickle => {} }
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_preface_a_connection_may_be_idle() {
        let (mut client, server) = duplex(64);
        let mut preface = Preface::new(server, Duration::from_secs(2));
        client.write_all(&[0; PREFACE_BYTES]).await.expect("room");
        preface.read_exact(&mut [0; PREFACE_BYTES]).await.expect("here");
        let idle = tokio::time::timeout(Duration::from_secs(60), preface.read_u8()).await;
        assert!(idle.is_err());
    }
}

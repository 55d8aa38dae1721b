//! One connection and the order of its replies.
//!
//! Everybody who talks to a node puts requests into one queue. The driver takes whatever is there, writes it in one go,
//! and hands the replies out in order: so commands of all callers in flight travel together, without a timer that waits
//! for more. A link never reconnects: when it breaks it is over, and whoever holds one (a claim) knows that every reply
//! came from the same, unbroken conversation.
//!
//! Why not the redis crate's `MultiplexedConnection`: it writes alike, but at 1,024 callers it costs 1.8 µs of CPU for
//! each command against 0.6 here (docs/adr/0003), and it does not say whether a request was ever sent.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use redis::{Value, ValueCodec};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::codec::Decoder;
use tokio_util::sync::CancellationToken;

use crate::remote::connect::{Server, Wire};
use crate::remote::request::Request;

/// A request that is older than this when its turn comes is refused: what waited so long would only be late.
const QUEUE_WAIT: Duration = Duration::from_millis(20);
/// Requests that wait to be written. At 1 µs each the server would need 8 ms for so many.
const QUEUED: usize = 8_192;
/// Requests that wait for their replies. Beyond it nothing more is written, and the queue sheds.
const AWAITED: usize = 16_384;
/// Bytes put together for one write: as many as a socket buffer takes at once.
const WRITE_BYTES: usize = 64 * 1024;
/// One reply's bytes. A key that holds more was not put there by us, and could fill the pod's memory.
const REPLY_BYTES: usize = 64 * 1024 * 1024;
/// Buffers that grew over this for a large value are given back when they are empty.
const KEEP_BYTES: usize = 256 * 1024;

/// A handle on one connection.
#[derive(Debug)]
pub struct Link {
    /// Counts the connections to its node: an incarnation.
    pub number: u64,
    pub server: Server,
    queue: mpsc::Sender<Queued>,
    broken: CancellationToken,
}

/// The driver's end: what `drive` needs beside the wire.
pub struct Inlet {
    queue: mpsc::Receiver<Queued>,
    broken: CancellationToken,
}

/// Certainly not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    Broken,
    /// Too much waits.
    Shed,
}

/// The replies to come: an array of them for a request of several commands. A channel that closes without an answer
/// means that the link broke after the request was sent.
pub type Answer = oneshot::Receiver<Result<Value, Unsent>>;

#[derive(Debug)]
struct Queued {
    request: Request,
    since: Instant,
    reply: oneshot::Sender<Result<Value, Unsent>>,
}

struct Awaited {
    missing: usize,
    got: Vec<Value>,
    reply: oneshot::Sender<Result<Value, Unsent>>,
}

/// What was sent and is not yet answered, in order.
#[derive(Default)]
struct Replies {
    codec: ValueCodec,
    awaited: VecDeque<Awaited>,
    /// Bytes read of a reply that is not complete.
    partial: usize,
}

impl Link {
    pub fn new(number: u64, server: Server, broken: CancellationToken) -> (Self, Inlet) {
        let (sender, queue) = mpsc::channel(QUEUED);
        (Self { number, server, queue: sender, broken: broken.clone() }, Inlet { queue, broken })
    }

    pub fn send(&self, request: Request, now: Instant) -> Result<Answer, Unsent> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Queued { request, since: now, reply }) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Unsent::Shed),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Unsent::Broken),
        }
    }

    /// Ends the conversation for everybody.
    pub fn break_off(&self) {
        self.broken.cancel();
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }
}

/// Runs the conversation until it breaks or is broken off.
pub async fn drive(wire: Wire, mut inlet: Inlet) {
    let Wire { stream, codec, mut inbox } = wire;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut replies = Replies { codec, ..Replies::default() };
    let mut outbox = BytesMut::new();
    // TLS keeps what the socket would not take at once.
    let mut unflushed = false;
    let broken = inlet.broken.clone();
    let broken_off = broken.cancelled();
    tokio::pin!(broken_off);

    loop {
        let room = outbox.is_empty() && replies.awaited.len() < AWAITED;
        tokio::select! {
            biased;
            () = &mut broken_off => break,
            read = reader.read_buf(&mut inbox) => match read {
                Ok(count) if count > 0 && replies.take(&mut inbox, count) => shrink(&mut inbox),
                _ => break,
            },
            next = inlet.queue.recv(), if room => match next {
                Some(first) => gather(first, &mut inlet.queue, &mut outbox, &mut replies),
                None => break,
            },
            put = put(&mut writer, &outbox), if unflushed || !outbox.is_empty() => match put {
                Ok(Put::Wrote(count)) if count > 0 => {
                    outbox.advance(count);
                    unflushed = true;
                    shrink(&mut outbox);
                }
                Ok(Put::Flushed) => unflushed = false,
                Ok(Put::Wrote(_)) | Err(_) => break,
            },
        }
    }

    broken.cancel();
    // What is still queued was never sent; what is awaited learns from its channel closing that nobody knows.
    inlet.queue.close();
    while let Ok(queued) = inlet.queue.try_recv() {
        let _ = queued.reply.send(Err(Unsent::Broken));
    }
}

/// Puts everything that waits into one write.
fn gather(first: Queued, queue: &mut mpsc::Receiver<Queued>, outbox: &mut BytesMut, replies: &mut Replies) {
    let now = Instant::now();
    let mut next = Some(first);
    while let Some(queued) = next {
        // A caller that went away need not be served: nothing has happened yet.
        if !queued.reply.is_closed() {
            if now.duration_since(queued.since) > QUEUE_WAIT {
                let _ = queued.reply.send(Err(Unsent::Shed));
            } else {
                outbox.extend_from_slice(queued.request.bytes());
                replies.expect(queued.request.replies(), queued.reply);
            }
        }
        if outbox.len() >= WRITE_BYTES || replies.awaited.len() >= AWAITED {
            return;
        }
        next = queue.try_recv().ok();
    }
}

enum Put {
    Wrote(usize),
    Flushed,
}

/// Writes what there is; when there is nothing, makes sure that it left.
async fn put(writer: &mut (impl AsyncWrite + Unpin), outbox: &[u8]) -> std::io::Result<Put> {
    if outbox.is_empty() {
        return writer.flush().await.map(|()| Put::Flushed);
    }
    writer.write(outbox).await.map(Put::Wrote)
}

fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > KEEP_BYTES {
        *buffer = BytesMut::new();
    }
}

impl Replies {
    fn expect(&mut self, missing: usize, reply: oneshot::Sender<Result<Value, Unsent>>) {
        self.awaited.push_back(Awaited { missing, got: Vec::new(), reply });
    }

    /// Hands out every complete reply; answers whether the conversation makes sense so far.
    fn take(&mut self, inbox: &mut BytesMut, read: usize) -> bool {
        self.partial += read;
        loop {
            match self.codec.decode(inbox) {
                Ok(Some(value)) => {
                    self.partial = inbox.len();
                    if !self.hand_out(value) {
                        return false;
                    }
                }
                Ok(None) => return self.partial <= REPLY_BYTES,
                Err(_) => return false,
            }
        }
    }

    fn hand_out(&mut self, value: Value) -> bool {
        // Out of band; nothing we ask for yet is answered so.
        if matches!(value, Value::Push { .. }) {
            return true;
        }
        let Some(mut first) = self.awaited.pop_front() else { return false };
        first.missing -= 1;
        let whole = match (first.missing, first.got.is_empty()) {
            (0, true) => value,
            (missing, _) => {
                first.got.push(value);
                if missing > 0 {
                    self.awaited.push_front(first);
                    return true;
                }
                Value::Array(first.got)
            }
        };
        // A caller that went away misses its reply, nothing more.
        let _ = first.reply.send(Ok(whole));
        true
    }
}

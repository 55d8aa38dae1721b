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

use crate::domain::store::StoreError;
use crate::remote::connect::{Server, Wire};
use crate::remote::request::Request;

/// Requests that wait to be written. At 1 µs each the server would need 8 ms for so many.
const QUEUED: usize = 8_192;
/// Requests that wait for their replies, late ones included: twice what a node may have under way.
const AWAITED: usize = 16_384;
/// Bytes put together for one write: as many as a socket buffer takes at once.
const WRITE_BYTES: usize = 64 * 1024;
/// Bytes that the server has not taken yet. Twice what a process may have in flight in values, so that only a server
/// that stopped reading gets there.
const OUTBOX_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of one read at least.
const READ_BYTES: usize = 16 * 1024;
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
    deadline: Duration,
    broken: CancellationToken,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// Certainly not sent: the link is broken.
    Broken,
    /// Certainly not sent: too much waits.
    Shed,
    /// Sent, and not answered within the deadline.
    Late,
}

impl From<NoReply> for StoreError {
    fn from(why: NoReply) -> Self {
        match why {
            NoReply::Broken => Self::Unreachable,
            NoReply::Shed => Self::Overloaded,
            NoReply::Late => Self::Timeout,
        }
    }
}

/// The replies to come: an array of them for a request of several commands. A channel that closes without an answer
/// means that the link broke after the request was sent.
pub type Answer = oneshot::Receiver<Result<Value, NoReply>>;

#[derive(Debug)]
struct Queued {
    request: Request,
    since: Instant,
    reply: oneshot::Sender<Result<Value, NoReply>>,
}

struct Awaited {
    since: Instant,
    missing: usize,
    got: Vec<Value>,
    /// None once it is late: what arrives then is swallowed in its place.
    reply: Option<oneshot::Sender<Result<Value, NoReply>>>,
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
    pub fn new(number: u64, server: Server, deadline: Duration, broken: CancellationToken) -> (Self, Inlet) {
        let (sender, queue) = mpsc::channel(QUEUED);
        (Self { number, server, queue: sender, broken: broken.clone() }, Inlet { queue, deadline, broken })
    }

    pub fn send(&self, request: Request, now: Instant) -> Result<Answer, NoReply> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Queued { request, since: now, reply }) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(NoReply::Shed),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NoReply::Broken),
        }
    }

    /// Which run of the server this is. One that may not be asked for could be another each time.
    pub fn run(&self) -> String {
        self.server.run.clone().unwrap_or_else(|| format!("unknown {}", self.number))
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
    // One timer for all deadlines: set when there is something to wait for, moved on when it fires.
    let alarm = tokio::time::sleep(inlet.deadline);
    tokio::pin!(alarm);

    loop {
        // Without it a read takes only what is left of the buffer, a few bytes at a time.
        inbox.reserve(READ_BYTES);
        tokio::select! {
            biased;
            () = &mut broken_off => break,
            read = reader.read_buf(&mut inbox) => match read {
                Ok(count) if count > 0 && replies.take(&mut inbox, count) => shrink(&mut inbox),
                _ => break,
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
            () = &mut alarm, if !replies.awaited.is_empty() => {
                let now = Instant::now();
                alarm.as_mut().reset(replies.give_up(now, inlet.deadline).unwrap_or(now + inlet.deadline));
            }
            next = inlet.queue.recv() => match next {
                Some(first) => {
                    // Whoever else is ready to run may have something for the same write: with it one wake-up and one
                    // system call serve many (docs/adr/0003 has the figures).
                    tokio::task::yield_now().await;
                    gather(first, &mut inlet, &mut outbox, &mut replies);
                }
                None => break,
            },
        }
    }

    broken.cancel();
    // What is still queued was never sent; what is awaited learns from its channel closing that nobody knows.
    inlet.queue.close();
    while let Ok(queued) = inlet.queue.try_recv() {
        let _ = queued.reply.send(Err(NoReply::Broken));
    }
}

/// Puts everything that waits into one write.
fn gather(first: Queued, inlet: &mut Inlet, outbox: &mut BytesMut, replies: &mut Replies) {
    let now = Instant::now();
    let mut next = Some(first);
    while let Some(queued) = next {
        // What waited for a quarter of its time has little hope left, and makes others wait.
        let is_late = now.duration_since(queued.since) > inlet.deadline / 4;
        let is_full = outbox.len() >= OUTBOX_BYTES || replies.awaited.len() >= AWAITED;
        if is_late || is_full {
            let _ = queued.reply.send(Err(NoReply::Shed));
        } else if !queued.reply.is_closed() {
            // A caller that went away need not be served: nothing has happened yet.
            outbox.extend_from_slice(queued.request.bytes());
            replies.expect(queued);
        }
        if outbox.len() >= WRITE_BYTES {
            return;
        }
        next = inlet.queue.try_recv().ok();
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
    fn expect(&mut self, queued: Queued) {
        let Queued { request, since, reply } = queued;
        self.awaited.push_back(Awaited { since, missing: request.replies(), got: Vec::new(), reply: Some(reply) });
    }

    /// Tells everybody who has waited for the whole deadline. All have the same, so the oldest comes first. Answers
    /// when the next one is due.
    fn give_up(&mut self, now: Instant, deadline: Duration) -> Option<Instant> {
        for awaited in &mut self.awaited {
            let due = awaited.since + deadline;
            if due > now {
                return Some(due);
            }
            if let Some(reply) = awaited.reply.take() {
                let _ = reply.send(Err(NoReply::Late));
            }
        }
        None
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
        if let Some(reply) = first.reply {
            // A caller that went away misses its reply, nothing more.
            let _ = reply.send(Ok(whole));
        }
        true
    }
}

//! The network between sidecars and nodes: everything that can go wrong between sending a command and reading its reply.
//!
//! Each connection is a task. A command may arrive late, never, or twice as late as its sender waits; the connection may
//! break before it took effect, after it, or with its reply half sent; commands of one request do not arrive as one. All
//! of it is drawn from the world's generator, in the order of virtual time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::remote::Address;
use hydrant::remote::connect::{Dial, Stream};
use hydrant::remote::error::ConnectError;
use hydrant::tasks::Tasks;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

use crate::cluster::node::Standing;
use crate::cluster::{Answer, Cluster, EPOCH, Session};
use crate::redis::wire::{Reply, Words, take_command};
use crate::time::pause;

/// Between looks at something that is blocked.
const LOOK: Duration = Duration::from_millis(10);
/// Between looks at how far replicas have got.
const WAIT_LOOK: Duration = Duration::from_millis(2);
/// A pipe this long never fills: what is sent is on its way.
const PIPE: usize = 4 * 1024 * 1024;

/// How the network is, in chances per ten thousand commands.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest ordinary delay, in milliseconds.
    pub delay: u64,
    /// Takes up to `late_by` milliseconds.
    pub late: u32,
    pub late_by: u64,
    pub breaks_before: u32,
    pub breaks_after: u32,
    pub breaks_within_reply: u32,
}

pub struct Net {
    cluster: Mutex<Cluster>,
    state: Mutex<State>,
    tasks: Tasks,
}

struct State {
    weather: Weather,
    rng: StdRng,
    /// Sidecars and nodes that do not reach each other.
    cut: Vec<(usize, usize)>,
    /// Sidecars that have died: nothing leaves or reaches them.
    dead: Vec<usize>,
    connections: u64,
}

/// The way out of one sidecar.
pub struct WayOut {
    pub net: Arc<Net>,
    pub sidecar: usize,
}

enum Fate {
    Passes,
    BreaksBefore,
    BreaksAfter,
    BreaksWithin,
}

impl Weather {
    pub const CALM: Self =
        Self { delay: 1, late: 0, late_by: 0, breaks_before: 0, breaks_after: 0, breaks_within_reply: 0 };
}

impl Net {
    pub fn new(cluster: Cluster, weather: Weather, seed: u64, tasks: Tasks) -> Arc<Self> {
        let rng = StdRng::seed_from_u64(seed);
        let state = State { weather, rng, cut: Vec::new(), dead: Vec::new(), connections: 0 };
        Arc::new(Self { cluster: Mutex::new(cluster), state: Mutex::new(state), tasks })
    }

    /// For a few instructions, never across an await.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// The sidecar dies where it stands: what it has sent may still arrive, and that is all.
    pub fn bury(&self, sidecar: usize) {
        self.state().dead.push(sidecar);
    }

    pub fn is_dead(&self, sidecar: usize) -> bool {
        self.state().dead.contains(&sidecar)
    }

    pub fn cut(&self, sidecar: usize, node: usize) {
        self.state().cut.push((sidecar, node));
    }

    pub fn mend_all(&self) {
        self.state().cut.clear();
    }

    fn is_cut(&self, sidecar: usize, node: usize) -> bool {
        let state = self.state();
        state.dead.contains(&sidecar) || state.cut.contains(&(sidecar, node))
    }

    fn delay(&self) -> Duration {
        let mut state = self.state();
        let Weather { delay, late, late_by, .. } = state.weather;
        let longest = if state.rng.random_range(0..10_000) < late { late_by } else { delay };
        Duration::from_millis(state.rng.random_range(0..=longest))
    }

    fn fate(&self) -> Fate {
        let mut state = self.state();
        let Weather { breaks_before, breaks_after, breaks_within_reply, .. } = state.weather;
        let drawn = state.rng.random_range(0..10_000u32);
        match drawn {
            drawn if drawn < breaks_before => Fate::BreaksBefore,
            drawn if drawn < breaks_before + breaks_after => Fate::BreaksAfter,
            drawn if drawn < breaks_before + breaks_after + breaks_within_reply => Fate::BreaksWithin,
            _ => Fate::Passes,
        }
    }

    /// Whether the next command of the same request waits, so that another's can come between.
    fn steps_aside(&self) -> bool {
        self.state().rng.random_ratio(1, 3)
    }

    /// Returns when something can go from the sidecar to the node.
    async fn passable(&self, sidecar: usize, node: usize) {
        while self.is_cut(sidecar, node) || self.cluster().nodes[node].standing == Standing::Hung {
            pause(LOOK).await;
        }
    }
}

impl Dial for WayOut {
    fn dial<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<Box<dyn Stream>, ConnectError>> {
        async move {
            let refused = || ConnectError::Dial(std::io::ErrorKind::ConnectionRefused.into());
            pause(self.net.delay()).await;
            let node = self.net.cluster().node_at(to).ok_or_else(refused)?;
            while self.net.is_cut(self.sidecar, node) {
                pause(LOOK).await;
            }
            let life = {
                let cluster = self.net.cluster();
                if cluster.nodes[node].standing == Standing::Down {
                    return Err(refused());
                }
                cluster.nodes[node].life.child_token()
            };
            let (ours, theirs) = tokio::io::duplex(PIPE);
            let number = {
                let mut state = self.net.state();
                state.connections += 1;
                state.connections
            };
            let connection =
                Connection { net: self.net.clone(), sidecar: self.sidecar, node, number, session: Session::default() };
            drop(self.net.tasks.until_end(connection.run(theirs, life)));
            Ok(Box::new(ours) as Box<dyn Stream>)
        }
        .boxed()
    }
}

/// The server's end of one connection.
struct Connection {
    net: Arc<Net>,
    sidecar: usize,
    node: usize,
    number: u64,
    session: Session,
}

impl Connection {
    async fn run(mut self, stream: DuplexStream, life: CancellationToken) {
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = self.converse(stream) => {}
        }
    }

    /// Until the other side hangs up or the connection breaks. What was sent before somebody hung up still arrives.
    async fn converse(&mut self, mut stream: DuplexStream) {
        let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
        loop {
            let mut buffer = [0; 4_096];
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            inbox.extend_from_slice(&buffer[..count]);
            pause(self.net.delay()).await;
            while let Some(words) = take_command(&mut inbox) {
                self.net.passable(self.sidecar, self.node).await;
                let fate = self.net.fate();
                if matches!(fate, Fate::BreaksBefore) {
                    self.note(|| "breaks before a command".to_owned());
                    return;
                }
                let reply = self.execute(&words).await;
                if matches!(fate, Fate::BreaksAfter) {
                    self.note(|| "breaks after a command".to_owned());
                    return;
                }
                let before = outbox.len();
                reply.encode(&mut outbox);
                if matches!(fate, Fate::BreaksWithin) {
                    self.note(|| "breaks within a reply".to_owned());
                    let half = before + (outbox.len() - before) / 2;
                    let _ = stream.write_all(&outbox[..half]).await;
                    return;
                }
                if self.net.steps_aside() {
                    pause(self.net.delay()).await;
                }
            }
            if !outbox.is_empty() {
                pause(self.net.delay()).await;
                self.net.passable(self.sidecar, self.node).await;
                // Somebody who hung up misses the reply; what else was sent still counts.
                let _ = stream.write_all(&outbox).await;
                outbox.clear();
            }
        }
    }

    async fn execute(&mut self, words: &Words) -> Reply {
        let answer = self.net.cluster().execute(self.node, &mut self.session, words);
        let reply = match answer {
            Answer::Now(reply) => reply,
            Answer::Wait { replicas, offset, until } => self.wait(replicas, offset, until).await,
        };
        self.note(|| format!("{} → {}", shown(words), shown_reply(&reply)));
        reply
    }

    async fn wait(&self, replicas: usize, offset: u64, until: u64) -> Reply {
        loop {
            {
                let mut cluster = self.net.cluster();
                let Some(reached) = cluster.reached(self.node, offset) else {
                    return Reply::Error(
                        "UNBLOCKED force unblock from blocking operation, instance state changed".to_owned(),
                    );
                };
                if reached >= replicas || cluster.now() >= until {
                    return Reply::count(reached);
                }
            }
            pause(WAIT_LOOK).await;
        }
    }

    fn note(&self, what: impl FnOnce() -> String) {
        let mut cluster = self.net.cluster();
        let at = cluster.now() - EPOCH;
        cluster
            .log
            .note(at, || format!("sidecar {} on node {} (#{}) {}", self.sidecar, self.node, self.number, what()));
    }
}

/// A command for the log: long values and binary nonces are cut short.
fn shown(words: &Words) -> String {
    let word = |word: &Vec<u8>| {
        let text: String = word
            .iter()
            .take(60)
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            })
            .collect();
        text
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn shown_reply(reply: &Reply) -> String {
    match reply {
        Reply::Array(_) | Reply::Map(_) => "…".to_owned(),
        Reply::Bulk(bytes) => shown(&vec![bytes.clone()]),
        Reply::Status(text) | Reply::Error(text) => text.clone(),
        Reply::Int(number) => number.to_string(),
        Reply::Double(number) => number.to_string(),
        Reply::Nil => "nothing".to_owned(),
    }
}

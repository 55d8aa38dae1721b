//! One Redis node, and the one place through which every command passes: limit, deadline, breaker, metric, span.
//!
//! A node always stands in one of three ways: connecting, live, or away with its breaker open. One task, the keeper,
//! moves it between them: it connects, runs the connection until that breaks, and waits while the breaker is open; the
//! breaker's probe is a connection that greets and answers. Callers only ever look. So a node that hangs is noticed by
//! the commands that miss their deadline, is left alone, and comes back by itself, and no caller pays for trying.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::domain::breaker::{self, Admission, Breaker, Change};
use crate::domain::random::Random;
use crate::domain::removal::Primary;
use crate::domain::store::{Confirmed, StoreError};
use crate::domain::watched::Watched;
use crate::remote::connect::{self, Dial, Wire};
use crate::remote::error::{self, ConnectError};
use crate::remote::link::{self, Link, NoReply};
use crate::remote::metrics::{Metrics, Outcome, Standing};
use crate::remote::request::{Op, Request};
use crate::remote::upheaval::Upheavals;
use crate::remote::{Address, Auth};
use crate::tasks::Tasks;

/// Requests of one node under way at once, those that wait for a connection included. Enough for every fill of a busy
/// pod; beyond it a caller is told at once, rather than after a deadline.
const UNDER_WAY: usize = 8_192;
/// At least this long from one attempt to connect to the next: a server that accepts and hangs up is not stormed.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What all nodes of one store share.
pub struct Shared {
    pub dial: Arc<dyn Dial>,
    pub auth: Option<Auth>,
    pub deadline: Duration,
    pub connect_timeout: Duration,
    pub breaker: breaker::Config,
    /// A cluster's map says who is a primary, and a replica answers MOVED; elsewhere the greeting has to be asked.
    pub primary_only: bool,
    /// Replicas that have to have what is confirmed.
    pub replicas: u8,
    /// Part of Hydrant's own global keys.
    pub group: String,
    pub tasks: Tasks,
    pub random: Random,
    pub metrics: Metrics,
    /// Wakes the topology: something is not where it was.
    pub nudge: Notify,
    /// Told when what was acknowledged may have been undone.
    pub upheavals: Upheavals,
}

pub struct Node {
    pub address: Address,
    pub shared: Arc<Shared>,
    /// To the task that asks its replicas, once somebody wanted to know.
    pub lane: OnceLock<mpsc::Sender<Ask>>,
    standing: Watched<Stand>,
    /// Behind a lock for the few instructions of a state change.
    breaker: Mutex<Breaker>,
    /// Which run of the server was met last. Behind a lock for one look.
    run: Mutex<Option<String>>,
    under_way: Semaphore,
    pub retired: CancellationToken,
    latency_micros: AtomicU64,
    /// Held while the functions are loaded, so that many claims that find them missing load them once.
    /// When that failed, if it did so last.
    pub loading: tokio::sync::Mutex<Option<Instant>>,
    /// How often they were loaded.
    pub loads: AtomicU64,
    pub functions_missing: AtomicBool,
}

/// Somebody who waits for the replicas. One who is not answered may take it that nothing was sent.
pub struct Ask {
    /// What is to be written before the marker; nothing where that was done already.
    pub request: Request,
    /// The node's own connection, which carried what was written, or would have carried it.
    pub link: Arc<Link>,
    /// The node owned it then.
    pub slot: u16,
    pub answer: oneshot::Sender<Result<Rode, NoReply>>,
}

/// What a request on the lane was answered, and whether the replicas have it.
pub type Rode = (Vec<Value>, Confirmed);

#[derive(Clone, Debug)]
enum Stand {
    Connecting,
    Live(Arc<Link>),
    Away(StoreError),
}

/// How a node does, from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub address: Address,
    pub standing: Standing,
    /// Why it is away.
    pub trouble: Option<StoreError>,
    /// Until the next try, where the breaker is open.
    pub next_try: Option<Duration>,
    /// Of the last request that was answered.
    pub latency: Option<Duration>,
    /// Fills are refused there: the functions are missing and could not be loaded.
    pub functions_missing: bool,
}

impl Node {
    /// Begins to connect at once.
    pub fn start(address: Address, shared: Arc<Shared>) -> Arc<Self> {
        Self::start_again(address, shared, None)
    }

    /// For a server that was met before, in that run, at another address.
    pub fn start_again(address: Address, shared: Arc<Shared>, run: Option<String>) -> Arc<Self> {
        let node = Arc::new(Self {
            address,
            lane: OnceLock::new(),
            standing: Watched::new(Stand::Connecting),
            breaker: Mutex::new(Breaker::new(shared.breaker)),
            run: Mutex::new(run),
            under_way: Semaphore::new(UNDER_WAY),
            retired: CancellationToken::new(),
            latency_micros: AtomicU64::new(0),
            loading: tokio::sync::Mutex::default(),
            loads: AtomicU64::new(0),
            functions_missing: AtomicBool::new(false),
            shared,
        });
        node.shared.metrics.node_came(Standing::Connecting);
        let keeper = node.clone();
        // Commits of the last fills still go over it while the process drains.
        node.shared.tasks.until_end(async move {
            let retired = keeper.retired.clone();
            tokio::select! {
                biased;
                () = retired.cancelled() => {}
                () = keeper.keep() => {}
            }
            keeper.shared.metrics.node_went(keeper.standing());
        });
        node
    }

    /// It owns nothing any more: its connection ends, and claims on it are void.
    pub fn retire(&self) {
        self.retired.cancel();
    }

    pub async fn call(&self, op: Op, request: Request) -> Result<Value, StoreError> {
        let link = self.link().await?;
        self.call_on(&link, op, request).await
    }

    /// One request on one particular connection, and never on another.
    pub async fn call_on(&self, link: &Link, op: Op, request: Request) -> Result<Value, StoreError> {
        let span = tracing::debug_span!("redis", op = op.as_str(), node = %self.address);
        let started = Instant::now();
        let result = self.send(link, request, started).instrument(span).await;
        let outcome = match &result {
            Ok(reply) => error::refused(reply).map_or(Outcome::Ok, Outcome::Refused),
            Err(error) => Outcome::from(*error),
        };
        self.ended(link, op, started, outcome);
        result
    }

    /// The connection as it is now. While the first attempts are under way it is worth a deadline's wait; nothing has
    /// been sent yet. When the breaker is open it is not.
    pub async fn link(&self) -> Result<Arc<Link>, StoreError> {
        if let Some(link) = self.standing.look(Stand::settled) {
            return link;
        }
        let Ok(_seat) = self.under_way.try_acquire() else { return Err(StoreError::Overloaded) };
        let settled = self.standing.wait_for(Stand::settled);
        tokio::time::timeout(self.shared.deadline, settled).await.unwrap_or(Err(StoreError::Unreachable))
    }

    /// Work that nobody waits for, and that a stopping process lets end.
    pub fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.shared.tasks.finish(work));
    }

    pub fn standing(&self) -> Standing {
        self.standing.look(Stand::standing)
    }

    /// Which run of the server was met last, if any was.
    pub fn run(&self) -> Option<String> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn health(&self, now: Instant) -> Health {
        let next_try = match self.breaker().state() {
            breaker::State::Open { until, .. } => Some(until.saturating_duration_since(now)),
            breaker::State::Closed { .. } | breaker::State::Probing { .. } => None,
        };
        let trouble = self.standing.look(|stand| match stand {
            Stand::Away(trouble) => Some(*trouble),
            Stand::Connecting | Stand::Live(_) => None,
        });
        let micros = self.latency_micros.load(Ordering::Relaxed);
        Health {
            address: self.address.clone(),
            standing: self.standing(),
            trouble,
            next_try,
            latency: (micros > 0).then(|| Duration::from_micros(micros)),
            functions_missing: self.functions_missing.load(Ordering::Relaxed),
        }
    }

    async fn send(&self, link: &Link, request: Request, started: Instant) -> Result<Value, StoreError> {
        let Ok(_seat) = self.under_way.try_acquire() else { return Err(StoreError::Overloaded) };
        let answer = match link.send(request, started) {
            Ok(answer) => answer.await,
            Err(why) => Ok(Err(why)),
        };
        // Where the link broke after sending nobody knows what became of it, as where it is late.
        Ok(answer.unwrap_or(Err(NoReply::Late))?)
    }

    /// Metric and breaker. A request that was lost with its link does not count: the link counts once by itself.
    pub fn ended(&self, link: &Link, op: Op, started: Instant, outcome: Outcome) {
        let now = Instant::now();
        let elapsed = now.duration_since(started);
        self.shared.metrics.request_ended(op, outcome, elapsed);
        match outcome {
            Outcome::Timeout if !link.is_broken() => self.failed(started, now, StoreError::Timeout),
            Outcome::Refused(refusal) if error::is_fault(refusal) => {
                self.failed(started, now, StoreError::Refused(refusal));
                // A primary that became a replica: somebody else is the primary now.
                self.shared.nudge.notify_one();
            }
            Outcome::Ok | Outcome::Refused(_) => {
                self.latency_micros.store(elapsed.as_micros().max(1) as u64, Ordering::Relaxed);
                self.answered(started);
            }
            Outcome::Timeout | Outcome::Unreachable | Outcome::Overloaded => {}
        }
    }

    fn failed(&self, started: Instant, now: Instant, trouble: StoreError) {
        let change = self.breaker().failed(started, now, self.shared.random.unit());
        self.note(change, trouble);
    }

    fn answered(&self, started: Instant) {
        let mut breaker = self.breaker();
        // Only the keeper's probe closes a breaker; a late reply from before it opened proves nothing.
        if breaker.is_closed() {
            breaker.succeeded(started);
        }
    }

    fn note(&self, change: Change, trouble: StoreError) {
        match change {
            Change::None => {}
            Change::Opened { wait } => {
                self.shared.metrics.breaker_opened();
                tracing::warn!(node = %self.address, %trouble, next_try_ms = wait.as_millis() as u64, "redis node is left alone");
                self.stand(Stand::Away(trouble));
                self.shared.nudge.notify_one();
            }
            Change::Closed => tracing::info!(node = %self.address, "redis node is back"),
        }
    }

    fn stand(&self, next: Stand) {
        if self.retired.is_cancelled() {
            return;
        }
        let new = next.standing();
        let old = self.standing.replace(next);
        if let Stand::Live(link) = &old {
            link.break_off();
        }
        self.shared.metrics.node_went(old.standing());
        self.shared.metrics.node_came(new);
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A count and a state: sound even after a panic elsewhere.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keeper.
impl Node {
    async fn keep(&self) {
        // It begins anywhere, so that where the run is not known the connections of two processes never pass for one.
        let (mut number, mut complained) = ((self.shared.random.unit() * 1e12) as u64, false);
        loop {
            self.wait_for_turn().await;
            let started = Instant::now();
            match self.open().await {
                Ok((wire, server)) => {
                    (number, complained) = (number + 1, false);
                    let (link, inlet) = Link::new(number, server, self.shared.deadline, self.retired.child_token());
                    if self.connected(started, link) {
                        link::drive(wire, inlet).await;
                        self.lost(started);
                    }
                }
                Err(error) => {
                    // The first time somebody should read why; the next hundred times it would be noise.
                    if !complained {
                        tracing::warn!(node = %self.address, %error, "cannot connect to redis");
                    }
                    complained = true;
                    self.connect_failed(started, &error);
                }
            }
            tokio::time::sleep_until(started + CONNECT_PAUSE).await;
        }
    }

    /// Returns when the breaker lets somebody try.
    async fn wait_for_turn(&self) {
        loop {
            let admission = self.breaker().admit(Instant::now());
            match admission {
                Admission::Yes | Admission::Probe => return,
                Admission::No { until } => tokio::time::sleep_until(until).await,
            }
        }
    }

    /// Connects, and asks for a key that nobody has: a server that is loading, or a cluster that is down, greets well.
    pub async fn open(&self) -> Result<(Wire, connect::Server), ConnectError> {
        let attempt = async {
            let shared = &self.shared;
            let (mut wire, mut server) = connect::open(&*shared.dial, &self.address, shared.auth.as_ref()).await?;
            if shared.primary_only && !server.is_primary {
                return Err(ConnectError::NotPrimary);
            }
            match wire.ask(&Request::one(&[b"EXISTS", b"hydrant:probe"])).await {
                Err(ConnectError::Refused(refusal)) if error::is_fault(refusal) => {
                    return Err(ConnectError::Refused(refusal));
                }
                // Any other refusal comes from a server that works: the slot is elsewhere, the command is not allowed.
                Ok(_) | Err(ConnectError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            server.run = connect::run_of(&mut wire).await?;
            Ok((wire, server))
        };
        tokio::time::timeout(self.shared.connect_timeout, attempt).await.unwrap_or(Err(ConnectError::Timeout))
    }

    /// Answers whether the link may be used: a late reply may have opened the breaker while we connected.
    fn connected(&self, started: Instant, link: Link) -> bool {
        self.shared.metrics.connected();
        let change = {
            let mut breaker = self.breaker();
            let change = breaker.succeeded(started);
            if !breaker.is_closed() {
                return false;
            }
            change
        };
        self.note(change, StoreError::Unreachable);
        tracing::debug!(node = %self.address, incarnation = link.number, "connected");
        let (run, is_primary) = (link.run(), link.server.is_primary);
        let before = self.run.lock().unwrap_or_else(PoisonError::into_inner).replace(run.clone());
        self.stand(Stand::Live(Arc::new(link)));
        self.shared.nudge.notify_one();
        if is_primary && before.is_some_and(|before| before != run) {
            self.shared.upheavals.restarted(Primary { name: self.address.to_string(), run });
        }
        true
    }

    fn lost(&self, started: Instant) {
        self.shared.metrics.connection_lost();
        // Where the breaker opened, that is the reason why the link ended.
        if self.standing() == Standing::Live {
            self.stand(Stand::Connecting);
            tracing::info!(node = %self.address, "redis connection lost");
            self.failed(started, Instant::now(), StoreError::Unreachable);
        }
        self.shared.nudge.notify_one();
    }

    fn connect_failed(&self, started: Instant, error: &ConnectError) {
        self.shared.metrics.connect_failed();
        self.failed(started, Instant::now(), StoreError::from(error));
    }
}

impl Stand {
    /// What a caller gets; nothing while that is not known.
    fn settled(&self) -> Option<Result<Arc<Link>, StoreError>> {
        match self {
            Self::Connecting => None,
            Self::Live(link) => Some(Ok(link.clone())),
            Self::Away(trouble) => Some(Err(*trouble)),
        }
    }

    fn standing(&self) -> Standing {
        match self {
            Self::Connecting => Standing::Connecting,
            Self::Live(_) => Standing::Live,
            Self::Away(_) => Standing::Away,
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
pub mod tests;

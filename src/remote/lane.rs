//! Asking the replicas: has what was just written reached them?
//!
//! `WAIT` holds up whatever follows on its connection, so it has one of its own for each node: the lane, opened when it is
//! first needed. There `WAIT` would answer at once, because it looks at what its own connection wrote last; so each is
//! preceded by a write of its own, a marker that is never without effect. The marker comes after everything that the
//! server has answered before, on any connection, and a replica that has it has that too. One marker and one `WAIT` go
//! for everybody who asked until they were sent.
//!
//! What somebody waits for anyway may ride on the lane: deletes that are the last of their invalidation, or its intent,
//! go in one request with the marker and the `WAIT`, and save a round trip. Only while the lane has nothing under way,
//! because what rides is held up by the `WAIT` before it; then it goes the usual way.
//!
//! It proves something only about the very server that took the writes. So both connections must have met the same run
//! of it, and the one that carried the writes must still stand. A marker that is refused says that the server no longer
//! owns its slot, or is no primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument;

use crate::domain::key::{SLOTS, slot_tag};
use crate::domain::mutant::{self, Mutant};
use crate::domain::store::{Confirmation, Confirmed, Refusal, StoreError};
use crate::remote::error;
use crate::remote::link::{self, Link, NoReply};
use crate::remote::metrics::Outcome;
use crate::remote::node::Node;
use crate::remote::request::{Decimal, Op, Request};

/// How long replicas may take. In one rack they have it in less than a millisecond; one that needs this long is away.
const WAIT_FOR: Duration = Duration::from_millis(50);
/// Nobody reads the marker, and it must not stay.
const MARKER_LIFE: &[u8] = b"60000";
/// Those who wait for one node's replicas at once: as many as may have commands under way there.
const QUEUED: usize = 8_192;
/// At least this long from one attempt to open the lane to the next.
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Which connection carried a write, and a slot that its node owned then.
#[derive(Clone)]
pub struct Carrier {
    pub node: Arc<Node>,
    pub link: Arc<Link>,
    pub slot: u16,
    /// What the replicas said, where it rode on the lane.
    pub told: Option<Confirmed>,
}

/// What stands between a node and its lane.
pub struct Entrance {
    queue: mpsc::Sender<Queued>,
    /// A batch is under way.
    is_busy: AtomicBool,
}

enum Queued {
    Ask(Ask),
    Ride(Ride),
}

/// Somebody who wants to know whether the replicas have what `link` carried.
struct Ask {
    link: Arc<Link>,
    /// The node owned it then.
    slot: u16,
    answer: oneshot::Sender<Confirmed>,
}

/// Commands that travel with the next marker.
struct Ride {
    request: Request,
    slot: u16,
    /// The run in which the node's own connection met the server.
    run: Option<String>,
    answer: oneshot::Sender<Rode>,
}

/// Its replies and the lane; nothing where it was not sent.
pub type Rode = Option<(Result<Vec<Value>, StoreError>, Arc<Link>, Confirmed)>;

/// One confirmation for everything that these carried and that has been answered.
pub fn confirmation(carriers: impl IntoIterator<Item = Carrier>) -> Confirmation {
    let mut distinct: Vec<Carrier> = Vec::new();
    for carrier in carriers {
        let is_known = distinct.iter().any(|known| Arc::ptr_eq(&known.link, &carrier.link));
        match carrier.told {
            Some(Confirmed::Short) => return Confirmation::new(std::future::ready(Confirmed::Short)),
            None if !is_known && carrier.node.shared.replicas > 0 => distinct.push(carrier),
            Some(Confirmed::Yes) | None => {}
        }
    }
    if distinct.is_empty() || mutant::on(Mutant::M2NoWait) {
        return Confirmation::given();
    }
    Confirmation::new(async move {
        let answers = join_all(distinct.into_iter().map(ask)).await;
        if answers.iter().all(|answer| *answer == Confirmed::Yes) { Confirmed::Yes } else { Confirmed::Short }
    })
}

/// One request on the lane with a marker and a `WAIT` after it. It must be one that may be repeated: where this answers
/// nothing, it goes the usual way.
pub async fn ride(node: &Arc<Node>, slot: u16, op: Op, request: &Request) -> Rode {
    let lane = entrance(node);
    if node.shared.replicas == 0 || lane.is_busy.load(Ordering::Relaxed) || mutant::on(Mutant::M2NoWait) {
        return None;
    }
    let run = node.link().await.ok()?.server.run.clone();
    let (answer, answered) = oneshot::channel();
    let started = Instant::now();
    lane.queue.try_send(Queued::Ride(Ride { request: request.clone(), slot, run, answer })).ok()?;
    // It goes the usual way, too, if the lane takes too long or ends; nobody knows then what was sent.
    let rode = tokio::time::timeout(WAIT_FOR + node.shared.deadline, answered).await.ok()?.ok()?;
    if let Some((replies, _, confirmed)) = &rode {
        let outcome = replies.as_ref().map_or_else(|error| Outcome::from(*error), |_| Outcome::Ok);
        node.shared.metrics.request_ended(op, outcome, started.elapsed());
        node.shared.metrics.confirmed(*confirmed);
    }
    rode
}

async fn ask(carrier: Carrier) -> Confirmed {
    let Carrier { node, link, slot, told: _ } = carrier;
    let (answer, answered) = oneshot::channel();
    let confirmed = match entrance(&node).queue.try_send(Queued::Ask(Ask { link, slot, answer })) {
        // Whoever waits behind a batch that is under way waits no longer than for one batch.
        Ok(()) => match tokio::time::timeout(WAIT_FOR + node.shared.deadline, answered).await {
            Ok(Ok(confirmed)) => confirmed,
            Ok(Err(_)) | Err(_) => Confirmed::Short,
        },
        Err(_) => Confirmed::Short,
    };
    node.shared.metrics.confirmed(confirmed);
    confirmed
}

/// To the task that serves one node; it begins when it is first needed.
fn entrance(node: &Arc<Node>) -> &Entrance {
    node.lane.get_or_init(|| {
        let (queue, inbox) = mpsc::channel(QUEUED);
        let served = node.clone();
        drop(node.shared.tasks.until_end(async move {
            tokio::select! {
                biased;
                () = served.retired.cancelled() => {}
                () = serve(&served, inbox) => {}
            }
        }));
        Entrance { queue, is_busy: AtomicBool::new(false) }
    })
}

async fn serve(node: &Arc<Node>, mut inbox: mpsc::Receiver<Queued>) {
    let lane_is = |busy| {
        if let Some(lane) = node.lane.get() {
            lane.is_busy.store(busy, Ordering::Relaxed);
        }
    };
    let mut lane = Lane { node, link: None, slot: None, opened: 0, next_try: Instant::now() };
    while let Some(first) = inbox.recv().await {
        // Whoever else is ready to ask shares the batch.
        tokio::task::yield_now().await;
        lane_is(true);
        let (mut asks, mut rides) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(queued) = next {
            match queued {
                Queued::Ask(ask) if !ask.answer.is_closed() => asks.push(ask),
                Queued::Ride(ride) if !ride.answer.is_closed() => rides.push(ride),
                Queued::Ask(_) | Queued::Ride(_) => {}
            }
            next = inbox.try_recv().ok();
        }
        lane.carry(asks, rides).await;
        lane_is(false);
    }
}

struct Lane<'a> {
    node: &'a Node,
    link: Option<Arc<Link>>,
    /// Where the marker goes, until it is refused there: one marker for a lane, not one for each slot.
    slot: Option<u16>,
    opened: u64,
    next_try: Instant,
}

impl Lane<'_> {
    async fn carry(&mut self, asks: Vec<Ask>, rides: Vec<Ride>) {
        let Some(first) = asks.first().map(|ask| ask.slot).or(rides.first().map(|ride| ride.slot)) else { return };
        let slot = self.slot.unwrap_or(first);
        let Some(link) = self.open().await else {
            asks.into_iter().for_each(|ask| tell(ask, Confirmed::Short));
            rides.into_iter().for_each(|ride| refuse(ride));
            return;
        };
        let is_same = |run: &Option<String>| run.is_some() && *run == link.server.run;
        let (rides, strangers): (Vec<Ride>, Vec<Ride>) = rides.into_iter().partition(|ride| is_same(&ride.run));
        strangers.into_iter().for_each(|ride| refuse(ride));
        let mut riders = Request::default();
        rides.iter().for_each(|ride| riders.append(&ride.request));
        let (mut replies, reached) = self.wait(&link, slot, riders).await;
        for ride in rides.into_iter() {
            let confirmed = if reached { Confirmed::Yes } else { Confirmed::Short };
            let own = replies.as_mut().map_err(|error| *error).map(|all| take(all, ride.request.replies()));
            // Whoever asked may have gone.
            let _ = ride.answer.send(Some((own, link.clone(), confirmed)));
        }
        for ask in asks {
            let is_same = is_same(&ask.link.server.run);
            if !is_same && !ask.link.is_broken() {
                // The node's own connection found another server at this address: so will the next lane.
                link.break_off();
            }
            let confirmed = if reached && is_same && !ask.link.is_broken() { Confirmed::Yes } else { Confirmed::Short };
            tell(ask, confirmed);
        }
    }

    /// The lane as it stands, or a new one.
    async fn open(&mut self) -> Option<Arc<Link>> {
        if let Some(link) = self.link.as_ref().filter(|link| !link.is_broken()) {
            return Some(link.clone());
        }
        self.link = None;
        let now = Instant::now();
        if now < self.next_try {
            return None;
        }
        self.next_try = now + OPEN_PAUSE;
        let shared = &self.node.shared;
        let (wire, server) = match self.node.open().await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(node = %self.node.address, %error, "cannot ask the replicas");
                shared.metrics.connect_failed();
                return None;
            }
        };
        shared.metrics.connected();
        if server.run.is_none() {
            tracing::warn!(node = %self.node.address, "redis does not tell its run (INFO server): nothing can be confirmed");
        }
        self.opened += 1;
        let (link, inlet) = Link::new(self.opened, server, WAIT_FOR + shared.deadline, self.node.retired.child_token());
        drop(shared.tasks.until_end(link::drive(wire, inlet)));
        self.link = Some(Arc::new(link));
        self.link.clone()
    }

    /// What the riders were answered, and whether enough replicas have a marker that is written now, after them. A slot
    /// on its way to another node takes no new keys; its neighbours are most likely here and at rest.
    async fn wait(&mut self, link: &Link, slot: u16, riders: Request) -> (Result<Vec<Value>, StoreError>, bool) {
        let mut rode = Ok(Vec::new());
        for (tries, slot) in [slot, (slot + 1) % SLOTS, (slot + SLOTS - 1) % SLOTS].into_iter().enumerate() {
            // They ride once, and a later marker comes after them too.
            let with = if tries == 0 { riders.clone() } else { Request::default() };
            let (outcome, replies, reached) = self.try_slot(link, slot, with).await;
            self.slot = (outcome == Outcome::Ok).then_some(slot);
            if tries == 0 {
                rode = replies;
            }
            match outcome {
                Outcome::Refused(Refusal::Moved) => self.node.shared.nudge.notify_one(),
                Outcome::Ok | Outcome::Refused(_) => return (rode, reached >= i64::from(self.node.shared.replicas)),
                // What comes late would be taken for the next one's.
                Outcome::Timeout | Outcome::Unreachable | Outcome::Overloaded => {
                    link.break_off();
                    return (rode, false);
                }
            }
        }
        (rode, false)
    }

    /// The riders, one marker and one `WAIT`.
    async fn try_slot(
        &self,
        link: &Link,
        slot: u16,
        mut request: Request,
    ) -> (Outcome, Result<Vec<Value>, StoreError>, i64) {
        let riding = request.replies();
        request.append(&self.request(slot));
        let started = Instant::now();
        let span = tracing::debug_span!("redis", op = Op::Wait.as_str(), node = %self.node.address);
        let reply = match link.send(request, started) {
            Ok(answer) => answer.instrument(span).await.unwrap_or(Err(NoReply::Late)),
            Err(why) => Err(why),
        };
        let (outcome, rode, reached) = match reply {
            Ok(Value::Array(mut replies)) if replies.len() >= riding => {
                let own = take(&mut replies, riding);
                let (outcome, reached) = read(&replies);
                (outcome, Ok(own), reached)
            }
            Ok(_) => (Outcome::Refused(Refusal::Other), Err(StoreError::Refused(Refusal::Other)), 0),
            Err(NoReply::Late) => (Outcome::Timeout, Err(StoreError::Timeout), 0),
            Err(NoReply::Broken) => (Outcome::Unreachable, Err(StoreError::Unreachable), 0),
            Err(NoReply::Shed) => (Outcome::Overloaded, Err(StoreError::Overloaded), 0),
        };
        self.node.shared.metrics.request_ended(Op::Wait, outcome, started.elapsed());
        (outcome, rode, reached)
    }

    fn request(&self, slot: u16) -> Request {
        let shared = &self.node.shared;
        let marker = format!("hydrant:{{{}}}:{}:marker", slot_tag(slot), shared.group);
        let nonce = shared.random.nonce();
        let mut request = Request::one(&[b"SET", marker.as_bytes(), nonce.as_bytes(), b"PX", MARKER_LIFE]);
        let (replicas, limit) = (Decimal::new(shared.replicas.into()), Decimal::new(WAIT_FOR.as_millis() as u64));
        request.push(&[b"WAIT", replicas.as_bytes(), limit.as_bytes()]);
        // A node that is taking the slot over has taken deletes for it too.
        if shared.primary_only { request } else { request.asking() }
    }
}

/// What the marker and `WAIT` were answered, and how many replicas have the marker. What `ASKING` was is of no interest.
fn read(replies: &[Value]) -> (Outcome, i64) {
    let [.., marker, waited] = replies else { return (Outcome::Refused(Refusal::Other), 0) };
    match (error::refused(marker).or(error::refused(waited)), waited) {
        (Some(refusal), _) => (Outcome::Refused(refusal), 0),
        (None, Value::Int(count)) => (Outcome::Ok, *count),
        (None, _) => (Outcome::Refused(Refusal::Other), 0),
    }
}

/// The first of some replies.
fn take(replies: &mut Vec<Value>, count: usize) -> Vec<Value> {
    let rest = replies.split_off(count.min(replies.len()));
    std::mem::replace(replies, rest)
}

/// It was not sent.
fn refuse(ride: Ride) {
    let _ = ride.answer.send(None);
}

fn tell(ask: Ask, confirmed: Confirmed) {
    // Whoever asked may have gone.
    let _ = ask.answer.send(confirmed);
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;

//! Asking the replicas: has what was just written reached them?
//!
//! `WAIT` holds up whatever follows on its connection, so it has one of its own for each node: the lane, opened when it is
//! first needed. There `WAIT` would answer at once, because it looks at what its own connection wrote last; so each is
//! preceded by a write of its own, a marker that is never without effect. The marker comes after everything that the
//! server has answered before, on any connection, and a replica that has it has that too. One marker and one `WAIT` go
//! for everybody who asked until they were sent.
//!
//! What somebody waits for anyway rides on the lane: an intent, or deletes that lead to nothing further, go in front of the
//! marker in the same request, and save a round trip. A `WAIT` that is under way holds them up, for as long as it waits at
//! most; it does so only where replicas are late, and where they are nothing is done at once anyway.
//!
//! It proves something only about the very server that took the writes. So both connections must have met the same run
//! of it, and the one that carried the writes must still stand. A marker that is refused says that the server no longer
//! owns its slot, or is no primary.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::key::{SLOTS, slot_tag};
use crate::domain::mutant::{self, Mutant};
use crate::domain::store::{Confirmation, Confirmed, Refusal, StoreError};
use crate::remote::error;
use crate::remote::link::{self, Link, NoReply};
use crate::remote::metrics::Outcome;
use crate::remote::node::{Ask, Node, Rode};
use crate::remote::request::{Decimal, Op, Request};

/// How long replicas may take. In one rack they have it in less than a millisecond; one that needs this long is away.
const WAIT_FOR: Duration = Duration::from_millis(50);
/// Nobody reads the marker, and it must not stay.
const MARKER_LIFE: &[u8] = b"60000";
/// Those who wait for one node's replicas at once: as many as may have commands under way there.
const QUEUED: usize = 8_192;
/// At least this long from one attempt to open the lane to the next.
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// What carried a write.
#[derive(Clone)]
pub enum Carrier {
    /// A node's own connection, and a slot that the node owned then.
    Link { node: Arc<Node>, link: Arc<Link>, slot: u16 },
    /// Its lane, and what the replicas said.
    Lane(Confirmed),
}

impl Carrier {
    /// Which server answered, and in which of its lives. One that does not tell its run is another one with each
    /// connection.
    pub fn server(&self) -> Option<u64> {
        match self {
            Self::Lane(_) => None,
            Self::Link { node, link, slot: _ } => Some(match &link.server.run {
                Some(run) => xxh3_64(run.as_bytes()),
                None => xxh3_64(format!("{} {}", node.address, link.number).as_bytes()),
            }),
        }
    }
}

/// One confirmation for everything that these carried and that has been answered.
pub fn confirmation(carriers: impl IntoIterator<Item = Carrier>) -> Confirmation {
    let mut distinct: Vec<(Arc<Node>, Arc<Link>, u16)> = Vec::new();
    for carrier in carriers {
        match carrier {
            Carrier::Lane(Confirmed::Yes) => {}
            Carrier::Lane(Confirmed::Short) => return Confirmation::new(ready(Confirmed::Short)),
            Carrier::Link { node, link, slot } => {
                let is_known = distinct.iter().any(|(_, known, _)| Arc::ptr_eq(known, &link));
                if !is_known && node.shared.replicas > 0 {
                    distinct.push((node, link, slot));
                }
            }
        }
    }
    if distinct.is_empty() || mutant::on(Mutant::M2NoWait) {
        return Confirmation::given();
    }
    Confirmation::new(async move {
        let answers = join_all(distinct.into_iter().map(|(node, link, slot)| ask(node, link, slot))).await;
        if answers.iter().all(|answer| *answer == Confirmed::Yes) { Confirmed::Yes } else { Confirmed::Short }
    })
}

async fn ask(node: Arc<Node>, link: Arc<Link>, slot: u16) -> Confirmed {
    // Whoever waits behind a batch that is under way waits no longer than for one batch.
    let confirmed = match told(&node, link, slot, Request::default(), batch_limit(&node)).await {
        Some(Ok((_, confirmed))) => confirmed,
        Some(Err(_)) | None => Confirmed::Short,
    };
    node.shared.metrics.confirmed(confirmed);
    confirmed
}

/// One request by way of the lane, and whether the replicas have what it wrote. It was not sent where this answers
/// nothing: then it goes the usual way, as it does where there are no replicas.
pub async fn ride(node: &Arc<Node>, op: Op, slot: u16, request: &Request) -> Option<Result<Rode, StoreError>> {
    if node.shared.replicas == 0 || mutant::on(Mutant::M2NoWait) {
        return None;
    }
    let link = node.link().await.ok()?;
    let started = Instant::now();
    let span = tracing::debug_span!("redis", op = op.as_str(), node = %node.address);
    // The batch that is under way, and its own: whoever gave up earlier would not hear what became of its commands.
    let told = told(node, link.clone(), slot, request.clone(), 2 * batch_limit(node));
    let rode = told.instrument(span).await?.map_err(StoreError::from);
    if let Ok((_, confirmed)) = &rode {
        node.shared.metrics.confirmed(*confirmed);
    }
    let refused = |(replies, _): &Rode| replies.iter().find_map(error::refused);
    let outcome = match &rode {
        Ok(rode) => refused(rode).map_or(Outcome::Ok, Outcome::Refused),
        Err(error) => Outcome::from(*error),
    };
    node.ended(&link, op, started, outcome);
    Some(rode)
}

async fn told(
    node: &Arc<Node>,
    link: Arc<Link>,
    slot: u16,
    request: Request,
    longest: Duration,
) -> Option<Result<Rode, NoReply>> {
    let (answer, answered) = oneshot::channel();
    asks(node).try_send(Ask { request, link, slot, answer }).ok()?;
    match tokio::time::timeout(longest, answered).await {
        Ok(answer) => answer.ok(),
        Err(_elapsed) => Some(Err(NoReply::Late)),
    }
}

/// By then a batch is answered, or given up.
fn batch_limit(node: &Node) -> Duration {
    WAIT_FOR + node.shared.deadline
}

/// To the task that serves one node; it begins when it is first needed.
fn asks(node: &Arc<Node>) -> &mpsc::Sender<Ask> {
    node.lane.get_or_init(|| {
        let (asks, inbox) = mpsc::channel(QUEUED);
        let served = node.clone();
        drop(node.shared.tasks.until_end(async move {
            tokio::select! {
                biased;
                () = served.retired.cancelled() => {}
                () = serve(&served, inbox) => {}
            }
        }));
        asks
    })
}

async fn serve(node: &Node, mut asks: mpsc::Receiver<Ask>) {
    let mut lane = Lane { node, link: None, slot: None, opened: 0, next_try: Instant::now() };
    while let Some(first) = asks.recv().await {
        // Whoever asked meanwhile shares the batch. Nobody is waited for: the next batch leaves when this one is answered.
        let mut batch = vec![first];
        while let Ok(ask) = asks.try_recv() {
            batch.push(ask);
        }
        batch.retain(|ask| !ask.answer.is_closed());
        lane.carry(batch).await;
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
    async fn carry(&mut self, mut batch: Vec<Ask>) {
        let Some(first) = batch.first() else { return };
        let slot = self.slot.unwrap_or(first.slot);
        let Some(link) = self.open().await else { return };
        let is_same = |ask: &Ask| link.server.run.is_some() && ask.link.server.run == link.server.run;
        if batch.iter().any(|ask| !is_same(ask) && !ask.link.is_broken()) {
            // The node's own connection found another server at this address: so will the next lane.
            link.break_off();
            return;
        }
        batch.retain(is_same);
        let mut riders = Request::default();
        batch.iter().for_each(|ask| riders.append(&ask.request));
        let (mut replies, reached) = match self.wait(&link, slot, riders).await {
            Ok((replies, reached)) => (replies.into_iter(), reached),
            Err(NoReply::Late) => return batch.into_iter().for_each(|ask| tell(ask, Err(NoReply::Late))),
            Err(NoReply::Broken | NoReply::Shed) => return,
        };
        for ask in batch {
            let own = replies.by_ref().take(ask.request.replies()).collect();
            let confirmed = if reached && !ask.link.is_broken() { Confirmed::Yes } else { Confirmed::Short };
            tell(ask, Ok((own, confirmed)));
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
        let (link, inlet) = Link::new(self.opened, server, batch_limit(self.node), self.node.retired.child_token());
        drop(shared.tasks.until_end(link::drive(wire, inlet)));
        self.link = Some(Arc::new(link));
        self.link.clone()
    }

    /// What the riders were answered, and whether enough replicas have a marker that was written after them. A slot on its
    /// way to another node takes no new keys; its neighbours are most likely here and at rest.
    async fn wait(&mut self, link: &Link, slot: u16, riders: Request) -> Result<(Vec<Value>, bool), NoReply> {
        let (mut request, mut rode) = (riders, None);
        let mut reached = 0;
        for slot in [slot, (slot + 1) % SLOTS, (slot + SLOTS - 1) % SLOTS] {
            request.append(&self.marker(slot));
            let started = Instant::now();
            let replies = self.send(link, std::mem::take(&mut request), started).await;
            let read = replies.as_deref().map_or_else(|why| (StoreError::from(*why).into(), 0), read);
            let outcome;
            (outcome, reached) = read;
            self.node.shared.metrics.request_ended(Op::Wait, outcome, started.elapsed());
            self.slot = (outcome == Outcome::Ok).then_some(slot);
            match replies {
                // Riders go with the first marker; whichever is taken in the end comes after them.
                Ok(replies) => drop(rode.get_or_insert(replies)),
                Err(why) => {
                    // What comes late would be taken for the next one's.
                    link.break_off();
                    // Whoever rode with an earlier marker was answered; only the replicas' word is missing.
                    return rode.map_or(Err(why), |rode| Ok((rode, false)));
                }
            }
            if outcome != Outcome::Refused(Refusal::Moved) {
                break;
            }
            self.node.shared.nudge.notify_one();
        }
        Ok((rode.unwrap_or_default(), reached >= i64::from(self.node.shared.replicas)))
    }

    async fn send(&self, link: &Link, request: Request, now: Instant) -> Result<Vec<Value>, NoReply> {
        let span = tracing::debug_span!("redis", op = Op::Wait.as_str(), node = %self.node.address);
        match link.send(request, now)?.instrument(span).await.unwrap_or(Err(NoReply::Late))? {
            Value::Array(replies) => Ok(replies),
            // There are two commands at least.
            other => Ok(vec![other]),
        }
    }

    /// A marker and a `WAIT`.
    fn marker(&self, slot: u16) -> Request {
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

fn tell(ask: Ask, rode: Result<Rode, NoReply>) {
    // Whoever asked may have gone.
    let _ = ask.answer.send(rode);
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;

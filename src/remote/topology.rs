//! Who owns what, and how it is found out again when it changes.
//!
//! One task refreshes the map; commands only read it, so asking around never delays them. It is woken when a connection
//! breaks, a breaker opens or a server redirects, and looks by itself now and then. It asks over the connections that
//! live, then anybody it ever heard of: in a cluster any node knows the map, so a hung or dead one is found out from the
//! others. While something is wrong it asks again after an eighth of the time that it has been wrong for: quickly while
//! a failover may be seconds away, and slowly through a long outage, which a fleet must not make worse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::domain::key::SLOTS;
use crate::domain::store::{StoreError, StoreState};
use crate::domain::watched::Watched;
use crate::remote::discover::{self, Owner, View};
use crate::remote::metrics::Standing;
use crate::remote::node::{Health, Node, Shared};
use crate::remote::request::{Op, Request};
use crate::remote::{Address, Mode};

/// At least this long from one refresh to the next, however many redirects ask for one.
const REFRESH_GAP: Duration = Duration::from_millis(50);
/// Bounds of the wait while something is wrong.
const TROUBLE_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Live nodes asked one after the other, and strangers asked at once, in one refresh.
const ASKED: usize = 3;
/// A redirect can name a node that owns nothing yet; more of them than this are not believed.
const NODES: usize = 1_024;
/// The slot has no owner.
const NOBODY: u16 = u16::MAX;

pub struct Topology {
    mode: Mode,
    shared: Arc<Shared>,
    map: ArcSwap<Map>,
    /// Held while a map is replaced, never across an await.
    changing: Mutex<()>,
    /// Whether server and sidecar compute the same slots; empty until a server has said.
    agreed: OnceLock<bool>,
    /// The first refresh has ended, well or not.
    looked: Watched<bool>,
}

/// One answer to "who owns what".
struct Map {
    owners: Owners,
    nodes: Vec<Arc<Node>>,
    /// The owners' names for themselves, as far as they have any.
    ids: BTreeMap<String, Address>,
    /// Everybody who was ever named, to ask when nobody else answers.
    known: BTreeSet<Address>,
}

#[derive(Clone)]
enum Owners {
    /// The first node, if there is one.
    One,
    /// Of each slot, an index into the nodes.
    BySlot(Vec<u16>),
}

impl Topology {
    pub fn new(mode: Mode, shared: Arc<Shared>) -> Self {
        let map = match &mode {
            Mode::Standalone { address } => Map {
                owners: Owners::One,
                nodes: vec![Node::start(address.clone(), shared.clone())],
                ids: BTreeMap::new(),
                known: BTreeSet::new(),
            },
            Mode::Sentinel { sentinels, .. } => Map {
                owners: Owners::One,
                nodes: Vec::new(),
                ids: BTreeMap::new(),
                known: sentinels.iter().cloned().collect(),
            },
            Mode::Cluster { seeds } => Map {
                owners: Owners::BySlot(vec![NOBODY; usize::from(SLOTS)]),
                nodes: Vec::new(),
                ids: BTreeMap::new(),
                known: seeds.iter().cloned().collect(),
            },
        };
        Self {
            mode,
            shared,
            map: ArcSwap::from_pointee(map),
            changing: Mutex::new(()),
            agreed: OnceLock::new(),
            looked: Watched::new(false),
        }
    }

    /// Who owns the slot. Only at the very start, before anybody was asked, this waits for a deadline at most.
    pub async fn owner(&self, slot: u16) -> Result<Arc<Node>, StoreError> {
        if !self.looked.look(|looked| *looked) {
            let looked = self.looked.wait_for(|looked| looked.then_some(()));
            let _ = tokio::time::timeout(self.shared.deadline, looked).await;
        }
        self.owner_now(slot).ok_or(StoreError::Unreachable)
    }

    fn owner_now(&self, slot: u16) -> Option<Arc<Node>> {
        self.map.load().owner(slot).cloned()
    }

    /// As people call it.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.map.load().nodes.iter().find(|node| node.address.to_string() == name).cloned()
    }

    /// Everybody who owns slots, and whether that is all slots.
    pub fn owners(&self) -> (Vec<Arc<Node>>, bool) {
        let map = self.map.load();
        let mut owners: Vec<Arc<Node>> = Vec::new();
        for slot in 0..map.slots() {
            if let Some(node) = map.owner(slot).filter(|node| !owners.iter().any(|known| Arc::ptr_eq(known, node))) {
                owners.push(node.clone());
            }
        }
        (owners, map.is_covered())
    }

    /// The node that a redirect names, known or not.
    pub fn named(&self, address: &Address) -> Option<Arc<Node>> {
        let find = |map: &Map| map.nodes.iter().find(|node| node.address == *address).cloned();
        if let Some(node) = find(&self.map.load()) {
            return Some(node);
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let map = self.map.load_full();
        if let Some(node) = find(&map) {
            return Some(node);
        }
        if map.nodes.len() >= NODES {
            return None;
        }
        let node = Node::start(address.clone(), self.shared.clone());
        let mut nodes = map.nodes.clone();
        nodes.push(node.clone());
        self.map.store(Arc::new(Map {
            owners: map.owners.clone(),
            nodes,
            ids: map.ids.clone(),
            known: map.known.clone(),
        }));
        Some(node)
    }

    /// Something is not where it was: look again soon.
    pub fn nudge(&self) {
        self.shared.nudge.notify_one();
    }

    /// The server computes another slot for some key than we do, so nothing may be filled.
    pub fn disagrees(&self) -> bool {
        self.agreed.get() == Some(&false)
    }

    pub fn state(&self) -> StoreState {
        let map = self.map.load();
        let live = map.nodes.iter().filter(|node| node.standing() == Standing::Live).count();
        match live {
            0 => StoreState::Down,
            _ if map.is_well() => StoreState::Up,
            _ => StoreState::Partial,
        }
    }

    pub fn health(&self) -> Vec<Health> {
        let now = Instant::now();
        self.map.load().nodes.iter().map(|node| node.health(now)).collect()
    }

    /// Runs as long as the process.
    pub async fn keep(&self, every: Duration) {
        let mut wrong_since = None;
        loop {
            let started = Instant::now();
            self.refresh().await;
            self.looked.replace(true);
            let wait = if self.is_settled() {
                wrong_since = None;
                every
            } else {
                let wrong_for = wrong_since.get_or_insert(started).elapsed();
                (wrong_for / 8).clamp(TROUBLE_WAIT.0, TROUBLE_WAIT.1)
            };
            // Up to a fifth less, so that a fleet does not ask in step.
            let wait = wait.mul_f64(1.0 - 0.2 * self.shared.random.unit());
            tokio::select! {
                biased;
                () = self.shared.nudge.notified() => {}
                () = tokio::time::sleep(wait) => self.ping().await,
            }
            tokio::time::sleep_until(started + REFRESH_GAP).await;
        }
    }

    fn is_settled(&self) -> bool {
        self.map.load().is_well()
    }

    /// Nobody may have talked to a node for a while: a connection that is dead shows itself only when it is used.
    async fn ping(&self) {
        let map = self.map.load_full();
        let live = map.nodes.iter().filter(|node| node.standing() == Standing::Live);
        join_all(live.map(|node| node.call(Op::Ping, Request::one(&[b"PING"])))).await;
    }

    async fn refresh(&self) {
        let view = match &self.mode {
            Mode::Standalone { .. } => return,
            Mode::Sentinel { sentinels, master, auth } => {
                let sentinels = self.shuffled(sentinels.iter().cloned());
                self.ask_strangers(&sentinels, |address| {
                    discover::from_sentinel(&self.shared, address, master, auth.as_ref())
                })
                .await
            }
            Mode::Cluster { .. } => self.ask_cluster().await,
        };
        match view {
            Some(view) => {
                self.shared.metrics.topology_refreshed();
                self.install(view);
            }
            None => self.shared.metrics.topology_refresh_failed(),
        }
        if matches!(self.mode, Mode::Cluster { .. }) && self.agreed.get().is_none() {
            self.compare_slots().await;
        }
    }

    async fn ask_cluster(&self) -> Option<View> {
        let map = self.map.load_full();
        let live = map.nodes.iter().filter(|node| node.standing() == Standing::Live).cloned();
        for node in self.shuffled(live).iter().take(ASKED) {
            if let Some(view) = discover::from_node(node).await {
                return Some(view);
            }
        }
        let strangers = self.shuffled(map.known.iter().cloned());
        self.ask_strangers(&strangers, |address| discover::from_stranger(&self.shared, address)).await
    }

    /// Asks a few at once, and takes the first good answer.
    async fn ask_strangers<'a, F>(&self, addresses: &'a [Address], ask: impl Fn(&'a Address) -> F) -> Option<View>
    where
        F: Future<Output = Option<View>>,
    {
        let mut asked: FuturesUnordered<F> = addresses.iter().take(ASKED).map(ask).collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// Puts a new map in place. Nodes that stay keep their connections; nodes that own nothing any more are retired.
    fn install(&self, view: View) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.map.load_full();
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let mut place = |owner: &Owner| -> u16 {
            let index = nodes.iter().position(|node| node.address == owner.address).unwrap_or_else(|| {
                nodes.push(old.kept(owner).unwrap_or_else(|| {
                    Node::start_again(owner.address.clone(), self.shared.clone(), old.run_of(owner))
                }));
                nodes.len() - 1
            });
            u16::try_from(index).unwrap_or(NOBODY)
        };
        let owners = match &old.owners {
            Owners::One => {
                view.owners.iter().for_each(|owner| {
                    place(owner);
                });
                Owners::One
            }
            Owners::BySlot(_) => {
                let mut owners = vec![NOBODY; usize::from(SLOTS)];
                for owner in view.owners.iter().take(usize::from(SLOTS)) {
                    let index = place(owner);
                    let (first, last) = (owner.first.min(SLOTS - 1), owner.last.min(SLOTS - 1));
                    if first <= last {
                        owners[usize::from(first)..=usize::from(last)].fill(index);
                    }
                }
                Owners::BySlot(owners)
            }
        };
        for gone in old.nodes.iter().filter(|old| !nodes.iter().any(|node| Arc::ptr_eq(node, old))) {
            gone.retire();
        }
        let mut known = view.known;
        known.extend(self.seeds());
        let ids = view.owners.into_iter().filter_map(|owner| Some((owner.id?, owner.address))).collect();
        let map = Arc::new(Map { owners, nodes, ids, known });
        self.map.store(map.clone());
        self.shared.upheavals.moved(&old.moved(&map));
    }

    /// Ten keys whose slots the server is asked for, braces and all: if it disagrees, siblings would be misplaced.
    async fn compare_slots(&self) {
        let Some(node) = self.map.load().nodes.first().cloned() else { return };
        let Some(agrees) = discover::agrees_on_slots(&node).await else { return };
        if !agrees {
            tracing::error!(node = %node.address, "the server computes other hash slots than Hydrant; fills are refused");
        }
        let _ = self.agreed.set(agrees);
    }

    fn seeds(&self) -> impl Iterator<Item = Address> {
        match &self.mode {
            Mode::Standalone { .. } => [].iter(),
            Mode::Sentinel { sentinels, .. } => sentinels.iter(),
            Mode::Cluster { seeds } => seeds.iter(),
        }
        .cloned()
    }

    fn shuffled<T>(&self, items: impl Iterator<Item = T>) -> Vec<T> {
        let mut items: Vec<T> = items.collect();
        for last in (1..items.len()).rev() {
            items.swap(last, (self.shared.random.unit() * (last + 1) as f64) as usize);
        }
        items
    }
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let index = match &self.owners {
            Owners::One => 0,
            Owners::BySlot(owners) => usize::from(owners[usize::from(slot)]),
        };
        self.nodes.get(index)
    }

    /// How many of them have to be looked at to see every owner.
    fn slots(&self) -> u16 {
        match &self.owners {
            Owners::One => 1,
            Owners::BySlot(_) => SLOTS,
        }
    }

    fn is_covered(&self) -> bool {
        (0..self.slots()).all(|slot| self.owner(slot).is_some())
    }

    fn kept(&self, owner: &Owner) -> Option<Arc<Node>> {
        self.nodes.iter().find(|node| node.address == owner.address).cloned()
    }

    /// In which run a server was met that has come back at another address.
    fn run_of(&self, owner: &Owner) -> Option<String> {
        let before = self.ids.get(owner.id.as_ref()?)?;
        self.nodes.iter().find(|node| node.address == *before)?.run()
    }

    /// The slots that another node owns in the next map. Those that nobody owned for a while count, since nobody knows what
    /// happened to them; the first map of all moves nothing.
    fn moved(&self, next: &Self) -> Vec<u16> {
        if (0..self.slots()).all(|slot| self.owner(slot).is_none()) {
            return Vec::new();
        }
        let moved = |slot: &u16| match (self.owner(*slot), next.owner(*slot)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
        };
        (0..SLOTS).filter(moved).collect()
    }

    /// Every slot has an owner, and every owner answers.
    fn is_well(&self) -> bool {
        self.is_covered() && self.nodes.iter().all(|node| node.standing() == Standing::Live)
    }
}

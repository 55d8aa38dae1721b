//! One run: what its tasks share, and how a value that was read is judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Example, Ledger, Verdict};
use crate::net::SIDECARS;
use crate::sidecar::Sidecar;
use crate::truth::{Entity, Found, State, Truth};

pub struct Run {
    pub truth: Arc<Truth>,
    pub ledger: Ledger,
    pub sidecars: Arc<Vec<Sidecar>>,
    pub way: Way,
    pub leeway: Leeway,
    pub until: Until,
    pub stop: CancellationToken,
    /// Milliseconds since the truth began, when a primary last came back with its old disk.
    pub restarted_ms: AtomicU64,
    /// Members that a reader missed, for somebody to have them filled.
    pub missed: mpsc::Sender<(Entity, usize)>,
    /// How many invalidations each sidecar is at.
    pub busy: [AtomicUsize; SIDECARS],
    pub seeds: Vec<String>,
    pub seed: u64,
}

/// Who removes what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `Invalidate`, at a sidecar chosen at random.
    Hydrant,
    /// An application by itself: `DEL key guard`. It waits for no replica, so failovers are not covered.
    App,
}

/// When a run has seen enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    TimeIsOver,
    /// With a mutant: one violation is what was looked for.
    SomethingIsFound,
}

/// What a fault leaves outside of the promise, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leeway {
    /// Indexes of aliases and tags may be lost (FLUSHALL, eviction of any key): alias keys then live to the end of their TTL.
    pub index_lost: bool,
    /// A primary came back with its old disk: it is swept within this time.
    pub swept_within: Option<Duration>,
    /// The application's way waits for no replica.
    pub unreplicated: bool,
    /// How much longer than a sweep's interval a stale value of an application's may live: the sidecar that was to sweep
    /// it may be gone, and another has to take over.
    pub sweep_late: Duration,
}

/// Of a conditional sweep, at 50 ms, 500 ms and 2 s after the invalidation.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(1_500);
/// What a busy machine adds.
const SLACK: Duration = Duration::from_millis(500);
/// What the configuration declares of the notes' source.
pub const DECLARED_LAG: Duration = Duration::from_secs(2);

impl Run {
    pub fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Nothing more needs to be seen.
    pub fn has_seen_enough(&self) -> bool {
        self.until == Until::SomethingIsFound && self.ledger.has_violations()
    }

    /// A primary is about to come back with its old disk.
    pub fn restarted_now(&self) {
        self.restarted_ms.store(self.truth.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// An ordinary client, as an application has it: of the primaries alone, following redirects.
    pub async fn ordinary_client(&self) -> ClusterConnection {
        loop {
            let client = ClusterClient::builder(self.seeds.iter().map(String::as_str))
                .connection_timeout(Duration::from_millis(500))
                .response_timeout(Duration::from_millis(500))
                .retries(3)
                .min_retry_wait(20)
                .max_retry_wait(200)
                .build();
            if let Ok(connection) = client.expect("addresses").get_async_connection().await {
                return connection;
            }
        }
    }

    /// Judges what was read at a key after `acked` had been acknowledged.
    pub fn judge(&self, read: Read<'_>) {
        if !read.found.is_older_than(read.acked) {
            return;
        }
        let age = self.truth.age(read.entity, read.id, &read.found);
        // What an application wrote late is as old as its write.
        let age = read.app_wrote.map_or(age, |written| age.min(written.elapsed()));
        let (verdict, why) = match self.open_because(&read, age) {
            Some(why) => (Verdict::Open, why),
            None if read.app_wrote.is_some() => {
                (Verdict::Violation, "written by an application, and not swept in time")
            }
            None => (Verdict::Violation, "read after it was acknowledged to be gone"),
        };
        let mut example = Example::new(read.entity, read.key, &read.found, read.value, read.acked);
        example.age_ms = age.as_millis() as u64;
        example.at_ms = self.truth.started.elapsed().as_millis() as u64;
        self.ledger.found_stale(verdict, why, example);
    }

    /// Why this old value breaks no promise.
    fn open_because(&self, read: &Read<'_>, age: Duration) -> Option<&'static str> {
        let (leeway, is_alias) = (&self.leeway, read.key != read.entity.key(read.id));
        let restarted = Duration::from_millis(self.restarted_ms.load(Ordering::Relaxed));
        let since_restart = self.truth.started.elapsed().saturating_sub(restarted);
        let is_swept = leeway.swept_within.is_none_or(|bound| restarted.is_zero() || since_restart >= bound);
        // By themselves applications wait for no replica, sweep nothing, and tell nobody to distrust a source.
        let alone = self.way == Way::App;
        if !is_swept {
            Some("its primary came back from disk a moment ago, and is to be swept")
        } else if leeway.unreplicated {
            Some("the application waited for no replica")
        } else if is_alias && leeway.index_lost {
            Some("the index of aliases may be lost, so that they live to the end of their TTL")
        } else if read.app_wrote.is_some() && (alone || age < SWEEP_INTERVAL + SLACK + leeway.sweep_late) {
            Some("an application wrote it, and it is to be swept")
        } else if read.entity == Entity::Note && (alone || age < DECLARED_LAG + SLACK) {
            Some("its source lags, as declared")
        } else {
            None
        }
    }
}

/// One value that was found.
pub struct Read<'a> {
    pub entity: Entity,
    pub id: usize,
    pub key: &'a str,
    pub value: &'a [u8],
    pub found: Found,
    /// As it stood before the read was sent.
    pub acked: State,
    /// When an application wrote the value, where one did.
    pub app_wrote: Option<Instant>,
}

//! What is done to the cluster, its network, the sidecars and the source while everybody works.
//!
//! A fault strikes, lasts, and is taken back; then the cluster is made well and it strikes again, until the run's time
//! is over. Which node it strikes is drawn from the seed.

mod network;
mod servers;
mod sidecars;

use std::time::Duration;

use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::node::NODE_TIMEOUT;
use crate::run::{Leeway, Run, Way};
use crate::stage::{CLAIM_LIFE, Stage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    KillPrimary,
    CutThenKill,
    Minority,
    OneWay,
    RedisAway,
    Failover,
    Migrate,
    RestartInPlace,
    DebugSleep,
    StopSidecar,
    KillSidecar,
    FlushAll,
    FunctionFlush,
    Evict(&'static str),
    SlowSource,
    FailingSource,
    LaggingSource,
    ClientKill,
}

/// Every eviction policy that Redis has.
const POLICIES: [&str; 8] = [
    "noeviction",
    "volatile-ttl",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
];

/// From one strike to the next: time for values to be cached again and for invalidations that are not disturbed.
pub const BETWEEN: Duration = Duration::from_secs(2);

impl Fault {
    pub fn all() -> Vec<Self> {
        use Fault::*;
        let mut all = vec![None, KillPrimary, CutThenKill, Minority, OneWay, RedisAway, Failover, Migrate];
        all.extend([RestartInPlace, DebugSleep, StopSidecar, KillSidecar, FlushAll, FunctionFlush]);
        all.extend(POLICIES.map(Evict));
        all.extend([SlowSource, FailingSource, LaggingSource, ClientKill]);
        all
    }

    /// The five that CI has time for: each kind of loss once.
    pub fn for_ci() -> Vec<Self> {
        vec![Self::CutThenKill, Self::Minority, Self::Failover, Self::Migrate, Self::KillSidecar]
    }

    pub fn name(self) -> String {
        let name = match self {
            Self::None => "none",
            Self::KillPrimary => "kill-primary",
            Self::CutThenKill => "cut-then-kill",
            Self::Minority => "minority",
            Self::OneWay => "one-way",
            Self::RedisAway => "redis-away",
            Self::Failover => "failover",
            Self::Migrate => "migrate",
            Self::RestartInPlace => "restart-in-place",
            Self::DebugSleep => "debug-sleep",
            Self::StopSidecar => "stop-sidecar",
            Self::KillSidecar => "kill-sidecar",
            Self::FlushAll => "flushall",
            Self::FunctionFlush => "function-flush",
            Self::Evict(policy) => return format!("evict-{policy}"),
            Self::SlowSource => "slow-source",
            Self::FailingSource => "failing-source",
            Self::LaggingSource => "lagging-source",
            Self::ClientKill => "client-kill",
        };
        name.to_owned()
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|fault| fault.name() == name)
    }

    pub fn needs_namespaces(self) -> bool {
        matches!(self, Self::CutThenKill | Self::Minority | Self::OneWay | Self::RedisAway)
    }

    pub fn leeway(self, way: Way) -> Leeway {
        let fails_over = matches!(
            self,
            Self::KillPrimary
                | Self::CutThenKill
                | Self::Minority
                | Self::OneWay
                | Self::Failover
                | Self::RestartInPlace
        );
        let takes_over = fails_over || matches!(self, Self::StopSidecar | Self::KillSidecar | Self::DebugSleep);
        Leeway {
            index_lost: self == Self::FlushAll || matches!(self, Self::Evict(policy) if policy.starts_with("allkeys")),
            // Two passes, a claim's life apart, and the time to notice.
            swept_within: (self == Self::RestartInPlace).then_some(CLAIM_LIFE * 2 + Duration::from_secs(4)),
            unreplicated: way == Way::App && fails_over,
            sweep_late: match self {
                // Nobody can sweep what nobody reaches, and it may be away twice in a row.
                Self::RedisAway => NODE_TIMEOUT * 8,
                _ if takes_over => Duration::from_secs(8),
                _ => Duration::ZERO,
            },
        }
    }

    /// Once: strikes, lasts, is taken back.
    pub async fn strike(self, stage: &Stage, run: &Run, random: &mut StdRng) {
        match self {
            // tidy: waits because nothing is to happen
            Self::None => sleep(BETWEEN).await,
            Self::KillPrimary => servers::kill_primary(stage, random).await,
            Self::CutThenKill => network::cut_then_kill(stage, random).await,
            Self::Minority => network::minority(stage, random).await,
            Self::OneWay => network::one_way(stage, random).await,
            Self::RedisAway => network::redis_away(stage).await,
            Self::Failover => servers::fail_over(stage, random).await,
            Self::Migrate => servers::migrate(stage, random).await,
            Self::RestartInPlace => servers::restart_in_place(stage, run, random).await,
            Self::DebugSleep => servers::debug_sleep(stage, random).await,
            Self::StopSidecar => sidecars::stop_between_claim_and_commit(stage, random).await,
            Self::KillSidecar => sidecars::kill(stage, run, random).await,
            Self::FlushAll => servers::on_a_primary(stage, random, &["FLUSHALL"]).await,
            Self::FunctionFlush => servers::on_a_primary(stage, random, &["FUNCTION", "FLUSH"]).await,
            Self::Evict(policy) => servers::evict(stage, policy).await,
            Self::SlowSource => stage.origin.be_slow(600),
            Self::FailingSource => stage.origin.fail(40),
            Self::LaggingSource => stage.origin.lag(crate::origin::NOTES_LAG),
            Self::ClientKill => servers::on_a_primary(stage, random, &["CLIENT", "KILL", "TYPE", "normal"]).await,
        }
        if matches!(self, Self::SlowSource | Self::FailingSource | Self::LaggingSource) {
            // tidy: waits because a source is ill for a while
            sleep(BETWEEN * 2).await;
        }
        stage.origin.be_well();
    }
}

//! How something is invalidated: by a call to a sidecar, in the ways that the contract has, or by an application's own
//! `DEL key guard`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant::domain::key::{Key, Sibling};
use hydrant::grpc::pb;
use hydrant::grpc::pb::invalidate_target::Target;
use rand::Rng;
use rand::rngs::StdRng;
use redis::cluster_async::ClusterConnection;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::fills::{member, subject};
use crate::run::{Run, Way};
use crate::truth::{Entity, State, alias_keys, email, phone, shop};

/// One invalidation, and what it promises once it is done.
#[derive(Clone, Debug)]
pub struct Asked {
    pub promised: Vec<(Entity, usize, State)>,
    target: Target,
    mode: pb::InvalidateMode,
    /// For an application that does it by itself.
    keys: Vec<String>,
}

pub enum Told {
    Done,
    Pending { job: String, durability: &'static str, cause: &'static str },
    Failed(String),
}

/// With whose hands.
pub enum By {
    Hydrant,
    App(Box<ClusterConnection>),
}

/// A little more than a call has by itself: three sidecars, six servers and their readers share the machine.
const DEADLINE: Duration = Duration::from_millis(400);
/// Of the baskets' invalidations.
const SWEPT_PERCENT: u32 = 2;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

impl By {
    pub async fn new(run: &Run) -> Self {
        match run.way {
            Way::Hydrant => Self::Hydrant,
            Way::App => Self::App(Box::new(run.ordinary_client().await)),
        }
    }
}

impl Asked {
    /// One of the ways to have this change known.
    pub fn draw(run: &Run, entity: Entity, id: usize, old: State, new: State, random: &mut StdRng) -> Self {
        let mut promised = vec![(entity, id, new)];
        // All that are found with this one, as they are now; an application would not know their keys.
        let mut and_all = |is_found: &dyn Fn(usize) -> bool| {
            let known = if run.way == Way::Hydrant { run.truth.members() } else { 0 };
            let others = (0..known).filter(|other| is_found(*other) && *other != id);
            promised.extend(others.map(|other| (entity, other, run.truth.now(entity, other))));
        };
        let (way, mut mode) = (random.random_range(0..100_u32), pb::InvalidateMode::Remove);
        let target = match (entity, way) {
            // Rarely: Redis is scanned for it, twice.
            (Entity::Basket, _) if way < SWEPT_PERCENT => {
                let start = id.to_string();
                and_all(&|other| other.to_string().starts_with(&start));
                Target::Pattern(pb::PatternTarget { pattern: format!("{}*", entity.key(id)) })
            }
            (Entity::User, 0..60) => {
                mode = if way < 5 { pb::InvalidateMode::Refresh } else { mode };
                member_target(entity, id, Vec::new())
            }
            (Entity::User, 60..80) => member_target(entity, id, known_aliases(id, old, new)),
            (Entity::User, 80..90) => Target::Keys(pb::KeysTarget { keys: vec![entity.key(id)] }),
            // What is found by a tag needs the tag's index.
            (Entity::User, _) if run.leeway.index_lost => member_target(entity, id, known_aliases(id, old, new)),
            (Entity::User, _) => {
                and_all(&|other| shop(other) == shop(id));
                Target::Tag(pb::TagTarget { tag: format!("shop:{}", shop(id)) })
            }
            (Entity::Basket, 0..70) => {
                let who = Some(pb::subject_target::Who::Subject(subject(id)));
                Target::Subject(pb::SubjectTarget { who, forget: false })
            }
            (Entity::Basket | Entity::Price | Entity::Note, _) => member_target(entity, id, Vec::new()),
        };
        let aliases = [old, new].into_iter().flat_map(|state| alias_keys(id, state.epoch));
        let aliases = aliases.filter(|_| entity == Entity::User);
        Self { promised, target, mode, keys: std::iter::once(entity.key(id)).chain(aliases).collect() }
    }
}

fn member_target(entity: Entity, id: usize, known_aliases: Vec<pb::AliasValue>) -> Target {
    let member = Some(member(entity, id));
    Target::Member(pb::MemberTarget { member, known_aliases, ..Default::default() })
}

fn known_aliases(id: usize, old: State, new: State) -> Vec<pb::AliasValue> {
    let value = |alias: &str, params: &[(&str, String)]| pb::AliasValue {
        alias: alias.to_owned(),
        params: params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let of = |state: State| {
        let phone = [("shop", shop(id)), ("phone", phone(id, state.epoch))];
        [value("email", &[("email", email(id, state.epoch))]), value("phone", &phone)]
    };
    [old, new].into_iter().flat_map(of).collect()
}

pub async fn invalidate(run: &Run, by: &mut By, sidecar: usize, asked: &Asked) -> Told {
    let connection = match by {
        By::Hydrant => return call(run, sidecar, asked).await,
        By::App(connection) => connection,
    };
    for name in &asked.keys {
        let guard = Key::new(name.clone()).expect("a good key").sibling(Sibling::Guard);
        let deleted: Result<(), _> = redis::cmd("DEL").arg(name).arg(guard).query_async(&mut **connection).await;
        if let Err(error) = deleted {
            return Told::Failed(error.code().unwrap_or("no answer").to_owned());
        }
    }
    Told::Done
}

async fn call(run: &Run, sidecar: usize, asked: &Asked) -> Told {
    let mut request = Request::new(pb::InvalidateRequest {
        targets: vec![pb::InvalidateTarget { target: Some(asked.target.clone()) }],
        mode: asked.mode.into(),
        dry_run: false,
        reason: "consistency".to_owned(),
    });
    request.set_timeout(DEADLINE);
    run.busy[sidecar].fetch_add(1, Ordering::Relaxed);
    let answer = timeout(DEADLINE * 3, run.sidecars[sidecar].client().invalidate(request)).await;
    run.busy[sidecar].fetch_sub(1, Ordering::Relaxed);
    match answer {
        Ok(Ok(response)) => told(response.into_inner()),
        Ok(Err(status)) => Told::Failed(reason(&status)),
        Err(_) => Told::Failed("unanswered".to_owned()),
    }
}

fn told(response: pb::InvalidateResponse) -> Told {
    match response.state {
        Some(pb::invalidate_response::State::Done(_)) => Told::Done,
        Some(pb::invalidate_response::State::Pending(pending)) => {
            let strip = |name: &'static str, prefix| name.strip_prefix(prefix).unwrap_or(name);
            Told::Pending {
                durability: strip(pending.durability().as_str_name(), "DURABILITY_"),
                cause: strip(pending.cause().as_str_name(), "PENDING_CAUSE_"),
                job: pending.job_id,
            }
        }
        Some(pb::invalidate_response::State::Preview(_)) | None => Told::Failed("neither done nor pending".to_owned()),
    }
}

/// The code, the stable reason and the fields to blame: few enough to be counted apart.
pub fn reason(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let blamed = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let blamed: Vec<String> =
        blamed.into_iter().take(1).map(|one| format!(" {}: {}", one.field, one.description)).collect();
    format!("{:?} {reason}{}", status.code(), blamed.concat())
}

/// Asks one sidecar after another until the job is done; answers whether it was.
pub async fn follow(run: &Run, job: &str, longest: Duration) -> bool {
    let end = Instant::now() + longest;
    for look in 0_usize.. {
        let ask = Request::new(pb::GetJobRequest { job_id: job.to_owned() });
        let mut client = run.sidecars[look % run.sidecars.len()].client();
        if let Ok(Ok(answer)) = timeout(Duration::from_secs(1), client.get_job(ask)).await
            && answer.into_inner().job.is_some_and(|job| job.state() == pb::JobState::Succeeded)
        {
            return true;
        }
        if Instant::now() > end {
            break;
        }
        // tidy: waits because it looks again and again, with a bound
        sleep(BETWEEN_LOOKS).await;
    }
    false
}

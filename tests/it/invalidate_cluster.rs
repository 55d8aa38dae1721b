//! Invalidation over a real cluster with replicas: every target and mode, and nodes that go away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hydrant::domain::declared_version::DeclaredVersion;
use hydrant::domain::entity::{Alias, AliasValue, Credential, Draft, Load, Writers};
use hydrant::domain::outcome::Outcome;
use hydrant::domain::projection::paths::Place as At;
use hydrant::domain::random::Random;
use hydrant::domain::subject::Subject;
use hydrant::domain::template::{Params, Template};
use hydrant::invalidate::jobs::{Job, JobState};
use hydrant::invalidate::request::{
    Answer, Cause, Durability, History, KnownAlias, MemberTarget, Mode, NewValue, State, Stated, Target,
};
use hydrant::remote::journal::RemoteJournal;
use hydrant::remote::{self, Config};
use tokio::time::Instant;

use crate::invalidate_world::{Place, Sidecar, member, params, request};
use crate::support::catalog::{draft, name, subject_draft};
use crate::support::redis::RedisCluster;
use crate::support::store::{Rig, config};
use crate::support::wait::until;

/// A sidecar of its own group, and the entity that its test works with.
struct World {
    cluster: Arc<RedisCluster>,
    sidecar: Sidecar,
    rig: Rig,
    name: String,
}

impl World {
    async fn on(cluster: &Arc<RedisCluster>, name: &str, seed: u64, change: impl FnOnce(Draft) -> Draft) -> Self {
        let mode = remote::Mode::Cluster { seeds: cluster.seeds() };
        let rig = Rig::up(Config { replicas: 1, group: name.to_owned(), ..config(mode) }).await;
        let journal = RemoteJournal::new(rig.store.clone(), Random::from_seed(seed)).expect("a good group");
        let place = Place { store: rig.store.clone(), removal: rig.store.clone(), journal: Arc::new(journal) };
        let sidecar = Sidecar::at(place, name, seed, vec![change(with_email(name))], None);
        Self { cluster: cluster.clone(), sidecar, rig, name: name.to_owned() }
    }

    /// With time enough for a busy machine.
    async fn call(&self, mode: Mode, target: Target) -> Answer {
        let mut request = request(mode, vec![target]);
        request.until = Instant::now() + Duration::from_secs(10);
        self.sidecar.invalidate.run(request).await.expect("promised")
    }

    /// A replica of a busy machine may be late; then the job is followed to its end.
    async fn carried_out(&self, mode: Mode, target: Target) -> Answer {
        let answer = self.call(mode, target).await;
        if let State::Pending { job, .. } = &answer.state {
            self.followed(job.as_str()).await;
        }
        answer
    }

    async fn followed(&self, job: &str) -> Job {
        let states = self.sidecar.invalidate.watch(job).await.expect("known");
        let last = states.collect::<Vec<_>>().await.pop().expect("a last state").expect("no error");
        assert_eq!(last.state, JobState::Succeeded);
        last
    }

    async fn fill(&self, id: &str, body: &'static str) {
        // A replica that is late gives the alias up; the next fill brings it.
        assert_eq!(self.sidecar.fill(&self.name, id, body).await, Outcome::Filled);
    }

    fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.name)
    }

    fn get(&self, rest: &str) -> Option<String> {
        self.cluster.get(&self.key(rest))
    }

    /// As an app would.
    fn put(&self, rest: &str, value: &str) {
        let key = self.key(rest);
        self.cluster.nodes[self.cluster.owner(&key)].command(&["SET", &key, value, "EX", "60"]);
    }

    fn member(&self, id: &str) -> MemberTarget {
        member(&self.name, id)
    }

    async fn journal_is_empty(&self) {
        until("an empty journal", async || {
            let journal = RemoteJournal::new(self.rig.store.clone(), Random::from_seed(1)).expect("a good group");
            let lengths = hydrant::domain::journal::Journal::backlog(&journal).await;
            lengths.into_iter().all(|length| length == Ok(0))
        })
        .await;
    }
}

/// `<entity>:{id}`, and `<entity>:email:{email}` that leads to it.
fn with_email(entity: &str) -> Draft {
    let key = Template::for_key(&format!("{entity}:email:{{email}}")).expect("a good template");
    let email = Alias { name: name("email"), key, value: AliasValue::Id, from: None };
    Draft { aliases: vec![email], ..draft(entity) }
}

const BODY: &str = r#"{"id":"7","email":"a@b.c","rev":3}"#;

#[tokio::test]
async fn a_member_goes_whatever_it_is_named_by() {
    let cluster = RedisCluster::shared().await;
    let world = World::on(&cluster, "invmember", 1, |draft| draft).await;
    let known = KnownAlias { alias: "email".to_owned(), params: params(&[("email", "old@b.c")]) };
    let by_id = MemberTarget { known_aliases: vec![known], ..world.member("7") };
    let alias = Some("email".to_owned());
    let by_email = MemberTarget { alias, params: params(&[("email", "a@b.c")]), ..world.member("7") };
    let names = |rest: &[&str]| Target::Keys(rest.iter().map(|rest| world.key(rest)).collect());
    for target in [Target::Member(by_id), Target::Member(by_email), names(&["7"]), names(&["email:a@b.c"])] {
        world.put("email:old@b.c", "7");
        world.put("email:a@b.c", "7");
        world.fill("7", BODY).await;
        let answer = world.carried_out(Mode::Remove, target.clone()).await;
        assert!(answer.counts.removed >= 2, "{:?}", answer.counts);
        assert_eq!((world.get("7"), world.get("email:a@b.c")), (None, None), "{target:?}");
    }
    assert!(world.get("email:old@b.c").is_some(), "which only the first of them named");
    world.journal_is_empty().await;
}

#[tokio::test]
async fn a_tag_and_a_logout_take_what_was_filled_under_them() {
    let cluster = RedisCluster::shared().await;
    let tags = |draft| Draft { tags: vec![Template::parse("colour:{id}").expect("a good template")], ..draft };
    let tagged = World::on(&cluster, "invtag", 2, tags).await;
    tagged.fill("7", BODY).await;
    tagged.carried_out(Mode::Remove, Target::Tag("colour:7".to_owned())).await;
    assert_eq!((tagged.get("7"), tagged.get("email:a@b.c")), (None, None));

    // A key that does not follow from the subject alone is found through its tag.
    let own = |_| {
        let own = subject_draft("invlogout");
        let load = own.load.clone().map(|load| Load { credential: Credential::Service, ..load });
        let key = Template::for_key("invlogout:{id}:{part}").expect("a good template");
        let bind = [("id".to_owned(), hydrant::domain::subject::Fact::User)].into();
        Draft { key, bind, load, ..own }
    };
    let world = World::on(&cluster, "invlogout", 3, own).await;
    world.sidecar.source.found("/invlogout/7", "1");
    let settings = world.sidecar.live.get();
    let pairs = params(&[("id", "7"), ("part", "cart")]);
    let of_subject = settings.catalog.member("invlogout", pairs).expect("a member");
    assert_eq!(world.sidecar.fill_member(of_subject).await, Outcome::Filled);
    assert!(world.get("7:cart").is_some());
    let subject = Subject::new("7".to_owned(), None, None, Params::default()).expect("a subject");
    world.carried_out(Mode::Remove, Target::Subject { subject, history: History::Forget }).await;
    assert_eq!(world.get("7:cart"), None);
}

#[tokio::test]
async fn replacing_refreshing_and_softening_end_with_the_new_value() {
    let cluster = RedisCluster::shared().await;
    let version = || Some(DeclaredVersion::Number(At::field("rev")));
    let soft = Some(Duration::from_secs(30));
    let world = World::on(&cluster, "invmode", 4, |draft| Draft { version: version(), soft, ..draft }).await;
    world.fill("7", BODY).await;
    let replace = |value: &'static str, version| {
        let value = NewValue { value: value.into(), version: Some(Stated::Number(version)) };
        Target::Member(MemberTarget { replacement: Some(value), ..world.member("7") })
    };
    let answer = world.carried_out(Mode::Replace, replace(r#"{"id":"7","rev":4}"#, 4)).await;
    assert_eq!(answer.counts.superseded, 0);
    assert_eq!(world.get("7").as_deref(), Some(r#"{"id":"7","rev":4}"#));
    assert_eq!(world.get("email:a@b.c"), None, "every other copy is dropped");
    world.carried_out(Mode::Replace, replace(r#"{"id":"7","rev":2}"#, 2)).await;
    assert_eq!(world.get("7"), None, "older than what is known");

    world.fill("7", r#"{"id":"7","email":"a@b.c","rev":5}"#).await;
    for (mode, body) in [
        (Mode::Refresh, r#"{"id":"7","email":"a@b.c","rev":6}"#),
        (Mode::Soft, r#"{"id":"7","email":"a@b.c","rev":7}"#),
    ] {
        world.sidecar.source.found("/invmode/7", body);
        world.carried_out(mode, Target::Member(world.member("7"))).await;
        until("the new value", async || world.get("7").as_deref() == Some(body)).await;
    }
}

#[tokio::test]
async fn a_pattern_is_swept_by_a_job() {
    let cluster = RedisCluster::shared().await;
    let world = World::on(&cluster, "invsweep", 5, |draft| draft).await;
    for id in ["1", "2", "3"] {
        world.put(id, "old");
    }
    world.put("email:a@b.c", "1");
    let answer = world.call(Mode::Remove, Target::Pattern(world.key("email:*"))).await;
    let State::Pending { job, durability, cause } = answer.state else { panic!("{:?}", answer.state) };
    assert_eq!((durability, cause), (Durability::Fleet, Cause::Sweep));
    let last = world.followed(job.as_str()).await;
    assert!(last.counts.removed >= 1, "{last:?}");
    assert_eq!(world.get("email:a@b.c"), None);
    assert!(world.get("2").is_some());
}

#[tokio::test]
async fn what_apps_write_back_goes_and_what_a_fill_wrote_stays() {
    let cluster = RedisCluster::shared().await;
    let world = World::on(&cluster, "invshared", 6, |draft| Draft { writers: Writers::Shared, ..draft }).await;
    world.carried_out(Mode::Remove, Target::Member(world.member("7"))).await;
    world.carried_out(Mode::Remove, Target::Member(world.member("8"))).await;
    world.put("7", "old");
    world.fill("8", BODY).await;
    until("the weed gone", async || world.get("7").is_none()).await;
    world.journal_is_empty().await;
    assert_eq!(world.get("8").as_deref(), Some(BODY));
}

#[tokio::test]
async fn a_primary_that_dies_leaves_a_job_which_the_failover_ends() {
    let cluster = Arc::new(RedisCluster::start().await);
    let dead = 0;
    let key = cluster.key_of(dead, "invdead:");
    let id: &str = key.strip_prefix("invdead:").expect("its beginning");
    let World { cluster: shared, sidecar, rig: _rig, name: entity } =
        World::on(&cluster, "invdead", 7, |draft| draft).await;
    shared.nodes[dead].command(&["SET", &key, "old", "EX", "60"]);
    drop(shared);
    let mut cluster = Arc::into_inner(cluster).expect("nobody else has it");
    cluster.nodes[dead].kill();
    let mut pending = None;
    // Until a part of the journal on a node that lives, with its replica, has been found.
    until("a promise", async || {
        let mut request = request(Mode::Remove, vec![Target::Member(member(&entity, id))]);
        request.until = Instant::now() + Duration::from_secs(2);
        match sidecar.invalidate.run(request).await {
            Ok(Answer { state: State::Pending { job, durability: Durability::Fleet, .. }, .. }) => {
                pending = Some(job);
                true
            }
            Ok(answer) => panic!("the primary is dead: {:?}", answer.state),
            Err(_unavailable) => false,
        }
    })
    .await;
    let job = pending.expect("a job");
    let states = sidecar.invalidate.watch(job.as_str()).await.expect("known");
    let before = Instant::now();
    // Its replica takes over and has the key; that it is gone is confirmed only when the other is back as a replica.
    cluster.nodes[dead].restart().await;
    let last = states.collect::<Vec<_>>().await.pop().expect("a last state").expect("no error");
    assert_eq!(last.state, JobState::Succeeded, "after {:?}", before.elapsed());
    for node in [dead, dead + 3] {
        let stands: redis::RedisResult<Option<String>> =
            cluster.nodes[node].try_command(&["GET", &key]).and_then(|value| Ok(redis::from_redis_value(value)?));
        assert!(!matches!(stands, Ok(Some(_))), "the value is gone");
    }
}

#[tokio::test]
async fn what_a_sidecar_leaves_behind_another_takes_over() {
    let cluster = Arc::new(RedisCluster::start().await);
    let (replica, first) = (3, World::on(&cluster, "invleft", 8, |draft| draft).await);
    let key = cluster.key_of(0, "invleft:");
    let id = key.strip_prefix("invleft:").expect("its beginning").to_owned();
    first.put(&id, "old");
    cluster.nodes[replica].hang();
    let mut job = None;
    until("a promise", async || {
        let mut request = request(Mode::Remove, vec![Target::Member(first.member(&id))]);
        request.until = Instant::now() + Duration::from_secs(2);
        match first.sidecar.invalidate.run(request).await.map(|answer| answer.state) {
            Ok(State::Pending { job: named, durability: Durability::Fleet, .. }) => {
                job = Some(named);
                true
            }
            Ok(state) => panic!("a replica is missing: {state:?}"),
            Err(_unavailable) => false,
        }
    })
    .await;
    first.sidecar.tasks.drain(Duration::from_millis(100)).await;
    let second = World::on(&cluster, "invleft", 9, |draft| draft).await;
    second.sidecar.invalidate.start().await.expect("no spool");
    cluster.nodes[replica].resume();
    let job = job.expect("a job");
    until("its end, which any sidecar can tell", async || {
        let asked = second.sidecar.invalidate.job(job.as_str()).await;
        asked.is_ok_and(|job| job.state == JobState::Succeeded)
    })
    .await;
    second.journal_is_empty().await;
    assert!(second.sidecar.metric("hydrant_invalidate_taken_over_total") >= 1);
}

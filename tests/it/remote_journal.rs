//! The journal over real servers: what is written stays until it is taken off, whatever becomes of its writer.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use hydrant::domain::journal::{Hold, JobId, Journal, Note, Standing};
use hydrant::domain::random::Random;
use hydrant::domain::store::{Confirmed, StoreError};
use hydrant::remote::journal::RemoteJournal;
use hydrant::remote::{Config, Mode};

use crate::support::redis::{RedisCluster, RedisServer};
use crate::support::store::{Rig, config};
use crate::support::wait::until;

const LIFE: Duration = Duration::from_secs(10);

fn journal(rig: &Rig, seed: u64) -> RemoteJournal {
    RemoteJournal::new(rig.store.clone(), Random::from_seed(seed)).expect("a good group")
}

async fn one_server() -> (RedisServer, Rig) {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    (server, rig)
}

/// The number before the first dash.
fn part_of(id: &JobId) -> u8 {
    id.as_str().split('-').next().and_then(|part| part.parse().ok()).expect("a part")
}

async fn record(journal: &RemoteJournal, intent: &'static str) -> JobId {
    let recorded = journal.record(Bytes::from(intent)).await.expect("recorded");
    assert_eq!(recorded.confirmation.await, Confirmed::Yes, "there are no replicas");
    recorded.id
}

#[tokio::test]
async fn an_intent_is_found_by_another_sidecar_until_it_is_finished() {
    let (server, rig) = one_server().await;
    let (writer, reader) = (journal(&rig, 1), journal(&rig, 2));
    let id = record(&writer, "remove user 7").await;
    let part = part_of(&id);

    until("an intent that is old enough", async || {
        !reader.due(part, None, Duration::from_millis(50), 10).await.expect("read").is_empty()
    })
    .await;
    let due = reader.due(part, None, Duration::ZERO, 10).await.expect("read");
    assert_eq!(due.len(), 1);
    assert_eq!((&due[0].id, &due[0].intent[..]), (&id, &b"remove user 7"[..]));
    assert!(due[0].age >= Duration::from_millis(50) && due[0].age < Duration::from_secs(60), "{:?}", due[0].age);
    assert!(reader.due(part, Some(&due[0].id), Duration::ZERO, 10).await.expect("read").is_empty(), "none after it");
    assert!(reader.due(part, None, Duration::from_secs(60), 10).await.expect("read").is_empty(), "it is young");
    let other = Config { group: "other".to_owned(), ..config(Mode::Standalone { address: server.address() }) };
    let other = Rig::up(other).await;
    assert!(journal(&other, 3).due(part, None, Duration::ZERO, 10).await.expect("read").is_empty());

    let standing = reader.standing(&id).await.expect("read");
    assert_eq!(standing, Standing { intent: Some(Bytes::from("remove user 7")), note: None });
    let note = |text: &'static str| Note { text: Bytes::from(text), life: LIFE };
    reader.note(&id, note("half way")).await.expect("noted");
    assert_eq!(writer.standing(&id).await.expect("read").note.as_deref(), Some(&b"half way"[..]));
    reader.finish(&id, Some(note("done"))).await.expect("finished");
    let standing = writer.standing(&id).await.expect("read");
    assert_eq!(standing, Standing { intent: None, note: Some(Bytes::from("done")) });
    assert!(reader.due(part, None, Duration::ZERO, 10).await.expect("read").is_empty());
    writer.finish(&id, None).await.expect("finished twice is as good");
}

#[tokio::test]
async fn a_job_that_never_was_has_no_standing() {
    let (_server, rig) = one_server().await;
    let journal = journal(&rig, 1);
    for strange in ["3-1732180000000-0", "99-1-0", "pod:7", "x"] {
        let id = JobId::new(strange).expect("well formed");
        assert_eq!(journal.standing(&id).await, Ok(Standing { intent: None, note: None }), "{strange}");
    }
}

#[tokio::test]
async fn one_sidecar_holds_a_part_until_it_lets_it_end() {
    let (_server, rig) = one_server().await;
    let (journal, random) = (journal(&rig, 1), Random::from_seed(5));
    let (first, second) = (random.nonce(), random.nonce());
    assert_eq!(journal.hold(3, first, LIFE).await, Ok(Hold::Held));
    let Ok(Hold::Taken { left }) = journal.hold(3, second, LIFE).await else { panic!("it is the first one's") };
    assert!(left > LIFE / 2 && left <= LIFE, "{left:?}");
    assert_eq!(journal.hold(4, second, LIFE).await, Ok(Hold::Held), "parts are held one by one");

    let longer = LIFE * 3;
    assert_eq!(journal.hold(3, first, longer).await, Ok(Hold::Held));
    let Ok(Hold::Taken { left }) = journal.hold(3, second, LIFE).await else { panic!("it is still the first one's") };
    assert!(left > LIFE, "renewed: {left:?}");

    assert_eq!(journal.hold(5, first, Duration::from_millis(20)).await, Ok(Hold::Held));
    until("a hold that ended", async || journal.hold(5, second, LIFE).await == Ok(Hold::Held)).await;
    assert!(matches!(journal.hold(5, first, LIFE).await, Ok(Hold::Taken { .. })));
}

#[tokio::test]
async fn a_hold_that_is_about_to_end_is_not_prolonged() {
    let (_server, rig) = one_server().await;
    let (journal, nonce) = (journal(&rig, 1), Random::from_seed(5).nonce());
    assert_eq!(journal.hold(0, nonce, Duration::from_millis(200)).await, Ok(Hold::Held));
    // By the time the command arrives it could be somebody else's.
    let again = journal.hold(0, nonce, LIFE).await;
    assert!(matches!(again, Ok(Hold::Taken { .. } | Hold::Held)), "{again:?}");
    until("the hold taken anew", async || journal.hold(0, nonce, LIFE).await == Ok(Hold::Held)).await;
}

#[tokio::test]
async fn a_part_takes_no_more_than_it_has_room_for() {
    let (server, rig) = one_server().await;
    let journal = journal(&rig, 1);
    let some = record(&journal, "intent").await;
    let keys: Vec<String> =
        redis::from_redis_value(server.command(&["KEYS", "hydrant:{test:journal:*:intents"])).expect("names");
    assert_eq!(keys.len(), 1, "{keys:?}");
    // A script fills the part, as many sidecars would.
    let script = "for i = 1, 4200 do redis.call('XADD', KEYS[1], '*', 'i', 'x') end";
    server.command(&["EVAL", script, "1", &keys[0]]);
    let mut parts = BTreeSet::new();
    for _ in 0..200 {
        parts.insert(part_of(&record(&journal, "more").await));
    }
    assert_eq!(parts.len(), 16, "all are used");
    let length = |parts: Vec<Result<u64, StoreError>>| parts[usize::from(part_of(&some))];
    let before = length(journal.backlog().await).expect("a length");
    for _ in 0..200 {
        assert_ne!(part_of(&record(&journal, "more").await), part_of(&some), "it is full");
    }
    assert_eq!(length(journal.backlog().await), Ok(before));
    assert_eq!(before, 4_202, "it was found out by the first entry too many");
}

#[tokio::test]
async fn a_server_without_memory_takes_no_intents_and_lets_go_of_old_ones() {
    let (server, rig) = one_server().await;
    let journal = journal(&rig, 1);
    let id = record(&journal, "intent").await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(journal.record(Bytes::from("another")).await.is_err());
    let note = Note { text: Bytes::from("done"), life: LIFE };
    assert_eq!(journal.finish(&id, Some(note)).await, Ok(()));
    assert_eq!(journal.standing(&id).await, Ok(Standing { intent: None, note: None }), "the note found no room");
}

#[tokio::test]
async fn a_journal_does_without_functions() {
    let server = RedisServer::start().await;
    server.command(&["ACL", "SETUSER", "default", "-fcall", "-function", "-eval", "-evalsha", "-script"]);
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let (journal, nonce) = (journal(&rig, 1), Random::from_seed(2).nonce());
    let id = record(&journal, "intent").await;
    assert_eq!(journal.hold(part_of(&id), nonce, LIFE).await, Ok(Hold::Held));
    assert_eq!(journal.hold(part_of(&id), nonce, LIFE).await, Ok(Hold::Held));
    assert_eq!(journal.due(part_of(&id), None, Duration::ZERO, 1).await.map(|due| due.len()), Ok(1));
    assert_eq!(journal.finish(&id, None).await, Ok(()));
}

#[tokio::test]
async fn a_node_that_is_away_costs_its_parts_alone() {
    let mut cluster = RedisCluster::start().await;
    // Nobody takes over, so that the outage lasts.
    cluster.nodes[3].kill();
    let rig = Rig::up(config(Mode::Cluster { seeds: cluster.seeds() })).await;
    let journal = journal(&rig, 1);
    cluster.nodes[0].kill();
    let mut parts = BTreeSet::new();
    for _ in 0..100 {
        parts.insert(part_of(&record(&journal, "intent").await));
    }
    // The first third of the slots is gone, and with it the first six sixteenths.
    assert_eq!(parts, (6..16).collect());
    let known = journal.backlog().await;
    assert!(known[..6].iter().all(Result::is_err) && known[6..].iter().all(Result::is_ok), "{known:?}");
    assert_eq!(known.iter().filter_map(|length| length.as_ref().ok()).sum::<u64>(), 100);
}

#[tokio::test]
async fn an_intent_is_confirmed_by_the_replicas() {
    let mut cluster = RedisCluster::start().await;
    let rig = Rig::up(Config { replicas: 1, ..config(Mode::Cluster { seeds: cluster.seeds() }) }).await;
    let journal = journal(&rig, 1);
    let confirmed = async || {
        let recorded = journal.record(Bytes::from("intent")).await.expect("recorded");
        recorded.confirmation.await == Confirmed::Yes
    };
    // A busy machine may take longer than a rack would.
    until("an intent that the replicas have", confirmed).await;
    cluster.nodes[3..].iter_mut().for_each(RedisServer::kill);
    assert!(!confirmed().await);
}

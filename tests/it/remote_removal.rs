//! What only Redis can get wrong about an invalidation: types, limits, memory, permissions, what stays behind.

use std::time::Duration;

use hydrant::domain::key::{Key, Sibling};
use hydrant::domain::member_version::Version;
use hydrant::domain::pseudonym::Pseudonym;
use hydrant::domain::random::Random;
use hydrant::domain::removal::{Erased, Erasure, Gone, Mark, Removal, Replacement, TagPlace};
use hydrant::domain::secret::{Secret, SecretCell};
use hydrant::domain::store::{Committed, Refusal, Registration, Rules, Store, StoreError, Write};
use hydrant::domain::tag::Tag;
use hydrant::remote::store::Remote;
use hydrant::remote::{Auth, Config, Mode};
use tokio::time::Instant;

use crate::remote_access::RIGHTS;
use crate::support::redis::RedisServer;
use crate::support::store::{Rig, TTL, claim, config, fill, key, miss, refresh, value};

async fn rig(server: &RedisServer) -> Rig {
    Rig::up(config(Mode::Standalone { address: server.address() })).await
}

fn mark(floor: Option<u64>) -> Mark {
    let floor = floor.map(|number| Version::new(number).expect("a good version"));
    Mark { nonce: Some(Random::from_os().nonce()), life: Duration::from_secs(30), floor }
}

fn erasure(key: &Key, mark: Option<Mark>) -> Erasure {
    Erasure { key: key.clone(), has_index: true, mark }
}

fn replacement(key: &Key) -> Replacement<'_> {
    let Mark { nonce, life, .. } = mark(None);
    Replacement {
        key,
        value: "given".into(),
        ttl: TTL,
        version: Version::new(7).expect("a good version"),
        mark: nonce.expect("it weeds"),
        life,
    }
}

async fn one(erased: Erased) -> Result<Gone, StoreError> {
    erased.keys.into_iter().next().expect("one key")
}

fn aliases(count: usize) -> Vec<Key> {
    (0..count).map(|number| key(format!("alias:{number}"))).collect()
}

async fn commit(store: &Remote, key: &Key, write: Write) -> Result<usize, StoreError> {
    let landing = claim(store, refresh(key)).await.commit(write).await?;
    assert_eq!(landing.committed, Committed::Written);
    Ok(landing.aliases)
}

fn with_aliases(aliases: Vec<Key>, registered_for: Duration) -> Write {
    Write { aliases, registered_for, ..Write::plain("v".into(), TTL) }
}

fn score(server: &RedisServer, set: &[u8], member: &[u8]) -> f64 {
    server.text(&[&b"ZSCORE"[..], set, member]).parse().expect("a score")
}

#[tokio::test]
async fn an_index_has_room_for_so_many_aliases() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let (k, index) = (key("k"), key("k").sibling(Sibling::Index));
    assert_eq!(commit(&rig.store, &k, with_aliases(aliases(60), TTL)).await, Ok(60));
    assert_eq!(commit(&rig.store, &k, with_aliases(aliases(70), TTL)).await, Ok(64), "what stands there needs no room");
    assert_eq!(commit(&rig.store, &k, with_aliases(vec![key("one more")], TTL)).await, Ok(0));
    let gone = one(rig.store.erase(&[erasure(&k, None)]).await).await.expect("erased");
    assert_eq!(gone.aliases.len(), 64);

    // What ended a minute ago makes room; what ended just now does not yet.
    for (number, ago) in [(0, 61_000.0), (1, 61_000.0), (2, 30_000.0)] {
        let now: Vec<String> = redis::from_redis_value(server.command(&["TIME"])).expect("a time");
        let ended = now[0].parse::<f64>().expect("seconds") * 1_000.0 - ago;
        server.command(&[&b"ZADD"[..], &index, ended.to_string().as_bytes(), format!("alias:{number}").as_bytes()]);
    }
    let more = vec![key("more:1"), key("more:2"), key("more:3")];
    assert_eq!(commit(&rig.store, &k, with_aliases(more, TTL)).await, Ok(2));
    assert_eq!(server.text(&[&b"TTL"[..], &index]), "-1", "an index never ends as a whole");
}

#[tokio::test]
async fn registrations_are_only_ever_lengthened() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let (k, alias, tag) = (key("k"), key("a@"), Tag::declared("colour").expect("a good tag"));
    let (index, set) = (k.sibling(Sibling::Index), tag.key("test", tag.shard_of(&k)).expect("a good key"));
    let mut ends = Vec::new();
    for life in [TTL, Duration::from_secs(1), TTL * 2] {
        assert_eq!(commit(&rig.store, &k, with_aliases(vec![alias.clone()], life)).await, Ok(1));
        let ask = Registration { key: &k, tags: std::slice::from_ref(&tag), life };
        rig.store.register(ask).await.expect("registered");
        ends.push((score(&server, &index, alias.as_bytes()), score(&server, set.as_bytes(), k.as_bytes())));
    }
    assert_eq!(ends[0], ends[1]);
    assert!(ends[2].0 >= ends[0].0 + 60_000.0 && ends[2].1 >= ends[0].1 + 60_000.0, "{ends:?}");
    assert_eq!(server.text(&[&b"TTL"[..], set.as_bytes()]), "-1", "a tag never ends as a whole");
}

#[tokio::test]
async fn a_tag_shrinks_as_it_is_used_and_a_bit_at_a_time() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let (k, tag) = (key("k"), Tag::declared("colour").expect("a good tag"));
    let set = tag.key("test", tag.shard_of(&k)).expect("a good key");
    for number in 0..100 {
        server.command(&[&b"ZADD"[..], set.as_bytes(), b"1", format!("ended:{number}").as_bytes()]);
    }
    let mut left = Vec::new();
    for _ in 0..8 {
        let ask = Registration { key: &k, tags: std::slice::from_ref(&tag), life: TTL };
        rig.store.register(ask).await.expect("registered");
        left.push(server.text(&[&b"ZCARD"[..], set.as_bytes()]));
    }
    assert_eq!(left, ["85", "69", "53", "37", "21", "5", "1", "1"]);
}

#[tokio::test]
async fn keys_of_another_type_stop_what_needs_them_and_nothing_else() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let wrong = StoreError::Refused(Refusal::WrongType);
    let (k, index, tombstone) = (key("k"), key("k").sibling(Sibling::Index), key("k").sibling(Sibling::Tombstone));
    server.command(&["LPUSH", "list", "x"]);
    assert!(one(rig.store.erase(&[erasure(&key("list"), None)]).await).await.expect("erased").held);

    server.command(&[&b"SET"[..], &index, b"not ours"]);
    let held = claim(&*rig.store, miss(&k)).await;
    assert_eq!(held.commit(with_aliases(aliases(1), TTL)).await.map(|landing| landing.committed), Err(wrong));
    assert_eq!(value(&*rig.store, &k).await, None, "no value whose aliases nobody would find");
    fill(&*rig.store, &k, "v").await.expect("filled");
    assert_eq!(one(rig.store.erase(&[erasure(&k, None)]).await).await, Err(wrong), "its aliases cannot be told");
    assert_eq!(value(&*rig.store, &k).await, None, "it went all the same");
    server.command(&[&b"DEL"[..], &index]);

    server.command(&[&b"SET"[..], &tombstone, b"not ours"]);
    fill(&*rig.store, &k, "v").await.expect("filled");
    let other = key("other");
    let erased = rig.store.erase(&[erasure(&k, Some(mark(None))), erasure(&other, Some(mark(None)))]).await;
    assert_eq!(erased.keys, [Err(wrong), Ok(Gone::default())]);
    assert_eq!(value(&*rig.store, &k).await, None);
}

/// What a fill wrote is known by its bytes, since only they are compared in the step that removes.
#[tokio::test]
async fn an_app_that_restores_what_a_fill_wrote_does_no_harm() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let (k, left) = (key("k"), mark(None));
    rig.store.erase(&[erasure(&k, Some(left))]).await;
    let rules = Rules { is_shared: true, ..Rules::default() };
    commit(&rig.store, &k, Write { rules, ..Write::plain("v".into(), TTL) }).await.expect("written");
    server.command(&["SET", "k", "v"]);
    assert_eq!(rig.store.weed(&k, left.nonce.expect("it weeds")).await, Ok(false));
    // Where a fill writes again and again the hashes do not pile up.
    for number in 0..80 {
        let write = Write { rules, ..Write::plain(format!("{number}").into(), TTL) };
        commit(&rig.store, &k, write).await.expect("written");
    }
    let hashes = server.text(&[&b"ZCOUNT"[..], &k.sibling(Sibling::Tombstone), b"-3", b"-3"]);
    assert_eq!(hashes, "64");
}

#[tokio::test]
async fn an_invalidation_goes_on_where_functions_are_missing() {
    let server = RedisServer::start().await;
    server.command(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=other\nredis.register_function('hydrant_v3_claim', function() end)",
    ]);
    let rig = rig(&server).await;
    let (k, missing) = (key("k"), StoreError::Refused(Refusal::NoFunctions));
    server.command(&["SET", "k", "the app's"]);
    let softened = rig.store.soften(&erasure(&k, Some(mark(None))), Duration::from_secs(5)).await.expect("softened");
    assert!(softened.gone.held);
    assert!(one(rig.store.erase(&[erasure(&k, Some(mark(Some(7))))]).await).await.expect("erased").held);
    let tombstone = k.sibling(Sibling::Tombstone);
    assert_eq!(score(&server, &tombstone, b"f"), 7.0);
    assert_eq!(score(&server, &tombstone, b"l"), 30_000.0);
    assert!((1..=30).contains(&server.text(&[&b"TTL"[..], &tombstone]).parse().expect("seconds")));
    assert_eq!(rig.store.replace(replacement(&k)).await.err(), Some(missing));
    assert_eq!(rig.store.weed(&k, Random::from_os().nonce()).await, Err(missing));
    rig.store.bury(Pseudonym::new("test", None, "7"), TTL).await.expect("buried");
    assert!(rig.store.tagged(&Tag::declared("colour").expect("a tag"), TagPlace::default()).await.is_ok());
}

#[tokio::test]
async fn a_full_server_lets_the_key_go_and_says_that_the_mark_is_missing() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let rig = rig(&server).await;
    let (plain, marked) = (key("plain"), key("marked"));
    for key in [&plain, &marked] {
        fill(&*rig.store, key, "v").await.expect("filled");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let erased = rig.store.erase(&[erasure(&plain, None), erasure(&marked, Some(mark(Some(7))))]).await;
    let gone = Gone { held: true, ..Gone::default() };
    assert_eq!(erased.keys, [Ok(gone), Err(StoreError::Refused(Refusal::OutOfMemory))]);
    assert_eq!(value(&*rig.store, &marked).await, None);
}

/// The rights that the documentation lists are enough for everything, and the functions inside need no others.
#[tokio::test]
async fn the_listed_rights_are_enough() {
    let server = RedisServer::start().await;
    let operator = rig(&server).await;
    fill(&*operator.store, &key("installs the functions"), "v").await.expect("filled");
    server.command(&[&["ACL", "SETUSER", "sidecar"][..], &RIGHTS].concat());
    let auth = Auth { username: Some("sidecar".to_owned()), password: SecretCell::new(Secret::new("pw")) };
    let rig = Rig::up(Config { auth: Some(auth), ..config(Mode::Standalone { address: server.address() }) }).await;
    everything(&rig.store, &server).await;
}

/// Each operation once, and the branches of its script that run other commands.
pub async fn everything(store: &Remote, server: &RedisServer) {
    let (k, subject) = (key("k"), Pseudonym::new("test", None, "7"));
    let (number, left) = (Version::new(9), mark(Some(7)));
    let rules = Rules { version: number, has_floor: true, lag: Some(TTL), is_shared: true };
    let write = || Write { rules, ..with_aliases(aliases(2), TTL) };
    assert!(one(store.erase(&[erasure(&k, Some(left))]).await).await.is_ok());
    assert_eq!(commit(store, &k, write()).await, Ok(2));
    assert_eq!(commit(store, &k, write()).await, Ok(2));
    assert_eq!(store.weed(&k, left.nonce.expect("it weeds")).await, Ok(false));
    let absent = Rules { has_floor: false, ..rules };
    assert_eq!(claim(store, refresh(&k)).await.commit_absent(TTL, absent).await, Ok(Committed::Written));
    assert!(store.replace(replacement(&k)).await.is_ok());
    assert!(store.soften(&erasure(&k, Some(left)), TTL / 2).await.expect("softened").gone.held);
    assert_eq!(store.weed(&k, left.nonce.expect("it weeds")).await, Ok(false));
    let tags = [Tag::Subject(subject), Tag::declared("colour").expect("a good tag")];
    store.bury(subject, TTL).await.expect("buried");
    for tag in &tags {
        let set = tag.key("test", tag.shard_of(&k)).expect("a good key");
        server.command(&[&b"ZADD"[..], set.as_bytes(), b"1", b"ended"]);
    }
    let ask = Registration { key: &k, tags: &tags, life: TTL };
    assert!(store.register(ask).await.expect("registered").gone.is_some());
    for tag in &tags {
        assert_eq!(store.tagged(tag, TagPlace::default()).await.expect("a page").keys, std::slice::from_ref(&k));
    }
    assert_eq!(store.remove(&[k]).await, Ok(1));
}

#[tokio::test]
async fn a_place_in_a_tag_that_another_server_gave_is_begun_anew() {
    let server = RedisServer::start().await;
    let rig = rig(&server).await;
    let tag = Tag::declared("colour").expect("a good tag");
    let set = tag.key("test", 0).expect("a good key");
    let names: Vec<String> = (0..3_000).map(|number| format!("item:{number}")).collect();
    for chunk in names.chunks(500) {
        let members = chunk.iter().flat_map(|name| [&b"99999999999999"[..], name.as_bytes()]);
        let command: Vec<&[u8]> = [&b"ZADD"[..], set.as_bytes()].into_iter().chain(members).collect();
        server.command(&command);
    }
    let first = rig.store.tagged(&tag, TagPlace::default()).await.expect("a page");
    let next = first.next.expect("more than one page");
    let foreign = TagPlace { server: next.server.wrapping_add(1), ..next };
    let again = rig.store.tagged(&tag, foreign).await.expect("a page");
    assert_eq!(again.keys, first.keys, "the foreign cursor is not believed");
    let second = rig.store.tagged(&tag, next).await.expect("a page");
    assert_ne!(second.keys, first.keys, "its own is");
}

/// Whole milliseconds on both sides may make it look a little longer ago than it is: then a plan from before the logout
/// would be taken for one that came after.
#[tokio::test]
async fn a_subject_is_never_told_to_be_gone_for_longer_than_it_is() {
    let server = RedisServer::start().await;
    let (rig, subject) = (rig(&server).await, Pseudonym::new("test", None, "7"));
    let (key, tags) = (key("mine:7"), [Tag::Subject(subject)]);
    for _ in 0..300 {
        let before = Instant::now();
        rig.store.bury(subject, TTL).await.expect("buried");
        let ask = Registration { key: &key, tags: &tags, life: TTL };
        let gone = rig.store.register(ask).await.expect("registered").gone.expect("gone");
        let longest = before.elapsed();
        assert!(gone <= longest, "{gone:?} ago, and it was {longest:?}");
    }
}

//! A node against a peer that the test plays itself: no server, no socket, a paused clock.

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::codec::Decoder;

use super::*;
use crate::domain::backoff::Backoff;
use crate::domain::key::Key;
use crate::domain::store::{ClaimAsk, ClaimMode, Refusal};
use crate::remote::claim;
use crate::remote::connect::Stream;
use crate::remote::library::Functions;
use crate::tasks::Deaths;

pub const DEADLINE: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// Hands the other end of every connection to the test; refuses while nobody takes them.
struct Pipes {
    ends: mpsc::UnboundedSender<DuplexStream>,
    dials: AtomicU64,
}

impl Dial for Pipes {
    fn dial<'a>(&'a self, _to: &'a Address) -> BoxFuture<'a, Result<Box<dyn Stream>, ConnectError>> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let taken = self.ends.send(theirs);
        async move {
            match taken {
                Ok(()) => Ok(Box::new(ours) as Box<dyn Stream>),
                Err(_) => Err(ConnectError::Dial(std::io::ErrorKind::ConnectionRefused.into())),
            }
        }
        .boxed()
    }
}

pub struct Rig {
    pub node: Arc<Node>,
    pipes: Arc<Pipes>,
    ends: mpsc::UnboundedReceiver<DuplexStream>,
    _tasks: (Tasks, Deaths),
}

/// The server's side of one connection.
pub struct Peer {
    stream: DuplexStream,
    inbox: BytesMut,
    codec: redis::ValueCodec,
}

impl Rig {
    fn new() -> Self {
        Self::with_replicas(0)
    }

    fn with_replicas(replicas: u8) -> Self {
        let (sender, ends) = mpsc::unbounded_channel();
        let pipes = Arc::new(Pipes { ends: sender, dials: AtomicU64::new(0) });
        let tasks = Tasks::new();
        let waits = Backoff::new(FIRST_WAIT, Duration::from_secs(60)).expect("a good backoff");
        let shared = Shared {
            dial: pipes.clone(),
            auth: None,
            deadline: DEADLINE,
            connect_timeout: Duration::from_secs(1),
            breaker: breaker::Config { failures: 3, waits },
            primary_only: true,
            replicas,
            group: "test".to_owned(),
            tasks: tasks.0.clone(),
            random: Random::from_seed(1),
            metrics: Metrics::register(&mut Default::default()),
            nudge: Notify::new(),
            upheavals: Upheavals::new(),
        };
        let address = Address { host: "peer".to_owned(), port: 1 };
        Self { node: Node::start(address, Arc::new(shared)), pipes, ends, _tasks: tasks }
    }

    async fn up() -> (Self, Peer) {
        Self::up_with_replicas(0).await
    }

    pub async fn up_with_replicas(replicas: u8) -> (Self, Peer) {
        let mut rig = Self::with_replicas(replicas);
        let mut peer = rig.accept().await;
        peer.greet().await;
        rig.node.link().await.expect("a link");
        (rig, peer)
    }

    pub async fn accept(&mut self) -> Peer {
        let stream = self.ends.recv().await.expect("a connection");
        Peer { stream, inbox: BytesMut::new(), codec: redis::ValueCodec::default() }
    }

    async fn get(&self, key: &str) -> Result<Value, StoreError> {
        self.node.call(Op::Read, Request::one(&[b"GET", key.as_bytes()])).await
    }

    pub fn dials(&self) -> u64 {
        self.pipes.dials.load(Ordering::Relaxed)
    }
}

impl Peer {
    /// Everything that is there after one wait for it, each command as one line of words.
    pub async fn hear(&mut self) -> Vec<String> {
        self.inbox.reserve(1024 * 1024);
        let count = self.stream.read_buf(&mut self.inbox).await.expect("readable");
        assert!(count > 0, "the node hung up");
        let mut commands = Vec::new();
        while let Some(Value::Array(words)) = self.codec.decode(&mut self.inbox).expect("well formed") {
            let words: Vec<&str> = words.iter().filter_map(connect::text).collect();
            commands.push(words.join(" "));
        }
        commands
    }

    pub async fn is_hung_up(&mut self) {
        assert_eq!(self.stream.read_buf(&mut self.inbox).await.expect("readable"), 0);
    }

    pub async fn say(&mut self, reply: &str) {
        self.stream.write_all(reply.as_bytes()).await.expect("writable");
    }

    pub async fn greet(&mut self) {
        self.greet_as("first").await;
    }

    /// Greets as one of its runs; the name has five letters.
    pub async fn greet_as(&mut self, run: &str) {
        assert_eq!(self.hear().await, ["HELLO 3 SETNAME hydrant"]);
        self.say("%2\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nrole\r\n$6\r\nmaster\r\n").await;
        assert_eq!(self.hear().await, ["EXISTS hydrant:probe"]);
        self.say(":0\r\n").await;
        assert_eq!(self.hear().await, ["INFO server"]);
        self.say(&format!("=18\r\ntxt:run_id:{run}\r\n\r\n")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_goes_out_in_one_write() {
    let (rig, mut peer) = Rig::up().await;
    let keys: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
    let calls = join_all(keys.iter().map(|key| rig.get(key)));
    let serve = async {
        let heard = peer.hear().await;
        assert_eq!(heard.len(), 500);
        let replies: String = (0..500).map(|number| format!(":{number}\r\n")).collect();
        peer.say(&replies).await;
    };
    let (replies, ()) = tokio::join!(calls, serve);
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply, Ok(Value::Int(number as i64)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_belongs_to_one_command() {
    let (rig, mut peer) = Rig::up().await;
    let calls = async { tokio::join!(rig.get("a"), rig.get("b"), rig.get("c")) };
    let serve = async {
        assert_eq!(peer.hear().await.len(), 3);
        peer.say(":1\r\n-WRONGTYPE no\r\n:3\r\n").await;
    };
    let ((a, b, c), ()) = tokio::join!(calls, serve);
    assert_eq!((a, c), (Ok(Value::Int(1)), Ok(Value::Int(3))));
    assert_eq!(error::refused(&b.expect("a reply")), Some(Refusal::WrongType));
}

#[tokio::test(start_paused = true)]
async fn commands_that_belong_together_get_their_replies_together() {
    let (rig, mut peer) = Rig::up().await;
    let mut pair = Request::one(&[b"GET", b"k"]);
    pair.push(&[b"PTTL", b"k"]);
    let serve = async {
        assert_eq!(peer.hear().await, ["GET k", "PTTL k", "GET other"]);
        peer.say("$1\r\nv\r\n:7\r\n:3\r\n").await;
    };
    let (both, other, ()) = tokio::join!(rig.node.call(Op::Read, pair), rig.get("other"), serve);
    assert_eq!(both, Ok(Value::Array(vec![Value::BulkString(b"v".to_vec()), Value::Int(7)])));
    assert_eq!(other, Ok(Value::Int(3)));
}

#[tokio::test(start_paused = true)]
async fn a_command_has_a_deadline_and_a_late_reply_is_nobody_elses() {
    let (rig, mut peer) = Rig::up().await;
    let started = Instant::now();
    assert_eq!(rig.get("slow").await, Err(StoreError::Timeout));
    assert_eq!(started.elapsed(), DEADLINE);
    assert_eq!(peer.hear().await, ["GET slow"]);
    peer.say(":1\r\n").await;
    let serve = async {
        assert_eq!(peer.hear().await, ["GET quick"]);
        peer.say(":2\r\n").await;
    };
    let (reply, ()) = tokio::join!(rig.get("quick"), serve);
    assert_eq!(reply, Ok(Value::Int(2)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_left_alone_and_comes_back() {
    let (mut rig, _silent) = Rig::up().await;
    // Many that stall together are one failure; three in a row open the breaker.
    for _ in 0..2 {
        let stalled = join_all((0..100).map(|_| rig.get("k"))).await;
        assert!(stalled.iter().all(|reply| *reply == Err(StoreError::Timeout)));
        assert_eq!(rig.node.standing(), Standing::Live);
    }
    assert_eq!(rig.get("k").await, Err(StoreError::Timeout));
    assert_eq!(rig.node.standing(), Standing::Away);

    let started = Instant::now();
    assert_eq!(rig.get("k").await, Err(StoreError::Timeout), "the last trouble, at once");
    assert_eq!(started.elapsed(), Duration::ZERO);
    let next_try = rig.node.health(Instant::now()).next_try.expect("a next try");
    assert!(next_try <= FIRST_WAIT && next_try > FIRST_WAIT / 2, "{next_try:?}");

    let mut probe = rig.accept().await;
    rig.node.link().await.expect_err("not before the probe is answered");
    probe.greet().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.node.standing(), Standing::Live);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_waits_longer() {
    let (mut rig, mut peer) = Rig::up().await;
    for _ in 0..3 {
        let serve = async {
            peer.hear().await;
            peer.say("-LOADING Redis is loading the dataset in memory\r\n").await;
        };
        let (reply, ()) = tokio::join!(rig.get("k"), serve);
        reply.expect("a reply");
    }
    assert_eq!(rig.node.standing(), Standing::Away);
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let waiting = Instant::now();
        let mut probe = rig.accept().await;
        gaps.push(waiting.elapsed());
        probe.hear().await;
        probe.say("%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n").await;
        probe.hear().await;
        probe.say("-LOADING Redis is loading the dataset in memory\r\n").await;
    }
    assert!(gaps.windows(2).all(|pair| pair[1] > pair[0].mul_f64(1.5)), "{gaps:?}");
    assert_eq!(rig.get("k").await, Err(StoreError::Refused(Refusal::NotServing)));
}

#[tokio::test(start_paused = true)]
async fn redirects_are_a_healthy_nodes_answers() {
    let (rig, mut peer) = Rig::up().await;
    for _ in 0..10 {
        let serve = async {
            peer.hear().await;
            peer.say("-MOVED 1 other:1\r\n").await;
        };
        let (reply, ()) = tokio::join!(rig.get("k"), serve);
        assert_eq!(error::refused(&reply.expect("a reply")), Some(Refusal::Moved));
    }
    assert_eq!(rig.node.standing(), Standing::Live);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_leaves_the_outcome_open_and_is_never_used_again() {
    let (mut rig, mut first) = Rig::up().await;
    let old = rig.node.link().await.expect("a link");
    let serve = async {
        first.hear().await;
        drop(first);
    };
    let (reply, ()) = tokio::join!(rig.get("k"), serve);
    assert_eq!(reply, Err(StoreError::Timeout), "sent, and nobody knows");

    let mut peer = rig.accept().await;
    peer.greet().await;
    let new = rig.node.link().await.expect("a link");
    assert_eq!(new.number, old.number + 1);
    let late = rig.node.call_on(&old, Op::Commit, Request::one(&[b"SET", b"k", b"v"])).await;
    assert_eq!(late, Err(StoreError::Unreachable), "certainly not sent");
}

#[tokio::test(start_paused = true)]
async fn too_much_at_once_is_refused_at_once() {
    let (rig, _silent) = Rig::up().await;
    let replies = join_all((0..UNDER_WAY + 5).map(|_| rig.get("k"))).await;
    let refused = replies.iter().filter(|reply| **reply == Err(StoreError::Overloaded)).count();
    assert_eq!(refused, 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stopped_reading_does_not_fill_our_memory() {
    let (rig, _deaf) = Rig::up().await;
    let value = vec![b'x'; 1024 * 1024];
    let write = || rig.node.call(Op::Commit, Request::one(&[b"SET", b"k", &value]));
    let replies = join_all((0..40).map(|_| write())).await;
    let refused = replies.iter().filter(|reply| **reply == Err(StoreError::Overloaded)).count();
    assert!((5..10).contains(&refused), "{refused} of 40 MiB were refused");
}

#[tokio::test(start_paused = true)]
async fn a_server_with_other_slots_is_found_out() {
    let (rig, mut peer) = Rig::up().await;
    for (reply, agrees) in [(":0\r\n", Some(false)), ("-NOPERM not allowed\r\n", Some(true))] {
        let serve = async {
            assert_eq!(peer.hear().await.len(), 10);
            peer.say(&reply.repeat(10)).await;
        };
        let (answer, ()) = tokio::join!(crate::remote::discover::agrees_on_slots(&rig.node), serve);
        assert_eq!(answer, agrees);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_the_first_connection() {
    let mut rig = Rig::new();
    let mut peer = rig.accept().await;
    let serve = async {
        peer.greet().await;
        assert_eq!(peer.hear().await, ["GET k"]);
        peer.say(":1\r\n").await;
    };
    let (reply, ()) = tokio::join!(rig.get("k"), serve);
    assert_eq!(reply, Ok(Value::Int(1)));
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_named() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let mut peer = rig.accept().await;
        peer.hear().await;
        peer.say("-WRONGPASS invalid username-password pair or user is disabled.\r\n").await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.get("k").await, Err(StoreError::Refused(Refusal::BadCredentials)));
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_not_taken_for_its_primary() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let mut peer = rig.accept().await;
        peer.hear().await;
        peer.say("%1\r\n$4\r\nrole\r\n$7\r\nreplica\r\n").await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.get("k").await, Err(StoreError::Refused(Refusal::NotServing)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_not_stormed() {
    let mut rig = Rig::new();
    rig.ends.close();
    tokio::time::sleep(Duration::from_secs(600)).await;
    // Three tries, then after 2, 4, 8, 16, 32 and every 60 seconds, up to a fifth earlier.
    assert!((12..=20).contains(&rig.dials()), "{} dials in ten minutes", rig.dials());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_after_the_greeting_is_not_stormed() {
    let mut rig = Rig::new();
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let mut peer = rig.accept().await;
        peer.greet().await;
    }
    assert!(rig.dials() <= 210, "{} dials in ten seconds", rig.dials());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_is_late_is_given_back() {
    let (rig, mut peer) = Rig::up().await;
    let (key, functions) = (Key::new("k").expect("a good key"), Arc::new(Functions::new()));
    let mode = ClaimMode::Miss { renew_below: Duration::ZERO };
    let ask = ClaimAsk { key: &key, life: Duration::from_secs(10), mode };
    let claiming = claim::take(rig.node.clone(), functions, Random::from_seed(1).nonce(), ask);
    let (claimed, heard) = tokio::join!(claiming, peer.hear());
    assert!(matches!(claimed, Err(StoreError::Timeout)));
    assert!(heard[0].starts_with("FCALL hydrant_v3_claim"), "{heard:?}");
    let after = peer.hear().await;
    assert!(after[0].starts_with("FCALL hydrant_v3_abort 1 {k}:g"), "{after:?}");
}

//! The lane against a peer that the test plays: what is sent, who shares it, and what no answer may be made of.

use futures_util::future::{join, join_all};

use super::*;
use crate::remote::node::tests::{DEADLINE, Peer, Rig};

/// A node that is up, the server's side of its connection, and what carried something over it.
async fn up() -> (Rig, Peer, Carrier) {
    let (rig, peer) = Rig::up_with_replicas(1).await;
    let link = rig.node.link().await.expect("a link");
    let carrier = Carrier::Link { node: rig.node.clone(), link, slot: 7 };
    (rig, peer, carrier)
}

fn delete(key: &str) -> Request {
    Request::one(&[b"DEL", key.as_bytes()])
}

async fn rides(node: &Arc<Node>, request: &Request) -> Option<Result<Rode, StoreError>> {
    ride(node, Op::Erase, 7, request).await
}

async fn confirmed(carrier: &Carrier) -> Confirmed {
    confirmation([carrier.clone()]).await
}

/// The server's side of the lane, once it was opened as one of the server's runs.
async fn opened(rig: &mut Rig, run: &str) -> Peer {
    let mut lane = rig.accept().await;
    lane.greet_as(run).await;
    lane
}

/// Hears one batch, which is a marker and one wait.
async fn hear_batch(lane: &mut Peer) {
    hear_batch_at(lane, 7).await;
}

async fn hear_batch_at(lane: &mut Peer, slot: u16) {
    let heard = lane.hear().await;
    let [marker, wait] = &heard[..] else { panic!("{heard:?}") };
    assert!(marker.starts_with(&format!("SET hydrant:{{{}}}:test:marker", slot_tag(slot))), "{marker}");
    assert!(marker.ends_with("PX 60000") && wait == "WAIT 1 50", "{heard:?}");
}

/// The server's side of a new lane, whose first batch is answered so.
async fn answering(rig: &mut Rig, run: &str, answer: &str) -> Peer {
    let mut lane = opened(rig, run).await;
    hear_batch(&mut lane).await;
    lane.say(answer).await;
    lane
}

#[tokio::test(start_paused = true)]
async fn everybody_who_asked_before_shares_one_wait() {
    let (mut rig, _peer, carrier) = up().await;
    let asked = join_all((0..100).map(|_| confirmed(&carrier)));
    let serve = answering(&mut rig, "first", "+OK\r\n:1\r\n");
    let (asked, mut lane) = tokio::join!(asked, serve);
    assert!(asked.iter().all(|confirmed| *confirmed == Confirmed::Yes));

    // Whoever comes while a batch is under way waits for the next one: its marker was not written after their removal.
    let late = async {
        hear_batch(&mut lane).await;
        let later = join_all((0..10).map(|_| confirmed(&carrier)));
        let serve = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            lane.say("+OK\r\n:1\r\n").await;
            hear_batch(&mut lane).await;
            lane.say("+OK\r\n:0\r\n").await;
        };
        tokio::join!(later, serve).0
    };
    let (first, later) = tokio::join!(confirmed(&carrier), late);
    assert_eq!(first, Confirmed::Yes);
    assert!(later.iter().all(|confirmed| *confirmed == Confirmed::Short));
    assert_eq!(rig.dials(), 2, "one lane for all of them");
}

#[tokio::test(start_paused = true)]
async fn what_rides_goes_before_the_marker_and_shares_its_wait() {
    let (mut rig, _peer, carrier) = up().await;
    let (node, first, second) = (rig.node.clone(), delete("a"), delete("b"));
    let serve = async {
        let mut lane = opened(&mut rig, "first").await;
        let heard = lane.hear().await;
        let [first, second, marker, wait] = &heard[..] else { panic!("{heard:?}") };
        assert!((first.as_str(), second.as_str(), wait.as_str()) == ("DEL a", "DEL b", "WAIT 1 50"), "{heard:?}");
        assert!(marker.starts_with("SET hydrant:"), "{heard:?}");
        lane.say(":1\r\n:0\r\n+OK\r\n:1\r\n").await;
        lane
    };
    let riding = join(rides(&node, &first), rides(&node, &second));
    let (asked, rode, _lane) = tokio::join!(confirmed(&carrier), riding, serve);
    assert_eq!(asked, Confirmed::Yes);
    let told = |reply| Some(Ok((vec![Value::Int(reply)], Confirmed::Yes)));
    assert_eq!(rode, (told(1), told(0)));
    assert_eq!(confirmed(&Carrier::Lane(Confirmed::Yes)).await, Confirmed::Yes, "nobody is asked again");
    assert_eq!(confirmed(&Carrier::Lane(Confirmed::Short)).await, Confirmed::Short);
}

#[tokio::test(start_paused = true)]
async fn what_rides_does_so_once_however_often_its_marker_is_refused() {
    let (mut rig, _peer, _carrier) = up().await;
    let (node, delete) = (rig.node.clone(), delete("a"));
    let serve = async {
        let mut lane = opened(&mut rig, "first").await;
        assert_eq!(lane.hear().await.len(), 3);
        lane.say("-MOVED 1 127.0.0.1:1\r\n-MOVED 7 127.0.0.1:1\r\n:1\r\n").await;
        hear_batch_at(&mut lane, 8).await;
        lane.say("+OK\r\n:0\r\n").await;
        lane
    };
    let (rode, _lane) = tokio::join!(rides(&node, &delete), serve);
    let Some(Ok((replies, Confirmed::Short))) = rode else { panic!("{rode:?}") };
    assert!(error::is_redirect(&replies[0]), "{replies:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_rides_to_another_server_than_the_nodes() {
    let (mut rig, _peer, _carrier) = up().await;
    let (node, delete) = (rig.node.clone(), delete("a"));
    let (rode, mut lane) = tokio::join!(rides(&node, &delete), opened(&mut rig, "second"));
    assert_eq!(rode, None);
    lane.is_hung_up().await;
}

#[tokio::test(start_paused = true)]
async fn what_rides_and_is_not_answered_counts_against_the_node() {
    let (mut rig, _peer, _carrier) = up().await;
    let (node, delete) = (rig.node.clone(), delete("a"));
    let started = Instant::now();
    let serve = async {
        let mut lane = opened(&mut rig, "first").await;
        assert_eq!(lane.hear().await.len(), 3);
        lane
    };
    let (rode, _lane) = tokio::join!(rides(&node, &delete), serve);
    assert_eq!((rode, started.elapsed()), (Some(Err(StoreError::Timeout)), WAIT_FOR + DEADLINE));
}

#[tokio::test(start_paused = true)]
async fn several_nodes_are_asked_at_once_and_each_once() {
    let ((mut one, _peer_of_one, first), (mut two, _peer_of_two, second)) = (up().await, up().await);
    let asked = confirmation([first.clone(), second.clone(), first, second]).into_future();
    let serve = async {
        let (mut lane_of_one, mut lane_of_two) = (opened(&mut one, "first").await, opened(&mut two, "first").await);
        hear_batch(&mut lane_of_one).await;
        hear_batch(&mut lane_of_two).await;
        lane_of_one.say("+OK\r\n:1\r\n").await;
        lane_of_two.say("+OK\r\n:0\r\n").await;
    };
    assert_eq!(tokio::join!(asked, serve).0, Confirmed::Short, "one that is short makes all of it short");
}

#[tokio::test(start_paused = true)]
async fn without_replicas_nobody_is_asked() {
    let (rig, _peer) = Rig::up_with_replicas(0).await;
    let link = rig.node.link().await.expect("a link");
    let carrier = Carrier::Link { node: rig.node.clone(), link, slot: 7 };
    assert_eq!(confirmed(&carrier).await, Confirmed::Yes);
    assert_eq!(rig.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_that_nobody_wants_costs_nothing() {
    let (rig, _peer, carrier) = up().await;
    drop(confirmation([carrier]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_breaks_confirms_nothing_and_is_opened_anew() {
    let (mut rig, _peer, carrier) = up().await;
    let serve = async {
        let mut lane = opened(&mut rig, "first").await;
        hear_batch(&mut lane).await;
    };
    assert_eq!(tokio::join!(confirmed(&carrier), serve).0, Confirmed::Short);
    tokio::time::sleep(OPEN_PAUSE).await;
    let serve = answering(&mut rig, "first", "+OK\r\n:1\r\n");
    assert_eq!(tokio::join!(confirmed(&carrier), serve).0, Confirmed::Yes);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_stays_silent_is_given_up_in_time() {
    let (mut rig, _peer, carrier) = up().await;
    let started = Instant::now();
    let serve = async {
        let mut lane = opened(&mut rig, "first").await;
        hear_batch(&mut lane).await;
        lane
    };
    let (confirmed_first, mut lane) = tokio::join!(confirmed(&carrier), serve);
    assert_eq!(confirmed_first, Confirmed::Short);
    assert_eq!(started.elapsed(), WAIT_FOR + DEADLINE);
    lane.is_hung_up().await;
    let serve = answering(&mut rig, "first", "+OK\r\n:1\r\n");
    assert_eq!(tokio::join!(confirmed(&carrier), serve).0, Confirmed::Yes);
}

#[tokio::test(start_paused = true)]
async fn another_run_behind_the_address_confirms_nothing() {
    let (mut rig, _peer, carrier) = up().await;
    let (confirmed, mut lane) = tokio::join!(confirmed(&carrier), opened(&mut rig, "other"));
    assert_eq!(confirmed, Confirmed::Short);
    lane.is_hung_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_broke_meanwhile_confirms_nothing() {
    let (mut rig, peer, carrier) = up().await;
    let serve = async {
        let mut lane = opened(&mut rig, "first").await;
        hear_batch(&mut lane).await;
        drop(peer);
        tokio::time::sleep(Duration::from_millis(1)).await;
        lane.say("+OK\r\n:1\r\n").await;
        lane
    };
    assert_eq!(tokio::join!(confirmed(&carrier), serve).0, Confirmed::Short);
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_is_refused_goes_next_door() {
    let (mut rig, _peer, carrier) = up().await;
    let serve = async {
        let mut lane = answering(&mut rig, "first", "-ASK 7 other:1\r\n:1\r\n").await;
        hear_batch_at(&mut lane, 8).await;
        lane.say("+OK\r\n:1\r\n").await;
        lane
    };
    let (first, mut lane) = tokio::join!(confirmed(&carrier), serve);
    assert_eq!(first, Confirmed::Yes);
    // There it stays, and where no neighbour takes it either the node is no primary any more.
    let serve = async {
        for slot in [8, 9, 7] {
            hear_batch_at(&mut lane, slot).await;
            lane.say("-MOVED 7 other:1\r\n:1\r\n").await;
        }
    };
    assert_eq!(tokio::join!(confirmed(&carrier), serve).0, Confirmed::Short);
}

//! Which of the values that were filled somebody has read, asked of a real Redis, and what follows from that.

use std::time::Duration;

use hydrant::domain::habits::{Habits, Touched};
use hydrant::domain::store::{ClaimAsk, ClaimMode, Claimed, Committed, Landing, Store, Write};
use hydrant::grpc::client::{Ask, Mode as Answering};
use hydrant::remote::Mode;

use crate::support::origin::Origin;
use crate::support::redis::RedisServer;
use crate::support::sidecar::{Sidecar, login};
use crate::support::store::{Rig, config, key};
use crate::support::wait::until;

const HOUR: Duration = Duration::from_secs(3_600);

async fn write(rig: &Rig, name: &str, untouched_for: Option<Duration>) -> Landing {
    let key = key(name);
    let ask = ClaimAsk { key: &key, life: Duration::from_secs(10), mode: ClaimMode::Refresh };
    let Claimed::Held(claim) = rig.store.claim(ask).await.expect("asked") else { panic!("nobody else fills it") };
    let write = Write { untouched_for, ..Write::plain("value".into(), Duration::from_secs(60)) };
    claim.commit(write).await.expect("committed")
}

#[tokio::test]
async fn a_marked_value_shows_its_first_read() {
    let server = RedisServer::start().await;
    let rig = Rig::up(config(Mode::Standalone { address: server.address() })).await;
    let touched = async |name: &str| rig.store.look(&key(name)).await.expect("asked").touched;

    let landing = write(&rig, "u:marked", Some(HOUR)).await;
    assert!(landing.committed == Committed::Written && landing.is_marked);
    assert!(matches!(touched("u:marked").await, Touched::Idle(idle) if idle >= HOUR));
    assert!((1..=60_000).contains(&server.text(&["PTTL", "u:marked"]).parse::<u64>().expect("a life")));
    assert_eq!(server.text(&["GET", "u:marked"]), "value");
    assert!(matches!(touched("u:marked").await, Touched::Idle(idle) if idle < Duration::from_secs(60)));

    assert!(!write(&rig, "u:plain", None).await.is_marked);
    assert!(matches!(touched("u:plain").await, Touched::Idle(idle) if idle < Duration::from_secs(60)));

    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]);
    assert!(!write(&rig, "u:counted", Some(HOUR)).await.is_marked, "counting servers show a first read as it is");
    assert_eq!(touched("u:counted").await, Touched::Frequency(5));
    server.command(&["GET", "u:counted"]);
    assert_eq!(touched("u:counted").await, Touched::Frequency(6));
}

/// Two things that are filled for everybody; every value is marked, and looked at after three seconds.
fn shop(server: &RedisServer, origin: &Origin, explore: u8) -> String {
    let entity = |name: &str| {
        format!(
            "  {name}:\n    key: \"u:{name}:{{id}}\"\n    load: {{ source: api, get: \"/{name}/{{id}}\" }}\n    ttl: {{ base: 4s, jitter: 0% }}\n    fields: {{ allow: [\"*\"] }}\n"
        )
    };
    format!(
        "group: useful\nredis: {{ mode: standalone, nodes: [\"redis://127.0.0.1:{}\"] }}\nsources:\n  api: {{ http: {{ origin: \"{}\", auth: {{ session: bearer }} }} }}\nentities:\n{}{}prehydrate:\n  plan: {{ cohort: [orders, ads] }}\n  usefulness: {{ marked: 100%, per_second: 1000, floor: 10%, explore: {explore}% }}\n",
        server.port,
        origin.url(),
        entity("orders"),
        entity("ads"),
    )
}

/// What a login of somebody new would fill, and why or why not.
async fn planned(sidecar: &Sidecar, user: &str) -> Vec<(String, String, String)> {
    let ask = Ask { mode: Answering::DryRun, ..login(user, &[]) };
    let plan = sidecar.client().await.prehydrate(ask).await.expect("planned").resources;
    plan.into_iter().map(|item| (item.key, item.why, item.outcome)).collect()
}

/// One sample of `/metrics`, 0 where there is none.
async fn sample(sidecar: &Sidecar, name: &str, entity: &str) -> f64 {
    let (_, page) = sidecar.probe("/metrics").await;
    let line = format!("hydrant_prehydrate_{name}{{entity=\"{entity}\"}} ");
    page.lines().find_map(|text| text.strip_prefix(&line)).map_or(0.0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn what_nobody_reads_is_no_longer_predicted_until_somebody_does() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/orders/*", r#"{"ok":true}"#);
    origin.json("/ads/*", r#"{"ok":true}"#);
    let sidecar = Sidecar::start(&shop(&server, &origin, 0)).await;
    let line = |key: &str, why: &str, fate: &str| (key.to_owned(), why.to_owned(), fate.to_owned());

    for user in 0..20 {
        let answer = sidecar.login(&user.to_string(), &[]).await;
        assert_eq!(answer.resources.len(), 2, "{:?}", answer.resources);
        server.command(&["GET", &format!("u:orders:{user}")]);
    }
    until("all of them were looked at", async || {
        sample(&sidecar, "samples_total", "ads").await >= 20.0
            && sample(&sidecar, "samples_total", "orders").await >= 20.0
    })
    .await;
    assert_eq!(sample(&sidecar, "precision", "ads").await, 0.0);
    assert!(sample(&sidecar, "precision", "orders").await > 0.5, "read right after the fill");
    assert_eq!(sample(&sidecar, "wasted_fills_total", "ads").await, 20.0);
    assert_eq!(sample(&sidecar, "wasted_bytes_total", "ads").await, 20.0 * 11.0);
    assert_eq!(
        planned(&sidecar, "100").await,
        [line("u:orders:100", "COHORT", "PLANNED"), line("u:ads:100", "COHORT", "UNUSED")]
    );

    sidecar.reconfigure(&shop(&server, &origin, 100));
    until("it is tried again", async || {
        planned(&sidecar, "100").await.contains(&line("u:ads:100", "EXPLORATION", "PLANNED"))
    })
    .await;
    for user in 200..206 {
        sidecar.login(&user.to_string(), &[]).await;
        server.command(&["GET", &format!("u:ads:{user}")]);
    }
    until("it is known that it is read again", async || sample(&sidecar, "precision", "ads").await > 0.1).await;
    assert!(planned(&sidecar, "100").await.contains(&line("u:ads:100", "COHORT", "PLANNED")));
}

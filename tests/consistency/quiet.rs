//! When everybody has stopped: nothing is owed, the journal is empty, no claim has outlived its fill, and every cached
//! value is what the source has. What a reader did not happen to see is found here.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::run::{Run, SWEEP_INTERVAL, Way};
use crate::stage::{CLAIM_LIFE, Stage};
use crate::truth::{Entity, email, phone};

/// What was not as it must be, with a few examples of each.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Quiet {
    /// Keys that were compared with the source.
    pub compared: usize,
    pub wrong: usize,
    /// Wrong, and outside of the promise by the fault's name.
    pub outside: usize,
    /// Invalidations that nobody took until the end.
    pub owed: usize,
    /// Intents left in the journal.
    pub intents: u64,
    /// Claims older than F, or without an end.
    pub claims: usize,
    pub examples: Vec<String>,
}

/// A journal is emptied by then, or it never will be: a peer takes over after a few seconds.
const LONGEST: Duration = Duration::from_secs(45);
const EXAMPLES: usize = 8;

impl Quiet {
    pub fn is_well(&self) -> bool {
        self.wrong == 0 && self.owed == 0 && self.intents == 0 && self.claims == 0
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(example);
        }
    }
}

/// The cluster is well and nobody asks for anything any more.
pub async fn look(stage: &Stage, run: &Run, owed: usize) -> Quiet {
    let mut quiet = Quiet { owed, ..Quiet::default() };
    let began = Instant::now();
    loop {
        quiet.intents = intents(stage).await;
        if quiet.intents == 0 || began.elapsed() > LONGEST {
            break;
        }
        // tidy: waits because it looks again and again, with a bound
        sleep(Duration::from_millis(200)).await;
    }
    // Fills that were under way end with their claims; the last sweep comes 2 s after the last invalidation.
    let settled =
        (CLAIM_LIFE + SWEEP_INTERVAL + Duration::from_secs(1)).max(run.leeway.swept_within.unwrap_or_default());
    // tidy: waits because what is to be looked for is what is left after this time
    sleep(settled.saturating_sub(began.elapsed())).await;
    claims(stage, &mut quiet).await;
    compare(stage, run, &mut quiet).await;
    quiet
}

/// Whatever is a stream is a journal's.
async fn intents(stage: &Stage) -> u64 {
    let mut waiting = 0;
    for (node, key) in stage.cluster.keys("").await {
        let node = &stage.cluster.nodes[node];
        if node.text(&[b"TYPE".as_slice(), &key]).await == "stream" {
            let length = node.command(&[b"XLEN".as_slice(), &key]).await;
            waiting += length.ok().and_then(|length| redis::from_redis_value(length).ok()).unwrap_or(0);
        }
    }
    waiting
}

async fn claims(stage: &Stage, quiet: &mut Quiet) {
    for (node, key) in stage.cluster.keys("{").await.into_iter().filter(|(_, key)| key.ends_with(b"}:g")) {
        let node = &stage.cluster.nodes[node];
        let value = node.command(&[b"GET".as_slice(), &key]).await.ok();
        let value: Vec<u8> = value.and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default();
        // `a` is the memory of an absence.
        if value.first() == Some(&b'c') {
            quiet.claims += 1;
            quiet.note(format!("a claim is left at {}", String::from_utf8_lossy(&key)));
        }
    }
}

async fn compare(stage: &Stage, run: &Run, quiet: &mut Quiet) {
    for entity in Entity::ALL {
        for (node, key) in stage.cluster.keys(&format!("{}:", entity.name())).await {
            let value = stage.cluster.nodes[node].text(&[b"GET".as_slice(), &key]).await;
            if value.is_empty() {
                continue;
            }
            let key = String::from_utf8_lossy(&key).into_owned();
            quiet.compared += 1;
            let Some(wrong) = wrong(run, entity, &key, &value) else { continue };
            let is_alias = !key.starts_with(&format!("{}:id:", entity.name()));
            // An application sweeps nothing, and tells nobody that a source may lag.
            let alone = run.way == Way::App && matches!(entity, Entity::Price | Entity::Note);
            if run.leeway.unreplicated || alone || (is_alias && run.leeway.index_lost) {
                quiet.outside += 1;
            } else {
                quiet.wrong += 1;
            }
            quiet.note(format!("{key}: {wrong}: {value}"));
        }
    }
}

/// What is wrong with a value, if anything.
fn wrong(run: &Run, entity: Entity, key: &str, value: &str) -> Option<String> {
    if let Some(held) = key.strip_prefix("user:phone:") {
        let (id, epoch) = held.split_once(":p")?.1.split_once('.')?;
        let (id, epoch): (usize, u64) = (id.parse().ok()?, epoch.parse().ok()?);
        let now = run.truth.now(entity, id);
        return (epoch != now.epoch).then(|| format!("the phone is {} now", phone(id, now.epoch)));
    }
    let parsed: Value = serde_json::from_str(value).unwrap_or_default();
    let id = parsed["id"].as_u64()? as usize;
    let now = run.truth.now(entity, id);
    if parsed["version"].as_u64() != Some(now.version) {
        return Some(format!("version {} is at the source", now.version));
    }
    let held = key.strip_prefix("user:email:")?;
    (held != email(id, now.epoch)).then(|| format!("the e-mail is {} now", email(id, now.epoch)))
}

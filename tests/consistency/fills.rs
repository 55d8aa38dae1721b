//! Logins that wait for their outcomes: what readers have missed, and a little of everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hydrant::grpc::pb;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{sleep, timeout};
use tonic::Request;

use crate::invalidate::reason;
use crate::run::Run;
use crate::truth::{Entity, shop};

/// Members that readers missed, on their way to somebody who has them filled.
pub type Missed = Arc<Mutex<mpsc::Receiver<(Entity, usize)>>>;

const TOGETHER: usize = 12;
/// Members waiting to be filled; what is beyond is missed again soon.
pub const QUEUE: usize = 256;
const DEADLINE: Duration = Duration::from_secs(3);

pub async fn fill(run: Arc<Run>, missed: Missed, number: usize) {
    let mut random = StdRng::seed_from_u64(run.seed ^ (0xf111 << 16) ^ number as u64);
    while !run.is_over() {
        let mut batch = Vec::new();
        // A short wait: where nothing is missed, something at random is asked for.
        let _ = timeout(Duration::from_millis(50), async { missed.lock().await.recv_many(&mut batch, TOGETHER).await })
            .await;
        if batch.is_empty() {
            batch.push((Entity::User, random.random_range(0..run.truth.members())));
        }
        batch.sort_by_key(|(entity, id)| (*entity as usize, *id));
        batch.dedup();
        // A login has one subject, and a basket is its own.
        let subject = batch.iter().find(|(entity, _)| *entity == Entity::Basket).map_or(0, |(_, id)| *id);
        batch.retain(|(entity, id)| *entity != Entity::Basket || *id == subject);
        prehydrate(&run, number % run.sidecars.len(), subject, &batch, random.random_ratio(1, 10)).await;
    }
}

async fn prehydrate(run: &Run, sidecar: usize, subject: usize, members: &[(Entity, usize)], refresh: bool) {
    let members = members.iter().map(|(entity, id)| member(*entity, *id)).collect();
    let mut request = Request::new(pb::PrehydrateRequest {
        who: Some(pb::prehydrate_request::Who::Subject(self::subject(subject))),
        members,
        mode: pb::PrehydrateMode::Completed.into(),
        refresh,
        dry_run: false,
    });
    request.set_timeout(DEADLINE);
    let answer = timeout(DEADLINE * 2, run.sidecars[sidecar].client().prehydrate(request)).await;
    match answer {
        Ok(Ok(answer)) => {
            for outcome in answer.into_inner().outcomes {
                let name = outcome.outcome().as_str_name();
                run.ledger.filled(name.strip_prefix("FILL_OUTCOME_").unwrap_or(name));
            }
        }
        Ok(Err(status)) => {
            run.ledger.filled(&format!("call {}", reason(&status)));
            // tidy: waits because a sidecar that is down is not stormed
            sleep(Duration::from_millis(50)).await;
        }
        Err(_) => run.ledger.filled("call unanswered"),
    }
}

pub fn subject(id: usize) -> pb::Subject {
    pb::Subject { user_id: id.to_string(), ..Default::default() }
}

pub fn member(entity: Entity, id: usize) -> pb::Member {
    let mut params = BTreeMap::from([("id".to_owned(), id.to_string())]);
    if entity == Entity::User {
        params.insert("shop".to_owned(), shop(id));
    }
    pb::Member { entity: entity.name().to_owned(), alias: String::new(), params }
}

//! What a run is played on: the network, the cluster, the source and the sidecars. They are started once; each run
//! leaves them well for the next.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::net::{Net, SIDECARS};
use crate::origin::Origin;
use crate::run::DECLARED_LAG;
use crate::sidecar::Sidecar;
use crate::truth::{Entity, Truth};

/// In the order in which they end: whoever speaks to another goes first.
pub struct Stage {
    pub sidecars: Arc<Vec<Sidecar>>,
    pub origin: Origin,
    pub cluster: Cluster,
    pub truth: Arc<Truth>,
    pub net: Arc<Net>,
}

/// F, the longest life of one attempt: short, so that the end of a claim's life is met often.
pub const CLAIM_LIFE: Duration = Duration::from_secs(4);
/// Few enough that every member is invalidated about once a second.
const MEMBERS: usize = 160;

impl Stage {
    pub async fn set(net: Net, seed: u64, mutant: Option<&str>) -> Self {
        let net = Arc::new(net);
        let cluster = Cluster::start(&net).await;
        let truth = Arc::new(Truth::new(MEMBERS));
        let origin = Origin::start(&net, truth.clone(), seed);
        let nodes: Vec<String> = cluster.nodes.iter().map(|node| format!("\"redis://{}\"", node.address)).collect();
        let sidecar = |number: usize| {
            let config = config(&nodes.join(", "), &origin.addresses[number].to_string());
            Sidecar::new(number, net.clone(), &config, mutant.map(str::to_owned))
        };
        let sidecars: Vec<Sidecar> = (0..SIDECARS).map(sidecar).collect();
        for sidecar in &sidecars {
            sidecar.launch();
        }
        for sidecar in &sidecars {
            sidecar.wait_until_serving().await;
        }
        Self { sidecars: Arc::new(sidecars), origin, cluster, truth, net }
    }

    pub fn seeds(&self) -> Vec<String> {
        self.cluster.nodes.iter().map(|node| format!("redis://{}", node.address)).collect()
    }
}

fn config(nodes: &str, origin: &str) -> String {
    let lag = DECLARED_LAG.as_secs();
    let entity = |entity: Entity, more: &str| {
        let name = entity.name();
        let key = if entity == Entity::User { "user:id:{shop}:{id}".to_owned() } else { format!("{name}:id:{{id}}") };
        let source = if entity == Entity::Note { "replica" } else { "truth" };
        format!(
            "  {name}: {{ key: \"{key}\", load: {{ source: {source}, get: \"/{name}/{{id}}\", credential: service }}, \
             ttl: {{ base: 120s, jitter: 10% }}, fields: {{ allow: [\"*\"] }}, {more} }}\n"
        )
    };
    let aliases = "aliases: { email: { key: \"user:email:{email}\", value: full }, \
                   phone: { key: \"user:phone:{shop}:{phone}\", value: id } }, tags: [\"shop:{shop}\"]";
    // A run lasts seconds: a node that is back is soon tried again.
    let breaker = "breaker: { first_wait: 200ms, longest_wait: 1s }";
    let http = format!("origin: \"http://{origin}\", timeout: 3s, retries: 0, concurrency: 256");
    [
        "group: proof\n".to_owned(),
        format!("redis: {{ mode: cluster, nodes: [{nodes}], replicas: 1, refresh: 2s, {breaker} }}\n"),
        format!("sources:\n  truth: {{ http: {{ {http} }} }}\n  replica: {{ http: {{ {http} }}, lag: {lag}s }}\n"),
        "entities:\n".to_owned(),
        entity(Entity::User, &format!("scope: shared, {aliases}")),
        entity(Entity::Basket, "scope: subject"),
        entity(Entity::Price, "scope: shared, writers: shared"),
        entity(Entity::Note, "scope: shared"),
        format!("fill: {{ claim_life: {}s }}\n", CLAIM_LIFE.as_secs()),
        "log: { format: json, level: info }\n".to_owned(),
    ]
    .concat()
}

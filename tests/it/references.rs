//! References that are written from the running process.

use hydrant::telemetry::reference::metrics_reference;

use crate::support::origin::Origin;
use crate::support::redis::RedisServer;
use crate::support::sidecar::Sidecar;

/// A process that has counted one of everything tells what there is to count.
#[tokio::test]
async fn the_metrics_reference_is_up_to_date() {
    let (server, origin) = (RedisServer::start().await, Origin::start().await);
    origin.json("/users/7", r#"{"name":"Ada"}"#);
    let config = format!(
        r#"
group: test
redis: {{ mode: standalone, nodes: ["redis://127.0.0.1:{}"] }}
sources: {{ api: {{ http: {{ origin: "{}" }} }} }}
entities:
  user: {{ key: "m:user:{{id}}", scope: shared, load: {{ source: api, get: "/users/{{id}}" }}, ttl: 5m, fields: {{ allow: [name] }} }}
"#,
        server.port,
        origin.url()
    );
    let sidecar = Sidecar::start(&config).await;
    assert_eq!(sidecar.login("1", &[("user", "7")]).await.status, "COMPLETED");
    let written = metrics_reference(&sidecar.probe("/metrics").await.1);

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &written).expect("writable");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, written, "docs/reference/metrics.md is not what the code says: run `make generate`");
}

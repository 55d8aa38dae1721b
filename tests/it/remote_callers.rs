//! Callers from outside the pod, over real TLS to a real process: who is let in, what each may do and how often, and that
//! a certificate can be rotated while they call.

use std::path::Path;
use std::time::Duration;

use hydrant::domain::secret::Secret;
use hydrant::grpc::client::credentials::{ClientCertificate, Credentials};
use hydrant::grpc::client::{Ask, CallError, Client, Stated, Who};
use hydrant::grpc::pb;
use hydrant::grpc::pb::cache_control_service_client::CacheControlServiceClient;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt;

use crate::support::certificates::Certificates;
use crate::support::cookies::{END, jwt, signed};
use crate::support::sidecar::{Sidecar, hydrant};
use crate::support::wait::until;

const SECRET: &str = "a-secret-of-the-issuer-of-tokens-000001";

const ENTITIES: &str = r#"
entities:
  order: { key: "order:{tenant}:{id}", scope: tenant, ttl: 5m, fields: { allow: [id] } }
"#;

/// A folder as a kubelet mounts one: the files are links into a folder that is swapped as a whole.
struct Mounted(TempDir);

impl Mounted {
    fn new(certificates: &Certificates) -> Self {
        let mounted = Self(TempDir::new().expect("a folder"));
        mounted.swap(certificates, "..1");
        for file in ["server.crt", "server.key", "ca.crt"] {
            std::os::unix::fs::symlink(format!("..data/{file}"), mounted.path().join(file)).expect("a link");
        }
        mounted
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn swap(&self, certificates: &Certificates, version: &str) {
        std::fs::create_dir(self.path().join(version)).expect("a folder");
        for file in ["server.crt", "server.key", "ca.crt"] {
            std::fs::copy(certificates.path(file), self.path().join(version).join(file)).expect("copied");
        }
        std::os::unix::fs::symlink(version, self.path().join("..next")).expect("a link");
        std::fs::rename(self.path().join("..next"), self.path().join("..data")).expect("the same folder");
    }
}

enum Ways {
    Tokens,
    Certificates,
}

async fn start(mounted: &Mounted, ways: Ways, callers: &str) -> Sidecar {
    let folder = mounted.path().display();
    let (jwt, ca) = match ways {
        Ways::Tokens => (
            format!("    jwt: {{ audiences: hydrant, keys: {{ a: {{ algorithm: HS256, secret: {SECRET} }} }} }}\n"),
            String::new(),
        ),
        Ways::Certificates => (String::new(), format!(r#", client_ca: "${{file:{folder}/ca.crt}}""#)),
    };
    let config = format!(
        r#"
group: test
store: memory
{ENTITIES}
listen:
  remote:
    address: 127.0.0.1:0
    tls: {{ certificate: "${{file:{folder}/server.crt}}", key: "${{file:{folder}/server.key}}"{ca} }}
{jwt}    callers:
{callers}"#
    );
    Sidecar::start(&config).await
}

fn remote(sidecar: &Sidecar) -> String {
    let line = sidecar.line("serving").expect("it serves");
    let address = line["remote"].as_str().expect("an address").to_owned();
    format!("https://{address}")
}

fn says(sub: &str) -> Value {
    json!({ "sub": sub, "aud": "hydrant", "exp": END })
}

fn token(sub: &str) -> String {
    jwt("a", SECRET, &says(sub))
}

fn pem(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).expect("readable")
}

fn tls(certificates: &Certificates) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(certificates.ca_file())))
}

async fn channel(endpoint: &str, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    Channel::from_shared(endpoint.to_owned()).expect("an address").tls_config(tls)?.connect().await
}

fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).expect("ascii");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn removing(target: pb::invalidate_target::Target) -> pb::InvalidateRequest {
    let targets = vec![pb::InvalidateTarget { target: Some(target) }];
    pb::InvalidateRequest { targets, ..Default::default() }
}

fn keys(keys: &[&str]) -> pb::InvalidateRequest {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    removing(pb::invalidate_target::Target::Keys(pb::KeysTarget { keys }))
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn fields(status: &Status) -> Vec<String> {
    let bad = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    bad.into_iter().map(|violation| violation.field).collect()
}

const CI: &str = "      ci: { jwt: { sub: ci }, rights: [invalidate, jobs, stats], tenants: all }\n";

#[tokio::test]
async fn only_a_token_that_is_genuine_and_for_us_and_for_now_opens_the_door() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let sidecar = start(&mounted, Ways::Tokens, CI).await;
    let channel = channel(&remote(&sidecar), tls(&certificates)).await.expect("TLS");
    let mut control = CacheControlServiceClient::new(channel);
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "typ": "JWT", "kid": kid });
    let claims = |name: &str, value: Value| {
        let mut claims = says("ci");
        claims[name] = value;
        Some(jwt("a", SECRET, &claims))
    };
    let mut none = signed(&header("none", "a"), SECRET, &says("ci"));
    none.truncate(none.rfind('.').expect("parts") + 1);
    for (what, token) in [
        ("no token", None),
        ("no JWT", Some("x".to_owned())),
        ("expired", claims("exp", json!(1_000))),
        ("another audience", claims("aud", json!("billing"))),
        ("not declared", claims("sub", json!("mallory"))),
        ("another key's id", Some(jwt("b", SECRET, &says("ci")))),
        ("another key", Some(jwt("a", "another-secret-of-the-same-length-00002", &says("ci")))),
        ("another algorithm", Some(signed(&header("HS512", "a"), SECRET, &says("ci")))),
        ("the algorithm none", Some(signed(&header("none", "a"), SECRET, &says("ci")))),
        ("no signature", Some(none)),
    ] {
        let status = control.invalidate(with(token.as_deref(), keys(&["order:acme:1"]))).await.expect_err(what);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"), "{what}");
    }
    let answer = control.invalidate(with(Some(&token("ci")), keys(&["order:acme:1"]))).await;
    assert!(answer.is_ok(), "{answer:?}");
    let page = sidecar.probe("/metrics").await.1;
    for refused in ["no_credential", "expired", "audience", "unknown_caller", "unknown_key", "signature", "algorithm"] {
        let sample = format!("hydrant_grpc_callers_refused_total{{reason=\"{refused}\"}}");
        let line = page.lines().find(|line| line.starts_with(&sample)).unwrap_or_else(|| panic!("no {sample}"));
        assert!(!line.ends_with(" 0"), "{line}");
    }
}

#[tokio::test]
async fn health_is_for_everybody_and_what_there_is_to_call_for_those_who_may() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let sidecar = start(&mounted, Ways::Tokens, CI).await;
    let channel = channel(&remote(&sidecar), tls(&certificates)).await.expect("TLS");
    let mut health = HealthClient::new(channel.clone());
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    let watched = health.watch(HealthCheckRequest::default()).await.expect_err("a stranger");
    assert_eq!(watched.code(), Code::Unauthenticated);

    let list = || {
        let ask = MessageRequest::ListServices(String::new());
        let ask = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
        tokio_stream::iter([ask])
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let refused = reflection.server_reflection_info(Request::new(list())).await.expect_err("a stranger");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let answer = reflection.server_reflection_info(with(Some(&token("ci")), list())).await.expect("known");
    assert!(answer.into_inner().message().await.expect("answered").is_some());
}

#[tokio::test]
async fn each_caller_does_what_its_rights_and_limits_let_it() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let sidecar = start(&mounted, Ways::Tokens, CI).await;
    let channel = channel(&remote(&sidecar), tls(&certificates)).await.expect("TLS");
    let mut control = CacheControlServiceClient::new(channel);
    let token = token("ci");
    let status = control.warm_up(with(Some(&token), pb::WarmUpRequest::default())).await.expect_err("no right");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
    let info = status.get_details_error_info().expect("details");
    assert_eq!(info.metadata.get("right").map(String::as_str), Some("warm_up"));

    let ids = pb::StatsRequest { plain_ids: true, ..Default::default() };
    let status = control.stats(with(Some(&token), ids)).await.expect_err("no right to see ids");
    assert_eq!(
        status.get_details_error_info().expect("details").metadata.get("right").map(String::as_str),
        Some("read_ids")
    );
    // Five a minute, of which one is spent.
    for _ in 0..4 {
        let status = control.stats(with(Some(&token), pb::StatsRequest::default())).await.expect_err("not built");
        assert_eq!(status.code(), Code::Unimplemented);
    }
    let status = control.stats(with(Some(&token), pb::StatsRequest::default())).await.expect_err("over the limit");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("a time");
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(12), "{wait:?}");

    let pattern =
        || removing(pb::invalidate_target::Target::Pattern(pb::PatternTarget { pattern: "order:x:*".into() }));
    for _ in 0..2 {
        assert!(control.invalidate(with(Some(&token), pattern())).await.is_ok());
    }
    let status = control.invalidate(with(Some(&token), pattern())).await.expect_err("two clearings a minute");
    assert_eq!(reason(&status), "RATE_LIMITED");
    let named = control.invalidate(with(Some(&token), keys(&["order:x:1"]))).await;
    assert!(named.is_ok(), "what is named is not a clearing: {named:?}");
    // Who shares the pod has no limit.
    let mut inside = CacheControlServiceClient::new(sidecar.channel().await);
    for _ in 0..4 {
        assert!(inside.invalidate(pattern()).await.is_ok());
    }
}

#[tokio::test]
async fn a_caller_of_one_tenant_touches_no_other() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let acme = "      acme: { jwt: { sub: acme }, rights: [prehydrate, invalidate, jobs, assert_subject, assert_tenant], tenants: acme }\n";
    let sidecar = start(&mounted, Ways::Tokens, acme).await;
    let channel = channel(&remote(&sidecar), tls(&certificates)).await.expect("TLS");
    let mut control = CacheControlServiceClient::new(channel);
    let token = token("acme");
    let login = |tenant: &str| {
        let subject = pb::Subject { user_id: "7".into(), tenant: tenant.to_owned(), ..Default::default() };
        pb::PrehydrateRequest { who: Some(pb::prehydrate_request::Who::Subject(subject)), ..Default::default() }
    };
    assert!(control.prehydrate(with(Some(&token), login("acme"))).await.is_ok());
    for other in ["evil", ""] {
        let status = control.prehydrate(with(Some(&token), login(other))).await.expect_err("another tenant");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "TENANT_DENIED"));
        assert_eq!(fields(&status), ["subject.tenant"]);
    }
    let both = keys(&["order:acme:1", "order:evil:1"]);
    let status = control.invalidate(with(Some(&token), both)).await.expect_err("another tenant");
    assert_eq!(fields(&status), ["targets[0].keys.keys[1]"]);
    let all = removing(pb::invalidate_target::Target::All(pb::AllTarget::default()));
    let status = control.invalidate(with(Some(&token), all)).await.expect_err("of all tenants");
    assert_eq!(reason(&status), "TENANT_DENIED");

    // A job of its own, and one of somebody else's.
    let pattern = |tenant: &str| {
        let pattern = format!("order:{tenant}:*");
        removing(pb::invalidate_target::Target::Pattern(pb::PatternTarget { pattern }))
    };
    let job = |answer: tonic::Response<pb::InvalidateResponse>| match answer.into_inner().state {
        Some(pb::invalidate_response::State::Pending(pending)) => Some(pending.job_id),
        _ => None,
    };
    let own = job(control.invalidate(with(Some(&token), pattern("acme"))).await.expect("its own"));
    let mut inside = CacheControlServiceClient::new(sidecar.channel().await);
    let others = job(inside.invalidate(pattern("evil")).await.expect("from the pod"));
    for (id, is_seen) in [(own, true), (others, false)] {
        let Some(job_id) = id else { continue };
        let got = control.get_job(with(Some(&token), pb::GetJobRequest { job_id: job_id.clone() })).await;
        assert_eq!(got.is_ok(), is_seen, "{got:?}");
        let watched = control.watch_job(with(Some(&token), pb::WatchJobRequest { job_id: job_id.clone() })).await;
        assert_eq!(watched.is_ok(), is_seen);
        assert!(inside.get_job(pb::GetJobRequest { job_id }).await.is_ok());
    }
}

#[tokio::test]
async fn a_certificate_of_the_authority_opens_the_door_for_whom_it_names() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    let mounted = Mounted::new(&certificates);
    let by_name = "      ops: { certificate: { cn: client }, rights: [invalidate], tenants: all }\n";
    let sidecar = start(&mounted, Ways::Certificates, by_name).await;
    let endpoint = remote(&sidecar);
    let shown = |from: &Certificates, name: &str| {
        let text = |end: &str| pem(from.path(&format!("{name}.{end}")));
        tls(&certificates).identity(Identity::from_pem(text("crt"), text("key")))
    };
    let call = async |tls| -> Result<(), Code> {
        let channel = channel(&endpoint, tls).await.map_err(|_| Code::Unavailable)?;
        let answer = CacheControlServiceClient::new(channel).invalidate(keys(&["order:acme:1"])).await;
        answer.map(drop).map_err(|status| status.code())
    };
    assert_eq!(call(shown(&certificates, "client")).await, Ok(()));
    // Vouched for, and declared by nobody.
    assert_eq!(call(shown(&certificates, "server")).await, Err(Code::Unauthenticated));
    // TLS 1.3 lets a client believe for a moment that it is through.
    for refused in [call(shown(&strangers, "client")).await, call(tls(&certificates)).await] {
        assert!(refused.is_err_and(|code| code != Code::Unauthenticated), "{refused:?}");
    }
    // A client may try more than once.
    let handshakes = async || {
        let page = sidecar.probe("/metrics").await.1;
        let sample = "hydrant_grpc_connections_ended_total{cause=\"handshake\"} ";
        let line = page.lines().find_map(|line| line.strip_prefix(sample).map(str::to_owned));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    until("both are counted", async || handshakes().await >= 2).await;
}

#[tokio::test]
async fn a_rotated_certificate_costs_no_call() {
    let (before, after) = (Certificates::new(), Certificates::new());
    let mounted = Mounted::new(&before);
    let sidecar = start(&mounted, Ways::Tokens, CI).await;
    let (endpoint, token) = (remote(&sidecar), token("ci"));
    let both = format!("{}{}", pem(before.ca_file()), pem(after.ca_file()));
    let trusting = |authority: String| Credentials {
        authority: Some(authority),
        token: Some(Secret::new(token.clone())),
        ..Credentials::default()
    };
    // One connection that stays, and a new one for each call.
    let call = async |credentials: Credentials| {
        let client = Client::connect_as(&endpoint, Duration::from_secs(5), credentials).await?;
        client.is_healthy().await
    };
    let staying = Client::connect_as(&endpoint, Duration::from_secs(5), trusting(both.clone())).await.expect("TLS");
    assert!(call(trusting(pem(after.ca_file()))).await.is_err(), "not rotated yet");
    mounted.swap(&after, "..2");
    let mut calls = 0;
    until("the new certificate is in use", async || {
        assert!(call(trusting(both.clone())).await.expect("a new connection"));
        assert!(staying.is_healthy().await.expect("the old connection"));
        calls += 2;
        call(trusting(pem(after.ca_file()))).await.is_ok()
    })
    .await;
    assert!(call(trusting(pem(before.ca_file()))).await.is_err(), "the old one is gone");
    assert!(calls > 0);
}

#[tokio::test]
async fn the_commands_work_from_outside_with_credentials() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let sidecar = start(&mounted, Ways::Tokens, CI).await;
    let endpoint = remote(&sidecar);
    let token_file = mounted.path().join("token");
    std::fs::write(&token_file, format!("{}\n", token("ci"))).expect("writable");
    let (ca, token_file) = (certificates.ca_file().display().to_string(), token_file.display().to_string());
    let remove = ["invalidate", "--key", "order:acme:1", "--endpoint", &endpoint, "--ca", &ca];
    let said = hydrant(&[&remove[..], &["--token-file", &token_file]].concat(), &[]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let by_environment =
        [("HYDRANT_ENDPOINT", endpoint.as_str()), ("HYDRANT_CA", &ca), ("HYDRANT_TOKEN_FILE", &token_file)];
    let said = hydrant(&["job", "1-0-0"], &by_environment);
    assert!(said.errors.contains("NOT_FOUND"), "{}", said.errors);
    let said = hydrant(&remove, &[]);
    assert!(said.errors.contains("UNAUTHENTICATED"), "{}", said.errors);
    let said = hydrant(&["prehydrate", "--user", "7"], &by_environment);
    assert!(said.errors.contains("the right: prehydrate"), "{}", said.errors);
    let said = hydrant(&["warm"], &by_environment);
    assert!(said.errors.contains("the right: warm_up"), "{}", said.errors);
    // Without the authority nobody trusts it, and a token does not travel in the clear.
    let said = hydrant(&remove[..5], &[]);
    assert!(said.errors.contains("both ends trust"), "{}", said.errors);
    let clear = endpoint.replace("https", "http");
    let said = hydrant(&["job", "1-0-0", "--endpoint", &clear, "--token-file", &token_file], &[]);
    assert!(said.errors.contains("in the clear"), "{}", said.errors);
}

#[tokio::test]
async fn a_client_with_a_certificate_calls_as_its_owner() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let by_name = "      ops: { certificate: { cn: client }, rights: [prehydrate, assert_subject], tenants: all }\n";
    let sidecar = start(&mounted, Ways::Certificates, by_name).await;
    let certificate = ClientCertificate {
        certificate: pem(certificates.client_file()),
        key: Secret::new(pem(certificates.client_key_file())),
    };
    let who = Credentials {
        authority: Some(pem(certificates.ca_file())),
        certificate: Some(certificate),
        ..Credentials::default()
    };
    let client = Client::connect_as(&remote(&sidecar), Duration::from_secs(5), who).await.expect("TLS");
    let ask = |tenant: Option<&str>| {
        let tenant = tenant.map(str::to_owned);
        Ask::new(Who::Stated(Stated { user: "7".to_owned(), tenant, ..Stated::default() }))
    };
    assert!(client.prehydrate(ask(None)).await.is_ok());
    let error = client.prehydrate(ask(Some("acme"))).await.expect_err("no right to state a tenant");
    assert!(
        matches!(&error, CallError::Refused(_)) && error.to_string().contains("the right: assert_tenant"),
        "{error}"
    );
}

#[tokio::test]
async fn a_callers_rights_change_while_the_process_runs() {
    let certificates = Certificates::new();
    let mounted = Mounted::new(&certificates);
    let sidecar = start(&mounted, Ways::Tokens, CI).await;
    let channel = channel(&remote(&sidecar), tls(&certificates)).await.expect("TLS");
    let mut control = CacheControlServiceClient::new(channel);
    let token = token("ci");
    assert!(control.invalidate(with(Some(&token), keys(&["order:acme:1"]))).await.is_ok());
    let config = pem(sidecar.config_path());
    sidecar.reconfigure(&config.replace("[invalidate, jobs, stats]", "[jobs]"));
    until("the right is withdrawn", async || {
        let answer = control.clone().invalidate(with(Some(&token), keys(&["order:acme:1"]))).await;
        answer.is_err_and(|status| status.code() == Code::PermissionDenied)
    })
    .await;
}

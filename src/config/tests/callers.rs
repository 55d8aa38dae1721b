//! `listen.pod` and `listen.remote` in the file: what is read from them, and what is refused and where.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::domain::bucket::Rate;
use crate::domain::caller::{Act, Right, Tenants};
use crate::grpc::caller::Declared;
use crate::grpc::tls::{Clients, Tls};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Mounted files, good ones.
fn mounted() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for name in ["tls", "other"] {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).expect("good").self_signed(&key);
        fs::write(folder.path().join(format!("{name}.crt")), certificate.expect("signed").pem()).expect("writes");
        fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).expect("writes");
    }
    folder
}

/// The section, with `@` for the folder of the files.
fn file(folder: &TempDir, remote: &str) -> String {
    let remote = remote.replace('@', folder.path().to_str().expect("UTF-8"));
    format!("{SMALL}listen: {{ remote: {{ {remote} }} }}\n")
}

const TLS: &str = r#"tls: { certificate: "${file:@/tls.crt}", key: "${file:@/tls.key}" }"#;
const MTLS: &str =
    r#"tls: { certificate: "${file:@/tls.crt}", key: "${file:@/tls.key}", client_ca: "${file:@/tls.crt}" }"#;

fn jwt() -> String {
    format!("jwt: {{ audiences: hydrant, keys: {{ a: {{ algorithm: HS256, secret: {SECRET} }} }} }}")
}

fn caller(inner: &str) -> String {
    format!("callers: {{ ci: {{ {inner} }} }}")
}

const CI: &str = "jwt: { sub: ci }, rights: [invalidate, jobs], tenants: all";

/// `path: problem` of everything that is wrong, one a line.
fn wrong(parts: &[&str]) -> String {
    let problems = refused(&file(&mounted(), &parts.join(", ")), &[]).list;
    assert!(problems.iter().all(|problem| problem.hint.is_some() && problem.place.is_some()), "{problems:?}");
    let line = |p: &Problem| format!("{}: {}", p.path.trim_start_matches("listen.remote"), p.problem);
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn ci(config: &Config) -> &Declared {
    config.live.callers.remote.get("ci").expect("declared")
}

#[test]
fn a_caller_is_declared_in_a_few_lines() {
    let folder = mounted();
    let config = loaded(&file(&folder, &[TLS, &jwt(), &caller(CI)].join(", ")), &[]).config;
    let remote = config.listen.remote.as_ref().expect("configured");
    assert_eq!((remote.address.to_string().as_str(), remote.connections), ("0.0.0.0:4772", 64));
    assert_eq!(remote.tls.clients, Clients::Anonymous);
    assert!(Tls::new(remote.tls.clone()).is_ok());
    let Declared { shows, grant } = ci(&config);
    assert_eq!(shows.jwt.get("sub").map(String::as_str), Some("ci"));
    assert_eq!(grant.rights, [Right::Invalidate, Right::Jobs].into());
    assert_eq!(grant.tenants, Tenants::All);
    let per_minute = |calls| Rate::new(calls, Duration::from_secs(60)).expect("a rate");
    let limits = [(Act::Clear, per_minute(2)), (Act::WarmUp, per_minute(2)), (Act::Stats, per_minute(5))];
    assert_eq!(grant.limits, limits.into());
}

#[test]
fn limits_and_tenants_are_each_callers_own() {
    let folder = mounted();
    let own = "certificate: { uri: \"spiffe://x/ci\", dns: CI.Ops }, rights: stats, tenants: [acme, globex], \
               limits: { stats: none, clear: 1/h }";
    let config =
        loaded(&file(&folder, &[MTLS, "limits: { jobs: 10/s, stats: 1/s }", &caller(own)].join(", ")), &[]).config;
    let remote = config.listen.remote.as_ref().expect("configured");
    assert!(matches!(remote.tls.clients, Clients::MustShow(_)), "there is nothing else to show");
    let Declared { shows, grant } = ci(&config);
    assert!(shows.certificate.as_ref().is_some_and(|names| names.dns.contains("ci.ops") && names.uri.len() == 1));
    assert_eq!(grant.tenants, Tenants::Only(["acme".to_owned(), "globex".to_owned()].into()));
    let acts: Vec<Act> = grant.limits.keys().copied().collect();
    assert_eq!(acts, [Act::Clear, Act::Jobs, Act::WarmUp]);
    assert_eq!(grant.limits.get(&Act::Clear).map(|rate| rate.per()), Some(Duration::from_secs(3_600)));
}

#[test]
fn callers_in_the_pod_have_everything_unless_something_is_said() {
    let open = loaded(SMALL, &[]).config;
    assert!(open.listen.remote.is_none());
    assert_eq!(open.live.callers.pod, crate::grpc::caller::Grant::default());
    let said = format!(
        "{SMALL}listen: {{ pod: {{ rights: [prehydrate, record], tenants: acme, limits: {{ prehydrate: 100/s }} }} }}\n"
    );
    let pod = loaded(&said, &[]).config.live.callers.pod;
    assert_eq!(pod.rights, [Right::Prehydrate, Right::Record].into());
    assert_eq!(pod.tenants, Tenants::Only(["acme".to_owned()].into()));
    assert_eq!(pod.limits.len(), 1);
}

#[test]
fn a_door_that_nobody_could_open_or_anybody_is_refused() {
    let jwt = jwt();
    assert_eq!(
        wrong(&[TLS, &caller("rights: stats, tenants: all, certificate: { cn: x }")]).lines().next(),
        Some(": nobody could show who they are")
    );
    assert_eq!(wrong(&[TLS, &jwt, "callers: {}"]), ".callers: 0 callers");
    assert_eq!(wrong(&[TLS, &jwt, &caller("rights: stats, tenants: all")]), ".callers.ci: it shows nothing");
    assert_eq!(
        wrong(&[TLS, &jwt, &caller("certificate: { cn: x }, rights: stats, tenants: all")]),
        ".callers.ci.certificate: no certificates are asked for"
    );
    assert_eq!(wrong(&[MTLS, &caller(CI)]), ".callers.ci.jwt: no tokens are read");
    assert_eq!(
        wrong(&[MTLS, &caller("certificate: {}, rights: stats, tenants: all")]),
        ".callers.ci.certificate: names nothing"
    );
    assert_eq!(
        wrong(&[TLS, &jwt, &caller("jwt: { sub: ci }, rights: [], tenants: all")]),
        ".callers.ci.rights: it may do nothing"
    );
    assert_eq!(
        wrong(&[TLS, &jwt, &caller("jwt: { sub: ci }, rights: admin, tenants: all")]),
        ".callers.ci.rights[0]: `admin` is not a right"
    );
    assert!(wrong(&[TLS, &jwt, &caller("jwt: { sub: ci }, rights: stats")]).contains(".callers.ci.tenants"));
    assert!(
        wrong(&[TLS, &jwt, &caller("jwt: { sub: ci }, rights: stats, tenants: []")])
            .contains(".callers.ci.tenants: is empty")
    );
    assert_eq!(
        wrong(&[TLS, &jwt, &caller("jwt: { sub: ci }, rights: stats, tenants: [all, acme]")]),
        ".callers.ci.tenants: `all` stands beside other names"
    );
    let twins = "callers: { a: { jwt: { sub: x }, rights: stats, tenants: all }, b: { jwt: { sub: x }, rights: jobs, tenants: all } }";
    assert_eq!(wrong(&[TLS, &jwt, twins]), ".callers.b: `a` shows the same");
    assert!(wrong(&[TLS, &jwt, &caller(CI), "limits: { stats: 5 }"]).contains(".limits.stats: "));
    assert!(wrong(&[TLS, &jwt, &caller(CI), "address: \"127.0.0.1:4770\""]).contains(".address: "));
}

#[test]
fn tokens_that_are_meant_for_somebody_else_never_open() {
    let keys = format!("keys: {{ a: {{ algorithm: HS256, secret: {SECRET} }} }}");
    assert_eq!(wrong(&[TLS, &format!("jwt: {{ audiences: [], {keys} }}"), &caller(CI)]), ".jwt.audiences: is empty");
    assert!(wrong(&[TLS, &format!("jwt: {{ {keys} }}"), &caller(CI)]).contains(".jwt.audiences"));
    let without = format!("jwt: {{ audiences: hydrant, keys: {{ a: {{ secret: {SECRET} }} }} }}");
    assert_eq!(wrong(&[TLS, &without, &caller(CI)]), ".jwt.keys.a.algorithm: `algorithm` is missing");
    let short = "jwt: { audiences: hydrant, keys: { a: { algorithm: HS256, secret: short } } }";
    assert_eq!(wrong(&[TLS, short, &caller(CI)]), ".jwt.keys.a.secret: is shorter than 32 bytes");
    let public = format!("jwt: {{ audiences: hydrant, keys: {{ a: {{ algorithm: ES256, secret: {SECRET} }} }} }}");
    assert!(wrong(&[TLS, &public, &caller(CI)]).starts_with(".jwt.keys.a.secret: "));
}

#[test]
fn texts_that_are_no_certificate_are_told_by_their_paths() {
    let jwt = jwt();
    let tls = |certificate: &str, key: &str, more: &str| {
        let tls = format!(r#"tls: {{ certificate: "${{file:@/{certificate}}}", key: "${{file:@/{key}}}" {more} }}"#);
        wrong(&[&tls, &jwt, &caller(CI)])
    };
    assert_eq!(tls("tls.key", "tls.key", ""), ".tls.certificate: is no certificate in PEM");
    assert_eq!(tls("tls.crt", "tls.crt", ""), ".tls.key: is no private key in PEM");
    assert_eq!(tls("tls.crt", "other.key", ""), ".tls.key: is not the key of the certificate");
    let ca = r#", client_ca: "${file:@/tls.key}""#;
    assert_eq!(tls("tls.crt", "tls.key", ca), ".tls.client_ca: holds no certificate of an authority in PEM");
    assert!(tls("gone.crt", "tls.key", "").starts_with(".tls.certificate: "));
}

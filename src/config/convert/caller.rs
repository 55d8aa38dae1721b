//! `listen.pod` and `listen.remote`: who may call, and as whom we answer.
//!
//! Certificates and keys are tried out here, with the texts as they are in this reading of the file: one that cannot be
//! used is a problem of the file, and the cells that are in use keep what they hold.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::identity::Key;
use crate::config::file::caller as file;
use crate::config::file::identity::Format;
use crate::config::form::Formed;
use crate::config::form::grant::{Limit, RightName};
use crate::config::secrets::{Secrets, Staged};
use crate::config::value::{PublicText, SecretText};
use crate::domain::bucket::Rate;
use crate::domain::caller::{Act, Right, Tenants};
use crate::domain::secret::Secret;
use crate::grpc::Remote;
use crate::grpc::caller::certificate::Names;
use crate::grpc::caller::{Config, Declared, Grant, Shows};
use crate::grpc::tls::{self, Clients, Tls, TlsProblem};
use crate::prehydrate::identity::settings::{ConfigProblem, Expiry, Rules};
use crate::prehydrate::identity::token::{self, Tokens};

const JWT: &str = "listen.remote.jwt";
const TLS: &str = "listen.remote.tls";

/// Stands for every tenant there is.
const ALL: &str = "all";
/// A caller that serves more is one of all tenants.
const MAX_TENANTS: usize = 1_024;
/// Each costs a look at each call.
const MAX_CALLERS: usize = 256;

impl Context<'_> {
    pub fn callers(
        &mut self,
        pod: Option<file::Pod>,
        remote: Option<file::Remote>,
    ) -> Option<(Config, Option<Remote>)> {
        let before = self.problems.len();
        let pod = self.pod(pod.unwrap_or_default());
        let Some(remote) = remote else { return Some((Config { pod, jwt: None, remote: BTreeMap::new() }, None)) };
        let file::Remote { address: Formed(address), tls, jwt, callers, limits, connections, in_flight } = remote;
        let (has_jwt, has_ca) = (jwt.is_some(), tls.client_ca.is_some());
        if !has_jwt && !has_ca {
            let hint = "describe `listen.remote.jwt`, or name `listen.remote.tls.client_ca`";
            self.problem("listen.remote", "nobody could show who they are", hint);
        }
        let tls = self.server_tls(tls, has_jwt);
        let jwt = jwt.and_then(|jwt| self.jwt(&jwt));
        if !(1..=MAX_CALLERS).contains(&callers.len()) {
            let problem = format!("{} callers", callers.len());
            self.problem("listen.remote.callers", problem, format!("declare 1 to {MAX_CALLERS}"));
        }
        let common = limits.all();
        let mut remote: BTreeMap<String, Declared> = BTreeMap::new();
        for (name, caller) in callers {
            let declared = self.caller(&name, caller, &common, (has_jwt, has_ca));
            if let Some((other, _)) = remote.iter().find(|(_, other)| other.shows == declared.shows) {
                let problem = format!("`{other}` shows the same");
                self.problem(&format!("listen.remote.callers.{name}"), problem, "a call must fit exactly one caller");
            }
            remote.insert(name, declared);
        }
        let door = Remote { address, tls: tls?, connections, in_flight };
        (self.problems.len() == before).then_some((Config { pod, jwt, remote }, Some(door)))
    }

    fn pod(&mut self, pod: file::Pod) -> Grant {
        let file::Pod { rights, tenants, limits } = pod;
        let rights = rights.map_or_else(|| Right::ALL.into(), rights_of);
        let tenants = tenants.map_or(Tenants::All, |names| self.tenants("listen.pod.tenants", names));
        Grant { rights, tenants, limits: limits.over(&BTreeMap::new()) }
    }

    fn caller(
        &mut self,
        name: &str,
        caller: file::Caller,
        common: &BTreeMap<Act, Rate>,
        (has_jwt, has_ca): (bool, bool),
    ) -> Declared {
        let at = |key: &str| format!("listen.remote.callers.{name}.{key}");
        let file::Caller { jwt, certificate, rights, tenants, limits } = caller;
        let certificate = certificate.map(|file::Certificate { dns, uri, cn }| Names {
            dns: dns.into_iter().map(|name| name.to_ascii_lowercase()).collect(),
            uri: uri.into_iter().collect(),
            common: cn.into_iter().collect(),
        });
        if jwt.is_empty() && certificate.is_none() {
            let hint = "say what it shows: `jwt: { sub: … }` or `certificate: { uri: … }`";
            self.problem(&format!("listen.remote.callers.{name}"), "it shows nothing", hint);
        }
        if !jwt.is_empty() && !has_jwt {
            self.problem(&at("jwt"), "no tokens are read", "describe `listen.remote.jwt`");
        }
        match &certificate {
            Some(names) if names.is_empty() => {
                self.problem(&at("certificate"), "names nothing", "give `dns`, `uri` or `cn`");
            }
            Some(_) if !has_ca => {
                let hint = "name who vouches for it: `listen.remote.tls.client_ca`";
                self.problem(&at("certificate"), "no certificates are asked for", hint);
            }
            Some(_) | None => {}
        }
        if rights.is_empty() {
            self.problem(&at("rights"), "it may do nothing", "name a right, or remove the caller");
        }
        let tenants = self.tenants(&at("tenants"), tenants);
        let grant = Grant { rights: rights_of(rights), tenants, limits: limits.over(common) };
        Declared { shows: Shows { jwt, certificate }, grant }
    }

    fn tenants(&mut self, path: &str, names: Vec<String>) -> Tenants {
        let count = names.len();
        if names == [ALL] {
            return Tenants::All;
        }
        let names: BTreeSet<String> = names.into_iter().collect();
        if count == 0 || count > MAX_TENANTS || names.contains("") {
            self.problem(path, "is empty, has an empty name, or too many", "name 1 to 1024 tenants, or say `all`");
        }
        if names.contains(ALL) {
            self.problem(path, "`all` stands beside other names", "say `all` alone, or name the tenants");
        }
        Tenants::Only(names)
    }

    fn jwt(&mut self, jwt: &file::Jwt) -> Option<token::Config> {
        let keys: Vec<Key> = jwt.keys.iter().filter_map(|(id, key)| self.key(JWT, Format::Jwt, id, key)).collect();
        if jwt.audiences.is_empty() {
            let hint = "a token that is meant for somebody else must not open this door: `audiences: [hydrant]`";
            self.problem(&format!("{JWT}.audiences"), "is empty", hint);
        }
        let trial = token_config(jwt, &keys, &Secrets::default(), &mut Staged::default());
        let whole = keys.len() == jwt.keys.len();
        for ConfigProblem { field, problem } in Tokens::new(trial).err().into_iter().flatten() {
            if whole || field != "format.keys" {
                let path = match field.strip_prefix("format.keys") {
                    Some(rest) => super::identity::key_path(JWT, &keys, rest),
                    None => format!("{JWT}.{}", field.trim_start_matches("rules.")),
                };
                self.problem(&path, problem, "docs/remote-callers.md shows a whole example");
            }
        }
        Some(token_config(jwt, &keys, self.secrets, &mut self.staged))
    }

    fn server_tls(&mut self, tls: file::ServerTls, has_jwt: bool) -> Option<tls::Config> {
        let trial = tls_config(&tls, has_jwt, &Secrets::default(), &mut Staged::default());
        if let Err(problem) = Tls::new(trial) {
            let (key, hint) = match problem {
                TlsProblem::Certificate => ("certificate", "PEM, the server's own certificate first"),
                TlsProblem::Key => ("key", "PEM: `BEGIN PRIVATE KEY`"),
                TlsProblem::Mismatch => ("key", "give the key that belongs to `certificate`"),
                TlsProblem::Authority => ("client_ca", "PEM of the authority that signs callers' certificates"),
            };
            self.problem(&format!("{TLS}.{key}"), problem, hint);
            return None;
        }
        Some(tls_config(&tls, has_jwt, self.secrets, &mut self.staged))
    }
}

fn rights_of(rights: Vec<Formed<RightName>>) -> BTreeSet<Right> {
    rights.into_iter().map(|Formed(RightName(right))| right).collect()
}

fn token_config(jwt: &file::Jwt, keys: &[Key], secrets: &Secrets, staged: &mut Staged) -> token::Config {
    let rules = Rules {
        issuers: jwt.issuers.clone(),
        audiences: jwt.audiences.clone(),
        leeway: jwt.leeway.0,
        expiry: Expiry::Required,
    };
    let keys = keys.iter().map(|key| key.staged(secrets, staged)).collect();
    token::Config { keys, types: jwt.types.clone(), rules }
}

fn tls_config(tls: &file::ServerTls, has_jwt: bool, secrets: &Secrets, staged: &mut Staged) -> tls::Config {
    let file::ServerTls { certificate: PublicText(certificate), key: SecretText(key), client_ca } = tls;
    let mut cell = |name: &str, text: &Secret| secrets.stage(staged, &format!("{TLS}.{name}"), text.clone());
    let (certificate, key) = (cell("certificate", certificate), cell("key", key));
    let clients = match client_ca {
        None => Clients::Anonymous,
        Some(PublicText(authority)) if has_jwt => Clients::MayShow(cell("client_ca", authority)),
        Some(PublicText(authority)) => Clients::MustShow(cell("client_ca", authority)),
    };
    tls::Config { certificate, key, clients }
}

impl file::RemoteLimits {
    fn all(self) -> BTreeMap<Act, Rate> {
        let Self { prehydrate, invalidate, clear, jobs, warm_up, stats, explain, lookup, watch, record } = self;
        let own = |limit| Some(limit);
        file::Limits {
            prehydrate: own(prehydrate),
            invalidate: own(invalidate),
            clear: own(clear),
            jobs: own(jobs),
            warm_up: own(warm_up),
            stats: own(stats),
            explain: own(explain),
            lookup: own(lookup),
            watch: own(watch),
            record: own(record),
        }
        .over(&BTreeMap::new())
    }
}

impl file::Limits {
    /// These where they are given, else the others.
    fn over(self, common: &BTreeMap<Act, Rate>) -> BTreeMap<Act, Rate> {
        let Self { prehydrate, invalidate, clear, jobs, warm_up, stats, explain, lookup, watch, record } = self;
        let all = [
            (Act::Prehydrate, prehydrate),
            (Act::Invalidate, invalidate),
            (Act::Clear, clear),
            (Act::Jobs, jobs),
            (Act::WarmUp, warm_up),
            (Act::Stats, stats),
            (Act::Explain, explain),
            (Act::Lookup, lookup),
            (Act::Watch, watch),
            (Act::Record, record),
        ];
        let settled = all.into_iter().filter_map(|(act, limit)| match limit {
            Some(Formed(Limit(rate))) => Some((act, rate?)),
            None => Some((act, *common.get(&act)?)),
        });
        settled.collect()
    }
}

//! `redis`, `store` and `local`: the one store there is.

use super::Context;
use crate::config::Store;
use crate::config::file::redis::{Breaker, Login, Mode, Redis, Tls};
use crate::config::file::{Local, StoreWord};
use crate::config::value::SecretText;
use crate::domain::backoff::{Backoff, BackoffError};
use crate::domain::breaker;
use crate::domain::entity::Name;
use crate::{local, remote};

/// More seeds than this help nobody: the first that answers names all nodes.
const MAX_NODES: usize = 64;
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// An address as written, with what its scheme says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    address: remote::Address,
    scheme: Scheme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    None,
    Plain,
    Tls,
}

impl Context<'_> {
    pub fn store(&mut self, group: Option<&Name>) -> Option<Store> {
        let has = |key: &str| self.settled.values.get(key).is_some() || self.is_broken(key);
        let (redis, memory) = (has("redis"), has("store"));
        let local: Option<Local> = self.take(&["local"]);
        if redis && memory {
            let problem = "two stores are named, `redis` and `store`";
            self.problem("store", problem, "remove `store` to use Redis, or `redis` to keep everything in memory");
            return None;
        }
        if redis {
            if self.settled.places.contains_key("local") {
                let hint = "values go to Redis only; remove it until the local tier is built";
                self.warning("local", "`local` bounds the memory store, which is not used", hint);
            }
            return self.redis(group).map(|config| Store::Redis(Box::new(config)));
        }
        if !memory {
            let hint =
                "describe `redis: { mode: …, nodes: […] }`, or write `store: memory` for a store in this process";
            self.problem("", "no store is named", hint);
            return None;
        }
        match self.take(&["store"])? {
            StoreWord::Memory => {
                local.map(|Local { bytes, items }| Store::Memory(local::Config { bytes: bytes.usize(), items }))
            }
        }
    }

    fn redis(&mut self, group: Option<&Name>) -> Option<remote::Config> {
        let redis: Redis = self.take(&["redis"])?;
        let Redis {
            mode,
            nodes,
            master,
            sentinel,
            replicas,
            username,
            password,
            tls,
            deadline,
            connect_timeout,
            refresh,
            breaker,
        } = redis;
        let auth = self.auth(username, password);
        let breaker = self.breaker(breaker);
        let nodes = self.nodes(mode, &nodes)?;
        let tls = self.redis_tls(tls, &nodes);
        let addresses: Vec<remote::Address> = nodes.into_iter().map(|node| node.address).collect();
        for (key, given) in [("master", master.is_some()), ("sentinel", sentinel.is_some())] {
            if given && mode != Mode::Sentinel {
                let problem = "only `mode: sentinel` has this";
                self.problem(&format!("redis.{key}"), problem, "remove it, or say `mode: sentinel`");
            }
        }
        let mode = match mode {
            Mode::Standalone => addresses.into_iter().next().map(|address| remote::Mode::Standalone { address }),
            Mode::Cluster => Some(remote::Mode::Cluster { seeds: addresses }),
            Mode::Sentinel => self.sentinels(addresses, master, sentinel),
        };
        Some(remote::Config {
            mode: mode?,
            auth,
            tls: tls?,
            replicas,
            deadline: deadline.0,
            connect_timeout: connect_timeout.0,
            breaker: breaker?,
            refresh: refresh.0,
            group: group?.as_str().to_owned(),
        })
    }

    fn auth(&mut self, username: Option<String>, password: Option<SecretText>) -> Option<remote::Auth> {
        let Some(password) = password else {
            let hint = "set `redis.password`: without it, whoever reaches Redis reads and changes the cache";
            self.warning("redis", "Redis is used without AUTH", hint);
            if username.is_some() {
                self.problem("redis.username", "a user without a password", "set `redis.password` as well");
            }
            return None;
        };
        Some(remote::Auth { username, password: self.secret("redis.password", password.0) })
    }

    fn nodes(&mut self, mode: Mode, texts: &[String]) -> Option<Vec<Node>> {
        let port = if mode == Mode::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let before = self.problems.len();
        let mut nodes = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            match node(text, port) {
                Ok(node) => nodes.push(node),
                Err((problem, hint)) => self.problem(&format!("redis.nodes[{i}]"), problem, hint),
            }
        }
        if texts.is_empty() || texts.len() > MAX_NODES {
            let problem = format!("{} addresses", texts.len());
            self.problem(
                "redis.nodes",
                problem,
                format!("name one to {MAX_NODES}: `nodes: [\"redis://10.0.0.1:6379\"]`"),
            );
        }
        if mode == Mode::Standalone && texts.len() > 1 {
            let hint = "keep one address, or say `mode: cluster` or `mode: sentinel`";
            self.problem("redis.nodes", format!("`standalone` is one server, and {} are named", texts.len()), hint);
        }
        let with_tls = nodes.iter().filter(|node| node.scheme == Scheme::Tls).count();
        if with_tls > 0 && nodes.iter().any(|node| node.scheme == Scheme::Plain) {
            self.problem(
                "redis.nodes",
                "some addresses speak TLS and some do not",
                "write all of them with `rediss://`",
            );
        }
        (self.problems.len() == before).then_some(nodes)
    }

    fn sentinels(
        &mut self,
        sentinels: Vec<remote::Address>,
        master: Option<String>,
        login: Option<Login>,
    ) -> Option<remote::Mode> {
        let auth = login.map(|Login { username, password }| remote::Auth {
            username,
            password: self.secret("redis.sentinel.password", password.0),
        });
        if master.is_none() {
            let hint = "name the master that the sentinels watch: `master: mymaster`";
            self.problem("redis.master", "`master` is missing", hint);
        }
        Some(remote::Mode::Sentinel { sentinels, master: master?, auth })
    }

    /// None where it is wrong; `Some(None)` where no TLS is spoken.
    fn redis_tls(&mut self, tls: Option<Tls>, nodes: &[Node]) -> Option<Option<remote::Tls>> {
        let by_scheme = nodes.iter().any(|node| node.scheme == Scheme::Tls);
        let Some(Tls { ca, certificate, key }) = tls else {
            if by_scheme {
                return Some(Some(remote::Tls { ca: None, client: None }));
            }
            if nodes.iter().any(|node| !is_loopback(&node.address.host)) {
                let hint = "write `tls: {}` or `rediss://`: without it, values and the password travel in the clear";
                self.warning("redis", "Redis is used without TLS", hint);
            }
            return Some(None);
        };
        for (name, file) in [("ca", &ca), ("certificate", &certificate), ("key", &key)] {
            self.readable(&format!("redis.tls.{name}"), file.as_deref());
        }
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(remote::ClientCertificate { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                self.problem("redis.tls.key", "a certificate without its key", "name the key's file as well");
                return None;
            }
            (None, Some(_)) => {
                self.problem(
                    "redis.tls.certificate",
                    "a key without its certificate",
                    "name the certificate's file as well",
                );
                return None;
            }
        };
        Some(Some(remote::Tls { ca, client }))
    }

    fn breaker(&mut self, breaker: Breaker) -> Option<breaker::Config> {
        let Breaker { failures, first_wait, longest_wait } = breaker;
        match Backoff::new(first_wait.0, longest_wait.0) {
            Ok(waits) => Some(breaker::Config { failures, waits }),
            Err(error) => {
                let key = match error {
                    BackoffError::Zero => "first_wait",
                    BackoffError::Shrinks => "longest_wait",
                };
                self.problem(&format!("redis.breaker.{key}"), error, "the waits double from the first to the longest");
                None
            }
        }
    }
}

/// `host:port`, `redis://host:port`, `rediss://[::1]:6379`. The text itself is not repeated in a problem: a password may
/// stand in it.
fn node(text: &str, default_port: u16) -> Result<Node, (&'static str, &'static str)> {
    const HINT: &str = "write `redis://host:port`, or `rediss://host:port` for TLS";
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::None, text),
        Some(("redis", rest)) => (Scheme::Plain, rest),
        Some(("rediss", rest)) => (Scheme::Tls, rest),
        Some(_) => return Err(("the scheme is neither `redis` nor `rediss`", HINT)),
    };
    if rest.contains('@') {
        return Err((
            "a user or password stands in the address",
            "write `redis.username` and `redis.password` instead",
        ));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority = rest.strip_suffix("/0").unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(("something stands behind the port", "only database 0 is used; write nothing behind the port"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(("this is not an address", HINT))?)),
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(("an IPv6 address stands in brackets", "write `[::1]:6379`"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let good_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:%".contains(c));
    let port = port.map_or(Ok(default_port), str::parse).map_err(|_| ("the port is not a number up to 65535", HINT))?;
    if !good_host || port == 0 {
        return Err(("this is not an address", HINT));
    }
    Ok(Node { address: remote::Address { host: host.to_owned(), port }, scheme })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (text, host, port, scheme) in [
            ("redis://10.0.0.1:6380", "10.0.0.1", 6380, Scheme::Plain),
            ("rediss://cache.internal/0", "cache.internal", 6379, Scheme::Tls),
            ("cache:7000", "cache", 7000, Scheme::None),
            ("[::1]:7000", "::1", 7000, Scheme::None),
            ("[::1]", "::1", 6379, Scheme::None),
        ] {
            let address = remote::Address { host: host.to_owned(), port };
            assert_eq!(node(text, 6379), Ok(Node { address, scheme }), "{text}");
        }
        for text in
            ["", ":6379", "http://a", "redis://u:p@h:1", "h:0", "h:99999", "h:x", "redis://h/3", "::1", "h h", "[::1]7"]
        {
            assert!(node(text, 6379).is_err(), "{text}");
        }
    }
}

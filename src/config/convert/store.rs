//! `redis`, `store` and `local`: the one store there is.

use super::Context;
use crate::config::Store;
use crate::config::file::redis::{Breaker, Login, Mode, Redis, Tls};
use crate::config::file::{Local, StoreWord};
use crate::config::form::{Formed, RedisAddress, Scheme};
use crate::config::value::SecretText;
use crate::domain::backoff::{Backoff, BackoffError};
use crate::domain::breaker;
use crate::domain::entity::Name;
use crate::{local, remote};

/// More seeds than this help nobody: the first that answers names all nodes.
const MAX_NODES: usize = 64;
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl Context<'_> {
    pub fn store(&mut self, group: Option<&Name>) -> Option<Store> {
        let has = |key: &str| self.settled.places.contains_key(key);
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
        let nodes: Vec<RedisAddress> = nodes.into_iter().map(|Formed(node)| node).collect();
        let tls = self.redis_tls(tls, &nodes);
        let addresses = self.nodes(mode, &nodes);
        for (key, given) in [("master", master.is_some()), ("sentinel", sentinel.is_some())] {
            if given && mode != Mode::Sentinel {
                let problem = "only `mode: sentinel` has this";
                self.problem(&format!("redis.{key}"), problem, "remove it, or say `mode: sentinel`");
            }
        }
        let mode = match mode {
            Mode::Standalone => {
                addresses.and_then(|all| all.into_iter().next()).map(|address| remote::Mode::Standalone { address })
            }
            Mode::Cluster => addresses.map(|seeds| remote::Mode::Cluster { seeds }),
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

    fn nodes(&mut self, mode: Mode, nodes: &[RedisAddress]) -> Option<Vec<remote::Address>> {
        let before = self.problems.len();
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            let problem = format!("{} addresses", nodes.len());
            self.problem(
                "redis.nodes",
                problem,
                format!("name one to {MAX_NODES}: `nodes: [\"redis://10.0.0.1:6379\"]`"),
            );
        }
        if mode == Mode::Standalone && nodes.len() > 1 {
            let hint = "keep one address, or say `mode: cluster` or `mode: sentinel`";
            self.problem("redis.nodes", format!("`standalone` is one server, and {} are named", nodes.len()), hint);
        }
        let speaks = |scheme: Scheme| nodes.iter().any(|node| node.scheme == scheme);
        if speaks(Scheme::Tls) && speaks(Scheme::Plain) {
            self.problem(
                "redis.nodes",
                "some addresses speak TLS and some do not",
                "write all of them with `rediss://`",
            );
        }
        let port = if mode == Mode::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let address =
            |node: &RedisAddress| remote::Address { host: node.host.clone(), port: node.port.unwrap_or(port) };
        (self.problems.len() == before).then(|| nodes.iter().map(address).collect())
    }

    fn sentinels(
        &mut self,
        sentinels: Option<Vec<remote::Address>>,
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
        Some(remote::Mode::Sentinel { sentinels: sentinels?, master: master?, auth })
    }

    /// None where it is wrong; `Some(None)` where no TLS is spoken.
    fn redis_tls(&mut self, tls: Option<Tls>, nodes: &[RedisAddress]) -> Option<Option<remote::Tls>> {
        let by_scheme = nodes.iter().any(|node| node.scheme == Scheme::Tls);
        let Some(Tls { ca, certificate, key }) = tls else {
            if by_scheme {
                return Some(Some(remote::Tls { ca: None, client: None }));
            }
            if nodes.iter().any(|node| !node.is_loopback()) {
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

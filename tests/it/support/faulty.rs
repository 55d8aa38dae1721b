//! The memory store behind a hand that writes down what is asked of it, and can hold a confirmation back, refuse one,
//! run something just before a commit, or leave no room in an index.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::key::Key;
use hydrant::domain::random::Random;
use hydrant::domain::store::{
    Claim, ClaimAsk, Claimed, Committed, Confirmation, Confirmed, Held, Landing, Registered, Registration, Rules,
    Store, StoreError, StoreState, Write,
};
use hydrant::local;
use hydrant::local::memory::MemoryStore;

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Clone)]
pub struct FaultyStore {
    pub memory: MemoryStore,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    log: Vec<String>,
    tags: Answer,
    aliases: Answer,
    room: Option<usize>,
    before_commit: HashMap<String, Hook>,
    writes: HashMap<String, Write>,
}

/// How registrations are confirmed.
#[derive(Clone, Copy, Default)]
pub enum Answer {
    #[default]
    Yes,
    Short,
    Never,
}

struct FaultyClaim {
    claim: Box<dyn Claim>,
    key: String,
    script: Arc<Mutex<Script>>,
}

impl FaultyStore {
    pub fn new() -> Self {
        let memory = MemoryStore::new(local::Config { bytes: 1 << 20, items: 1_000 }, Random::from_seed(3));
        Self { memory, script: Arc::default() }
    }

    pub fn confirm_tags(&self, answer: Answer) {
        self.script.lock().expect("unpoisoned").tags = answer;
    }

    pub fn confirm_aliases(&self, answer: Answer) {
        self.script.lock().expect("unpoisoned").aliases = answer;
    }

    /// As if the index had only this much room.
    pub fn leave_room(&self, room: usize) {
        self.script.lock().expect("unpoisoned").room = Some(room);
    }

    /// Once, before the next commit of the key reaches the store.
    pub fn before_commit(&self, key: &str, hook: impl FnOnce() + Send + 'static) {
        self.script.lock().expect("unpoisoned").before_commit.insert(key.to_owned(), Box::new(hook));
    }

    /// What was asked, in its order: `claim user:7`.
    pub fn log(&self) -> Vec<String> {
        self.script.lock().expect("unpoisoned").log.clone()
    }

    /// The last write that was asked for at a key.
    pub fn write(&self, key: &str) -> Write {
        self.script.lock().expect("unpoisoned").writes.get(key).cloned().expect("a write")
    }

    pub async fn value(&self, key: &str) -> Option<String> {
        self.held(key).await.map(|held| String::from_utf8_lossy(&held.value).into_owned())
    }

    pub async fn ttl(&self, key: &str) -> Option<Duration> {
        self.held(key).await?.ttl
    }

    async fn held(&self, key: &str) -> Option<Held> {
        let key = Key::new(key.to_owned()).expect("a good key");
        self.memory.read(&[key]).await.expect("a read").remove(0)
    }

    pub fn note(&self, line: impl Into<String>) {
        self.script.lock().expect("unpoisoned").log.push(line.into());
    }
}

impl Answer {
    fn confirmation(self) -> Confirmation {
        match self {
            Self::Yes => Confirmation::given(),
            Self::Short => Confirmation::new(async { Confirmed::Short }),
            Self::Never => Confirmation::new(pending()),
        }
    }
}

impl Store for FaultyStore {
    fn claim<'a>(&'a self, ask: ClaimAsk<'a>) -> BoxFuture<'a, Result<Claimed, StoreError>> {
        async move {
            self.note(format!("claim {}", ask.key));
            let claimed = self.memory.claim(ask).await?;
            Ok(match claimed {
                Claimed::Held(claim) => Claimed::Held(Box::new(FaultyClaim {
                    claim,
                    key: ask.key.to_string(),
                    script: self.script.clone(),
                })),
                other => other,
            })
        }
        .boxed()
    }

    fn register<'a>(&'a self, ask: Registration<'a>) -> BoxFuture<'a, Result<Registered, StoreError>> {
        async move {
            self.note(format!("register {}", ask.key));
            let registered = self.memory.register(ask).await?;
            let answer = self.script.lock().expect("unpoisoned").tags;
            Ok(Registered { confirmation: answer.confirmation(), ..registered })
        }
        .boxed()
    }

    fn remove<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<usize, StoreError>> {
        self.memory.remove(keys)
    }

    fn read<'a>(&'a self, keys: &'a [Key]) -> BoxFuture<'a, Result<Vec<Option<Held>>, StoreError>> {
        self.memory.read(keys)
    }

    fn state(&self) -> StoreState {
        self.memory.state()
    }
}

impl FaultyClaim {
    fn about_to(&self, verb: &str) {
        let hook = {
            let mut script = self.script.lock().expect("unpoisoned");
            script.log.push(format!("{verb} {}", self.key));
            script.before_commit.remove(&self.key)
        };
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl Claim for FaultyClaim {
    fn commit(self: Box<Self>, mut write: Write) -> BoxFuture<'static, Result<Landing, StoreError>> {
        async move {
            self.about_to("commit");
            let (room, answer) = {
                let mut script = self.script.lock().expect("unpoisoned");
                script.writes.insert(self.key.clone(), write.clone());
                (script.room, script.aliases)
            };
            write.aliases.truncate(room.unwrap_or(usize::MAX));
            let landing = self.claim.commit(write).await?;
            Ok(Landing { confirmation: landing.confirmation.map(|_| answer.confirmation()), ..landing })
        }
        .boxed()
    }

    fn commit_absent(
        self: Box<Self>,
        ttl: Duration,
        rules: Rules,
    ) -> BoxFuture<'static, Result<Committed, StoreError>> {
        self.about_to("commit absent");
        self.claim.commit_absent(ttl, rules)
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.about_to("abort");
        self.claim.abort()
    }
}

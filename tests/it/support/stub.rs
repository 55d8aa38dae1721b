//! A source whose answers the test writes down beforehand, and which the test can hold back. For faults and for
//! counting; what concerns HTTP is tested against a real origin.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hydrant::domain::source::{FetchAsk, FetchError, Fetched, Source};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

pub struct StubSource {
    answers: Mutex<HashMap<String, Result<Fetched, FetchError>>>,
    calls: Mutex<Vec<Call>>,
    /// Answers wait for a permit while the gate is shut.
    gate: Semaphore,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub path: String,
    pub session: Option<String>,
}

impl StubSource {
    pub fn open() -> Self {
        Self { answers: Mutex::default(), calls: Mutex::default(), gate: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    /// Holds every answer back until the gate is opened.
    pub fn shut() -> Self {
        Self { gate: Semaphore::new(0), ..Self::open() }
    }

    /// From now on every answer is held back.
    pub fn shut_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn open_gate(&self) {
        self.gate.add_permits(10_000);
    }

    pub fn answer(&self, path: &str, answer: Result<Fetched, FetchError>) {
        self.answers.lock().expect("unpoisoned").insert(path.to_owned(), answer);
    }

    pub fn found(&self, path: &str, body: &'static str) {
        self.answer(path, Ok(Fetched::Found(Bytes::from_static(body.as_bytes()))));
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("unpoisoned").clone()
    }
}

impl Source for StubSource {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        async move {
            let load = ask.member.entity.load().expect("a loaded entity");
            let path = load.ask.path(&ask.member.params).expect("renders");
            // A defect of our own somewhere in a fill.
            assert!(!path.ends_with("/panic"), "as the test asked");
            let session = ask.session.map(|s| s.expose().to_owned());
            self.calls.lock().expect("unpoisoned").push(Call { path: path.clone(), session });
            let Ok(permit) = timeout_at(ask.deadline, self.gate.acquire()).await else {
                return Err(FetchError::Timeout);
            };
            permit.expect("never closed").forget();
            self.answers.lock().expect("unpoisoned").get(&path).cloned().unwrap_or(Err(FetchError::Status(500)))
        }
        .boxed()
    }
}

//! Fills of one key at one time are one fill: whoever comes first does it, the others wait for its end.
//!
//! Every way the wait can end has a name, a leader that vanished included: then a waiting fill takes its place. A fill
//! from before an invalidation is not joined after it, by whoever comes then: its end would be theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;
use crate::domain::secret::Secret;
use crate::domain::watched::Watched;
use crate::fill::ending::Filled;
use crate::fill::epochs::{Epochs, Stamp};

/// The fills under way in this process. Bounded by the plans that may run at once, times their items.
#[derive(Clone)]
pub struct Flights {
    /// Held for one look-up, never across an await.
    map: Arc<Mutex<Map>>,
    epochs: Epochs,
}

/// Each fill under way: from when, and where its end will appear.
type Map = HashMap<Flight, (Stamp, End), Xxh3Builder>;

/// Where the leader's answer will appear.
pub type End = Arc<Watched<State>>;

#[derive(Debug)]
pub enum State {
    UnderWay,
    Landed(Filled),
    /// The leader is gone without an answer.
    Vanished,
}

/// What makes two fills one. A refresh does not join a fill that would be content with what is there; and a fill that
/// forwards one session does not join one that forwards another, which its source might refuse.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Flight {
    pub key: Key,
    pub session: Option<Secret>,
    pub refresh: bool,
}

pub enum Place {
    /// This fill is the first: do it, then `land`.
    Leader(Leader),
    /// Another is doing it.
    Follower(End),
}

/// The duty to fill; dropping it without landing tells the followers that it vanished.
pub struct Leader {
    flights: Flights,
    flight: Flight,
    stamp: Stamp,
    end: End,
}

impl Flights {
    pub fn new(seed: u64, epochs: Epochs) -> Self {
        let map = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        Self { map: Arc::new(Mutex::new(map)), epochs }
    }

    pub fn enter(&self, flight: Flight) -> Place {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.epochs.stamp([&flight.key]);
        match map.get(&flight) {
            Some((began, end)) if *began == stamp => return Place::Follower(end.clone()),
            Some(_) | None => {}
        }
        let end = Arc::new(Watched::new(State::UnderWay));
        map.insert(flight.clone(), (stamp, end.clone()));
        Place::Leader(Leader { flights: self.clone(), flight, stamp, end })
    }
}

impl Leader {
    pub fn land(self, filled: &Filled) {
        // The entry goes (by drop) after the answer stands, so that no follower finds neither.
        self.end.replace(State::Landed(filled.clone()));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        {
            let mut map = self.flights.map.lock().unwrap_or_else(PoisonError::into_inner);
            // Since an invalidation another may lead under this name.
            if map.get(&self.flight).is_some_and(|(began, _)| *began == self.stamp) {
                map.remove(&self.flight);
            }
        }
        if self.end.look(|state| matches!(state, State::UnderWay)) {
            self.end.replace(State::Vanished);
        }
    }
}

/// The leader's answer, or nothing if it vanished.
pub async fn follow(end: End) -> Option<Filled> {
    end.wait_for(|state| match state {
        State::UnderWay => None,
        State::Landed(filled) => Some(Some(filled.clone())),
        State::Vanished => Some(None),
    })
    .await
}

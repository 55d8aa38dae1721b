//! Fills of one key at one time are one fill: whoever comes first does it, the others wait for its end.
//!
//! Every way the wait can end has a name, a leader that vanished included: then a waiting fill takes its place.
//!
//! TODO(#4): an invalidation has to drop the entries of its keys here, and of the plans that hold them, or a call that is
//! made after it would join a fill from before and inherit its `Fenced`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3Builder;

use crate::domain::key::Key;
use crate::domain::secret::Secret;
use crate::domain::watched::Watched;
use crate::fill::Filled;

/// The fills under way in this process. Bounded by the plans that may run at once, times their items.
#[derive(Clone)]
pub struct Flights {
    /// Held for one look-up, never across an await.
    map: Arc<Mutex<HashMap<Flight, End, Xxh3Builder>>>,
}

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
    end: End,
}

impl Flights {
    pub fn new(seed: u64) -> Self {
        let map = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        Self { map: Arc::new(Mutex::new(map)) }
    }

    pub fn enter(&self, flight: Flight) -> Place {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = map.get(&flight) {
            return Place::Follower(end.clone());
        }
        let end = Arc::new(Watched::new(State::UnderWay));
        map.insert(flight.clone(), end.clone());
        Place::Leader(Leader { flights: self.clone(), flight, end })
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
        self.flights.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.flight);
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

//! Randomness as an argument: from the operating system in a running sidecar, from a seed in tests.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::domain::mutant::{self, Mutant};

/// Cloning shares the generator. The lock is held for a few nanoseconds and never across an await.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<StdRng>>);

/// What makes one claim different from every other: 128 random bits, never a counter, because a counter that a failover
/// sets back would be given out twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Nonce([u8; 16]);

impl Random {
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    pub fn nonce(&self) -> Nonce {
        if mutant::on(Mutant::M3CounterNonces) {
            return Nonce::counted();
        }
        Nonce(self.with(|rng| rng.random()))
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        self.with(|rng| {
            let mut bytes = [0; N];
            rng.fill(&mut bytes[..]);
            bytes
        })
    }

    /// Evenly from 0 up to, not including, 1.
    pub fn unit(&self) -> f64 {
        self.with(|rng| rng.random())
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        // A panic while drawing leaves the generator usable.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Nonce {
    /// One that was drawn before and written down.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// What a nonce must not be (M3): out of a counter so short that others soon give the same.
    fn counted() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        Self([NEXT.fetch_add(1, Ordering::Relaxed) % 4; 16])
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

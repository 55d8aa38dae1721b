//! Cookies of every kind, good and forged. `forge` makes them, which the crate itself cannot.

mod configuration;
mod forge;
mod forged_jwt;
mod forged_values;
mod good;
mod properties;
mod rotation;
mod vectors;

use crate::prehydrate::identity::refusal::Why;
use crate::prehydrate::identity::{Identity, Who};

/// Refuses every cookie of a table, each for its own reason and all with the same words.
fn refuse_all(identity: &Identity, table: &[(&str, String, Why)]) {
    let mut names: Vec<&str> = table.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table.len(), "two attacks share a name");
    for (name, cookie, why) in table {
        match identity.identify(Who::Value(cookie), forge::now()) {
            Ok(_) => panic!("accepted: {name}"),
            Err(refused) => {
                assert_eq!(refused.why(), *why, "{name}");
                assert_eq!(refused.to_string(), "the cookie is not accepted", "{name}");
            }
        }
    }
}

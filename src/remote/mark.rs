//! The tombstone beside a key, and the plain commands that leave it.
//!
//! A sorted set, because it alone takes the higher of two floors in one plain command: an invalidation has to leave its
//! marks where functions are missing too. Its members, told apart by their scores:
//!
//! | member | score | |
//! |---|---|---|
//! | `l` | the tombstone's whole life in milliseconds | less what is left of it, this is its age |
//! | `f` | the oldest version that may be cached | only ever raised |
//! | `u` | -2 | an invalidation named no version; it stands as long as the tombstone, since nobody can say what outdates it |
//! | `n` and a nonce | -1 | the newest invalidation that weeds, or two that came together |
//! | `h` and a SHA-1 | -3 | a value that a fill wrote since |

use crate::domain::key::{Key, Sibling};
use crate::domain::removal::Mark;
use crate::remote::request::{Decimal, Request};

/// Values remembered for one key. An entity that apps write too is filled a few times while a tombstone stands; what is
/// over it may be removed by a sweep although a fill wrote it, which costs a fill and nothing else.
pub const HASHES: u64 = 64;

/// The commands before the key goes, each of which concerns one key and may be repeated.
pub fn commands(key: &Key, mark: &Mark) -> Vec<Request> {
    let tombstone = key.sibling(Sibling::Tombstone);
    let nonce = mark.nonce.map(|nonce| [b"n", nonce.as_bytes().as_slice()].concat());
    let life = Decimal::millis(mark.life);
    let mut commands = Vec::new();
    let mut members: Vec<&[u8]> = vec![life.as_bytes(), b"l"];
    if let Some(nonce) = &nonce {
        commands.push(Request::one(&[b"ZREMRANGEBYSCORE", &tombstone, b"-1", b"-1"]));
        members.extend([b"-1".as_slice(), nonce]);
    }
    if mark.floor.is_none() {
        members.extend([b"-2".as_slice(), b"u"]);
    }
    commands.push(Request::gathered(&[&[b"ZADD", &tombstone], &members]));
    if let Some(version) = mark.floor {
        let floor = Decimal::new(version.number());
        commands.push(Request::one(&[b"ZADD", &tombstone, b"GT", floor.as_bytes(), b"f"]));
    }
    commands.push(Request::one(&[b"PEXPIRE", &tombstone, life.as_bytes()]));
    commands
}

/// The command after the key went: what fills wrote before is as old as what an app may bring back.
pub fn forget_hashes(key: &Key) -> Request {
    Request::one(&[b"ZREMRANGEBYSCORE", &key.sibling(Sibling::Tombstone), b"-3", b"-3"])
}

//! The promise: once an invalidation has been acknowledged, nothing older is read from a primary, at any key of the
//! member, and no absence from before is remembered.
//!
//! It is not sampled. Whenever what an app would read at a key may have changed, the cluster shows it here.

use std::collections::BTreeMap;

use hydrant::domain::key::{Key, Sibling};

use crate::log::Log;
use crate::redis::keyspace::Data;
use crate::source::Row;

#[derive(Default)]
pub struct Checker {
    members: BTreeMap<String, Member>,
    keys: BTreeMap<Vec<u8>, Watched>,
    /// What a restart from disk has brought back, which nobody has promised to be gone before it is swept.
    excused: BTreeMap<Vec<u8>, Data>,
    pub violations: Vec<String>,
    /// Values seen to appear.
    pub seen: u64,
    pub acknowledged: u64,
}

/// What the source ever said of a member.
#[derive(Default)]
struct Member {
    rows: Vec<Row>,
    /// The newest version whose invalidation was acknowledged.
    acknowledged: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Whoever invalidates knows of no aliases.
    OwnKeys,
    /// A restart loses what leads to aliases on other nodes, until a sweep has gone over them.
    AllKeysInTheEnd,
    AllKeys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    InTheEnd,
}

#[derive(Clone, Debug)]
struct Watched {
    id: String,
    kind: Kind,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A whole value, which says its version: the member's own key, or an e-mail's.
    Value,
    /// The member's id, at the key of a name.
    Id,
    /// The claim on the member's key, or the memory that there is none.
    Guard,
}

/// The field of every value that says how new it is.
const FIELD: &[u8] = b"\"version\":";

impl Checker {
    /// A change was committed at the source: from now on its keys are looked at.
    pub fn changed(&mut self, row: &Row, looks: Looks) {
        let own = own_key(&row.id);
        let aliases_from = match looks {
            Looks::OwnKeys => None,
            Looks::AllKeysInTheEnd => Some(When::InTheEnd),
            Looks::AllKeys => Some(When::Always),
        };
        let mut keys = vec![(own.sibling(Sibling::Guard), Kind::Guard, Some(When::Always))];
        keys.push((own.as_bytes().to_vec(), Kind::Value, Some(When::Always)));
        keys.push((email_key(row).as_bytes().to_vec(), Kind::Value, aliases_from));
        keys.push((name_key(row).as_bytes().to_vec(), Kind::Id, aliases_from));
        for (key, kind, when) in keys {
            if let Some(when) = when {
                self.keys.insert(key, Watched { id: row.id.clone(), kind, when });
            }
        }
        self.members.entry(row.id.clone()).or_default().rows.push(row.clone());
    }

    pub fn watches(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    pub fn watched(&self) -> Vec<Vec<u8>> {
        self.keys.keys().cloned().collect()
    }

    /// From now on nothing older may be read. Answers the member's keys.
    pub fn acknowledge(&mut self, id: &str, version: u64) -> Vec<Vec<u8>> {
        let member = self.members.entry(id.to_owned()).or_default();
        member.acknowledged = member.acknowledged.max(version);
        self.acknowledged += 1;
        self.keys.iter().filter(|(_, watched)| watched.id == id).map(|(key, _)| key.clone()).collect()
    }

    pub fn excuse(&mut self, key: &[u8], back: Data) {
        self.excused.insert(key.to_vec(), back);
    }

    pub fn saw(&mut self, log: &mut Log, at: u64, key: &[u8], found: Option<&Data>) {
        if self.excused.get(key).is_some_and(|back| Some(back) == found) {
            return;
        }
        self.excused.remove(key);
        self.seen += u64::from(found.is_some());
        let looks_now = self.keys.get(key).is_some_and(|watched| watched.when == When::Always);
        if let Some(what) = looks_now.then(|| self.wrong(key, found?)).flatten() {
            log.note(at, || format!("VIOLATION {what}"));
            self.violations.push(what);
        }
    }

    /// What is still wrong when all is over, whatever was excused.
    pub fn wrong<'a>(&self, key: &[u8], found: impl Into<Option<&'a Data>>) -> Option<String> {
        let Some(Data::Text(value)) = found.into() else { return None };
        let Watched { id, kind, when: _ } = self.keys.get(key)?;
        let member = self.members.get(id)?;
        let acknowledged = member.acknowledged;
        let current = || member.rows.iter().filter(|row| row.version >= acknowledged);
        let wrong = match kind {
            Kind::Value => {
                let version = version_of(value);
                (version < acknowledged).then(|| format!("version {version}"))
            }
            Kind::Id => {
                let named = current().any(|row| !row.is_gone && name_key(row).as_bytes() == key);
                (!named).then(|| format!("the id {}, whose name that is no more", String::from_utf8_lossy(value)))
            }
            Kind::Guard => {
                let gone = value != b"a" || acknowledged == 0 || current().any(|row| row.is_gone);
                (!gone).then(|| "that there is none, although there is".to_owned())
            }
        }?;
        let key = String::from_utf8_lossy(key);
        Some(format!("{key}: holds {wrong}, after version {acknowledged} of {id} was acknowledged"))
    }
}

pub fn own_key(id: &str) -> Key {
    good(format!("user:{id}"))
}

pub fn email_key(row: &Row) -> Key {
    good(format!("user:email:{}", row.email))
}

pub fn name_key(row: &Row) -> Key {
    good(format!("user:name:{}", row.name))
}

fn good(key: String) -> Key {
    Key::new(key).expect("a good key")
}

pub fn version_of(value: &[u8]) -> u64 {
    let Some(at) = value.windows(FIELD.len()).position(|part| part == FIELD) else { return 0 };
    let digits = value[at + FIELD.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

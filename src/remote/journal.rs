//! The journal in Redis: sixteen streams a group, each in a slot of its own, so that no node's outage closes all of it.
//!
//! A part's name carries a small number that puts its slot into the part's own sixteenth of all slots: nodes own ranges,
//! so the parts are spread over them evenly. Entries are numbered by the server, and their age is told by its clock
//! alone. There is no consumer group: it passes on only what some consumer has read, and nobody may ever have read an
//! entry before its writer died. Whoever holds a part reads all of it from its beginning.
//!
//! Plain commands, no scripts: invalidation goes on where the functions are missing. So renewing a hold looks first and
//! then prolongs; that two sidecars may think for a moment that they hold a part costs a few repetitions, nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use redis::Value;

use crate::domain::journal::{Due, Hold, JobId, Journal, Note, Recorded, Standing};
use crate::domain::key::{Key, KeyError, SLOTS, slot_of};
use crate::domain::random::{Nonce, Random};
use crate::domain::store::{Refusal, StoreError};
use crate::remote::connect::{server_time, text};
use crate::remote::error::{self, accepted};
use crate::remote::lane::{self, Carrier};
use crate::remote::request::{Decimal, Op, Request, Road};
use crate::remote::route::Shares;
use crate::remote::store::Remote;

/// Enough that every node of a usual cluster has some; few enough that looking through all of them is cheap.
const PARTS: u8 = 16;
/// Intents of one part: at a thousand bytes each, all parts together are 64 MB of the servers' memory. More would wait
/// only if Redis was away for long, and then callers had better hear of it.
const PART_LENGTH: u64 = 4_096;
/// One intent. A request of a thousand members fits; a part's entries are read many at a time.
const INTENT_BYTES: usize = 256 * 1024;
/// Nodes that are tried for one intent: a caller waits, and where three do not take it a fourth hardly will.
const NODES_TRIED: usize = 3;
/// Entries of one look at a part, so that a reply stays far below what a connection takes.
const READ_AT_ONCE: u16 = 128;
/// A hold with less than this left is not renewed but let go and taken anew: the command that prolongs it could come
/// after its end, and prolong somebody else's.
const RENEWABLE: Duration = Duration::from_millis(250);

pub struct RemoteJournal {
    remote: Arc<Remote>,
    random: Random,
    parts: Vec<Part>,
}

struct Part {
    /// `hydrant:{<group>:journal:<part>.<number>}:`, to which an entry's and the holder's name are added.
    prefix: String,
    intents: Key,
    holder: Key,
    /// It was full when it was written to last: ask before the next time. Behind a lock for one look.
    was_full: Mutex<bool>,
}

/// An entry of a part.
struct Entry {
    part: u8,
    /// As the stream names it: `<milliseconds>-<number>`.
    id: String,
}

impl RemoteJournal {
    pub fn new(remote: Arc<Remote>, random: Random) -> Result<Self, KeyError> {
        let parts = (0..PARTS).map(|number| Part::new(&remote.shared.group, number)).collect::<Result<_, _>>()?;
        Ok(Self { remote, random, parts })
    }

    async fn append(&self, part: u8, intent: &[u8]) -> Result<Recorded, StoreError> {
        let Part { intents, was_full, .. } = self.part(part)?;
        let key = intents.as_bytes();
        if is(was_full) && self.length(part).await? >= PART_LENGTH {
            return Err(StoreError::Overloaded);
        }
        let (add, count) = (Request::one(&[b"XADD", key, b"*", b"i", intent]), Request::one(&[b"XLEN", key]));
        let ([id, length], carriers) = self.both(Road::Lane, intents, [add, count]).await?;
        let id = accepted(id)?;
        let id =
            text(&id).and_then(|id| JobId::new(format!("{part}-{id}"))).ok_or(StoreError::Refused(Refusal::Other))?;
        let is_full = matches!(length, Value::Int(length) if length.unsigned_abs() >= PART_LENGTH);
        *was_full.lock().unwrap_or_else(PoisonError::into_inner) = is_full;
        Ok(Recorded { id, confirmation: lane::confirmation(carriers) })
    }

    async fn length(&self, part: u8) -> Result<u64, StoreError> {
        let Part { intents, .. } = self.part(part)?;
        match self.one(intents, &[b"XLEN", intents.as_bytes()]).await? {
            Value::Int(length) => Ok(length.unsigned_abs()),
            _ => Err(StoreError::Refused(Refusal::Other)),
        }
    }

    async fn one(&self, key: &Key, command: &[&[u8]]) -> Result<Value, StoreError> {
        self.remote.follow(Op::Journal, key.slot(), &Request::one(command)).await.map(|(reply, _)| reply)
    }

    /// Two commands on one slot in one request, and each by itself where it was redirected; and what carried them.
    async fn both(
        &self,
        road: Road,
        key: &Key,
        commands: [Request; 2],
    ) -> Result<([Value; 2], Vec<Carrier>), StoreError> {
        let pack = |request: &mut Request, _| commands.iter().for_each(|command| request.append(command));
        let Shares { mut replies, mut carriers } = self.remote.each_node(Op::Journal, road, &[key.slot()], pack).await;
        let replies = replies.pop().unwrap_or(Err(StoreError::Unreachable))?;
        let mut replies = <[Value; 2]>::try_from(replies).map_err(|_| StoreError::Refused(Refusal::Other))?;
        for (reply, command) in replies.iter_mut().zip(&commands) {
            if error::is_redirect(reply) {
                let (followed, carrier) = self.remote.follow(Op::Journal, key.slot(), command).await?;
                *reply = followed;
                carriers.push(carrier);
            }
        }
        Ok((replies, carriers))
    }

    fn part(&self, number: u8) -> Result<&Part, StoreError> {
        self.parts.get(usize::from(number)).ok_or(StoreError::Refused(Refusal::Other))
    }
}

impl Journal for RemoteJournal {
    fn record<'a>(&'a self, intent: Bytes) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        async move {
            if intent.len() > INTENT_BYTES {
                return Err(StoreError::Overloaded);
            }
            let first = (self.random.unit() * f64::from(PARTS)) as u8;
            let (mut refused, mut why) = (Vec::new(), StoreError::Overloaded);
            // Neighbours are likely on one node, so the next to be tried lies elsewhere.
            for part in (0..PARTS).map(|step| (first + step * 7) % PARTS) {
                let Ok(node) = self.remote.topology.owner(self.part(part)?.intents.slot()).await else {
                    why = StoreError::Unreachable;
                    continue;
                };
                if refused.contains(&node.address) {
                    continue;
                }
                match self.append(part, &intent).await {
                    Ok(recorded) => return Ok(recorded),
                    // That part is full; its node may have others that are not.
                    Err(StoreError::Overloaded) => {}
                    // It may have been written all the same; then it stands in two parts and is carried out twice.
                    Err(error) => {
                        refused.push(node.address.clone());
                        why = error;
                        if refused.len() == NODES_TRIED {
                            break;
                        }
                    }
                }
            }
            Err(why)
        }
        .boxed()
    }

    fn finish<'a>(&'a self, id: &'a JobId, note: Option<Note>) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let Entry { part, id } = Entry::parse(id)?;
            let part = self.part(part)?;
            let remove: [&[u8]; 3] = [b"XDEL", part.intents.as_bytes(), id.as_bytes()];
            let Some(note) = note else { return self.one(&part.intents, &remove).await.map(drop) };
            let commands = [part.noting(&id, &note), Request::one(&remove)];
            let ([noted, removed], _) = self.both(Road::Usual, &part.intents, commands).await?;
            if let Err(error) = accepted(noted) {
                // A server without memory refuses it; the job is done all the same, and that is what matters.
                tracing::debug!(%error, "a job's last note could not be left");
            }
            accepted(removed).map(drop)
        }
        .boxed()
    }

    fn note<'a>(&'a self, id: &'a JobId, note: Note) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let Entry { part, id } = Entry::parse(id)?;
            let part = self.part(part)?;
            let noting = part.noting(&id, &note);
            self.remote.follow(Op::Journal, part.intents.slot(), &noting).await.map(drop)
        }
        .boxed()
    }

    fn standing<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<Standing, StoreError>> {
        async move {
            let Ok(Entry { part, id }) = Entry::parse(id) else { return Ok(Standing { intent: None, note: None }) };
            let Ok(part) = self.part(part) else { return Ok(Standing { intent: None, note: None }) };
            let find = Request::one(&[b"XRANGE", part.intents.as_bytes(), id.as_bytes(), id.as_bytes()]);
            let read = Request::one(&[b"GET", part.job(&id).as_bytes()]);
            let ([found, note], _) = self.both(Road::Usual, &part.intents, [find, read]).await?;
            let intent = entries(accepted(found)?)?.pop().map(|(_, intent)| intent);
            let note = match accepted(note)? {
                Value::BulkString(note) => Some(Bytes::from(note)),
                _ => None,
            };
            Ok(Standing { intent, note })
        }
        .boxed()
    }

    fn parts(&self) -> u8 {
        PARTS
    }

    fn hold<'a>(&'a self, part: u8, holder: Nonce, life: Duration) -> BoxFuture<'a, Result<Hold, StoreError>> {
        async move {
            let Part { holder: key, .. } = self.part(part)?;
            let (name, nonce, life) = (key.as_bytes(), holder.as_bytes(), Decimal::millis(life));
            // Nothing is answered where somebody has it.
            if self.one(key, &[b"SET", name, nonce, b"NX", b"PX", life.as_bytes()]).await? != Value::Nil {
                return Ok(Hold::Held);
            }
            let look = [Request::one(&[b"GET", name]), Request::one(&[b"PTTL", name])];
            let ([who, left], _) = self.both(Road::Usual, key, look).await?;
            let left = match accepted(left)? {
                Value::Int(left) => Duration::from_millis(u64::try_from(left).unwrap_or(0)),
                _ => return Err(StoreError::Refused(Refusal::Other)),
            };
            let is_ours = matches!(accepted(who)?, Value::BulkString(who) if who == nonce);
            if !is_ours || left < RENEWABLE {
                return Ok(Hold::Taken { left });
            }
            match self.one(key, &[b"PEXPIRE", name, life.as_bytes()]).await? {
                Value::Int(1) => Ok(Hold::Held),
                _ => Ok(Hold::Taken { left: Duration::ZERO }),
            }
        }
        .boxed()
    }

    fn due<'a>(
        &'a self,
        part: u8,
        after: Option<&'a JobId>,
        older_than: Duration,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Due>, StoreError>> {
        async move {
            let Part { intents, .. } = self.part(part)?;
            let count = Decimal::new(u64::from(limit.clamp(1, READ_AT_ONCE)));
            let from = match after {
                // After it, not with it.
                Some(after) => format!("({}", Entry::parse(after)?.id),
                None => "-".to_owned(),
            };
            let read =
                Request::one(&[b"XRANGE", intents.as_bytes(), from.as_bytes(), b"+", b"COUNT", count.as_bytes()]);
            let ([time, found], _) = self.both(Road::Usual, intents, [Request::one(&[b"TIME"]), read]).await?;
            let now = server_time(&accepted(time)?).ok_or(StoreError::Refused(Refusal::Other))?;
            let aged = entries(accepted(found)?)?.into_iter().filter_map(|(id, intent)| {
                let written = Duration::from_millis(id.split_once('-')?.0.parse().ok()?);
                Some(Due { id: JobId::new(format!("{part}-{id}"))?, intent, age: now.saturating_sub(written) })
            });
            // The oldest come first, so the first that is too young ends it.
            Ok(aged.take_while(|due| due.age >= older_than).collect())
        }
        .boxed()
    }

    fn backlog<'a>(&'a self) -> BoxFuture<'a, Vec<Result<u64, StoreError>>> {
        join_all((0..PARTS).map(|part| self.length(part))).boxed()
    }
}

impl Part {
    fn new(group: &str, part: u8) -> Result<Self, KeyError> {
        let prefix = prefix(group, part);
        let intents = Key::new(format!("{prefix}intents"))?;
        let holder = Key::new(format!("{prefix}holder"))?;
        Ok(Self { prefix, intents, holder, was_full: Mutex::new(false) })
    }

    fn job(&self, id: &str) -> String {
        format!("{}job:{id}", self.prefix)
    }

    fn noting(&self, id: &str, note: &Note) -> Request {
        let life = Decimal::millis(note.life);
        Request::one(&[b"SET", self.job(id).as_bytes(), &note.text, b"PX", life.as_bytes()])
    }
}

impl Entry {
    /// Whoever asks for a job may name what never was one.
    fn parse(id: &JobId) -> Result<Self, StoreError> {
        let unknown = StoreError::Refused(Refusal::Other);
        let (part, id) = id.as_str().split_once('-').ok_or(unknown)?;
        let (millis, number) = id.split_once('-').ok_or(unknown)?;
        let is_number = |text: &str| text.parse::<u64>().is_ok();
        match part.parse() {
            Ok(part) if is_number(millis) && is_number(number) => Ok(Self { part, id: id.to_owned() }),
            _ => Err(unknown),
        }
    }
}

/// The first name, counting from 0, whose slot lies in the part's share of all slots: every sidecar finds the same.
fn prefix(group: &str, part: u8) -> String {
    let share = SLOTS / u16::from(PARTS);
    let mut names = (0u32..).map(|number| format!("hydrant:{{{group}:journal:{part}.{number}}}:"));
    let is_home = |name: &String| slot_of(name.as_bytes()) / share == u16::from(part);
    names.find(is_home).expect("of four billion names one in sixteen lies there")
}

fn is(flag: &Mutex<bool>) -> bool {
    *flag.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `[[id, [field, value, …]], …]`: ours have one field.
fn entries(reply: Value) -> Result<Vec<(String, Bytes)>, StoreError> {
    let Value::Array(found) = reply else { return Err(StoreError::Refused(Refusal::Other)) };
    let entry = |value: Value| {
        let Value::Array(entry) = value else { return None };
        let [id, Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
        let Some(Value::BulkString(intent)) = fields.into_iter().nth(1) else { return None };
        Some((text(&id)?.to_owned(), Bytes::from(intent)))
    };
    Ok(found.into_iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_spread_evenly_over_the_slots() {
        for group in ["shop", "a", "a group of many words"] {
            for part in 0..PARTS {
                let part_of = Part::new(group, part).expect("a good group");
                assert_eq!(part_of.intents.slot() / (SLOTS / u16::from(PARTS)), u16::from(part), "{group}");
                assert_eq!(part_of.holder.slot(), part_of.intents.slot());
                assert_eq!(slot_of(part_of.job("1-0").as_bytes()), part_of.intents.slot());
            }
        }
    }

    #[test]
    fn a_job_is_its_part_and_its_entry() {
        let parse =
            |text: &str| Entry::parse(&JobId::new(text).expect("a good id")).map(|entry| (entry.part, entry.id));
        assert_eq!(parse("7-1732180000000-3"), Ok((7, "1732180000000-3".to_owned())));
        for strange in ["7", "7-1", "x-1-2", "7-1-x", "300-1-2", "7--2", "7-1-2-3", "pod:7"] {
            assert!(parse(strange).is_err(), "{strange}");
        }
    }
}

//! What is left to remove of one intent. Each attempt takes off what went well, so that trying again costs only what
//! failed; what the intent says stays as it is, and another sidecar may begin from its beginning.
//!
//! The order is the promise: a key and its claim go before its index is read, and what the index names goes after it. A
//! subject is buried before its tag is read. A chunk counts as done when the replicas know of it; until then it is left,
//! because a failover brings back what they did not hear of.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join;
use futures_util::{StreamExt, stream};

use crate::domain::cleared::Cleared;
use crate::domain::key::Key;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::random::Nonce;
use crate::domain::removal::{Erased, Erasure, Mark, TagPlace};
use crate::domain::store::{Confirmation, Confirmed, Refusal, StoreError};
use crate::domain::tag::Tag;
use crate::invalidate::intent::{Intent, Item};
use crate::invalidate::request::{Cause, Mode};
use crate::invalidate::rules;
use crate::invalidate::tally::Tally;
use crate::invalidate::tools::Tools;

/// Keys of one request to the store: a node is busy with them for well under a millisecond.
const CHUNK: usize = 256;
/// Keys softened at once; each is a command of its own.
const SOFTENED_AT_ONCE: usize = 64;
/// How long a subject's tombstone stands: no plan that was drawn up before a logout is still waiting after it.
const BURIED_FOR: Duration = Duration::from_secs(60);
/// Members of one invalidation that are told of as cleared, and aliases of each: looking is for a sample.
const TOLD: usize = 16;
const TOLD_ALIASES: usize = 32;

pub struct Todo {
    nonce: Nonce,
    mode: Mode,
    burials: Vec<Burial>,
    /// Members' own keys, and keys that stand for themselves.
    primaries: Vec<Piece>,
    /// Aliases whose member's key is gone.
    aliases: Vec<Piece>,
    softs: Vec<Soft>,
    tags: Vec<Reading>,
    /// What was removed of shared entities, for weeding.
    weeds: Vec<Key>,
    /// What was cached and is to be loaded again.
    refills: Vec<Refill>,
    /// Some of the members that are gone, with their aliases, for whoever looks whether it holds.
    cleared: Vec<Cleared>,
}

/// A key that was removed from the cache by a target of the mode REFRESH or SOFT.
pub struct Refill {
    pub target: usize,
    pub key: Key,
}

struct Piece {
    target: usize,
    erasure: Erasure,
    is_shared: bool,
    /// Alias keys that the caller named.
    named: Vec<Key>,
    /// It is counted at the first.
    tries: u32,
    /// It had a value when it was first removed.
    held: bool,
}

struct Soft {
    target: usize,
    key: Key,
    grace: Duration,
    tries: u32,
}

/// A subject to be told gone, whose tag is read after that.
#[derive(Clone, Copy)]
struct Burial {
    target: usize,
    subject: Pseudonym,
}

struct Reading {
    target: usize,
    tag: Tag,
    place: TagPlace,
}

/// What an attempt met; the worst of it is told.
#[derive(Default)]
struct Trouble(Option<Cause>);

impl Todo {
    pub fn new(intent: &Intent) -> Self {
        let mut todo = Self {
            nonce: intent.nonce(),
            mode: intent.mode,
            burials: Vec::new(),
            primaries: Vec::new(),
            aliases: Vec::new(),
            softs: Vec::new(),
            tags: Vec::new(),
            weeds: Vec::new(),
            refills: Vec::new(),
            cleared: Vec::new(),
        };
        intent.items.iter().for_each(|item| todo.take(item));
        for tagged in &intent.tags {
            let target = tagged.target;
            match tagged.tag.tag() {
                Some(Tag::Subject(subject)) => todo.burials.push(Burial { target, subject }),
                Some(tag) => todo.tags.push(Reading { target, tag, place: TagPlace::default() }),
                // What cannot be a tag was refused before it came here.
                None => {}
            }
        }
        todo
    }

    /// Erasures alone, for repeating what an upheaval may have undone. They are counted nowhere.
    pub fn again(nonce: Nonce, erasures: Vec<Erasure>) -> Self {
        let mut todo = Self::new(&Intent::new(Mode::Remove, nonce, String::new(), String::new(), Duration::ZERO));
        todo.primaries = erasures.into_iter().map(|erasure| Piece::new(0, erasure)).collect();
        todo
    }

    /// Tries all that is left. Answers why something is left again.
    pub async fn attempt(&mut self, tools: &Tools, tally: &Tally) -> Option<Cause> {
        let mut trouble = Trouble::default();
        let buried = self.bury(tools, &mut trouble).await;
        let primaries = std::mem::take(&mut self.primaries);
        self.erase_members(primaries, tools, tally, &mut trouble).await;
        let aliases = std::mem::take(&mut self.aliases);
        self.erase_aliases(aliases, tools, tally, &mut trouble).await;
        self.soften(tools, tally, &mut trouble).await;
        self.read_tags(tools, tally, &mut trouble).await;
        for (burial, confirmation) in buried {
            if confirmation.await == Confirmed::Short {
                // What a failover takes away lets plans register again: then the tag is read again as well.
                self.burials.push(burial);
                trouble.note(Cause::ReplicasLate);
            }
        }
        trouble.0
    }

    pub fn has_weeds(&self) -> bool {
        !self.weeds.is_empty()
    }

    pub fn weeds(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.weeds)
    }

    pub fn refills(&mut self) -> Vec<Refill> {
        std::mem::take(&mut self.refills)
    }

    /// To be told when everything is gone.
    pub fn cleared(&mut self) -> Vec<Cleared> {
        std::mem::take(&mut self.cleared)
    }

    fn take(&mut self, item: &Item) {
        let key = |text: &String| Key::new(text.clone()).ok();
        // What cannot be a key was refused before it came here, and stands in no store.
        let Some(own) = key(&item.key) else { return };
        let named: Vec<Key> = item.aliases.iter().filter_map(key).collect();
        if let (Mode::Soft, Some(grace)) = (self.mode, item.grace) {
            let grace = Duration::from_millis(grace);
            let softs = std::iter::once(own).chain(named);
            self.softs.extend(softs.map(|key| Soft { target: item.target, key, grace, tries: 0 }));
            return;
        }
        let mark = item.mark.map(|left| left.mark(self.nonce));
        let erasure = Erasure { key: own, has_index: item.has_index, mark };
        self.primaries.push(Piece { is_shared: item.is_shared, named, ..Piece::new(item.target, erasure) });
    }

    /// Of whom is buried the tag is read after it, and not before.
    async fn bury(&mut self, tools: &Tools, trouble: &mut Trouble) -> Vec<(Burial, Confirmation)> {
        let mut buried = Vec::new();
        for burial in std::mem::take(&mut self.burials) {
            let Burial { target, subject } = burial;
            match tools.hands.removal.bury(subject, BURIED_FOR).await {
                Ok(confirmation) => {
                    buried.push((burial, confirmation));
                    self.tags.push(Reading { target, tag: Tag::Subject(subject), place: TagPlace::default() });
                }
                Err(error) => {
                    self.burials.push(burial);
                    trouble.met(error);
                }
            }
        }
        buried
    }

    async fn erase_members(&mut self, mut pieces: Vec<Piece>, tools: &Tools, tally: &Tally, trouble: &mut Trouble) {
        while !pieces.is_empty() {
            let rest = pieces.split_off(pieces.len().min(CHUNK));
            self.erase_chunk(pieces, tools, tally, trouble).await;
            pieces = rest;
        }
    }

    /// Members' keys, then the aliases they lead to; and both confirmed.
    async fn erase_chunk(&mut self, pieces: Vec<Piece>, tools: &Tools, tally: &Tally, trouble: &mut Trouble) {
        let Went { gone, left, aliases, confirmation } = erase(pieces, tools, tally, trouble).await;
        let cleared = cleared(&gone, &aliases, TOLD.saturating_sub(self.cleared.len()));
        let follow = follow(&gone, aliases, &left);
        self.primaries.extend(left);
        let (confirmed, ()) = join(confirmation.into_future(), self.erase_aliases(follow, tools, tally, trouble)).await;
        match confirmed {
            Confirmed::Yes => {
                self.cleared.extend(cleared);
                self.settle(gone);
            }
            Confirmed::Short => {
                trouble.note(Cause::ReplicasLate);
                self.primaries.extend(gone);
            }
        }
    }

    async fn erase_aliases(&mut self, mut pieces: Vec<Piece>, tools: &Tools, tally: &Tally, trouble: &mut Trouble) {
        while !pieces.is_empty() {
            let rest = pieces.split_off(pieces.len().min(CHUNK));
            let Went { gone, left, aliases: _, confirmation } = erase(pieces, tools, tally, trouble).await;
            self.aliases.extend(left);
            match confirmation.await {
                Confirmed::Yes => self.weeds.extend(gone.into_iter().filter(|p| p.is_shared).map(|p| p.erasure.key)),
                Confirmed::Short => {
                    trouble.note(Cause::ReplicasLate);
                    self.aliases.extend(gone);
                }
            }
            pieces = rest;
        }
    }

    fn settle(&mut self, gone: Vec<Piece>) {
        for Piece { target, erasure, is_shared, named: _, tries: _, held } in gone {
            if is_shared {
                self.weeds.push(erasure.key.clone());
            }
            if held && matches!(self.mode, Mode::Refresh | Mode::Replace) {
                self.refills.push(Refill { target, key: erasure.key });
            }
        }
    }

    async fn soften(&mut self, tools: &Tools, tally: &Tally, trouble: &mut Trouble) {
        let softs = std::mem::take(&mut self.softs);
        let soften = async |soft: Soft| {
            (tools.forget)(std::slice::from_ref(&soft.key));
            (tools.hands.removal.soften(&soft.key, soft.grace).await, soft)
        };
        let mut softened = stream::iter(softs).map(soften).buffer_unordered(SOFTENED_AT_ONCE);
        while let Some((done, mut soft)) = softened.next().await {
            soft.tries += 1;
            if soft.tries == 1 {
                tally.count(soft.target, |counts| counts.matched += 1);
                tally.show(&tools.means.live.get().catalog, &soft.key);
            }
            match done {
                Ok(held) => {
                    tally.count(soft.target, |counts| counts.removed += u64::from(held));
                    if held {
                        self.refills.push(Refill { target: soft.target, key: soft.key });
                    }
                }
                Err(error) => {
                    trouble.met(error);
                    self.softs.push(soft);
                }
            }
        }
    }

    /// Page by page: what a page names is gone before the next is asked for, so that nothing piles up here.
    async fn read_tags(&mut self, tools: &Tools, tally: &Tally, trouble: &mut Trouble) {
        for mut reading in std::mem::take(&mut self.tags) {
            let ended = loop {
                match tools.hands.removal.tagged(&reading.tag, reading.place).await {
                    Ok(page) => {
                        let pieces = page.keys.into_iter().filter_map(|key| self.tagged(&reading, key, tools));
                        let pieces = pieces.collect();
                        self.erase_members(pieces, tools, tally, trouble).await;
                        self.soften(tools, tally, trouble).await;
                        match page.next {
                            Some(next) => reading.place = next,
                            None => break Ok(()),
                        }
                    }
                    Err(error) => break Err(error),
                }
            };
            if let Err(error) = ended {
                trouble.met(error);
                // A cursor means nothing to another server: this shard is read from its beginning.
                reading.place.cursor = 0;
                self.tags.push(reading);
            }
        }
    }

    /// A key that stands in a tag. Of what the configuration no longer knows, everything that may be there is removed; and
    /// so is what has no grace.
    fn tagged(&mut self, reading: &Reading, key: Key, tools: &Tools) -> Option<Piece> {
        let settings = tools.means.live.get();
        let text = std::str::from_utf8(key.as_bytes()).ok();
        let Some(found) = text.and_then(|text| settings.catalog.find(text)) else {
            return Some(Piece::new(reading.target, Erasure { key, has_index: true, mark: None }));
        };
        let entity = found.entity;
        if let (Mode::Soft, Some(grace)) = (self.mode, rules::grace(entity)) {
            self.softs.push(Soft { target: reading.target, key, grace, tries: 0 });
            return None;
        }
        let has_index = !entity.aliases().is_empty();
        let erasure = Erasure { key, has_index, mark: rules::mark(entity, self.nonce, None) };
        Some(Piece { is_shared: rules::is_shared(entity), ..Piece::new(reading.target, erasure) })
    }
}

impl Piece {
    fn new(target: usize, erasure: Erasure) -> Self {
        Self { target, erasure, is_shared: false, named: Vec::new(), tries: 0, held: false }
    }
}

/// Members that are gone, and the aliases that go after them.
fn cleared(gone: &[Piece], found: &[Vec<Key>], room: usize) -> Vec<Cleared> {
    let told = gone.iter().zip(found).take(room);
    let aliases = |piece: &Piece, found: &[Key]| found.iter().chain(&piece.named).take(TOLD_ALIASES).cloned().collect();
    told.map(|(piece, found)| Cleared { key: piece.erasure.key.clone(), aliases: aliases(piece, found) }).collect()
}

/// The aliases to go after their members: those the indexes name, and those the caller named, also where the member's
/// own key could not be reached.
fn follow(gone: &[Piece], found: Vec<Vec<Key>>, left: &[Piece]) -> Vec<Piece> {
    let mut seen = BTreeSet::new();
    let mut aliases = Vec::new();
    let none = std::iter::repeat_with(Vec::new);
    for (member, found) in gone.iter().zip(found).chain(left.iter().zip(none)) {
        for key in found.into_iter().chain(member.named.iter().cloned()) {
            if key == member.erasure.key || !seen.insert(key.clone()) {
                continue;
            }
            // A floor is a matter of the member's own key, which every write of it has to pass.
            let mark = member.erasure.mark.filter(|_| member.is_shared).map(|mark| Mark { floor: None, ..mark });
            let erasure = Erasure { key, has_index: false, mark };
            // When a member is tried again its aliases were counted the first time.
            let tries = member.tries - 1;
            aliases.push(Piece { is_shared: member.is_shared, tries, ..Piece::new(member.target, erasure) });
        }
    }
    aliases
}

/// What became of one chunk.
struct Went {
    gone: Vec<Piece>,
    left: Vec<Piece>,
    /// What the indexes of `gone` name, in its order.
    aliases: Vec<Vec<Key>>,
    confirmation: Confirmation,
}

async fn erase(pieces: Vec<Piece>, tools: &Tools, tally: &Tally, trouble: &mut Trouble) -> Went {
    let erasures: Vec<Erasure> = pieces.iter().map(|piece| piece.erasure.clone()).collect();
    let keys: Vec<Key> = erasures.iter().map(|erasure| erasure.key.clone()).collect();
    let Erased { keys: answers, confirmation } = tools.hands.removal.erase(&erasures).await;
    // After the keys are gone: whatever began before that is fenced, and nobody who comes later is to share its end.
    (tools.forget)(&keys);
    tools.recent.remember(&erasures);
    let catalog = &tools.means.live.get().catalog;
    let mut went = Went { gone: Vec::new(), left: Vec::new(), aliases: Vec::new(), confirmation };
    for (mut piece, answer) in pieces.into_iter().zip(answers) {
        let target = piece.target;
        piece.tries += 1;
        if piece.tries == 1 {
            tally.count(target, |counts| counts.matched += 1);
            tally.show(catalog, &piece.erasure.key);
        }
        match answer {
            Ok(gone) => {
                tally.count(target, |counts| {
                    counts.removed += u64::from(gone.held);
                    counts.fenced += u64::from(gone.fenced);
                });
                tools.means.metrics.key_erased(&gone);
                piece.held |= gone.held;
                went.gone.push(piece);
                went.aliases.push(gone.aliases);
            }
            Err(error) => {
                if error == StoreError::Refused(Refusal::Moved) {
                    tools.recent.is_moving(piece.erasure.key.slot());
                }
                trouble.met(error);
                went.left.push(piece);
            }
        }
    }
    went
}

impl Trouble {
    fn met(&mut self, error: StoreError) {
        self.note(match error {
            StoreError::Refused(Refusal::Moved) => Cause::Topology,
            StoreError::Unreachable
            | StoreError::Timeout
            | StoreError::Overloaded
            | StoreError::Refused(
                Refusal::NotServing
                | Refusal::OutOfMemory
                | Refusal::NotAllowed
                | Refusal::BadCredentials
                | Refusal::NoFunctions
                | Refusal::WrongType
                | Refusal::Other,
            ) => Cause::NodeUnavailable,
        });
    }

    /// Of two causes the one that says more: a node that is away, then slots that move, then replicas.
    fn note(&mut self, cause: Cause) {
        let rank = |cause: Cause| match cause {
            Cause::NodeUnavailable => 4,
            Cause::Topology => 3,
            Cause::ReplicasLate => 2,
            Cause::Sweep => 1,
            Cause::Deadline => 0,
        };
        if self.0.is_none_or(|known| rank(known) < rank(cause)) {
            self.0 = Some(cause);
        }
    }
}

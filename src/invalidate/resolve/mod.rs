//! From targets to what has to be erased: which keys, tags and sweeps, and what to leave beside them.
//!
//! Everything that is wrong with a request is told at once, each mistake with its path, and before anything is done. An
//! alias alone is never invalidated: a fill takes its claim after it has read the source, and only the member's own key
//! fences that. So whatever names an alias becomes its member, or is refused.

mod lookup;
mod pattern;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::domain::entity::Member;
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::habits::FORGOTTEN_FOR;
use crate::domain::key::Key;
use crate::domain::member_version::Version;
use crate::domain::removal::Mark;
use crate::domain::subject::Fact;
use crate::fill::settings::Settings;
use crate::invalidate::intent::{self, Intent, Item, Left, Sweep, TagName, Tagged};
use crate::invalidate::request::{Mode, Request};
use crate::invalidate::resolve::lookup::Lookup;
use crate::invalidate::resolve::target::Reader;
use crate::invalidate::rules;
use crate::invalidate::sweep;
use crate::invalidate::tools::Tools;

/// What a request comes down to.
pub struct Resolved {
    pub intent: Intent,
    /// The same as the journal takes it.
    pub bytes: Bytes,
    pub givens: Vec<Given>,
    /// Keys of the mode REPLACE that have no version, and so are loaded again instead.
    pub reloaded: BTreeSet<String>,
}

/// A value to write when every older copy is gone.
#[derive(Clone)]
pub struct Given {
    pub target: usize,
    pub key: Key,
    pub value: Bytes,
    pub ttl: Duration,
    pub version: Version,
    /// Of the entity's marks.
    pub life: Duration,
}

/// A member to erase, and what a caller said of it.
struct Aim {
    target: usize,
    member: Member,
    named: Vec<Key>,
    floor: Option<Version>,
    value: Option<NewValue>,
}

/// What a caller gave to be written, checked and projected.
#[derive(Clone)]
struct NewValue {
    bytes: Bytes,
    version: Option<Version>,
    /// Whom it names, where the entity says where that stands.
    owner: Option<String>,
}

/// One thing that is wrong with a request.
struct Mistake {
    kind: Kind,
    field: FieldError,
}

/// What the targets come to, while they are read.
#[derive(Default)]
struct Aims {
    members: Vec<Aim>,
    /// Known by an alias only, so far.
    lookups: Vec<Lookup>,
    /// Keys of Hydrant's own that go as well.
    own: Vec<(usize, Key)>,
    tags: Vec<Tagged>,
    sweep: Option<Sweep>,
    mistakes: Vec<Mistake>,
}

pub async fn resolve(tools: &Tools, request: &Request) -> Result<Resolved, Error> {
    let settings = tools.means.live.get();
    let requested = tools.means.clock.unix();
    let mut aims = Aims::default();
    let reader = Reader { settings: &settings, group: &tools.config.group, mode: request.mode };
    for (at, target) in request.targets.iter().enumerate() {
        reader.read(at, target, &mut aims);
    }
    if request.targets.is_empty() {
        aims.wrong("targets", "is empty: name what has changed");
    }
    if aims.lookups.len() > lookup::MOST {
        let most = lookup::MOST;
        aims.wrong("targets", format!("name more than {most} members by an alias alone: make several calls"));
    }
    if !aims.mistakes.is_empty() {
        return Err(refuse(aims.mistakes));
    }
    let found = lookup::find(tools, &settings, std::mem::take(&mut aims.lookups)).await?;
    aims.members.extend(found);
    let foreign = aims.members.iter().filter(|aim| aim.value.as_ref().is_some_and(|value| !value.is_of(&aim.member)));
    let foreign: Vec<String> = foreign.map(|aim| format!("targets[{}].member.replacement.value", aim.target)).collect();
    for path in foreign {
        aims.mistake(Kind::ValueRefused, path, "does not name the subject whose member it is to replace");
    }
    if !aims.mistakes.is_empty() {
        return Err(refuse(aims.mistakes));
    }
    let nonce = tools.means.random.nonce();
    let trace = request.trace.trace_id().to_string();
    let mut intent = Intent::new(request.mode, nonce, trace, request.reason.clone(), requested);
    intent.targets = request.targets.len();
    intent.within = request.within.clone();
    let Aims { members, lookups: _, own, tags, sweep, mistakes: _ } = aims;
    let mut resolved = Resolved { intent, bytes: Bytes::new(), givens: Vec::new(), reloaded: BTreeSet::new() };
    resolved.take(tools, members, own);
    resolved.intent.tags = tags;
    resolved.intent.sweep =
        sweep.map(|Sweep { target, spec }| Sweep { target, spec: sweep::Spec { mode: request.mode, ..spec } });
    resolved.seal()
}

impl NewValue {
    /// As a fill would see it: an answer about another user, or about nobody, is not kept.
    fn is_of(&self, member: &Member) -> bool {
        let in_key = || member.entity.param_of(&Fact::User).and_then(|param| member.params.get(param));
        member.entity.owner().is_none() || (self.owner.is_some() && self.owner.as_deref() == in_key())
    }
}

impl Resolved {
    /// One item a key, however many targets name it: the first of them counts it, and what they say is put together.
    fn take(&mut self, tools: &Tools, members: Vec<Aim>, own: Vec<(usize, Key)>) {
        let mut places: BTreeMap<Key, usize> = BTreeMap::new();
        let mut marks: Vec<Option<Mark>> = Vec::new();
        for Aim { target, member, named, floor, value } in members {
            let Member { entity, params: _, key } = member;
            let text = key.to_string();
            let floor = floor.max(value.as_ref().and_then(|value| value.version));
            let at = *places.entry(key.clone()).or_insert_with(|| {
                self.intent.items.push(Item {
                    target,
                    key: text.clone(),
                    has_index: true,
                    is_shared: rules::is_shared(&entity),
                    grace: rules::grace(&entity).map(|grace| grace.as_millis() as u64),
                    ..Item::default()
                });
                marks.push(rules::mark(&entity, None, None));
                marks.len() - 1
            });
            let item = &mut self.intent.items[at];
            for alias in named.into_iter().map(|key| key.to_string()) {
                if !item.aliases.contains(&alias) {
                    item.aliases.push(alias);
                }
            }
            if let Some(mark) = &mut marks[at] {
                mark.floor = mark.floor.max(floor);
            }
            match (value, &marks[at]) {
                (Some(NewValue { bytes, version: Some(version), owner: _ }), Some(mark)) => {
                    let ttl = entity.ttl().draw(&tools.means.random);
                    self.givens.push(Given { target, key, value: bytes, ttl, version, life: mark.life });
                }
                (Some(_), _) => drop(self.reloaded.insert(text)),
                (None, _) => {}
            }
        }
        for (item, mark) in self.intent.items.iter_mut().zip(&marks) {
            item.mark = mark.as_ref().map(Left::from);
        }
        // What was known before is not to come back with a write that is under way.
        let mark = Mark { nonce: None, life: FORGOTTEN_FOR, floor: None };
        for (target, key) in own {
            let mark = Some(Left::from(&mark));
            self.intent.items.push(Item { target, key: key.to_string(), mark, ..Item::default() });
        }
    }

    /// As the journal takes it; refused where it would not.
    fn seal(mut self) -> Result<Self, Error> {
        let bytes = self.intent.to_bytes().map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
        if bytes.len() > intent::MAX_BYTES {
            let detail = format!("an intent of {} bytes; the journal takes {}", bytes.len(), intent::MAX_BYTES);
            let fields = vec![FieldError::new("targets", "are too much for one call: make several")];
            return Err(Error { fields, ..Error::new(Kind::TooLarge, detail) });
        }
        self.bytes = bytes;
        Ok(self)
    }

    /// What this process may remember, as far as it is known by name.
    pub fn keys(&self) -> Vec<Key> {
        let names = self.intent.items.iter().flat_map(|item| std::iter::once(&item.key).chain(&item.aliases));
        names.filter_map(|name| Key::new(name.clone()).ok()).collect()
    }

    /// Whether keys will be met that nobody can name now.
    pub fn has_unknown_keys(&self) -> bool {
        !self.intent.tags.is_empty() || self.intent.sweep.is_some()
    }
}

impl Aims {
    fn wrong(&mut self, path: impl Into<String>, problem: impl ToString) {
        self.mistake(Kind::InvalidField, path, problem);
    }

    fn mistake(&mut self, kind: Kind, path: impl Into<String>, problem: impl ToString) {
        self.mistakes.push(Mistake { kind, field: FieldError::new(path, problem) });
    }

    fn tag(&mut self, target: usize, tag: TagName) {
        let tagged = Tagged { target, tag };
        if self.tags.iter().all(|known| known.tag != tagged.tag) {
            self.tags.push(tagged);
        }
    }

    fn sweep(&mut self, target: usize, add: impl FnOnce(&mut sweep::Spec)) {
        let sweep = self.sweep.get_or_insert_with(|| Sweep { target, spec: sweep::Spec::default() });
        add(&mut sweep.spec);
    }
}

/// One kind where all mistakes are of one; else the fields say the rest.
fn refuse(mistakes: Vec<Mistake>) -> Error {
    let first = mistakes.first().map_or(Kind::InvalidField, |mistake| mistake.kind);
    let kind = if mistakes.iter().all(|mistake| mistake.kind == first) { first } else { Kind::InvalidField };
    Error { kind, ..Error::fields(mistakes.into_iter().map(|mistake| mistake.field).collect()) }
}

/// Whether somebody seems to mean many members by one value. `?` and brackets stand in ids as they are, such as in a
/// path with a query; nobody's id has an asterisk.
fn is_glob(value: &str) -> bool {
    value.contains('*')
}

/// The mode's own demand on an entity, if it is not met.
fn unmet(mode: Mode, entity: &crate::domain::entity::Entity) -> Option<String> {
    (mode == Mode::Soft && rules::grace(entity).is_none())
        .then(|| format!("cannot be soft: the entity `{}` declares no grace", entity.name()))
}

/// An entity that a caller named.
fn entity<'a>(
    settings: &'a Settings,
    name: &str,
    path: &str,
    aims: &mut Aims,
) -> Option<&'a std::sync::Arc<crate::domain::entity::Entity>> {
    let found = settings.catalog.entity(name);
    if found.is_none() {
        aims.mistake(Kind::UnknownEntity, path, "is no entity of the configuration");
    }
    found
}

//! Which members a call is about: those it names, and those that every login gets. Pure.

use std::collections::BTreeSet;

use crate::domain::catalog::{Catalog, MemberError};
use crate::domain::entity::Name;
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::subject::Subject;
use crate::domain::template::{Params, RenderError};
use crate::prehydrate::ending::Reason;
use crate::prehydrate::request::{MemberRef, Planned, Why};
use crate::prehydrate::wanted::{Identity, Wanted};

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub fills: Vec<Planned>,
    /// Asked for, but not this subject's to fill.
    pub denied: Vec<Planned>,
}

/// Looks up what was asked for and adds what is always filled, each after what it waits for. All mistakes at once, each
/// with its path.
pub fn draw_up(catalog: &Catalog, always: &[Name], subject: &Subject, asked: &[MemberRef]) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    let mut mistakes = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, member) in asked.iter().enumerate() {
        match look_up(catalog, subject, &member.entity, &member.params) {
            Ok(chain) => plan.add(subject, &mut seen, chain, Reason::Requested),
            Err(error) => mistakes.push(Mistake { path: path_of_member(at, &error), error }),
        }
    }
    for name in always {
        match look_up(catalog, subject, name.as_str(), &Params::default()) {
            Ok(chain) => plan.add(subject, &mut seen, chain, Reason::Always),
            // A login without a tenant or a session cannot have what is keyed by it; the rest is filled all the same.
            Err(MemberError::Params(RenderError::Missing(_))) => {
                tracing::debug!(entity = %name, "left out of the plan: the subject lacks what its key is made from");
            }
            // A fact that is there and cannot stand in a key is a mistake of the caller's, who would never hear of it.
            Err(error) => mistakes.push(Mistake { path: path_of_fact(catalog, name, &error), error }),
        }
    }
    if mistakes.is_empty() { Ok(plan) } else { Err(refuse(&mistakes)) }
}

struct Mistake {
    path: String,
    error: MemberError,
}

impl Plan {
    fn add(&mut self, subject: &Subject, seen: &mut BTreeSet<Identity>, chain: Vec<Wanted>, reason: Reason) {
        for wanted in chain {
            if !seen.insert(wanted.identity()) {
                continue;
            }
            let mine = wanted.entity().belongs_to(subject, wanted.params());
            let why = Why::certain(wanted.reason(reason));
            let list = if mine { &mut self.fills } else { &mut self.denied };
            list.push(Planned { wanted, why });
        }
    }
}

/// What is asked for, after all that it waits for.
fn look_up(catalog: &Catalog, subject: &Subject, entity: &str, params: &Params) -> Result<Vec<Wanted>, MemberError> {
    let wanted = Wanted::look_up(catalog, subject, entity, params)?;
    let mut chain = wanted.above(catalog, subject)?;
    chain.reverse();
    chain.push(wanted);
    Ok(chain)
}

fn path_of_member(at: usize, error: &MemberError) -> String {
    match error {
        MemberError::UnknownEntity(_) => format!("members[{at}].entity"),
        MemberError::Params(render) => match render.param() {
            Some(param) => format!("members[{at}].params.{param}"),
            None => format!("members[{at}].params"),
        },
        MemberError::BelongsTo { .. } => format!("members[{at}].params"),
    }
}

/// For a member whose parameters all come from the subject.
fn path_of_fact(catalog: &Catalog, name: &Name, error: &MemberError) -> String {
    let param = match error {
        MemberError::Params(render) => render.param(),
        MemberError::UnknownEntity(_) | MemberError::BelongsTo { .. } => None,
    };
    let fact = param.and_then(|param| catalog.entity(name.as_str())?.fact_of(param));
    fact.map_or_else(|| "subject".to_owned(), |fact| format!("subject.{}", fact.field()))
}

fn refuse(mistakes: &[Mistake]) -> Error {
    let fields = mistakes.iter().map(|Mistake { path, error }| FieldError::new(path, error));
    let error = Error::fields(fields.collect());
    let only_unknown = mistakes.iter().all(|mistake| matches!(mistake.error, MemberError::UnknownEntity(_)));
    Error { kind: if only_unknown { Kind::UnknownEntity } else { Kind::InvalidField }, ..error }
}

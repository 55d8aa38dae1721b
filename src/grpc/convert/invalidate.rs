//! `Invalidate`: what has changed, from the contract's words to the flow's, and what became of it back again.
//!
//! A cookie is read here, because the flow below knows subjects only; who reads it is handed in. A request with wrong
//! fields is told those first: a cookie that is not accepted says nothing about the rest of the request.

use tokio::time::Instant;

use super::{
    MAX_COOKIE_BYTES, MAX_COOKIE_HEADER_BYTES, MAX_NAME_BYTES, MAX_PARAMS, MAX_VALUE_BYTES, MapLimits, Problems,
    duration_out,
};
use crate::domain::error::{Error, FieldError};
use crate::domain::key::MAX_KEY_BYTES;
use crate::domain::subject::Subject;
use crate::domain::tag::MAX_TAG_BYTES;
use crate::domain::trace::TraceContext;
use crate::grpc::pb;
use crate::grpc::pb::invalidate_response::State as Shown;
use crate::grpc::pb::invalidate_target::Target as Aimed;
use crate::grpc::pb::subject_target::Who as Said;
use crate::invalidate::request::{
    Answer, Cause, Change, Counts, Durability, Effect, Exactness, History, KnownAlias, MAX_KEYS, MAX_KNOWN_ALIASES,
    MAX_PATTERN_BYTES, MAX_REASON_BYTES, MAX_TARGETS, MemberTarget, Mode, NewValue, Request, State, Stated, Target,
};
use crate::prehydrate::request::Who;

const MAX_ENTITIES: usize = 64;

/// What a call brings besides its message.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub trace: TraceContext,
    pub until: Instant,
}

/// Reads a request; `identify` says who a cookie speaks of.
pub fn request(
    message: pb::InvalidateRequest,
    call: Call,
    identify: impl Fn(Who) -> Result<Subject, Error>,
) -> Result<Request, Error> {
    let pb::InvalidateRequest { targets, mode, dry_run, reason } = message;
    let mut reading = Reading { problems: Problems::default(), refused: None, identify };
    let mode = reading.mode(mode);
    let targets = reading.targets(targets, mode);
    reading.problems.length("reason", &reason, 0, MAX_REASON_BYTES);
    let Reading { problems, refused, .. } = reading;
    if let Some(error) = problems.into_error().or(refused) {
        return Err(error);
    }
    let effect = if dry_run { Effect::Preview } else { Effect::Real };
    let Call { trace, until } = call;
    Ok(Request { targets, mode: mode.unwrap_or_default(), effect, reason, within: Vec::new(), trace, until })
}

pub fn response(answer: Answer) -> pb::InvalidateResponse {
    let Answer { trace, state, counts, target_counts, sample_keys, change } = answer;
    pb::InvalidateResponse {
        trace_id: trace.to_string(),
        state: Some(state_out(state)),
        counts: Some(counts_out(counts)),
        target_counts: target_counts.into_iter().map(counts_out).collect(),
        sample_keys,
        change: change.map(|Change { incarnation, sequence }| pb::ChangePosition { incarnation, sequence }),
    }
}

struct Reading<F> {
    problems: Problems,
    /// The first cookie that was not accepted.
    refused: Option<Error>,
    identify: F,
}

impl<F: Fn(Who) -> Result<Subject, Error>> Reading<F> {
    fn mode(&mut self, mode: i32) -> Option<Mode> {
        match pb::InvalidateMode::try_from(mode) {
            Ok(pb::InvalidateMode::Unspecified | pb::InvalidateMode::Remove) => Some(Mode::Remove),
            Ok(pb::InvalidateMode::Refresh) => Some(Mode::Refresh),
            Ok(pb::InvalidateMode::Replace) => Some(Mode::Replace),
            Ok(pb::InvalidateMode::Soft) => Some(Mode::Soft),
            Err(_) => {
                self.problems.wrong("mode", "is not a mode of this version");
                None
            }
        }
    }

    fn targets(&mut self, targets: Vec<pb::InvalidateTarget>, mode: Option<Mode>) -> Vec<Target> {
        if targets.is_empty() {
            self.problems.wrong("targets", "is empty: name what has changed");
        }
        if targets.len() > MAX_TARGETS {
            self.problems.wrong("targets", format!("has more than {MAX_TARGETS} entries"));
            return Vec::new();
        }
        let target = |(at, target): (usize, pb::InvalidateTarget)| self.target(&format!("targets[{at}]"), target, mode);
        targets.into_iter().enumerate().filter_map(target).collect()
    }

    fn target(&mut self, path: &str, target: pb::InvalidateTarget, mode: Option<Mode>) -> Option<Target> {
        let Some(target) = target.target else {
            self.problems.wrong(path, "names nothing: give a member, keys, a tag, a subject, a pattern or all");
            return None;
        };
        if mode == Some(Mode::Replace) && !matches!(target, Aimed::Member(_)) {
            self.problems.wrong(path, "is no member: only a member can be replaced");
        }
        match target {
            Aimed::Member(member) => self.member(&format!("{path}.member"), member, mode).map(Target::Member),
            Aimed::Keys(pb::KeysTarget { keys }) => {
                self.problems.keys(&format!("{path}.keys.keys"), &keys);
                Some(Target::Keys(keys))
            }
            Aimed::Tag(pb::TagTarget { tag }) => {
                self.problems.length(&format!("{path}.tag.tag"), &tag, 1, MAX_TAG_BYTES);
                Some(Target::Tag(tag))
            }
            Aimed::Subject(target) => self.subject(&format!("{path}.subject"), target),
            Aimed::Pattern(pb::PatternTarget { pattern }) => {
                self.problems.length(&format!("{path}.pattern.pattern"), &pattern, 1, MAX_PATTERN_BYTES);
                Some(Target::Pattern(pattern))
            }
            Aimed::All(pb::AllTarget { entities }) => {
                self.problems.entities(&format!("{path}.all.entities"), &entities);
                Some(Target::All { entities })
            }
        }
    }

    fn member(&mut self, path: &str, target: pb::MemberTarget, mode: Option<Mode>) -> Option<MemberTarget> {
        let pb::MemberTarget { member, known_aliases, min_version, replacement } = target;
        let problems = &mut self.problems;
        match (&replacement, mode) {
            (None, Some(Mode::Replace)) => problems.wrong(format!("{path}.replacement"), "is missing"),
            (Some(_), Some(Mode::Remove | Mode::Refresh | Mode::Soft)) => {
                problems.wrong(format!("{path}.replacement"), "is for the mode REPLACE alone");
            }
            (None | Some(_), _) => {}
        }
        let known_aliases = problems.known_aliases(&format!("{path}.known_aliases"), known_aliases);
        let min_version = min_version.and_then(|v| problems.version(&format!("{path}.min_version"), v));
        let replacement = replacement.map(|pb::Replacement { value, version }| NewValue {
            value,
            version: version.and_then(|v| problems.version(&format!("{path}.replacement.version"), v)),
        });
        let Some(pb::Member { entity, alias, params }) = member else {
            problems.wrong(format!("{path}.member"), "is missing");
            return None;
        };
        problems.length(&format!("{path}.member.entity"), &entity, 1, MAX_NAME_BYTES);
        problems.length(&format!("{path}.member.alias"), &alias, 0, MAX_NAME_BYTES);
        let params = problems.map(&format!("{path}.member.params"), params, &PARAMS);
        let alias = (!alias.is_empty()).then_some(alias);
        Some(MemberTarget { entity, alias, params, known_aliases, min_version, replacement })
    }

    fn subject(&mut self, path: &str, target: pb::SubjectTarget) -> Option<Target> {
        let pb::SubjectTarget { who, forget } = target;
        let problems = &mut self.problems;
        let who = match who {
            None => {
                problems.wrong(format!("{path}.who"), "is missing: give a cookie or a subject");
                None
            }
            Some(Said::CookieHeader(cookie)) => problems
                .cookie(&format!("{path}.cookie_header"), cookie, MAX_COOKIE_HEADER_BYTES)
                .map(Who::CookieHeader),
            Some(Said::CookieValue(cookie)) => {
                problems.cookie(&format!("{path}.cookie_value"), cookie, MAX_COOKIE_BYTES).map(Who::CookieValue)
            }
            Some(Said::Subject(subject)) => problems.subject(&format!("{path}.subject"), subject).map(Who::Subject),
        };
        let history = if forget { History::Forget } else { History::Keep };
        match (self.identify)(who?) {
            Ok(subject) => Some(Target::Subject { subject, history }),
            Err(error) => {
                let within = |field: FieldError| FieldError { path: format!("{path}.{}", field.path), ..field };
                let fields = error.fields.into_iter().map(within).collect();
                self.refused.get_or_insert(Error { fields, ..error });
                None
            }
        }
    }
}

const PARAMS: MapLimits = MapLimits { entries: MAX_PARAMS, value: 1..=MAX_VALUE_BYTES };

impl Problems {
    fn keys(&mut self, path: &str, keys: &[String]) {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return self.wrong(path, format!("has {} entries, and must have 1 to {MAX_KEYS}", keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            self.length(&format!("{path}[{at}]"), key, 1, MAX_KEY_BYTES);
        }
    }

    fn entities(&mut self, path: &str, entities: &[String]) {
        if entities.len() > MAX_ENTITIES {
            return self.wrong(path, format!("has more than {MAX_ENTITIES} entries"));
        }
        for (at, entity) in entities.iter().enumerate() {
            self.length(&format!("{path}[{at}]"), entity, 1, MAX_NAME_BYTES);
        }
    }

    fn known_aliases(&mut self, path: &str, known: Vec<pb::AliasValue>) -> Vec<KnownAlias> {
        if known.len() > MAX_KNOWN_ALIASES {
            self.wrong(path, format!("has more than {MAX_KNOWN_ALIASES} entries"));
            return Vec::new();
        }
        let alias = |(at, pb::AliasValue { alias, params }): (usize, pb::AliasValue)| {
            self.length(&format!("{path}[{at}].alias"), &alias, 1, MAX_NAME_BYTES);
            KnownAlias { alias, params: self.map(&format!("{path}[{at}].params"), params, &PARAMS) }
        };
        known.into_iter().enumerate().map(alias).collect()
    }

    /// One that no source could have stated is wrong here; whether the entity uses this kind the flow knows.
    fn version(&mut self, path: &str, version: pb::Version) -> Option<Stated> {
        let stated = match version.kind {
            None => {
                self.wrong(path, "is empty: give a number or a time");
                return None;
            }
            Some(pb::version::Kind::Number(number)) => Some(Stated::Number(number)),
            Some(pb::version::Kind::Time(time)) => since_1970(time).map(Stated::Time),
        };
        let fits = stated.filter(|stated| stated.version().is_some());
        if fits.is_none() {
            self.wrong(path, "is before 1970, negative, or too large");
        }
        fits
    }
}

/// None before 1970, and where the message is no time at all.
fn since_1970(time: prost_types::Timestamp) -> Option<std::time::Duration> {
    let seconds = u64::try_from(time.seconds).ok()?;
    let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(std::time::Duration::new(seconds, nanos))
}

fn state_out(state: State) -> Shown {
    match state {
        State::Done { elapsed } => Shown::Done(pb::InvalidateDone { elapsed: Some(duration_out(elapsed)) }),
        State::Pending { job, durability, cause } => Shown::Pending(pb::InvalidatePending {
            job_id: job.to_string(),
            durability: durability_out(durability).into(),
            cause: cause_out(cause).into(),
        }),
        State::Preview { exactness } => {
            Shown::Preview(pb::InvalidatePreview { estimated: exactness == Exactness::Estimated })
        }
    }
}

pub fn counts_out(counts: Counts) -> pb::InvalidateCounts {
    let Counts { matched, removed, refreshing, replaced, superseded, fenced } = counts;
    pb::InvalidateCounts { matched, removed, refreshing, replaced, superseded, fenced }
}

pub const fn durability_out(durability: Durability) -> pb::Durability {
    match durability {
        Durability::Fleet => pb::Durability::Fleet,
        Durability::Pod => pb::Durability::Pod,
    }
}

pub const fn cause_out(cause: Cause) -> pb::PendingCause {
    match cause {
        Cause::NodeUnavailable => pb::PendingCause::NodeUnavailable,
        Cause::ReplicasLate => pb::PendingCause::ReplicasLate,
        Cause::Topology => pb::PendingCause::Topology,
        Cause::Sweep => pb::PendingCause::Sweep,
        Cause::Deadline => pb::PendingCause::Deadline,
    }
}

pub const fn mode_out(mode: Mode) -> pb::InvalidateMode {
    match mode {
        Mode::Remove => pb::InvalidateMode::Remove,
        Mode::Refresh => pb::InvalidateMode::Refresh,
        Mode::Replace => pb::InvalidateMode::Replace,
        Mode::Soft => pb::InvalidateMode::Soft,
    }
}

#[cfg(test)]
mod tests;

//! The contract's messages to the flows' own words and back.
//!
//! Every limit the contract's comments name is checked here, and all violations of a request are reported at once. What
//! only the configuration knows (which entities there are, which parameters they take) the flow checks.
//!
//! Here is what all calls share, and `Prehydrate`; the others have files of their own below.

pub mod invalidate;
pub mod job;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::entity::Entity;
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::outcome::Outcome;
use crate::domain::secret::Secret;
use crate::domain::shown;
use crate::domain::subject::{self, Subject, SubjectError};
use crate::domain::template::Params;
use crate::domain::trace::TraceContext;
use crate::grpc::pb;
use crate::grpc::pb::prehydrate_request::Who as Shown;
use crate::prehydrate::ending::{Ending, Reason};
use crate::prehydrate::request::{
    Exclusion, Expected, Freshness, Line, MemberRef, Planned, Proposed, Report, Request, Status, Wait, Who, Why,
};
use crate::prehydrate::wanted::Wanted;

pub mod record;
pub mod warm_up;

/// The limits of `prehydrate.proto` and `member.proto`.
const MAX_MEMBERS: usize = 256;
const MAX_PARAMS: usize = 16;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 512;
const MAX_COOKIE_HEADER_BYTES: usize = 16 * 1024;
const MAX_COOKIE_BYTES: usize = 8 * 1024;

/// What is wrong with a request so far, in the order of its fields.
#[derive(Default)]
struct Problems {
    fields: Vec<FieldError>,
    /// Fields of the contract that this version does not serve yet.
    not_built: Vec<FieldError>,
}

pub fn request(message: pb::PrehydrateRequest, trace: TraceContext, until: Instant) -> Result<Request, Error> {
    let pb::PrehydrateRequest { who, members, mode, refresh, dry_run } = message;
    let mut problems = Problems::default();
    let who = problems.who(who);
    let members = problems.members(members);
    let wait = problems.mode(mode, dry_run, until);
    let freshness = if refresh { Freshness::Refresh } else { Freshness::Keep };
    match (problems.into_error(), who) {
        (None, Some(who)) => Ok(Request { who, members, wait, freshness, trace }),
        (Some(error), _) => Err(error),
        // Where nobody could be made out, that left a problem.
        (None, None) => Err(Error::new(Kind::Internal, "nobody and no problem")),
    }
}

/// Whom a lookup is for, and the field that says so.
pub fn who(who: pb::lookup_request::Who) -> Result<(&'static str, Who), Error> {
    let (path, shown) = match who {
        pb::lookup_request::Who::CookieHeader(cookie) => ("cookie_header", Shown::CookieHeader(cookie)),
        pb::lookup_request::Who::CookieValue(cookie) => ("cookie_value", Shown::CookieValue(cookie)),
        pb::lookup_request::Who::Subject(subject) => ("subject.tenant", Shown::Subject(subject)),
    };
    let mut problems = Problems::default();
    match (problems.who(Some(shown)), problems.into_error()) {
        (Some(who), None) => Ok((path, who)),
        (_, Some(error)) => Err(error),
        (None, None) => Err(Error::new(Kind::Internal, "nobody and no problem")),
    }
}

pub fn response(report: Report) -> pb::PrehydrateResponse {
    let Report { trace, status, lines, plan, retry_after, elapsed } = report;
    pb::PrehydrateResponse {
        trace_id: trace.to_string(),
        status: status_out(status).into(),
        outcomes: lines.into_iter().map(outcome_out).collect(),
        plan: plan.into_iter().map(planned_out).collect(),
        retry_after: retry_after.map(duration_out),
        elapsed: Some(duration_out(elapsed)),
    }
}

impl Problems {
    fn who(&mut self, who: Option<Shown>) -> Option<Who> {
        match who {
            None => {
                self.wrong("who", "is missing: give a cookie or a subject");
                None
            }
            Some(Shown::CookieHeader(cookie)) => {
                self.cookie("cookie_header", cookie, MAX_COOKIE_HEADER_BYTES).map(Who::CookieHeader)
            }
            Some(Shown::CookieValue(cookie)) => {
                self.cookie("cookie_value", cookie, MAX_COOKIE_BYTES).map(Who::CookieValue)
            }
            Some(Shown::Subject(subject)) => self.subject("subject", subject).map(Who::Subject),
        }
    }

    /// What is in it is for the flow to read, which refuses all that is wrong with it alike.
    fn cookie(&mut self, path: &str, cookie: String, longest: usize) -> Option<Secret> {
        self.length(path, &cookie, 1, longest).then(|| Secret::new(cookie))
    }

    fn subject(&mut self, path: &str, message: pb::Subject) -> Option<Subject> {
        let pb::Subject { user_id, session_token, tenant, mut attributes } = message;
        let before = self.fields.len();
        self.length(&format!("{path}.user_id"), &user_id, 1, subject::MAX_FACT_BYTES);
        self.length(&format!("{path}.session_token"), &session_token, 0, subject::MAX_SESSION_BYTES);
        self.length(&format!("{path}.tenant"), &tenant, 0, subject::MAX_TENANT_BYTES);
        // Empty means not given, as it does for the fields beside it.
        attributes.retain(|_, value| !value.is_empty());
        let limits = MapLimits { entries: subject::MAX_ATTRIBUTES, value: 0..=subject::MAX_ATTRIBUTE_BYTES };
        let attributes = self.map(&format!("{path}.attributes"), attributes, &limits);
        if self.fields.len() > before {
            return None;
        }
        let session = (!session_token.is_empty()).then(|| Secret::new(session_token));
        let tenant = (!tenant.is_empty()).then_some(tenant);
        let refused = |error: SubjectError| self.wrong(format!("{path}.{}", error.field()), error);
        Subject::new(user_id, session, tenant, attributes).map_err(refused).ok()
    }

    fn members(&mut self, members: Vec<pb::Member>) -> Vec<MemberRef> {
        if members.len() > MAX_MEMBERS {
            self.wrong("members", format!("has more than {MAX_MEMBERS} entries"));
            return Vec::new();
        }
        members.into_iter().enumerate().map(|(at, member)| self.member(&format!("members[{at}]"), member)).collect()
    }

    fn member(&mut self, path: &str, member: pb::Member) -> MemberRef {
        let pb::Member { entity, alias, params } = member;
        self.length(&format!("{path}.entity"), &entity, 1, MAX_NAME_BYTES);
        if !alias.is_empty() {
            let problem = "a member cannot be named by an alias yet: give its own parameters";
            self.not_built.push(FieldError::new(format!("{path}.alias"), problem));
        }
        let limits = MapLimits { entries: MAX_PARAMS, value: 1..=MAX_VALUE_BYTES };
        let params = self.map(&format!("{path}.params"), params, &limits);
        MemberRef { entity, params }
    }

    fn mode(&mut self, mode: i32, dry_run: bool, until: Instant) -> Wait {
        let Ok(mode) = pb::PrehydrateMode::try_from(mode) else {
            self.wrong("mode", "is not a mode of this version");
            return Wait::Accepted;
        };
        match (dry_run, mode) {
            (true, _) => Wait::DryRun,
            (false, pb::PrehydrateMode::Unspecified | pb::PrehydrateMode::Accepted) => Wait::Accepted,
            (false, pb::PrehydrateMode::Completed) => Wait::Completed { until },
        }
    }

    fn map(&mut self, path: &str, map: BTreeMap<String, String>, limits: &MapLimits) -> Params {
        if map.len() > limits.entries {
            self.wrong(path, format!("has more than {} entries", limits.entries));
            return Params::default();
        }
        for (name, value) in &map {
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                // The name itself may be as long as the message: the path stays short.
                self.wrong(path, format!("has a name that is not 1 to {MAX_NAME_BYTES} bytes long"));
            } else {
                self.length(&format!("{path}.{name}"), value, *limits.value.start(), *limits.value.end());
            }
        }
        map.into_iter().collect()
    }

    /// Whether the text is within its limits.
    fn length(&mut self, path: &str, text: &str, shortest: usize, longest: usize) -> bool {
        let fits = (shortest..=longest).contains(&text.len());
        match text.len() {
            _ if fits => {}
            0 => self.wrong(path, "is empty"),
            _ => self.wrong(path, format!("is longer than {longest} bytes")),
        }
        fits
    }

    fn wrong(&mut self, path: impl Into<String>, problem: impl ToString) {
        self.fields.push(FieldError::new(path, problem));
    }

    /// Wrong fields first: what is not built may be built tomorrow, a wrong field stays wrong.
    fn into_error(self) -> Option<Error> {
        if !self.fields.is_empty() {
            return Some(Error::fields(self.fields));
        }
        let not_built = Error { fields: self.not_built, ..Error::new(Kind::NotBuilt, "not built yet") };
        (!not_built.fields.is_empty()).then_some(not_built)
    }
}

struct MapLimits {
    entries: usize,
    value: std::ops::RangeInclusive<usize>,
}

fn outcome_out(line: Line) -> pb::ResourceOutcome {
    let Line { planned: Planned { wanted, why }, ending } = line;
    let Ending { outcome, reason, elapsed, written } = ending;
    let tier = if written.is_some() { pb::Tier::Redis } else { pb::Tier::Unspecified };
    pb::ResourceOutcome {
        key: key_of(&wanted),
        outcome: fill_outcome_out(outcome).into(),
        source: source_of(wanted.entity()),
        elapsed: Some(duration_out(elapsed)),
        bytes: written.map_or(0, |written| written.bytes as u64),
        score: why.score,
        plan_reason: reason_out(why.reason).into(),
        reason,
        tier: tier.into(),
        ttl: written.map(|written| duration_out(written.ttl)),
        member: Some(member_out(&wanted)),
    }
}

fn planned_out(proposed: Proposed) -> pb::PlannedFill {
    let Proposed { planned: Planned { wanted, why: Why { reason, score } }, exclusion, expected } = proposed;
    let Expected { bytes, elapsed } = expected;
    pb::PlannedFill {
        key: key_of(&wanted),
        source: source_of(wanted.entity()),
        score,
        plan_reason: reason_out(reason).into(),
        exclusion: exclusion_out(exclusion).into(),
        explanation: explanation(exclusion, reason).to_owned(),
        expected_bytes: bytes.unwrap_or_default(),
        expected_elapsed: elapsed.map(duration_out),
        member: Some(member_out(&wanted)),
    }
}

/// Empty while it is not known.
fn key_of(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Member(member) => shown::key(member),
        Wanted::Dependent(_) => String::new(),
    }
}

fn member_out(wanted: &Wanted) -> pb::Member {
    let params = shown::params_of(wanted.entity(), wanted.params());
    pb::Member {
        entity: wanted.entity().name().to_string(),
        alias: String::new(),
        params: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn source_of(entity: &Entity) -> String {
    entity.load().map(|load| load.source.to_string()).unwrap_or_default()
}

const fn explanation(exclusion: Option<Exclusion>, reason: Reason) -> &'static str {
    match (exclusion, reason) {
        (Some(Exclusion::Disabled), _) => "fills of it are switched off",
        (Some(Exclusion::Denied), _) => "it belongs to another subject or tenant",
        (Some(Exclusion::BelowFloor), _) => "it is not likely enough to be read",
        (Some(Exclusion::ItemCap), _) => "the plan is full: likelier items come first",
        (Some(Exclusion::ByteCap), _) => "the plan has its bytes: likelier items come first",
        (Some(Exclusion::TimeCap), _) => "its source takes too long, or has its share of this plan's calls",
        (Some(Exclusion::Never), _) => "the configuration never wants it predicted",
        (Some(Exclusion::Unused), _) => "what was filled of it has hardly been read of late",
        (None, Reason::Requested) => "the caller named it",
        (None, Reason::Always) => "the configuration always wants it",
        (None, Reason::History) => "the subject has read it before",
        (None, Reason::Cohort) => "others read it, and this subject has no history yet",
        (None, Reason::Dependent) => "it follows from another resource's answer",
        (None, Reason::Exploration) => "a try, to learn whether it is read again",
    }
}

const fn reason_out(reason: Reason) -> pb::PlanReason {
    match reason {
        Reason::Requested => pb::PlanReason::Requested,
        Reason::Always => pb::PlanReason::Always,
        Reason::History => pb::PlanReason::History,
        Reason::Cohort => pb::PlanReason::Cohort,
        Reason::Dependent => pb::PlanReason::Dependent,
        Reason::Exploration => pb::PlanReason::Exploration,
    }
}

const fn exclusion_out(exclusion: Option<Exclusion>) -> pb::PlanExclusion {
    match exclusion {
        None => pb::PlanExclusion::Unspecified,
        Some(Exclusion::Disabled) => pb::PlanExclusion::Disabled,
        Some(Exclusion::Denied) => pb::PlanExclusion::Denied,
        Some(Exclusion::BelowFloor) => pb::PlanExclusion::BelowFloor,
        Some(Exclusion::ItemCap) => pb::PlanExclusion::ItemCap,
        Some(Exclusion::ByteCap) => pb::PlanExclusion::ByteCap,
        Some(Exclusion::TimeCap) => pb::PlanExclusion::TimeCap,
        Some(Exclusion::Never) => pb::PlanExclusion::Never,
        Some(Exclusion::Unused) => pb::PlanExclusion::Unused,
    }
}

const fn status_out(status: Status) -> pb::PrehydrateStatus {
    match status {
        Status::Accepted => pb::PrehydrateStatus::Accepted,
        Status::Completed => pb::PrehydrateStatus::Completed,
        Status::Partial => pb::PrehydrateStatus::Partial,
        Status::Coalesced => pb::PrehydrateStatus::Coalesced,
        Status::Shed => pb::PrehydrateStatus::Shed,
        Status::Disabled => pb::PrehydrateStatus::Disabled,
        Status::Planned => pb::PrehydrateStatus::Planned,
    }
}

const fn fill_outcome_out(outcome: Outcome) -> pb::FillOutcome {
    match outcome {
        Outcome::Filled => pb::FillOutcome::Filled,
        Outcome::Fresh => pb::FillOutcome::Fresh,
        Outcome::Absent => pb::FillOutcome::Absent,
        Outcome::InFlight => pb::FillOutcome::InFlight,
        Outcome::Fenced => pb::FillOutcome::Fenced,
        Outcome::Denied => pb::FillOutcome::Denied,
        Outcome::TooLarge => pb::FillOutcome::TooLarge,
        Outcome::Timeout => pb::FillOutcome::Timeout,
        Outcome::Shed => pb::FillOutcome::Shed,
        Outcome::Disabled => pb::FillOutcome::Disabled,
        Outcome::Failed => pb::FillOutcome::Failed,
    }
}

/// Durations here are seconds to days; one that would not fit the message is as good as endless.
fn duration_out(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
}

#[cfg(test)]
mod tests;

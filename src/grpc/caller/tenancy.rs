//! Whose data a call is about, held against the tenants of its caller. One function for each rpc that names data.
//!
//! For a caller that is held to some tenants, what does not say whose it is, is not its own: a key without a tenant in
//! it, a pattern that could reach another's keys, a job of which nobody knows whom it concerns. So nothing is let through
//! because nobody thought of it. Every field that is refused is named, and then nothing is done.

use std::collections::BTreeSet;

use super::Caller;
use super::refused::Refused;
use crate::domain::caller::{Act, Right, Tenants};
use crate::domain::catalog::Catalog;
use crate::domain::entity::Entity;
use crate::domain::error::{Error, FieldError, Kind};
use crate::domain::subject::{Fact, Subject};
use crate::domain::template::{Ids, Params, Template};
use crate::grpc::pb;
use crate::invalidate::jobs::Job;
use crate::invalidate::request::{MemberTarget, Request, Target};
use crate::prehydrate::access::Refused as RefusedAccess;
use crate::prehydrate::request::{MemberRef, Who};

const UNTOLD: &str = "does not say which tenant it is of";
const OTHER: &str = "is of a tenant that is not among the caller's";

impl Caller {
    /// Whether it may say who a user is, where it does.
    pub fn may_name(&self, who: &Who) -> Result<(), Error> {
        match who {
            Who::CookieHeader(_) | Who::CookieValue(_) => Ok(()),
            Who::Subject(subject) => self.may_state(subject.tenant()),
        }
    }

    fn may_state(&self, tenant: Option<&str>) -> Result<(), Error> {
        self.must_have(Right::AssertSubject)?;
        if tenant.is_some() { self.must_have(Right::AssertTenant) } else { Ok(()) }
    }

    /// Numbers over all tenants are for those who may see all of them.
    pub fn must_see_all(&self) -> Result<(), Error> {
        match self.tenants {
            Tenants::All => Ok(()),
            Tenants::Only(_) => Err(self.deny(Vec::new())),
        }
    }

    pub fn is_held(&self) -> bool {
        self.tenants != Tenants::All
    }

    /// A job that it could not have caused does not exist for it.
    pub fn may_see(&self, job: &Job) -> Result<(), Error> {
        let sees = match &self.tenants {
            Tenants::All => true,
            Tenants::Only(mine) => !job.within.is_empty() && job.within.iter().all(|tenant| mine.contains(tenant)),
        };
        if sees {
            return Ok(());
        }
        self.metrics.caller_refused(Refused::Tenant);
        Err(Error::new(Kind::UnknownJob, "another tenant's job"))
    }

    fn deny(&self, fields: Vec<FieldError>) -> Error {
        self.metrics.caller_refused(Refused::Tenant);
        tracing::debug!(caller = self.name, "a call concerns a tenant that is not among its caller's");
        Error { fields, ..Error::new(Kind::TenantDenied, "another tenant") }
    }
}

/// A prehydration whose subject is known; `shown` is the field that says who it is.
pub fn prehydration(
    caller: &Caller,
    catalog: &Catalog,
    subject: (&str, &Subject),
    members: &[MemberRef],
) -> Result<(), Error> {
    let Some(mut held) = Held::of(caller, catalog) else { return Ok(()) };
    held.subject(subject.0, subject.1);
    for (at, MemberRef { entity, params }) in members.iter().enumerate() {
        held.own_member(&format!("members[{at}]"), entity, params);
    }
    held.finish().map(drop)
}

/// What an invalidation is about, and whether it clears. Answers the tenants it stays within, where that is known.
pub fn invalidation(
    caller: &Caller,
    catalog: &Catalog,
    request: &Request,
    now: tokio::time::Instant,
) -> Result<Vec<String>, Error> {
    if request.targets.iter().any(|target| matches!(target, Target::Pattern(_) | Target::All { .. })) {
        caller.spend(Act::Clear, now)?;
    }
    let Some(mut held) = Held::of(caller, catalog) else { return Ok(Vec::new()) };
    for (at, target) in request.targets.iter().enumerate() {
        let path = format!("targets[{at}]");
        match target {
            Target::Member(member) => held.target(&format!("{path}.member"), member),
            Target::Keys(keys) => {
                for (at, key) in keys.iter().enumerate() {
                    held.key(&format!("{path}.keys.keys[{at}]"), key);
                }
            }
            Target::Tag(tag) => held.tag(&format!("{path}.tag.tag"), tag),
            Target::Subject { subject, history: _ } => held.subject(&format!("{path}.subject"), subject),
            Target::Pattern(pattern) => held.pattern(&format!("{path}.pattern.pattern"), pattern),
            Target::All { entities: _ } => held.wrong(&format!("{path}.all"), "is for callers of all tenants"),
        }
    }
    held.finish()
}

/// What a read of values asks for; `subject` is whom it is for, where it says so.
pub fn lookup(
    caller: &Caller,
    catalog: &Catalog,
    subject: Option<(&str, &Subject)>,
    items: &[pb::LookupItem],
) -> Result<(), Error> {
    let Some(mut held) = Held::of(caller, catalog) else { return Ok(()) };
    if let Some((path, subject)) = subject {
        held.subject(path, subject);
    }
    for (at, item) in items.iter().enumerate() {
        match &item.by {
            Some(pb::lookup_item::By::Member(member)) => held.named(&format!("items[{at}].member"), member),
            Some(pb::lookup_item::By::Key(key)) => held.key(&format!("items[{at}].key"), key),
            None => {}
        }
    }
    held.finish().map(drop)
}

pub fn explanation(caller: &Caller, catalog: &Catalog, request: &pb::ExplainRequest) -> Result<(), Error> {
    let Some(mut held) = Held::of(caller, catalog) else { return Ok(()) };
    match &request.what {
        Some(pb::explain_request::What::Key(key)) => held.key("key", key),
        Some(pb::explain_request::What::Member(member)) => held.named("member", member),
        None => {}
    }
    held.finish().map(drop)
}

pub fn watch(caller: &Caller, catalog: &Catalog, request: &pb::WatchRequest) -> Result<(), Error> {
    let Some(mut held) = Held::of(caller, catalog) else { return Ok(()) };
    for (at, pb::WatchSelector { entity, params }) in request.selectors.iter().enumerate() {
        let params = params.iter().collect();
        held.whole_member(&format!("selectors[{at}]"), entity, None, &params);
    }
    held.finish().map(drop)
}

/// One report of a read; a wrong one is refused alone.
pub fn access(caller: &Caller, catalog: &Catalog, access: &pb::Access) -> Result<(), RefusedAccess> {
    let Some(mut held) = Held::of(caller, catalog) else { return Ok(()) };
    let refused = |path, problem: &str| {
        caller.metrics.caller_refused(Refused::Tenant);
        Err(RefusedAccess { path, kind: Kind::TenantDenied, problem: problem.to_owned() })
    };
    if matches!(access.subject, Some(pb::access::Subject::SubjectHash(_))) {
        return refused("subject_hash", UNTOLD);
    }
    let has_tenant = !access.tenant.is_empty();
    if (has_tenant || access.subject.is_some()) && !caller.tenants.has(&access.tenant) {
        return refused("tenant", OTHER);
    }
    match &access.what {
        Some(pb::access::What::Member(member)) if has_tenant => {
            held.own_member("member", &member.entity, &member.params.iter().collect());
        }
        Some(pb::access::What::Member(member)) => held.named("member", member),
        Some(pb::access::What::Key(key)) => match catalog.find(key) {
            Some(found) if has_tenant => held.own_member("key", found.entity.name().as_str(), &found.params),
            Some(_) | None => held.key("key", key),
        },
        None => {}
    }
    match (held.wrong.is_empty(), &access.what) {
        (true, _) | (false, None) => Ok(()),
        (false, Some(pb::access::What::Member(_))) => refused("member.params", OTHER),
        (false, Some(pb::access::What::Key(_))) => refused("key", OTHER),
    }
}

/// One request of a caller that is held to some tenants, as far as it has been read.
struct Held<'a> {
    caller: &'a Caller,
    mine: &'a BTreeSet<String>,
    catalog: &'a Catalog,
    wrong: Vec<FieldError>,
    within: BTreeSet<String>,
}

impl<'a> Held<'a> {
    /// None for a caller of all tenants: nothing it says can be wrong here.
    fn of(caller: &'a Caller, catalog: &'a Catalog) -> Option<Self> {
        match &caller.tenants {
            Tenants::All => None,
            Tenants::Only(mine) => Some(Self { caller, mine, catalog, wrong: Vec::new(), within: BTreeSet::new() }),
        }
    }

    fn finish(self) -> Result<Vec<String>, Error> {
        if self.wrong.is_empty() { Ok(self.within.into_iter().collect()) } else { Err(self.caller.deny(self.wrong)) }
    }

    fn wrong(&mut self, path: &str, problem: &str) {
        self.wrong.push(FieldError::new(path, problem));
    }

    fn tenant(&mut self, path: &str, tenant: Option<&str>) {
        match tenant {
            None => self.wrong(path, UNTOLD),
            Some(tenant) if self.mine.contains(tenant) => drop(self.within.insert(tenant.to_owned())),
            Some(_) => self.wrong(path, OTHER),
        }
    }

    fn subject(&mut self, path: &str, subject: &Subject) {
        self.tenant(path, subject.tenant());
    }

    fn named(&mut self, path: &str, pb::Member { entity, alias, params }: &pb::Member) {
        let alias = Some(alias.as_str()).filter(|alias| !alias.is_empty());
        self.whole_member(path, entity, alias, &params.iter().collect());
    }

    /// A member that a subject's facts complete: its tenant is the subject's unless it says another.
    fn own_member(&mut self, path: &str, entity: &str, params: &Params) {
        let Some(entity) = self.catalog.entity(entity) else { return };
        if let Some(param) = entity.param_of(&Fact::Tenant)
            && let Some(tenant) = params.get(param)
        {
            self.tenant(&format!("{path}.params.{param}"), Some(tenant));
        }
    }

    /// A member that has to say itself whose it is, in a parameter that its key is really made from. Of an entity that is
    /// not declared the flow will tell.
    fn whole_member(&mut self, path: &str, entity: &str, alias: Option<&str>, params: &Params) {
        let Some(entity) = self.catalog.entity(entity) else { return };
        let Some(template) = template_of(entity, alias) else { return };
        match tenant_in(entity, template) {
            Some(param) => self.tenant(&format!("{path}.params.{param}"), params.get(param)),
            None => self.wrong(path, UNTOLD),
        }
    }

    fn target(&mut self, path: &str, target: &MemberTarget) {
        let MemberTarget { entity, alias, params, known_aliases, min_version: _, replacement: _ } = target;
        self.whole_member(&format!("{path}.member"), entity, alias.as_deref(), params);
        let Some(entity) = self.catalog.entity(entity) else { return };
        for (at, known) in known_aliases.iter().enumerate() {
            let path = format!("{path}.known_aliases[{at}]");
            let Some(template) = template_of(entity, Some(&known.alias)) else { continue };
            match tenant_in(entity, template) {
                // Left out, it is the member's.
                Some(param) if known.params.get(param).is_none() => {}
                Some(param) => self.tenant(&format!("{path}.params.{param}"), known.params.get(param)),
                None => self.wrong(&path, UNTOLD),
            }
        }
    }

    /// One that no template makes is not ours to remove, and the flow will say so.
    fn key(&mut self, path: &str, key: &str) {
        if let Some(found) = self.catalog.find(key) {
            let tenant = found.entity.param_of(&Fact::Tenant).and_then(|param| found.params.get(param));
            self.tenant(path, tenant);
        }
    }

    /// Every template that could make this tag must put the caller's own tenant into it.
    fn tag(&mut self, path: &str, tag: &str) {
        let templates = self.catalog.entities().flat_map(|entity| entity.tags().iter().map(move |tag| (entity, tag)));
        let tenants: Vec<Option<&str>> = templates
            .filter(|(_, template)| template.may_make(tag))
            .map(|(entity, template)| {
                let param = tag_tenant_in(entity, template)?;
                self.mine.iter().find(|tenant| is_tag_of(template, param, tenant, tag)).map(String::as_str)
            })
            .collect();
        self.all_mine(path, &tenants);
    }

    /// Every template that could make a key which the pattern's literal beginning fits must begin with the caller's own
    /// tenant.
    fn pattern(&mut self, path: &str, pattern: &str) {
        let literal = pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default();
        let templates = self.catalog.entities().flat_map(|entity| {
            let aliases = entity.aliases().iter().map(|alias| &alias.key);
            std::iter::once(entity.key()).chain(aliases).map(move |key| (entity, key))
        });
        let meets =
            |template: &Template| literal.starts_with(template.prefix()) || template.prefix().starts_with(literal);
        let tenants: Vec<Option<&str>> = templates
            .filter(|(_, template)| meets(template))
            .map(|(entity, template)| {
                let param = tenant_in(entity, template)?;
                let begins = |tenant: &&String| match template.pinned(param, tenant, entity.ids()) {
                    // A tenant that ends the key is told from a longer one by the pattern's end alone.
                    Some(pinned) if pinned.after.is_empty() => literal == pattern && literal == pinned.text,
                    Some(pinned) => literal.starts_with(&pinned.text),
                    None => false,
                };
                self.mine.iter().find(begins).map(String::as_str)
            })
            .collect();
        self.all_mine(path, &tenants);
    }

    fn all_mine(&mut self, path: &str, tenants: &[Option<&str>]) {
        if tenants.is_empty() {
            return self.wrong(path, UNTOLD);
        }
        match tenants.iter().copied().collect::<Option<Vec<&str>>>() {
            Some(tenants) => self.within.extend(tenants.into_iter().map(str::to_owned)),
            None => self.wrong(path, "can name what is of another tenant: begin with the caller's own"),
        }
    }
}

fn template_of<'a>(entity: &'a Entity, alias: Option<&str>) -> Option<&'a Template> {
    match alias {
        None => Some(entity.key()),
        Some(name) => entity.aliases().iter().find(|alias| alias.name.as_str() == name).map(|alias| &alias.key),
    }
}

/// The parameter of a key that holds the tenant.
fn tenant_in<'a>(entity: &'a Entity, template: &Template) -> Option<&'a str> {
    entity.param_of(&Fact::Tenant).filter(|param| template.params().any(|p| p == *param))
}

/// The same of a tag, which may also take the tenant from the subject.
fn tag_tenant_in<'a>(entity: &'a Entity, template: &Template) -> Option<&'a str> {
    let by_subject = || {
        let is_free = entity.key().params().all(|param| param != "tenant");
        (is_free && template.params().any(|param| param == "tenant")).then_some("tenant")
    };
    tenant_in(entity, template).or_else(by_subject)
}

/// Tags are written as they come, without a rule for what stands in them: what could be read in two ways is not let
/// through.
fn is_tag_of(template: &Template, param: &str, tenant: &str, tag: &str) -> bool {
    match template.pinned(param, tenant, Ids::Plain) {
        Some(pinned) if pinned.after.is_empty() => tag == pinned.text,
        Some(pinned) => tag.strip_prefix(&pinned.text).is_some_and(|rest| !rest.contains(pinned.after)),
        None => false,
    }
}

#[cfg(test)]
mod tests;

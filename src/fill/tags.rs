//! The tags of a member, and its registration under them before the source is asked.
//!
//! Whoever removes a tag's keys reads the tag once. A fill that registered before that read is met by it, and loses its
//! claim; one that registers after it asks the source after it too. So what counts is that the registration has been
//! answered before the fetch begins; it follows the claim, so that a key that is fresh costs no write. That the replicas
//! know of it counts before anything is written: until then a failover could lose the tag and keep the value. What a
//! logout finds by its key alone, in no tag of its own, is registered while it is fetched: a login then waits one round
//! trip less.

use tokio::time::Instant;

use crate::domain::entity::{Member, Scope};
use crate::domain::outcome::Outcome;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::{Confirmation, Registration};
use crate::domain::subject::Fact;
use crate::domain::tag::Tag;
use crate::domain::template::Template;
use crate::fill::ending::Filled;
use crate::fill::{Filler, Job};

impl Filler {
    /// Registers the member under its tags. Refused where a tag cannot be formed, and where the subject has logged out
    /// since the call came.
    pub(super) async fn register(&self, job: &Job) -> Result<Confirmation, Filled> {
        let subject = self.subject_of(job);
        let tags = tags_of(job, subject).map_err(|why| Filled::because(Outcome::Failed, why))?;
        if tags.is_empty() {
            return Ok(Confirmation::given());
        }
        let life = job.member.entity.registered_for(self.config.claim_life);
        let ask = Registration { key: &job.member.key, tags: &tags, life };
        let registered = self.store.register(ask).await.map_err(Filled::from_store)?;
        // The age of the call is taken when the reply is here: it is then older than when the store compared, so that a
        // call from before the logout is never taken for one that came after.
        match registered.gone {
            Some(gone) if Instant::now() - job.accepted > gone => {
                Err(Filled::because(Outcome::Fenced, "the subject has logged out"))
            }
            Some(_) | None if job.member.entity.is_found_without_tags() => Ok(Confirmation::given()),
            Some(_) | None => Ok(registered.confirmation),
        }
    }

    /// Whose the member is, if it is one subject's own.
    fn subject_of(&self, job: &Job) -> Option<Pseudonym> {
        match job.member.entity.scope() {
            Scope::Subject => {
                let named = job.owner.as_ref().map(|owner| owner.subject);
                named.or_else(|| job.member.owner(&self.config.group))
            }
            Scope::Tenant | Scope::Shared => None,
        }
    }
}

fn tags_of(job: &Job, subject: Option<Pseudonym>) -> Result<Vec<Tag>, String> {
    let declared = job.member.entity.tags().iter().map(|template| declared(job, subject, template));
    declared.chain(subject.map(|subject| Ok(Tag::Subject(subject)))).collect()
}

/// A tag as its template forms it. The reason why it cannot be formed names no value.
fn declared(job: &Job, subject: Option<Pseudonym>, template: &Template) -> Result<Tag, String> {
    let mut params = job.member.params.clone();
    if let (None, Some(subject)) = (params.get("subject"), subject) {
        params.insert("subject", subject.to_string());
    }
    if let (None, Some(tenant)) = (params.get("tenant"), tenant_of(job)) {
        params.insert("tenant", tenant);
    }
    let cannot = |why: String| format!("the tag `{}` cannot be formed: {why}", template.as_str());
    match template.params().find(|param| params.get(param).is_none()) {
        Some(missing) => Err(cannot(format!("the {missing} is not known"))),
        None => Tag::declared(template.show(&params)).map_err(|error| cannot(error.to_string())),
    }
}

fn tenant_of(job: &Job) -> Option<String> {
    let Member { entity, params, .. } = &job.member;
    let in_key = entity.param_of(&Fact::Tenant).and_then(|param| params.get(param));
    in_key.map(str::to_owned).or_else(|| job.owner.as_ref()?.tenant.clone())
}

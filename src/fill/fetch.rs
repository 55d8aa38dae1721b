//! What happens under the claim until there is something to write: register, fetch, project.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use tokio::time::Instant;

use crate::domain::budget::Meter;
use crate::domain::entity::Load;
use crate::domain::field;
use crate::domain::member_version::Version;
use crate::domain::mutant::{self, Mutant};
use crate::domain::outcome::Outcome;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::source::{FetchAsk, FetchError, Fetched, Source};
use crate::domain::store::{Claim, Confirmed};
use crate::domain::subject::Fact;
use crate::fill::claim::give_back;
use crate::fill::ending::Filled;
use crate::fill::{Filler, Job, forwarded};

/// The shortest life a store takes. An absence that is not to be remembered is committed for this long, because only a
/// commit takes away, under the claim, what stood at the key of a member that is gone.
const FORGOTTEN_AT_ONCE: Duration = Duration::from_millis(1);

impl Filler {
    pub(super) async fn fetch_and_commit(
        &self,
        job: &Job,
        load: &Load,
        source: &dyn Source,
        claim: Box<dyn Claim>,
    ) -> Filled {
        let registered = match self.register(job).await {
            Ok(registered) => registered,
            Err(refused) => {
                give_back(claim).await;
                return refused;
            }
        };
        let meter = self.budget.meter();
        let (fetched, confirmed) = join(self.fetch(job, load, source, &meter), registered.into_future()).await;
        let claim = match mutant::on(Mutant::M8FetchBeforeClaim) {
            true => match self.claim_late(job, claim).await {
                Ok(late) => late,
                Err(settled) => return settled,
            },
            false => claim,
        };
        let refused = match (fetched, confirmed) {
            (Err(error), _) => {
                let is_session_refused = error == FetchError::Denied && forwarded(job, load).is_some();
                Filled { is_session_refused, ..Filled::from_fetch(error) }
            }
            (Ok(_), Confirmed::Short) => Filled::because(Outcome::Failed, "the replicas do not know of its tags yet"),
            (Ok(Fetched::Absent), Confirmed::Yes) => return self.commit_absent(job, claim).await,
            (Ok(Fetched::Found(body)), Confirmed::Yes) => match self.accept(job, &body) {
                Ok(value) => return self.commit(job, claim, value, version_of(job, &body)).await,
                Err(refused) => refused,
            },
        };
        give_back(claim).await;
        refused
    }

    async fn fetch(&self, job: &Job, load: &Load, source: &dyn Source, meter: &Meter) -> Result<Fetched, FetchError> {
        let ask = FetchAsk {
            member: &job.member,
            session: forwarded(job, load),
            trace: job.trace,
            deadline: job.deadline.min(Instant::now() + self.config.claim_life),
            max_bytes: job.member.entity.projection().max_body_bytes(),
            meter,
        };
        source.fetch(ask).await
    }

    /// What of an answer is to be kept, if it is an answer about whom we asked for.
    fn accept(&self, job: &Job, body: &[u8]) -> Result<Bytes, Filled> {
        let entity = &job.member.entity;
        if let Some(place) = entity.owner()
            && !self.is_of_owner(job, field::at(body, place).as_deref())
        {
            tracing::warn!(entity = %entity.name(), "a source answered for another subject than was asked for");
            return Err(Filled::because(Outcome::Denied, "the answer does not name the subject that was asked for"));
        }
        entity.projection().apply(body).map_err(|refusal| Filled::from_refusal(&refusal))
    }

    /// By the user in the key; where there is none (a session's token is the key), by whoever the fill is for.
    fn is_of_owner(&self, job: &Job, named: Option<&str>) -> bool {
        let Some(named) = named else { return false };
        let in_key = job.member.entity.param_of(&Fact::User).and_then(|param| job.member.params.get(param));
        match (in_key, &job.owner) {
            (Some(user), _) => user == named,
            (None, Some(owner)) => owner.subject == Pseudonym::new(&self.config.group, owner.tenant.as_deref(), named),
            (None, None) => false,
        }
    }

    async fn commit_absent(&self, job: &Job, claim: Box<dyn Claim>) -> Filled {
        let entity = &job.member.entity;
        let life = entity.ttl().absent().unwrap_or(FORGOTTEN_AT_ONCE);
        match claim.commit_absent(life, entity.rules(None)).await {
            Ok(committed) => Filled::from_absent(committed),
            Err(error) => Filled::from_store(error),
        }
    }
}

/// From the answer as it came: the projection need not keep the field.
fn version_of(job: &Job, body: &[u8]) -> Option<Version> {
    let entity = &job.member.entity;
    let version = entity.version()?.read(body);
    if version.is_none() {
        tracing::debug!(entity = %entity.name(), "the answer has no version that can be read");
    }
    version
}

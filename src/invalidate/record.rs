//! Where an intent is written down, and what may be promised for it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::domain::journal::JobId;
use crate::domain::random::Nonce;
use crate::domain::store::Confirmed;
use crate::invalidate::note::Noted;
use crate::invalidate::request::Durability;
use crate::invalidate::spool::Spool;
use crate::invalidate::tools::Tools;

/// How an intent is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// In the journal, and its replicas know it.
    Fleet(JobId),
    /// On this pod's disk; and perhaps in the journal, of which its replicas say nothing.
    Pod { id: JobId, also: Option<JobId> },
    /// In this process's memory alone, and perhaps in the journal: nobody is promised anything.
    Memory { also: Option<JobId> },
}

/// What a caller can be told to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    pub job: JobId,
    pub durability: Durability,
}

impl Record {
    pub fn promise(&self) -> Option<Promise> {
        match self {
            Self::Fleet(id) => Some(Promise { job: id.clone(), durability: Durability::Fleet }),
            Self::Pod { id, also: _ } => Some(Promise { job: id.clone(), durability: Durability::Pod }),
            Self::Memory { also: _ } => None,
        }
    }

    /// What stands in the journal.
    pub fn journalled(&self) -> Option<&JobId> {
        match self {
            Self::Fleet(id) => Some(id),
            Self::Pod { id: _, also } | Self::Memory { also } => also.as_ref(),
        }
    }
}

/// Writes intents down, and takes them off.
#[derive(Clone)]
pub struct Books {
    pub tools: Tools,
    pub spool: Option<Arc<Spool>>,
}

impl Books {
    /// The journal first, since what stands there survives this pod; the spool where the journal will not have it, or
    /// where its replicas say nothing. With a spool the journal is waited for until then at most, so that there is still
    /// time to promise something.
    pub async fn record(&self, nonce: Nonce, intent: &Bytes, patience: Option<Instant>) -> Record {
        let journalled = self.in_journal(intent);
        let record = match (&self.spool, patience) {
            // Given up half-way it may stand in the journal all the same, and is carried out once more.
            (Some(_), Some(patience)) => match timeout_at(patience, journalled).await {
                Ok(record) => record,
                Err(_elapsed) => Record::Memory { also: None },
            },
            (None, _) | (_, None) => journalled.await,
        };
        let (Some(spool), Record::Memory { also }) = (&self.spool, &record) else { return record };
        let also = also.clone();
        match spool.write(nonce, intent.clone()).await {
            Ok(id) => Record::Pod { id, also },
            Err(error) => {
                tracing::error!(%error, "the spool does not take an invalidation that the journal would not take");
                Record::Memory { also }
            }
        }
    }

    async fn in_journal(&self, intent: &Bytes) -> Record {
        match self.tools.hands.journal.record(intent.clone()).await {
            Ok(recorded) => match recorded.confirmation.await {
                Confirmed::Yes => Record::Fleet(recorded.id),
                Confirmed::Short => Record::Memory { also: Some(recorded.id) },
            },
            Err(error) => {
                tracing::warn!(%error, "the journal does not take an invalidation");
                Record::Memory { also: None }
            }
        }
    }

    /// Another try for an intent of which the replicas of its first place said nothing: other places have others.
    pub async fn record_again(&self, record: Record, intent: &Bytes) -> Record {
        let Record::Memory { also: Some(first) } = record else { return record };
        match self.tools.hands.journal.record(intent.clone()).await {
            Ok(recorded) => match recorded.confirmation.await {
                Confirmed::Yes => {
                    self.take_off(&first, None).await;
                    Record::Fleet(recorded.id)
                }
                Confirmed::Short => {
                    self.take_off(&recorded.id, None).await;
                    Record::Memory { also: Some(first) }
                }
            },
            Err(_error) => Record::Memory { also: Some(first) },
        }
    }

    /// The work is done. An intent that cannot be taken off is repeated by somebody, which does no harm.
    pub async fn finish(&self, record: &Record, last: Option<&Noted>) {
        if let Some(id) = record.journalled() {
            self.take_off(id, last).await;
        }
        if let (Record::Pod { id, also: _ }, Some(spool)) = (record, &self.spool)
            && let Err(error) = spool.remove(id).await
        {
            tracing::warn!(%error, "an invalidation that is done stays in the spool, and will be repeated");
        }
    }

    /// Leaves word of how a job stands. It is a courtesy: failing does no harm.
    pub async fn note(&self, record: &Record, noted: &Noted) {
        if let (Record::Fleet(id), Some(note)) = (record, noted.to_note())
            && let Err(error) = self.tools.hands.journal.note(id, note).await
        {
            tracing::debug!(%error, "how a job stands could not be noted");
        }
    }

    async fn take_off(&self, id: &JobId, last: Option<&Noted>) {
        let note = last.and_then(Noted::to_note);
        if let Err(error) = self.tools.hands.journal.finish(id, note).await {
            tracing::debug!(%error, "an intent that is done could not be taken off the journal, and will be repeated");
        }
    }
}

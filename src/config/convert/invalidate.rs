//! `invalidate`: how fast, and where invalidations wait while Redis is away.

use super::Context;
use crate::config::file::invalidate::{Invalidate, Spool, Sweep};
use crate::domain::entity::Name;
use crate::invalidate::sweep::pace::Rates;
use crate::{fill, invalidate};

impl Context<'_> {
    /// The pod's name is not in the file; who starts the process knows it.
    pub fn invalidate(&mut self, group: Option<&Name>, fill: Option<&fill::Config>) -> Option<invalidate::Config> {
        let Invalidate { spool, sweep: Sweep { scan, remove }, refreshes } = self.take(&["invalidate"])?;
        if let Some(spool) = &spool
            && !spool.directory.is_absolute()
        {
            let hint = "write it from the root, on a volume that outlives the container: `/var/lib/hydrant`";
            self.problem("invalidate.spool.directory", "this is not an absolute path", hint);
            return None;
        }
        let spool = spool.map(|Spool { directory, bytes, files }| invalidate::spool::Config {
            directory,
            files,
            bytes: bytes.0,
        });
        Some(invalidate::Config {
            group: group?.as_str().to_owned(),
            pod: String::new(),
            claim_life: fill?.claim_life,
            rates: Rates { looked: scan, removed: remove },
            refreshes,
            spool,
        })
    }
}

//! `invalidate:` how what was removed is finished, and where it waits while Redis is away.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Size;
use crate::invalidate::sweep::pace::Rates;

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Invalidate {
    /// Where invalidations wait on this pod's disk while Redis is away; a restart loses none of them. Left out: an
    /// invalidation that reaches no Redis is refused as `UNAVAILABLE`.
    pub spool: Option<Spool>,
    /// How fast Redis is scanned for a pattern, or for all.
    pub sweep: Sweep,
    /// Members loaded again at once after `REFRESH` and `SOFT`, beside everything else that is filled.
    #[schemars(range(min = 1, max = 4096))]
    pub refreshes: usize,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-short" = "directory"))]
pub struct Spool {
    /// The folder, by its absolute path. It is made if it is not there, and must be this pod's own.
    #[schemars(extend("x-hint" = "name a folder on a volume that outlives the container: `directory: /var/lib/hydrant`"))]
    pub directory: PathBuf,
    /// Bytes that may wait there; what does not fit is refused as without a folder.
    #[serde(default = "bytes")]
    #[schemars(extend("x-least" = "64KiB", "x-most" = "64GiB"))]
    pub bytes: Size,
    /// Invalidations that may wait there, each a file of its own.
    #[serde(default = "files")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub files: usize,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sweep {
    /// Places of Redis's tables looked at in a second, on each primary, by all sweeps of this sidecar together: about one
    /// for each key that Redis holds.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub scan: u32,
    /// Keys removed in a second, on each primary, by all of them: what the sources can load again as fast.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub remove: u32,
}

impl Default for Invalidate {
    fn default() -> Self {
        Self { spool: None, sweep: Sweep::default(), refreshes: 16 }
    }
}

impl Default for Sweep {
    fn default() -> Self {
        let Rates { looked, removed } = Rates::default();
        Self { scan: looked, remove: removed }
    }
}

fn bytes() -> Size {
    Size(64 << 20)
}

/// An hour of a busy pod, and no more than a folder holds well.
fn files() -> usize {
    50_000
}

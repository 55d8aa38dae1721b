//! `invalidate:` how what was removed is finished, and where it waits while Redis is away.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Size;

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Invalidate {
    /// Where invalidations wait on this pod's disk while Redis is away; a restart loses none of them. Left out: an
    /// invalidation that reaches no Redis is refused as `UNAVAILABLE`.
    pub spool: Option<Spool>,
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

fn bytes() -> Size {
    Size(64 << 20)
}

/// An hour of a busy pod, and no more than a folder holds well.
fn files() -> usize {
    50_000
}

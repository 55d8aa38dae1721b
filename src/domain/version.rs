//! Which build this is. With the commit, since "which version runs here?" is asked about builds, not releases.

pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HYDRANT_COMMIT"), ")");

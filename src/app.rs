//! From a checked configuration to a running process: the only file that knows every concrete type.
//!
//! Start-up tells its story in order: telemetry, store, sources, flows, doors, reload. Shutting down goes the other way:
//! say that nothing new should come, let what is under way end, flush.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Loaded};
use crate::domain::random::Random;
use crate::domain::store::Store;
use crate::fill::settings::{Live, Settings};
use crate::tasks::{Deaths, Tasks};

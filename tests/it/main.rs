//! One integration binary: real servers on free ports, started and killed by the tests that need them.

mod remote_access;
mod remote_cluster;
mod remote_failover;
mod remote_sentinel;
mod remote_standalone;
mod store_contract;
mod support;

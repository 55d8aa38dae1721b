//! The one integration binary: flows over real stores and real sources, the process as a whole, the failover table.
//! One binary links once; `cargo test --test it <name>` runs a part of it.

mod support;

mod flows;

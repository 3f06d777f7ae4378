//! The guarantees, a file for each, with the tests that would fail if it were broken.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod allocator;
mod g1_alive;
mod g2_false_alarms;
mod g2_watched;
mod g3_leases;
mod g3_one_owner;
mod g4_leaves_once;
mod g5_nothing_left;
mod g5_panics;
mod g6_allocations;
mod g6_bounded;
mod g6_capacity;
mod g7_no_panic;
mod g8_secrets;
mod logger;

use common::host::Host;
use common::scripted::{Scripted, Shared};
use conncache::ConnId;

/// Inserts so many scripted connections and checks them in.
fn scripted(host: &mut Host<Scripted>, count: usize) -> Vec<(ConnId, Shared)> {
    (0..count)
        .map(|number| {
            let (conn, wire) = Scripted::new(number);
            (host.keep(conn), wire)
        })
        .collect()
}

//! The fetch example by every kind of peer, with servers that others wrote.
//!
//! docs/peers.md tells how to run it, and what came out.

#![cfg(target_os = "linux")] // counts descriptors in /proc

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../fetch/json.rs"]
mod json;
mod load;
mod origin;
#[path = "../fetch/program.rs"]
mod program;
mod proxies;
mod refusals;
#[path = "../common/servers.rs"]
mod servers;
#[path = "../common/temp_dir.rs"]
mod temp_dir;
mod ten_thousand;
#[path = "../../examples/common/trust.rs"]
mod trust;

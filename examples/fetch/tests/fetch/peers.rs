//! Every kind of peer, with servers that others wrote.
//!
//! docs/peers.md tells how to run it, and what came out.

mod load;
mod origin;
mod proxies;
mod refusals;
mod ten_thousand;

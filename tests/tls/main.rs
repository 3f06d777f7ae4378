//! The TLS connection of the examples: in a cache, against servers driven by hand.

#[path = "../../examples/common/tls/mod.rs"]
mod tls;

mod inactive;
mod session;
mod stream;
mod support;
mod wire;

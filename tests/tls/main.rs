//! The TLS connection of the examples: in a cache, against servers driven by hand.

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../../examples/common/tls.rs"]
mod tls;
#[path = "../../examples/common/trust.rs"]
mod trust;

mod inactive;
mod session;
mod stream;
mod support;
mod wire;

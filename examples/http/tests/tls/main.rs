//! The TLS connection in a cache, against servers driven by hand.

mod certificates;
mod inactive;
mod session;
mod stream;
mod support;
mod wire;

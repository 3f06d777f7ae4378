//! The reverse proxy of the examples, as a process of its own between clients and upstreams in this one.

mod descriptors;
mod failures;
mod harness;
mod leaving;
mod lifecycle;
mod messages;
#[path = "../common/nobody.rs"]
mod nobody;
mod repeating;
mod streaming;

//! The reverse proxy as a process of its own between clients and upstreams in this one.

mod addresses;
mod authentication;
mod closing;
mod command_line;
mod descriptors;
mod ending;
mod failures;
mod figures;
mod forwarding;
mod giving_back;
mod harness;
mod holding;
mod http_1_0;
mod journal;
mod leaving;
mod lifecycle;
mod messages;
mod refusals;
mod repeating;
mod streaming;
mod threads;
mod tunnels;
mod unsafe_requests;
mod uploading;
mod upstreams;
mod waiting;

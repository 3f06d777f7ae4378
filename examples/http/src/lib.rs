//! What the example programs share: HTTP/1.1 framing, ways through proxies, TLS, names and
//! addresses, signals.
//!
//! None of it is needed to use the cache. It shows how a host of the cache can do each of these without blocking.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod addresses;
pub mod connecting;
pub mod framing;
pub mod resolving;
pub mod signals;
pub mod tls;
pub mod trust;
pub mod tunnel;

//! The fetch example as a whole, against servers that misbehave.

mod addresses;
#[path = "../common/certificates.rs"]
mod certificates;
mod command_line;
mod dying;
mod framing;
mod json;
#[path = "../common/nobody.rs"]
mod nobody;
mod pipelining;
mod program;
mod proxies;
mod proxy;
mod secrets;
mod server;
#[path = "../common/temp_dir.rs"]
mod temp_dir;
mod tls;
#[path = "../../examples/common/trust.rs"]
mod trust;
#[cfg(unix)]
mod unix;

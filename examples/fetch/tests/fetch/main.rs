//! The program as a whole, against servers that misbehave and against servers that others wrote.

mod addresses;
mod command_line;
mod dying;
mod framing;
#[cfg(unix)]
mod interrupted;
mod json;
mod nginx;
#[cfg(target_os = "linux")] // counts descriptors in /proc
mod peers;
mod pipelining;
mod program;
mod proxies;
mod proxy;
mod secrets;
mod server;
mod tls;
#[cfg(unix)]
mod unix;

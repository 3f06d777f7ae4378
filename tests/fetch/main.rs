//! The fetch example as a whole, against servers that misbehave.

mod command_line;
mod dying;
mod framing;
mod json;
mod pipelining;
mod program;
mod server;

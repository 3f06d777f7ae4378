//! HTTP/1.1 message framing: bytes in, events out.
//!
//! [`response::Parser`] reads what a server sends, [`request::Parser`] what a
//! client sends. Neither knows a socket or a clock, and neither keeps message
//! bytes: the caller owns one input buffer per connection and does
//!
//! ```text
//! loop {
//!     let (used, event) = parser.next(&buffer)?;
//!     ... act on the event, which borrows from the buffer ...
//!     drop the first `used` bytes of the buffer
//!     More => read from the socket and append (at its end: parser.eof())
//!     End  => leave the loop; whatever is left follows this message
//! }
//! ```
//!
//! A body passes through as slices of that buffer, so its length does not
//! matter. A head is delivered in one piece: the buffer must be able to grow to
//! [`MAX_HEAD`] bytes (and two more, for an empty line before a request).
//!
//! Every event except `More` wants another call, even when no bytes are left: a
//! message without a body is a `Head` and then, from an empty input, an `End`.
//!
//! The parser of requests is stricter than it has to be. Line ends are CRLF
//! only, and folded header lines are refused instead of being unfolded: two
//! programs that read such bytes differently disagree on where a message ends.
//! Of responses, heads of the old forms are accepted, since some servers still
//! write them: lines that end in a bare LF, that are folded, or that have
//! blanks before their colons. Trailer fields are checked and then dropped.

pub mod body;
pub mod error;
pub mod head;
mod lines;
pub mod request;
pub mod response;

/// The longest head accepted, from its first byte through the empty line.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most header lines in a head.
pub const MAX_FIELDS: usize = 128;
/// The most options in the `Connection` lines of one head.
pub const MAX_CONNECTION_OPTIONS: usize = 64;
/// The most interim (1xx) responses before the final one. A server may send one every few seconds of a long request.
pub const MAX_INTERIM: u32 = 1000;
/// The longest body, or chunk of one, that a message may announce. Many programs count in signed numbers.
pub const MAX_LENGTH: u64 = i64::MAX as u64;
/// The longest line that opens a chunk, size and extensions together.
pub const MAX_CHUNK_LINE: usize = 1024;
/// The longest trailer section, all lines together.
pub const MAX_TRAILERS: usize = 16 * 1024;

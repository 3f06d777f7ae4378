//! Where the cache registers its connections: the registry of the host's `Poll`, and whether the platform has real
//! edges.

use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io;

/// Whether mio emulates edge-triggered events on this platform. Then only a read that would block asks for the next
/// event. So a connection has to be probed when it becomes inactive, too.
pub(crate) const EDGE_IS_EMULATED: bool = cfg!(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    target_os = "illumos",
))) || cfg!(mio_unsupported_force_poll_poll);

/// What a connection is registered for. Where edges are real, that holds for its whole life in the cache, so that
/// becoming active or inactive costs no system call.
pub(crate) const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The registry of the host's `Poll`. Without one, nothing is registered.
pub(crate) struct Watcher(pub(crate) Option<Registry>);

impl Watcher {
    pub(crate) fn register(&self, source: &mut impl Source, token: Token, interest: Interest) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |registry| registry.register(source, token, interest))
    }

    pub(crate) fn reregister(&self, source: &mut impl Source, token: Token, interest: Interest) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |registry| registry.reregister(source, token, interest))
    }

    pub(crate) fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |registry| registry.deregister(source))
    }
}

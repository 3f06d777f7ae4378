//! Which peer a URL leads to, and what has to be said there. The one place that makes peers and channel bindings.

use crate::url::Url;
use conncache::{ChannelBindingId, Interner, Peer};

/// What tells connections to one peer apart that may not stand in for each other. For plain ones there is nothing.
#[derive(PartialEq, Eq, Hash)]
struct Binding;

/// The ways to the servers.
pub struct Routes {
    bindings: Interner<Binding>,
}

impl Routes {
    pub fn new() -> Routes {
        Routes { bindings: Interner::new() }
    }

    /// Where to connect to for this URL. The name is the key, not its addresses.
    pub fn route(&mut self, url: &Url) -> (Peer, ChannelBindingId) {
        let channel = self.bindings.intern(Binding).expect("there are few bindings");
        (Peer::direct(&url.host, url.port), channel)
    }
}

/// Appends a request for this URL.
pub fn write_request(out: &mut Vec<u8>, method: &str, url: &Url) {
    let (path, authority) = (&url.path, url.authority());
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: conncache-fetch\r\nAccept: */*\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
}

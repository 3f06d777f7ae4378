//! What is known of a name's addresses, for how long, and which to try first.

use std::net::SocketAddr;
use std::time::Instant;

/// The addresses of one name, or why there are none, until they are to be looked up again.
#[derive(Debug, Default)]
pub struct Addresses {
    found: Option<(Result<Vec<SocketAddr>, String>, Instant)>,
    worked: Option<SocketAddr>,
}

impl Addresses {
    /// Takes what a look-up found. It holds through `until`.
    pub fn found(&mut self, found: Result<Vec<SocketAddr>, String>, until: Instant) {
        self.found = Some((found.map(interleaved), until));
    }

    /// A connection to this address stands: it is the first to be tried from now on.
    pub fn worked(&mut self, address: SocketAddr) {
        self.worked = Some(address);
    }

    /// The addresses in the order in which to try them. `None`: they are to be looked up.
    pub fn known(&self, now: Instant) -> Option<Result<Vec<SocketAddr>, &str>> {
        let (found, _) = self.found.as_ref().filter(|(_, until)| now <= *until)?;
        Some(match found {
            Ok(addresses) => {
                let mut addresses = addresses.clone();
                addresses.sort_by_key(|&address| Some(address) != self.worked); // keeps the order of the others
                Ok(addresses)
            }
            Err(why) => Err(why),
        })
    }
}

/// The two families in turns, each in its order, beginning with that of the first address (RFC 8305, section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else { return addresses };
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

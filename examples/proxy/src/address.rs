//! Addresses on the command line: where to listen, and whom to ask.

use conncache::{Hop, Peer};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Where to listen: at all addresses of a name.
#[derive(Clone, Debug)]
pub struct Listen {
    /// As it was given, for messages.
    pub text: String,
    /// At least one, each once.
    pub addrs: Vec<SocketAddr>,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if !text.contains(':') {
            return Err("neither ADDRESS:PORT nor NAME:PORT".into());
        }
        let mut addrs = Vec::new();
        for addr in text.to_socket_addrs().map_err(|e| e.to_string())? {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        match addrs.is_empty() {
            true => Err("no address".into()),
            false => Ok(Listen { text: text.to_string(), addrs }),
        }
    }
}

/// A server that requests go to.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub peer: Peer,
    /// At least one, each once. New connections go to the first one.
    pub addrs: Vec<SocketAddr>,
    /// What a request without a host is given.
    pub host: String,
}

impl FromStr for Upstream {
    type Err = String;

    /// Takes `HOST:PORT`, and `http://HOST[:PORT][/]`.
    fn from_str(text: &str) -> Result<Upstream, String> {
        let peer: Peer = authority(text)?.parse().map_err(|e| format!("{e}"))?;
        let (host, port) = match (peer.first_hop(), peer.target()) {
            (Hop::Tcp(_, 0), _) => return Err("there is no port 0 to connect to".into()),
            (Hop::Tcp(host, port), target) if target == Some((host, port)) => (host, port),
            _ => return Err("not HOST:PORT".into()),
        };
        let addrs: Vec<_> = (host, port).to_socket_addrs().map_err(|e| e.to_string())?.collect();
        if addrs.is_empty() {
            return Err("no address".into());
        }
        let mut upstream = Upstream { host: without_zone(&peer.to_string()), peer, addrs: Vec::new() };
        upstream.moved(&addrs);
        Ok(upstream)
    }
}

impl Upstream {
    /// The name and the port to look up. `None` for an address.
    pub fn name(&self) -> Option<(&str, u16)> {
        match self.peer.first_hop() {
            Hop::Tcp(host, port) if host.parse::<Ipv4Addr>().is_err() && !host.contains(':') => Some((host, port)),
            _ => None,
        }
    }

    /// It has these addresses now, one at least. The one that works is still the first one, if it is among them. Whether
    /// others have come or gone.
    pub fn moved(&mut self, found: &[SocketAddr]) -> bool {
        let mut addrs = Vec::new();
        for &addr in found {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        let first = addrs.iter().position(|addr| self.addrs.first() == Some(addr));
        addrs.rotate_left(first.unwrap_or(0));
        let known = addrs.len() == self.addrs.len() && addrs.iter().all(|addr| self.addrs.contains(addr));
        self.addrs = addrs;
        !known
    }

    /// This address couldn't be connected to: from now on the next one is tried first.
    pub fn address_failed(&mut self, addr: SocketAddr) {
        // Somebody else may have moved on already.
        if self.addrs[0] == addr {
            self.addrs.rotate_left(1);
        }
    }
}

/// The host and port of an upstream that may be given as a URL.
fn authority(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("no HOST:PORT".into());
    }
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(text.to_string()) };
    if scheme.eq_ignore_ascii_case("https") {
        return Err("upstreams are spoken to without TLS".into());
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Ok(text.to_string());
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() {
        return Err(format!("requests keep their own paths: /{path} can't be added"));
    }
    let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    Ok(if has_port { authority.to_string() } else { format!("{authority}:80") })
}

/// The authority without the zone of an IPv6 address, which only this machine can make sense of.
fn without_zone(authority: &str) -> String {
    match (authority.find('%'), authority.find(']')) {
        (Some(zone), Some(end)) if zone < end => authority[..zone].to_string() + &authority[end..],
        _ => authority.to_string(),
    }
}

//! Where a connection leads: the key under which inactive connections are kept.

mod parse_error;
mod text;

pub use parse_error::ParsePeerError;

use std::cmp::Ordering;
use std::ffi::OsString;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where a connection leads, and through which proxy.
///
/// Two connections can replace each other only if their peers are equal (and their
/// [channel bindings](crate::ChannelBindingId), too). Host names compare ASCII-case-insensitively and are kept in
/// lower case. IPv6 addresses, with or without brackets, are kept in their canonical form, with the zone if there is
/// one (`fe80::1%eth0`). Names are never resolved or rewritten: `localhost` and `127.0.0.1` are two peers, and so are
/// `example.com.` and `example.com`, or `::ffff:1.2.3.4` and `1.2.3.4`.
///
/// Peers are ordered by their parts: first by kind, in the order of [`PeerKind`], then by host and port (those of the
/// proxy before those of the target). Hosts and paths compare byte by byte. The order is the same in every process.
///
/// Build a peer once and clone it; a clone only increments a reference count. A peer carries its hash, made with a key
/// that is random in each process. So a look-up hashes nothing, and compares one pointer if the peer is a clone.
///
/// # Text
///
/// [`Display`](std::fmt::Display) and [`FromStr`](std::str::FromStr) use this grammar:
///
/// ```text
/// HOST:PORT                                Direct
/// http-proxy://HOST:PORT                   HttpProxy
/// http-proxy-connect://HOST:PORT/HOST:PORT HttpProxyConnect, proxy/target
/// socks5://HOST:PORT/HOST:PORT             Socks5, proxy/target
/// unix://PATH                              Unix
/// ```
///
/// IPv6 addresses are in brackets. User-info (`user:password@`) is refused and never echoed: credentials belong to the
/// channel binding.
///
/// The text contains no whitespace and no control or invisible character, so that no name can forge a field of a log
/// line. In a path, such characters, `"` and `\` are shown as escapes: a space is `\u{20}`. Parsing accepts both a
/// plain space and its escape. It refuses control characters and U+FFFD, which stands for bytes that are not text. The
/// constructors take any text as host. A host that doesn't fit the grammar is shown escaped, with `***` for what stands
/// before an `@`; such text doesn't parse back.
///
/// ```
/// use conncache::{Hop, Peer};
///
/// let peer: Peer = "socks5://127.0.0.1:1080/WWW.Example.org:80".parse()?;
/// assert_eq!(peer, Peer::socks5(("127.0.0.1", 1080), ("www.example.org", 80)));
/// assert_eq!(peer.first_hop(), Hop::Tcp("127.0.0.1", 1080));
/// assert_eq!(peer.target(), Some(("www.example.org", 80)));
/// # Ok::<(), conncache::ParsePeerError>(())
/// ```
#[derive(Clone)]
pub struct Peer {
    hash: u64,
    pub(crate) parts: Arc<Parts>,
}

/// A [`Peer`] taken apart, for `match`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerKind<'a> {
    /// A server reached without a proxy: host, port.
    Direct(&'a str, u16),
    /// An HTTP proxy that is sent requests in absolute form, for any target: host, port.
    HttpProxy(&'a str, u16),
    /// A tunnel through an HTTP proxy, opened by `CONNECT`.
    HttpProxyConnect {
        /// The proxy's host and port.
        proxy: (&'a str, u16),
        /// The tunnel's far end.
        target: (&'a str, u16),
    },
    /// A tunnel through a SOCKS5 proxy.
    Socks5 {
        /// The proxy's host and port.
        proxy: (&'a str, u16),
        /// The tunnel's far end.
        target: (&'a str, u16),
    },
    /// A Unix-domain socket, by its path.
    Unix(&'a Path),
}

/// What to connect to in order to reach a [`Peer`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hop<'a> {
    /// A TCP connection to this host name or address, and port.
    Tcp(&'a str, u16),
    /// A Unix-domain stream socket at this path.
    Unix(&'a Path),
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostPort {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Parts {
    Direct(HostPort),
    HttpProxy(HostPort),
    HttpProxyConnect(HostPort, HostPort),
    Socks5(HostPort, HostPort),
    /// The path, compared byte by byte. As `Path`s, `/a//b` and `/a/b` would be equal.
    Unix(OsString),
}

impl Peer {
    /// A server reached without a proxy.
    pub fn direct(host: &str, port: u16) -> Peer {
        Peer::new(Parts::Direct(HostPort::new(host, port)))
    }

    /// An HTTP proxy that is sent requests in absolute form. One connection serves any target, so none is named.
    pub fn http_proxy(host: &str, port: u16) -> Peer {
        Peer::new(Parts::HttpProxy(HostPort::new(host, port)))
    }

    /// A tunnel to `target` through an HTTP proxy's `CONNECT`; both are host and port.
    pub fn http_proxy_connect(proxy: (&str, u16), target: (&str, u16)) -> Peer {
        Peer::new(Parts::HttpProxyConnect(HostPort::new(proxy.0, proxy.1), HostPort::new(target.0, target.1)))
    }

    /// A tunnel to `target` through a SOCKS5 proxy; both are host and port.
    pub fn socks5(proxy: (&str, u16), target: (&str, u16)) -> Peer {
        Peer::new(Parts::Socks5(HostPort::new(proxy.0, proxy.1), HostPort::new(target.0, target.1)))
    }

    /// A Unix-domain socket. Paths compare byte by byte, as given. Such a peer can be named on every platform; only
    /// connecting to it needs Unix. A path doesn't identify the server: with TLS, the server's name belongs to the
    /// channel binding.
    pub fn unix(path: impl Into<PathBuf>) -> Peer {
        Peer::new(Parts::Unix(path.into().into_os_string()))
    }

    pub(crate) fn new(parts: Parts) -> Peer {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let hash = KEY.get_or_init(RandomState::new).hash_one(&parts);
        Peer { hash, parts: Arc::new(parts) }
    }

    /// What kind of peer this is, with its parts.
    pub fn kind(&self) -> PeerKind<'_> {
        match &*self.parts {
            Parts::Direct(server) => PeerKind::Direct(&server.host, server.port),
            Parts::HttpProxy(proxy) => PeerKind::HttpProxy(&proxy.host, proxy.port),
            Parts::HttpProxyConnect(proxy, target) => {
                PeerKind::HttpProxyConnect { proxy: proxy.pair(), target: target.pair() }
            }
            Parts::Socks5(proxy, target) => PeerKind::Socks5 { proxy: proxy.pair(), target: target.pair() },
            Parts::Unix(path) => PeerKind::Unix(Path::new(path)),
        }
    }

    /// What to connect to: the proxy if there is one, else the server or the socket's path.
    pub fn first_hop(&self) -> Hop<'_> {
        match &*self.parts {
            Parts::Direct(first)
            | Parts::HttpProxy(first)
            | Parts::HttpProxyConnect(first, _)
            | Parts::Socks5(first, _) => Hop::Tcp(&first.host, first.port),
            Parts::Unix(path) => Hop::Unix(Path::new(path)),
        }
    }

    /// The host and port at the connection's far end. `None` for [`http_proxy`](Peer::http_proxy), where each request
    /// names its own, and for [`unix`](Peer::unix).
    pub fn target(&self) -> Option<(&str, u16)> {
        match &*self.parts {
            Parts::Direct(target) | Parts::HttpProxyConnect(_, target) | Parts::Socks5(_, target) => {
                Some(target.pair())
            }
            Parts::HttpProxy(_) | Parts::Unix(_) => None,
        }
    }

    /// The full comparison. It is not inlined, because clones of one peer don't need it.
    #[inline(never)]
    fn has_parts_of(&self, other: &Peer) -> bool {
        self.parts == other.parts
    }

    /// The hash made when the peer was built.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The same peer with another hash, for tests of collisions, which real hashes of 64 bits don't have.
    #[cfg(test)]
    pub(crate) fn with_hash(self, hash: u64) -> Peer {
        Peer { hash, ..self }
    }
}

/// The server at this address, reached without a proxy. A scope id other than 0 becomes the zone, as in `fe80::1%2`:
/// on another link the same address is another machine's.
impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Peer {
        let host = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => addr.ip().to_string(),
        };
        Peer::direct(&host, addr.port())
    }
}

impl PartialEq for Peer {
    #[inline]
    fn eq(&self, other: &Peer) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts) || (self.hash == other.hash && self.has_parts_of(other))
    }
}

impl Eq for Peer {}

impl PartialOrd for Peer {
    fn partial_cmp(&self, other: &Peer) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Peer {
    fn cmp(&self, other: &Peer) -> Ordering {
        self.parts.cmp(&other.parts)
    }
}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl HostPort {
    pub(crate) fn new(host: &str, port: u16) -> HostPort {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).filter(|h| is_ipv6(h));
        let bare = bare.unwrap_or(host);
        let host = match bare.split_once('%') {
            // The zone is an interface's name, in which case matters.
            Some((address, zone)) if is_ipv6(address) => format!("{}%{zone}", canonical(address)),
            _ => canonical(bare),
        };
        HostPort { host: host.into(), port }
    }

    fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// Whether `host` is an IPv6 address, with or without a zone.
pub(crate) fn is_ipv6(host: &str) -> bool {
    host.split_once('%').map_or(host, |(address, _)| address).parse::<Ipv6Addr>().is_ok()
}

fn canonical(host: &str) -> String {
    host.parse::<Ipv6Addr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::SocketAddrV6;

    #[test]
    fn hosts_compare_without_case_and_addresses_by_value() {
        assert_eq!(Peer::direct("Example.ORG", 80), Peer::direct("example.org", 80));
        assert_eq!(Peer::direct("[0:0::1]", 80), Peer::direct("::1", 80));
        assert_eq!(Peer::direct("FE80:0::1%eth0", 80), Peer::direct("fe80::1%eth0", 80));
        assert_ne!(Peer::direct("fe80::1%ETH0", 80), Peer::direct("fe80::1%eth0", 80));
        assert_eq!(Peer::direct("FE80:0::1%a%b", 80), Peer::direct("fe80::1%a%b", 80));
        assert_eq!(Peer::direct("NAME%B", 80), Peer::direct("name%b", 80), "no address, hence no zone");
        assert_eq!(Peer::from("[::1]:80".parse::<SocketAddr>().unwrap()), Peer::direct("::1", 80));
        assert_ne!(Peer::direct("example.org", 80), Peer::direct("example.org", 81));
        assert_ne!(Peer::direct("localhost", 80), Peer::direct("127.0.0.1", 80));
    }

    #[test]
    fn only_an_ipv6_address_loses_its_brackets() {
        assert_eq!(Peer::direct("[fe80::1%eth0]", 80), Peer::direct("fe80::1%eth0", 80));
        for host in ["abc", "1.2.3.4", "", "abc%eth0"] {
            assert_ne!(Peer::direct(&format!("[{host}]"), 80), Peer::direct(host, 80), "{host}");
        }
    }

    #[test]
    fn names_and_addresses_are_not_rewritten() {
        assert_ne!(Peer::direct("example.com.", 80), Peer::direct("example.com", 80));
        assert_ne!(Peer::direct("::ffff:1.2.3.4", 80), Peer::direct("1.2.3.4", 80));
    }

    #[test]
    fn peers_are_ordered_by_their_parts() {
        let ordered = [
            Peer::direct("a", 1),
            Peer::direct("a", 2),
            Peer::direct("b", 1),
            Peer::http_proxy("a", 1),
            Peer::http_proxy_connect(("a", 1), ("b", 1)),
            Peer::http_proxy_connect(("a", 2), ("a", 1)),
            Peer::socks5(("a", 1), ("a", 1)),
            Peer::unix("/a"),
            Peer::unix("/a//b"),
            Peer::unix("/a/b"),
        ];
        for (i, x) in ordered.iter().enumerate() {
            for (j, y) in ordered.iter().enumerate() {
                assert_eq!(x.cmp(y), i.cmp(&j), "{x} {y}");
            }
        }
        assert_eq!(Peer::direct("A", 1).cmp(&ordered[0]), Ordering::Equal);
        assert!(Peer::direct("a", 1).with_hash(9) < Peer::direct("b", 1).with_hash(1), "hashes don't count");
    }

    #[test]
    fn paths_compare_byte_for_byte() {
        assert_eq!(Peer::unix("/run/x"), Peer::unix("/run/x"));
        for other in ["/Run/x", "/run//x", "/run/./x", "/run/x/"] {
            assert_ne!(Peer::unix(other), Peer::unix("/run/x"), "{other}");
        }
        // As a host may name abstract sockets of Linux, whose names are no paths.
        assert_ne!(Peer::unix("@one//x"), Peer::unix("@one/x"));
    }

    #[test]
    fn one_link_local_address_on_two_links_is_two_peers() {
        let [one, two] =
            [1, 2].map(|link| SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, link)));
        assert_ne!(Peer::from(one), Peer::from(two));
        assert_eq!(Peer::from(one), Peer::direct("fe80::1%1", 80));
        assert_eq!(Peer::from(two).to_string().parse(), Ok(two), "what to connect to survives");
    }

    #[test]
    fn kinds_and_hops_are_never_confused() {
        let (a, b) = (("a", 1), ("b", 2));
        let all = [
            Peer::direct("a", 1),
            Peer::http_proxy("a", 1),
            Peer::http_proxy_connect(a, b),
            Peer::http_proxy_connect(b, a),
            Peer::socks5(a, b),
            Peer::socks5(b, a),
        ];
        for (i, x) in all.iter().enumerate() {
            for (j, y) in all.iter().enumerate() {
                assert_eq!(x == y, i == j, "{x} {y}");
            }
        }
        assert_eq!(all[2].first_hop(), Hop::Tcp("a", 1));
        assert_eq!(all[2].target(), Some(b));
        assert_eq!(all[1].target(), None);
        assert_eq!(all[0].kind(), PeerKind::Direct("a", 1));
    }

    #[test]
    fn peers_rarely_share_a_hash() {
        let peers: Vec<Peer> = (0..1_000).map(|port| Peer::direct("host", port)).collect();
        let hosts = RandomState::new();
        for hash in
            [|_: &RandomState, peer: &Peer| peer.hash(), |hosts: &RandomState, peer: &Peer| hosts.hash_one(peer)]
        {
            let distinct: HashSet<u64> = peers.iter().map(|peer| hash(&hosts, peer)).collect();
            assert_eq!(distinct.len(), peers.len());
        }
    }

    #[test]
    fn equal_hashes_do_not_make_equal_peers() {
        let one = Peer::direct("one", 1).with_hash(7);
        assert_ne!(one, Peer::direct("two", 1).with_hash(7));
        assert_eq!(one, Peer::direct("one", 1).with_hash(7));
    }
}

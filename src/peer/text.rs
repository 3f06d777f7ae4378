//! Peers as text: the grammar, both ways.

use crate::peer::is_ipv6;
use crate::peer::{Hop, HostPort, Parts, Peer, PeerKind};
use std::fmt::{self, Write as _};
use std::str::FromStr;

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.parts {
            Parts::Direct(server) => write!(f, "{server}"),
            Parts::HttpProxy(proxy) => write!(f, "http-proxy://{proxy}"),
            Parts::HttpProxyConnect(proxy, target) => write!(f, "http-proxy-connect://{proxy}/{target}"),
            Parts::Socks5(proxy, target) => write!(f, "socks5://{proxy}/{target}"),
            Parts::Unix(path) => {
                f.write_str("unix://")?;
                write_escaped(f, &path.to_string_lossy(), |c| !c.is_control())
            }
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}

impl fmt::Debug for PeerKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, hosts): (_, &[&(&str, u16)]) = match self {
            PeerKind::Direct(host, port) => ("Direct", &[&(*host, *port)]),
            PeerKind::HttpProxy(host, port) => ("HttpProxy", &[&(*host, *port)]),
            PeerKind::HttpProxyConnect { proxy, target } => ("HttpProxyConnect", &[proxy, target]),
            PeerKind::Socks5 { proxy, target } => ("Socks5", &[proxy, target]),
            PeerKind::Unix(path) => return f.debug_tuple("Unix").field(path).finish(),
        };
        show_hosts(f, name, hosts)
    }
}

impl fmt::Debug for Hop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hop::Tcp(host, port) => show_hosts(f, "Tcp", &[&(*host, *port)]),
            Hop::Unix(path) => f.debug_tuple("Unix").field(path).finish(),
        }
    }
}

impl FromStr for Peer {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Peer, ParsePeerError> {
        if let Some(path) = text.strip_prefix("unix://") {
            // As a path is shown that isn't text, or not all of it.
            let escaped = path.contains(char::is_control) || path.contains("\\u{") || path.contains('\u{fffd}');
            return match path {
                "" => Err(ParsePeerError::NoPath),
                path if escaped => Err(ParsePeerError::Path(path.to_owned())),
                path => Ok(Peer::unix(path)),
            };
        }
        if text.contains('@') {
            return Err(ParsePeerError::UserInfo);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Peer::new(Parts::Direct(HostPort::parse(text)?)));
        };
        let tunnel = || {
            let (proxy, target) = rest.split_once('/').ok_or(ParsePeerError::NoTarget)?;
            Ok((HostPort::parse(proxy)?, HostPort::parse(target)?))
        };
        match scheme {
            "http-proxy" => Ok(Peer::new(Parts::HttpProxy(HostPort::parse(rest)?))),
            "http-proxy-connect" => tunnel().map(|(p, t)| Peer::new(Parts::HttpProxyConnect(p, t))),
            "socks5" => tunnel().map(|(p, t)| Peer::new(Parts::Socks5(p, t))),
            _ => Err(ParsePeerError::Kind(scheme.to_owned())),
        }
    }
}

impl HostPort {
    fn parse(text: &str) -> Result<HostPort, ParsePeerError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').and_then(|(host, after)| Some((host, after.strip_prefix(':')?))),
            None => text.rsplit_once(':'),
        }
        .ok_or_else(|| ParsePeerError::NoPort(text.to_owned()))?;
        let bracketed = text.starts_with('[');
        let fits = |c: char| fits_host(c) || (bracketed && c == ':');
        if host.is_empty() || !host.chars().all(fits) || bracketed != is_ipv6(host) {
            return Err(ParsePeerError::Host(host.to_owned()));
        }
        match port.parse() {
            Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(HostPort::new(host, number)),
            _ => Err(ParsePeerError::Port(port.to_owned())),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        if brackets {
            f.write_char('[')?;
        }
        let shown = match self.host.rsplit_once('@') {
            Some((_secret, host)) => {
                f.write_str("***@")?;
                host
            }
            None => &self.host,
        };
        write_escaped(f, shown, |c| fits_host(c) || c == ':')?;
        if brackets {
            f.write_char(']')?;
        }
        write!(f, ":{}", self.port)
    }
}

fn show_hosts(f: &mut fmt::Formatter<'_>, name: &str, hosts: &[&(&str, u16)]) -> fmt::Result {
    let mut tuple = f.debug_tuple(name);
    for (host, port) in hosts {
        tuple.field(&format_args!("{}", HostPort { host: (*host).into(), port: *port }));
    }
    tuple.finish()
}

/// Whether a host name may contain `c`, as far as the grammar needs to know.
fn fits_host(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !matches!(c, ':' | '/' | '@' | '[' | ']' | '?' | '#' | '\\')
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, plain: impl Fn(char) -> bool) -> fmt::Result {
    text.chars().try_for_each(|c| if plain(c) { f.write_char(c) } else { write!(f, "{}", c.escape_unicode()) })
}

/// Why a text isn't a [`Peer`]: says which part, and what was found there. Never holds user-info.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParsePeerError {
    /// The text contains an `@`. It isn't repeated here: what stands before it may be a password.
    UserInfo,
    /// The text before `://` names no kind of peer.
    Kind(String),
    /// The host is empty or contains a character that no host has.
    Host(String),
    /// The port is missing from this host and port.
    NoPort(String),
    /// The port is not a number from 0 to 65535.
    Port(String),
    /// A tunnel lacks the `/HOST:PORT` it leads to.
    NoTarget,
    /// `unix://` without a path.
    NoPath,
    /// The path has control characters, or characters that stand for what couldn't be shown.
    Path(String),
}

impl fmt::Display for ParsePeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParsePeerError::UserInfo => {
                f.write_str("peer: user-info is not allowed here; credentials belong to the channel binding")
            }
            ParsePeerError::Kind(found) => write!(
                f,
                "peer: kind {found:?} is none of http-proxy, http-proxy-connect, socks5, unix (a direct peer has none)"
            ),
            ParsePeerError::Host(found) => write!(f, "peer: host {found:?} is not a host name or address"),
            ParsePeerError::NoPort(found) => write!(f, "peer: {found:?} lacks a port"),
            ParsePeerError::Port(found) => write!(f, "peer: port {found:?} is not a number from 0 to 65535"),
            ParsePeerError::NoTarget => f.write_str("peer: the tunnel's target is missing, as in KIND://PROXY/TARGET"),
            ParsePeerError::Path(found) => write!(f, "peer: path {found:?} is not plain text"),
            ParsePeerError::NoPath => f.write_str("peer: the path after unix:// is missing"),
        }
    }
}

impl std::error::Error for ParsePeerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_text() {
        for peer in [
            Peer::direct("example.org", 80),
            Peer::direct("::1", 0),
            Peer::direct("fe80::1%eth0", 65535),
            Peer::direct("fe80::1%a%b", 80),
            Peer::direct("unix", 80),
            Peer::http_proxy("10.0.0.1", 3128),
            Peer::http_proxy_connect(("proxy", 3128), ("2001:db8::1", 443)),
            Peer::socks5(("::1", 1080), ("bücher.example", 443)),
            Peer::unix("/run/x y.sock"),
            Peer::unix("relative/@path"),
        ] {
            assert_eq!(peer.to_string().parse(), Ok(peer.clone()), "{peer}");
        }
    }

    #[test]
    fn bad_text_is_refused_with_the_field_and_the_value() {
        for (text, field, value) in [
            ("example.org", "port", "example.org"),
            ("example.org:", "port", "\"\""),
            ("example.org:+80", "port", "+80"),
            ("example.org:65536", "port", "65536"),
            (":80", "host", "\"\""),
            ("::1:80", "host", "::1"),
            ("[::1]", "port", "[::1]"),
            ("[::1]80", "port", "[::1]80"),
            ("[a]:80", "host", "\"a\""),
            ("[not:an:address]:80", "host", "not:an:address"),
            ("[fe80::1%a b]:80", "host", "fe80::1%a b"),
            ("[::1]:80]", "port", "\"80]\""),
            ("unix:///run/a\\u{a}b", "path", "/run/a"),
            ("unix:///run/a\nb", "path", "/run/a"),
            ("unix:///run/\u{fffd}", "path", "/run/"),
            ("a b:80", "host", "a b"),
            ("a/b:80", "host", "a/b"),
            ("a:b:80", "host", "a:b"),
            ("http-proxy://a://b:80", "host", "a://b"),
            ("socks5://a:1/b:2/c:3", "host", "b:2/c"),
            ("ftp://a:80", "kind", "ftp"),
            ("socks5://a:80", "target", "PROXY/TARGET"),
            ("unix://", "path", "unix"),
        ] {
            let error = text.parse::<Peer>().unwrap_err().to_string();
            assert!(error.contains(field) && error.contains(value), "{text}: {error}");
        }
    }

    #[test]
    fn peers_kinds_and_hops_show_what_they_name() {
        let shown = |peer: Peer| format!("{peer:?} {:?} {:?}", peer.kind(), peer.first_hop());
        assert_eq!(shown(Peer::direct("::1", 80)), "Peer([::1]:80) Direct([::1]:80) Tcp([::1]:80)");
        assert_eq!(shown(Peer::http_proxy("a", 1)), "Peer(http-proxy://a:1) HttpProxy(a:1) Tcp(a:1)");
        assert_eq!(shown(Peer::socks5(("a", 1), ("b", 2))), "Peer(socks5://a:1/b:2) Socks5(a:1, b:2) Tcp(a:1)");
        assert_eq!(
            shown(Peer::http_proxy_connect(("a", 1), ("b", 2))),
            "Peer(http-proxy-connect://a:1/b:2) HttpProxyConnect(a:1, b:2) Tcp(a:1)"
        );
        assert_eq!(shown(Peer::unix("/run/x")), "Peer(unix:///run/x) Unix(\"/run/x\") Unix(\"/run/x\")");
    }

    #[test]
    fn user_info_is_refused_and_never_shown() {
        for text in ["user:hunter2@host:80", "http-proxy://user:hunter2@host:80", "hunter2@://x"] {
            let error = text.parse::<Peer>().unwrap_err();
            assert_eq!(error, ParsePeerError::UserInfo);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        let peer = Peer::direct("user:hunter2@host", 80);
        assert_eq!(peer.to_string(), "[***@host]:80");
        assert!(!format!("{peer:?}").contains("hunter2"));
        assert_eq!(Peer::direct("user:p@hunter2@host", 80).to_string(), "[***@host]:80", "up to the last @");
    }

    #[test]
    fn control_characters_never_reach_a_log_line() {
        for peer in [Peer::direct("a\r\nb", 80), Peer::direct("a\u{7}b", 80), Peer::unix("/run/a\r\nb")] {
            assert!(!peer.to_string().contains(|c: char| c.is_control()), "{peer:?}");
        }
    }
}

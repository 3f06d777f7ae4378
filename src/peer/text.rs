//! Peers as text: how they are printed and parsed. The grammar is in the documentation of [`Peer`].

use crate::peer::{Hop, HostPort, ParsePeerError, Parts, Peer, PeerKind, is_ipv6};
use std::fmt::{self, Write as _};
use std::path::Path;
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
                write_path(f, Path::new(path))
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
            PeerKind::Unix(path) => return show_path(f, path),
        };
        show_hosts(f, name, hosts)
    }
}

impl fmt::Debug for Hop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hop::Tcp(host, port) => show_hosts(f, "Tcp", &[&(*host, *port)]),
            Hop::Unix(path) => show_path(f, path),
        }
    }
}

impl FromStr for Peer {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Peer, ParsePeerError> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path {
                "" => Err(ParsePeerError::NoPath),
                path => parse_path(path).map(Peer::unix).ok_or(ParsePeerError::Path),
            };
        }
        if text.contains(AT) {
            return Err(ParsePeerError::UserInfo);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Peer::new(Parts::Direct(HostPort::parse(text)?)));
        };
        let tunnel = || {
            let (proxy, target) = rest.split_once('/').ok_or(ParsePeerError::NoTarget)?;
            // What follows a colon may be a password with a `/` in it, so the target is never repeated.
            Ok((HostPort::parse(proxy)?, HostPort::parse(target).map_err(ParsePeerError::without_value)?))
        };
        match scheme {
            "http-proxy" => Ok(Peer::new(Parts::HttpProxy(HostPort::parse(rest)?))),
            "http-proxy-connect" => tunnel().map(|(p, t)| Peer::new(Parts::HttpProxyConnect(p, t))),
            "socks5" => tunnel().map(|(p, t)| Peer::new(Parts::Socks5(p, t))),
            _ => Err(ParsePeerError::Kind(repeatable(scheme))),
        }
    }
}

impl HostPort {
    fn parse(text: &str) -> Result<HostPort, ParsePeerError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').and_then(|(host, after)| Some((host, after.strip_prefix(':')?))),
            None => text.rsplit_once(':'),
        }
        .ok_or_else(|| ParsePeerError::NoPort(repeatable(text)))?;
        let bracketed = text.starts_with('[');
        // `%40` would be an `@` to whoever decodes it; only an IPv6 address's zone needs a `%`.
        let fits = |c: char| if matches!(c, ':' | '%') { bracketed } else { fits_host(c) };
        if host.is_empty() || !host.chars().all(fits) || bracketed != is_ipv6(host) {
            return Err(ParsePeerError::Host(repeatable(host)));
        }
        match port.parse() {
            Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(HostPort::new(host, number)),
            _ => Err(ParsePeerError::Port),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        if brackets {
            f.write_char('[')?;
        }
        // What stands before the last `@`, plain or percent-encoded, may be a password and is never shown.
        let sign = self.host.rmatch_indices(AT).next();
        let encoded = self.host.rmatch_indices("%40").next().filter(|_| !is_ipv6(&self.host));
        let shown = match sign.into_iter().chain(encoded).map(|(at, found)| at + found.len()).max() {
            Some(end) => {
                f.write_str("***@")?;
                &self.host[end..]
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

fn show_path(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    f.write_str("Unix(\"")?;
    write_path(f, path)?;
    f.write_str("\")")
}

fn write_path(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write_escaped(f, &path.to_string_lossy(), |c| is_visible(c) && !matches!(c, '\\' | '"'))
}

/// The path that [`write_path`] shows as `text`. `None` if an escape is malformed, or if the path has control
/// characters or U+FFFD.
fn parse_path(text: &str) -> Option<String> {
    let mut pieces = text.split("\\u{");
    let mut path = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, plain) = piece.split_once('}')?;
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        path.push(char::from_u32(number)?);
        path.push_str(plain);
    }
    (!path.contains(|c: char| c.is_control() || c == '\u{fffd}')).then_some(path)
}

/// `@`, and the characters that Unicode's compatibility mappings turn into it.
const AT: [char; 3] = ['@', '\u{ff20}', '\u{fe6b}'];

/// Whether a host name may contain `c`, as far as the grammar needs to know. [`AT`] is refused or cut off before.
fn fits_host(c: char) -> bool {
    is_visible(c) && !matches!(c, ':' | '/' | '[' | ']' | '?' | '#' | '\\')
}

/// Whether `c` is neither whitespace nor a control, formatting, unassigned or otherwise invisible character.
fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    // Letters, marks and symbols that show nothing; the standard library counts them as printable.
    let blank = matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}');
    // The letter before it keeps a combining mark from being escaped: names in many scripts need such marks.
    !blank && !c.is_whitespace() && !format!("a{c}").escape_debug().any(|shown| shown == '\\')
}

/// `text`, if it is a plain name or an IPv6 address and therefore can't contain user-info.
fn repeatable(text: &str) -> Option<String> {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '+'));
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = is_ipv6(bare) && bare.split_once('%').is_none_or(|(_, zone)| plain(zone));
    (plain(text) || address).then(|| text.to_owned())
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, plain: impl Fn(char) -> bool) -> fmt::Result {
    text.chars().try_for_each(|c| if plain(c) { f.write_char(c) } else { write!(f, "{}", c.escape_unicode()) })
}

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
            Peer::unix("/run/a\\u{20}b\\c\"d"),
            Peer::unix("/run/\u{2028}\u{202e}\u{200b}"),
            Peer::direct("क\u{94d}षि.example", 80),
        ] {
            assert_eq!(peer.to_string().parse(), Ok(peer.clone()), "{peer}");
        }
    }

    #[test]
    fn bad_text_is_refused_with_the_field_and_a_harmless_value() {
        for (text, field, value) in [
            ("example.org", "port", "example.org"),
            ("example.org:", "port", "(not shown)"),
            ("example.org:+80", "port", "(not shown)"),
            ("example.org:65536", "port", "(not shown)"),
            (":80", "host", "\"\""),
            ("::1:80", "host", "::1"),
            ("[::1]", "port", "[::1]"),
            ("[::1]80", "port", "(not shown)"),
            ("[a]:80", "host", "\"a\""),
            ("[not:an:address]:80", "host", "(not shown)"),
            ("[fe80::1%a b]:80", "host", "(not shown)"),
            ("[::1]:80]", "port", "(not shown)"),
            ("unix:///run/a\\u{a}b", "path", "(not shown)"),
            ("unix:///run/a\nb", "path", "(not shown)"),
            ("unix:///run/\u{fffd}", "path", "(not shown)"),
            ("a b:80", "host", "(not shown)"),
            ("a/b:80", "host", "(not shown)"),
            ("a:b:80", "host", "(not shown)"),
            ("http-proxy://a://b:80", "host", "(not shown)"),
            ("socks5://a:1/b:2/c:3", "host", "(not shown)"),
            ("a\u{200b}b:80", "host", "(not shown)"),
            ("a%40b:80", "host", "(not shown)"),
            ("unix://a\\u{+20}", "path", "(not shown)"),
            ("unix://a\\u{20", "path", "(not shown)"),
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
    fn no_error_repeats_a_secret() {
        for text in [
            "unix://user:hunter2@h/\n",
            "unix://hunter2\u{fffd}",
            "user:hunter2",
            "user:hunter2:",
            "user:hunter2:80",
            "user:hunter2%40host:80",
            "user:hunter2%40host",
            "user:hunter2%2540host:80",
            "hunter2%40host:80",
            "user:hunter2//host:80",
            "user:hunter2://host:80",
            "user:80/hunter2",
            "http://user:hunter2%40h",
            "http-proxy://user:hunter2",
            "http-proxy://user:hunter2%40h:80",
            "http-proxy://[user:hunter2]:80",
            "http-proxy://[::1]hunter2:80",
            "socks5://user:hunter2/h:80",
            "socks5://user:80/hunter2",
            "socks5://user:80/[hunter2]:80",
            "user:hunter2\u{ff20}host:80",
            "hunter2\u{ff20}host:80",
            "hunter2\u{fe6b}host:80",
            "user\u{ff1a}hunter2",
        ] {
            let error = text.parse::<Peer>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error:?}");
        }
        for host in ["hunter2%40host", "hunter2\u{ff20}host", "hunter2\u{fe6b}host"] {
            assert_eq!(Peer::direct(host, 80).to_string(), "***@host:80");
        }
        assert_eq!(Peer::direct("fe80::1%40", 80).to_string(), "[fe80::1%40]:80", "a zone, not an @");
    }

    #[test]
    fn a_blank_in_a_path_is_read_plain_and_escaped() {
        let peer = Peer::unix("/run/x y.sock");
        assert_eq!(peer.to_string(), r"unix:///run/x\u{20}y.sock");
        assert_eq!("unix:///run/x y.sock".parse(), Ok(peer));
    }

    #[test]
    fn no_name_forges_a_log_field() {
        let mut invisible = String::from(" \t\r\n\u{7}\u{7f}\u{85}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}");
        invisible.push_str("\u{200d}\u{200f}\u{2028}\u{2029}\u{202e}\u{2060}\u{2066}\u{2800}\u{3000}\u{3164}\u{fe0f}");
        invisible.push_str("\u{feff}\u{ffa0}\u{e0041}\u{e0100}");
        for c in invisible.chars() {
            let name = format!("x{c}channel=7");
            for peer in [Peer::direct(&name, 80), Peer::socks5(("a", 1), (&name, 2)), Peer::unix(&name)] {
                let shown = format!("{peer}|{peer:?}|{:?}|{:?}", peer.kind(), peer.first_hop());
                // The one blank that the hops' and kinds' own punctuation has.
                let shown = shown.replace(", ", ",");
                assert!(!shown.contains(c), "{c:?}: {shown}");
            }
        }
    }
}

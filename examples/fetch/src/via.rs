//! By which way to a server, and whom to believe there: what the options say, which hold for several URLs.

use crate::url::{Url, host_and_port};
use http::trust::Trust;
use http::tunnel::Credentials;
use std::path::PathBuf;
use std::sync::Arc;

/// The way to a server.
#[derive(Clone)]
pub enum Via {
    Direct,
    HttpProxy(Proxy),
    Socks5(Proxy),
    /// Whatever the URL says, by this socket.
    Unix(PathBuf),
}

/// A proxy, and who uses it.
#[derive(Clone)]
pub struct Proxy {
    pub host: String,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

/// A URL to be fetched, and how.
#[derive(Clone)]
pub struct Wanted {
    pub url: Url,
    pub via: Arc<Via>,
    pub trust: Arc<Trust>,
}

/// The settings that were given, in this order, among the URLs: each holds for those that follow, and the first of its
/// kind for those before it, too.
#[derive(Default)]
pub struct Settings {
    vias: Vec<Arc<Via>>,
    trusts: Vec<Arc<Trust>>,
    /// Each with how many settings of either kind came before it.
    urls: Vec<(Url, usize, usize)>,
}

impl Settings {
    pub fn via(&mut self, via: Via) {
        self.vias.push(Arc::new(via));
    }

    pub fn trust(&mut self, trust: Trust) {
        self.trusts.push(Arc::new(trust));
    }

    pub fn url(&mut self, url: Url) {
        self.urls.push((url, self.vias.len(), self.trusts.len()));
    }

    pub fn wanted(self) -> Vec<Wanted> {
        let Settings { mut vias, mut trusts, urls } = self;
        if vias.is_empty() {
            vias.push(Arc::new(Via::Direct));
        }
        if trusts.is_empty() {
            trusts.push(Arc::new(Trust::WebRoots));
        }
        let wanted = urls.into_iter().map(|(url, via, trust)| Wanted {
            url,
            via: Arc::clone(&vias[via.saturating_sub(1)]),
            trust: Arc::clone(&trusts[trust.saturating_sub(1)]),
        });
        wanted.collect()
    }
}

impl Wanted {
    /// The URL without a proxy, believing whom browsers believe.
    pub fn plain(url: Url) -> Wanted {
        Wanted { url, via: Arc::new(Via::Direct), trust: Arc::new(Trust::WebRoots) }
    }
}

impl Proxy {
    /// Takes `http://[USER:PASS@]HOST[:PORT]`, user name and password percent-encoded where needed. There is no text
    /// of an error, for anything in it may be part of a password.
    pub fn http(text: &str) -> Option<Proxy> {
        let (scheme, rest) = text.split_once("://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        scheme.eq_ignore_ascii_case("http").then(|| Proxy::parse(rest, 80, decoded)).flatten()
    }

    /// Takes `[USER:PASS@]HOST[:PORT]`, nothing of it encoded.
    pub fn socks5(text: &str) -> Option<Proxy> {
        Proxy::parse(text, 1080, |text| Some(text.to_owned()))
    }

    fn parse(text: &str, default_port: u16, decode: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
        let (credentials, authority) = match text.rsplit_once('@') {
            None => (None, text),
            Some((credentials, authority)) => {
                let (user, password) = credentials.split_once(':')?;
                (Some(Credentials { user: decode(user)?, password: decode(password)? }), authority)
            }
        };
        let (host, port) = host_and_port(authority, default_port).ok()?;
        Some(Proxy { host, port, credentials })
    }
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

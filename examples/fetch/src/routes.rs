//! Which peer a URL leads to, and what has to be said there. The one place that makes peers and channel bindings.

use crate::opening::Steps;
use crate::url::Url;
use crate::via::{Via, Wanted};
use conncache::{ChannelBindingId, Interner, Peer, PeerKind};
use http::trust::Trust;
use http::tunnel::http_connect;
use http::tunnel::socks5;
use http::tunnel::{Credentials, HandshakeError};
use rustls::ClientConfig;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// What tells connections to one peer apart that may not stand in for each other.
#[derive(PartialEq, Eq, Hash)]
struct Binding {
    /// The proxy's user: nobody else's requests go by a connection that is theirs.
    credentials: Option<Credentials>,
    /// Whom TLS believes; `None`: there is no TLS.
    trust: Option<Arc<Trust>>,
    /// Who has shown a certificate, where the peer doesn't say it.
    server: Option<String>,
}

/// The ways to the servers.
pub struct Routes {
    /// Whether also requests without TLS go through a tunnel.
    tunnel: bool,
    bindings: Interner<Binding>,
    /// One for each binding with TLS: it has the sessions that its connections resume.
    configs: HashMap<ChannelBindingId, Arc<ClientConfig>>,
}

/// The way to a server.
#[derive(Clone)]
pub struct Route {
    pub peer: Peer,
    pub channel: ChannelBindingId,
    credentials: Option<Credentials>,
    tls: Option<(String, Arc<ClientConfig>)>,
}

impl Routes {
    pub fn new(tunnel: bool) -> Routes {
        Routes { tunnel, bindings: Interner::new(), configs: HashMap::new() }
    }

    /// The way to this URL. The names are the key, not their addresses.
    pub fn route(&mut self, wanted: &Wanted) -> io::Result<Route> {
        let Wanted { url, via, trust } = wanted;
        let target = (url.host.as_str(), url.port);
        let (peer, credentials) = match &**via {
            Via::Direct => (Peer::direct(&url.host, url.port), &None),
            Via::Socks5(proxy) => (Peer::socks5((&proxy.host, proxy.port), target), &proxy.credentials),
            Via::HttpProxy(proxy) if url.secure || self.tunnel => {
                (Peer::http_proxy_connect((&proxy.host, proxy.port), target), &proxy.credentials)
            }
            Via::HttpProxy(proxy) => (Peer::http_proxy(&proxy.host, proxy.port), &proxy.credentials),
            Via::Unix(path) => (Peer::unix(path), &None),
        };
        let binding = Binding {
            credentials: credentials.clone(),
            trust: url.secure.then(|| Arc::clone(trust)),
            server: (url.secure && peer.target().is_none()).then(|| url.host.clone()),
        };
        let channel = self.bindings.intern(binding).map_err(io::Error::other)?;
        let tls = match (url.secure, self.configs.get(&channel)) {
            (false, _) => None,
            (true, Some(config)) => Some((url.host.clone(), Arc::clone(config))),
            (true, None) => {
                let config = trust.config()?;
                self.configs.insert(channel, Arc::clone(&config));
                Some((url.host.clone(), config))
            }
        };
        Ok(Route { peer, channel, credentials: credentials.clone(), tls })
    }
}

impl Route {
    /// What is to be done on a connection before it is of use. Fails if the proxy can't be told what it has to be.
    pub fn steps(&self) -> Result<Steps, HandshakeError> {
        let credentials = self.credentials.as_ref();
        let proxy = match self.peer.kind() {
            PeerKind::HttpProxyConnect { proxy, target } => {
                Some(http_connect::handshake(&hop("http proxy", proxy), target.0, target.1, credentials)?)
            }
            PeerKind::Socks5 { proxy, target } => {
                Some(socks5::handshake(&hop("socks5", proxy), target.0, target.1, credentials)?)
            }
            PeerKind::HttpProxy(..) => {
                // With every request; whether they can be sent is better known before.
                let problem = credentials.and_then(|credentials| http_connect::authorization(credentials).err());
                if let (Some(reason), Some(hop)) = (problem, self.http_proxy()) {
                    return Err(HandshakeError::new(&hop, reason));
                }
                None
            }
            _ => None,
        };
        Ok(Steps::new(proxy, self.tls.clone()))
    }

    /// The proxy that answers in the servers' place, if there is one, by its name in messages.
    pub fn http_proxy(&self) -> Option<String> {
        match self.peer.kind() {
            PeerKind::HttpProxy(host, port) => Some(hop("http proxy", (host, port))),
            _ => None,
        }
    }

    /// The request for this URL, in absolute form if it goes to a proxy that takes requests for any server.
    pub fn request(&self, method: &str, url: &Url) -> Vec<u8> {
        let Url { authority, path, .. } = url;
        let is_absolute = matches!(self.peer.kind(), PeerKind::HttpProxy(..));
        let credentials = self.credentials.as_ref().filter(|_| is_absolute);
        let authorization = credentials.and_then(|credentials| http_connect::authorization(credentials).ok());
        let authorization = authorization.unwrap_or_default();
        let (scheme, server) = if is_absolute { ("http://", authority.as_str()) } else { ("", "") };
        format!(
            "{method} {scheme}{server}{path} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\
             User-Agent: conncache-fetch\r\nAccept: */*\r\n\r\n"
        )
        .into_bytes()
    }
}

fn hop(kind: &str, (host, port): (&str, u16)) -> String {
    match host.contains(':') {
        true => format!("{kind} [{host}]:{port}"),
        false => format!("{kind} {host}:{port}"),
    }
}

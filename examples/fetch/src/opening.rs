//! From the first SYN to the first request: a connection being made, then a proxy to be told where to go, then TLS.

use crate::stream::Stream;
use http::tunnel::{Handshake, Step};
use rustls::ClientConfig;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far a connection has come.
pub enum Phase {
    /// Not begun: it takes addresses, or another attempt at that time.
    Waiting { again: Option<Instant> },
    /// Being connected, to one address or several at once; to be given up at `give_up`.
    Connecting { steps: Steps, give_up: Instant },
    /// Connected, and not yet through to the server.
    ShakingHands { steps: Steps, give_up: Instant },
    /// Requests may be sent.
    Open,
}

/// Why a connection can't be opened.
pub enum Hindrance {
    /// No address can be connected to.
    NoAddress(io::Error),
    /// The proxy or the server doesn't want it; a text that names it.
    Handshake(String),
}

/// What is to be done on a connection before the first request.
pub struct Steps {
    proxy: Option<Box<Handshake>>,
    /// The server's name; its settings until TLS has begun.
    tls: Option<(String, Option<Arc<ClientConfig>>)>,
}

impl Steps {
    pub fn new(proxy: Option<Handshake>, tls: Option<(String, Arc<ClientConfig>)>) -> Steps {
        Steps { proxy: proxy.map(Box::new), tls: tls.map(|(host, config)| (host, Some(config))) }
    }

    /// Goes on as far as the socket allows; whether all is done. An error names the hop.
    pub fn advance(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> Result<bool, String> {
        if let Some(proxy) = &mut self.proxy {
            if !talk(proxy, stream, buffer)? {
                return Ok(false);
            }
            self.proxy = None;
        }
        if let Some((host, config)) = &mut self.tls {
            if let Some(config) = config.take() {
                stream.start_tls(host, &config).map_err(|error| error.to_string())?;
            }
        }
        stream.handshake().map_err(|error| error.to_string())
    }

    /// What to say when the time is over.
    pub fn timed_out(&self, within: Duration) -> String {
        match (&self.proxy, &self.tls) {
            (Some(proxy), _) => proxy.interrupted(format!("no answer within {within:?}")).to_string(),
            (None, Some((host, _))) => format!("tls with {host}: the handshake isn't over within {within:?}"),
            (None, None) => unreachable!("without anything to be done no time passes"),
        }
    }
}

/// Talks to the proxy; whether the tunnel stands.
fn talk(proxy: &mut Handshake, stream: &mut Stream, buffer: &mut [u8]) -> Result<bool, String> {
    loop {
        while !proxy.outgoing().is_empty() {
            match stream.write(proxy.outgoing()) {
                Ok(n) => proxy.sent(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It may have said why it closes.
                Err(_) => break,
            }
        }
        match stream.read(buffer) {
            Ok(0) => return Err(proxy.closed().to_string()),
            Ok(n) => match proxy.received(&buffer[..n]).map_err(|error| error.to_string())? {
                Step::More => {}
                Step::Done { consumed } if consumed == n => return Ok(true),
                // Neither in TLS nor in HTTP does the server speak first: it would pass for the answer to a request.
                Step::Done { .. } => {
                    return Err(proxy.interrupted("sent more than its answer").to_string());
                }
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(proxy.interrupted(error).to_string()),
        }
    }
}

//! One request and its response: what is known of them while they are under way.

use crate::buffer::{BUFFER, Inbox, Outbox, Pool};
use crate::journal::Record;
use crate::messages::{Body, max_forwards};
use crate::pinning::binds_connection;
use crate::tunnel::{Tunnel, asks_for_websocket};
use conncache::mio::net::TcpStream;
use conncache::{ConnId, WaiterId};
use http::framing::body::Framing;
use http::framing::head::Version;
use http::framing::{request, response};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A request and its response.
pub struct Exchange {
    /// Whom to ask, as an index into the upstreams.
    pub upstream: usize,
    /// Those that were asked in vain.
    pub tried: Vec<usize>,
    /// How many of this upstream's addresses couldn't be connected to.
    pub refused: usize,
    pub link: Option<Link>,
    /// It waits in line for a connection.
    pub waiter: Option<WaiterId>,
    /// Until when it waits, since it has begun to.
    pub wait_end: Option<Instant>,
    /// All of the request so far is in `to_upstream`, and repeating it does no harm.
    pub replayable: bool,
    /// It goes on a new connection: one that was reused has failed it, or was too old for it.
    pub fresh: bool,
    pub request_done: bool,
    /// The client waits for the upstream's word before it sends the body.
    pub expects: bool,
    /// How much of the request's body has come.
    pub received: u64,
    /// Since when, and from how many bytes on, the body's rate is measured.
    pub rate_from: (Instant, u64),
    /// Why the upstream takes no more of the request. What still comes of it is dropped.
    pub unsent: Option<String>,
    /// A byte of the response has come.
    pub answered: bool,
    /// The response's head has been written.
    pub started: bool,
    /// How long the upstream keeps the connection when idle, as it says.
    pub keep: Option<Duration>,
    /// It takes part in an authentication that holds for the whole upstream connection.
    pub binding: bool,
    /// What is told of it at its end.
    pub record: Record,
    /// It changes nothing, and its connection doesn't matter: the upstream may see it before the requests in front of
    /// it.
    pub goes_ahead: bool,
    /// The client asks to switch to the WebSocket protocol.
    pub upgrade: bool,
    /// Both sides have switched.
    pub tunnel: Option<Tunnel>,
    pub head_only: bool,
    /// What the proxy itself answers, above all a client of the status page.
    pub page: Option<Page>,
    pub version: Version,
    /// The client's connection takes another request afterwards.
    pub keep_alive: bool,
    /// The request's body is chunked.
    pub chunked: bool,
    /// How the response's body reaches the client.
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Html,
    Json,
    Metrics,
    Missing,
    NotAllowed,
    /// The request may go no further. It asks what is possible here.
    LastHop,
    /// The request may go no further. It asks what has come here, which may hold secrets.
    NotTraced,
}

/// The upstream connection of an exchange.
pub struct Link {
    pub id: ConnId,
    /// When it was chosen.
    pub since: Instant,
    pub reused: bool,
    /// It doesn't stand yet.
    pub connecting: Option<Attempt>,
    /// It was reset while the request was sent.
    pub reset: bool,
    /// When the upstream first said something, before the turn of its response.
    pub heard: Option<Instant>,
    pub inbox: Inbox,
}

/// A connection that was begun.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub since: Instant,
    /// The upstream's address that it leads to.
    pub address: SocketAddr,
}

impl Exchange {
    /// The exchange that begins with this head. `status`: the client came to the status page.
    pub fn new(head: &request::Request<'_>, status: bool, now: Instant, pool: &mut Pool) -> Exchange {
        let safe_to_repeat = matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        // A longer body isn't kept for a repetition.
        let short = head.content_length.is_none_or(|length| length <= BUFFER as u64);
        let page = status.then(|| match (head.method, head.path.split('?').next()) {
            ("GET" | "HEAD", Some("/")) => Page::Html,
            ("GET" | "HEAD", Some("/status.json")) => Page::Json,
            ("GET" | "HEAD", Some("/metrics")) => Page::Metrics,
            ("GET" | "HEAD", _) => Page::Missing,
            _ => Page::NotAllowed,
        });
        let page = page.or_else(|| match (max_forwards(head), head.method) {
            (Some(0), "OPTIONS") => Some(Page::LastHop),
            (Some(0), _) => Some(Page::NotTraced),
            _ => None,
        });
        let upgrade = page.is_none() && asks_for_websocket(head);
        let binding = binds_connection(head.fields);
        let safe = matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
        Exchange {
            upstream: 0,
            tried: Vec::new(),
            refused: 0,
            link: None,
            waiter: None,
            wait_end: None,
            replayable: safe_to_repeat && short,
            fresh: false,
            request_done: false,
            expects: head.expect_continue,
            received: 0,
            rate_from: (now, 0),
            unsent: None,
            answered: false,
            started: false,
            keep: None,
            binding,
            record: Record::new(pool.text(), head.method, head.path, now),
            goes_ahead: safe && head.framing == Framing::Length(0) && page.is_none() && !upgrade && !binding,
            upgrade,
            tunnel: None,
            head_only: head.method == "HEAD",
            page,
            version: head.version,
            keep_alive: head.keep_alive,
            chunked: head.framing == Framing::Chunked,
            body: Body::Plain,
        }
    }

    /// Whether the request can still be sent again when all of it has been sent. A body of unknown length may turn out
    /// to be too long.
    pub fn stays_replayable(&self) -> bool {
        self.replayable && !self.chunked
    }

    /// Writes the request, as far as the upstream takes it; keeps it for a repetition while it is short. Returns how much
    /// was written.
    pub fn send_request(&mut self, to_upstream: &mut Outbox, upstream: &mut TcpStream) -> usize {
        if self.unsent.is_some() {
            return 0;
        }
        let sent = to_upstream.send(upstream, &[]).unwrap_or_else(|error| {
            self.unsent = Some(error.to_string());
            if let Some(link) = &mut self.link {
                link.reset = error.kind() == ErrorKind::ConnectionReset;
                // It may have answered before it closed.
                link.inbox.look_again();
            }
            0
        });
        self.replayable &= to_upstream.kept() <= BUFFER;
        if !self.replayable {
            to_upstream.forget_sent();
        }
        sent
    }

    /// Whether nobody wants the request's body.
    pub fn drops_body(&self) -> bool {
        self.page.is_some() || self.unsent.is_some()
    }
}

impl Link {
    pub fn reused(id: ConnId, now: Instant) -> Link {
        Link { id, since: now, reused: true, connecting: None, reset: false, heard: None, inbox: Inbox::default() }
    }

    pub fn begun(id: ConnId, attempt: Attempt) -> Link {
        Link {
            id,
            since: attempt.since,
            reused: false,
            connecting: Some(attempt),
            reset: false,
            heard: None,
            inbox: Inbox::default(),
        }
    }
}

/// How long the upstream keeps the connection, by its own word, less a tenth for the way of what it then sends.
pub fn keep(head: &response::Response<'_>) -> Option<Duration> {
    match (head.keep_alive_max, head.keep_alive_timeout) {
        (Some(0), _) => Some(Duration::ZERO),
        (_, Some(seconds)) => Some(Duration::from_millis(seconds.saturating_mul(900))),
        _ => None,
    }
}

//! Drives the exchanges: what each event, and each step after it, does for a client.

use crate::client::{Ending, Fault, Progress, Refusal};
use crate::journal::{Concerned, End};
use crate::messages::Additions;
use crate::proxy::Proxy;
use conncache::ConnId;
use conncache::mio::event::Event;
use log::{Level, log};

/// How many requests of one client are served before others have their turn.
const MOST_STEPS: usize = 16;

/// What is next for a client.
pub enum Next {
    /// An event will tell.
    Wait,
    /// The next request may be there already.
    Again,
    /// Others have their turn first.
    Yield,
}

impl Proxy {
    /// An event for an active upstream connection, told by the cache.
    pub fn on_upstream(&mut self, key: usize, id: ConnId, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(exchange) = &mut client.exchange else { return };
        let Some(link) = exchange.link.as_mut().filter(|link| link.id == id) else {
            return self.on_ahead(key, id, event);
        };
        link.inbox.tell(event);
        if event.is_writable() {
            client.to_upstream.unblock();
        }
        if link.connecting.is_some() {
            let upstream = exchange.upstream;
            match self.is_connected(id, upstream) {
                Ok(false) => return,
                Ok(true) => self.clients[key]
                    .exchange
                    .iter_mut()
                    .flat_map(|e| &mut e.link)
                    .for_each(|link| link.connecting = None),
                Err(error) => return self.refused(key, error),
            }
        }
        self.drive(key);
    }

    /// An event for a client.
    ///
    /// One that has merely ended its sending is answered: HTTP allows that, and one that has closed altogether can't be
    /// told from it before something is written there. The price is an upstream connection for the time of the
    /// response, or up to the time-out; after the response that connection is as good as any, where giving up at once,
    /// as nginx does by default, would have to close it. A reset is clear, and so is a write that fails.
    pub fn on_client(&mut self, key: usize, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        // Both directions are gone: nobody is left to answer. If one of them is the proxy's own end, what is on the way in
        // the other one is still to arrive.
        if event.is_error() || (event.is_write_closed() && !client.has_been_told_the_end()) {
            return self.close(key);
        }
        client.inbox.tell(event);
        if event.is_writable() {
            client.outbox.unblock();
        }
        self.drive(key);
    }

    /// Does what can be done for a client now.
    pub fn drive(&mut self, key: usize) {
        let mut done = false;
        for _ in 0..MOST_STEPS {
            match self.step(key) {
                Next::Again => continue,
                next => done = matches!(next, Next::Wait),
            }
            break;
        }
        self.look_ahead(key);
        if self.clients.get(key).is_some_and(|client| client.outbox.is_ready()) {
            self.flush_soon(key);
        }
        if !done {
            self.again.push(key);
        }
        self.clients.get_mut(key).into_iter().for_each(|client| client.note_progress(self.now));
    }

    fn step(&mut self, key: usize) -> Next {
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        // Who doesn't read the answers gets no further ones.
        if client.exchange.is_none() && client.outbox.is_full() {
            self.flush(key);
        }
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        if client.exchange.is_none() && client.outbox.is_full() {
            return Next::Wait;
        }
        let host = &self.upstreams[self.balance.turn()].host;
        let additions = Additions { host, trusted: self.trust_forwarded };
        let more = match client.take_request(&mut self.pool, additions, self.now) {
            Ok(more) => more,
            Err(Refusal::Gone) => return self.leave(key),
            Err(Refusal::Answer(status, why)) => return self.fail(key, status, &why, true),
        };
        match self.serve(key) {
            Next::Wait if more => Next::Yield,
            next => next,
        }
    }

    /// Does what can be done for the request that is there.
    fn serve(&mut self, key: usize) -> Next {
        let close = self.wants_rid();
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        let Some(exchange) = &mut client.exchange else { return self.flush_soon(key) };
        if let Some(page) = exchange.page {
            // Who waits to be told whether to send the body is told so by the answer.
            if !exchange.request_done && !exchange.expects {
                return self.flush(key);
            }
            let close = close || !exchange.keep_alive || !exchange.request_done;
            self.answer_page(key, page, close);
            self.record(key, 0, End::Whole);
            return self.end_exchange(key);
        }
        if exchange.waiter.is_some() {
            return self.stay_in_line(key);
        }
        if exchange.tunnel.is_some() {
            return self.advance_tunnel(key);
        }
        if exchange.link.is_none() {
            let chosen = match client.pin {
                Some(pin) if self.balance.is_well(pin.upstream, self.now) => Some(pin.upstream),
                _ => self.choose(&[]),
            };
            self.clients[key].exchange.iter_mut().for_each(|exchange| exchange.upstream = chosen.unwrap_or_default());
            self.counts.requests += 1;
            return self.link(key);
        }
        self.advance(key)
    }

    /// Moves bytes in both directions of an exchange that has its connection.
    pub fn advance(&mut self, key: usize) -> Next {
        let close = self.wants_rid();
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        let Some(link) = client.exchange.as_mut().and_then(|exchange| exchange.link.as_mut()) else {
            return Next::Wait;
        };
        if link.connecting.is_some() {
            return Next::Wait;
        }
        let id = link.id;
        let Some(upstream) = self.cache.get_mut(id) else { return Next::Wait };
        if client.to_upstream.waiting() > 0 {
            if client.to_upstream.is_ready() && !client.to_upstream.is_full() && !self.writing {
                return self.put_off(key);
            }
            let was_full = client.to_upstream.is_full();
            client.send_request(upstream);
            if was_full && !client.to_upstream.is_full() && client.inbox.is_ready() {
                return Next::Again;
            }
        }
        let had_begun = client.has_begun();
        let progress = client.take_response(upstream, &mut self.pool, close);
        if let Some(exchange) = client.exchange.as_ref().filter(|exchange| exchange.started && !had_begun) {
            self.balance.answered(exchange.upstream, self.now);
            if let Some(link) = &exchange.link {
                let took = link.heard.unwrap_or(self.now).saturating_duration_since(link.since);
                self.counts.upstreams[exchange.upstream].latency.add(took);
            }
        }
        match progress {
            Ok(Progress::UpstreamSilent) => {
                match client.exchange.as_ref().and_then(|exchange| exchange.unsent.as_ref()) {
                    Some(error) => {
                        let why = format!("couldn't send the request: {error}");
                        self.upstream_failed(key, &why)
                    }
                    None => self.flush_soon(key),
                }
            }
            Ok(Progress::ClientFull) => {
                // Since the request was found to go nowhere, no event may have told of what is there to be dropped.
                let more =
                    client.exchange.as_ref().is_some_and(|exchange| exchange.drops_body() && !exchange.request_done);
                let ready = more && client.inbox.is_ready();
                match self.flush(key) {
                    Next::Wait if ready => Next::Again,
                    next => next,
                }
            }
            Ok(Progress::Yield) => Next::Yield,
            Ok(Progress::Switched) => self.begin_tunnel(key),
            Ok(Progress::Complete { reusable }) => {
                self.give_back(key, id, reusable);
                self.counts.passed_on += 1;
                self.record(key, 0, End::Whole);
                self.end_exchange(key)
            }
            Err(Fault::Upstream(why)) => self.upstream_failed(key, &why),
            Err(Fault::Client) => {
                self.close(key);
                Next::Wait
            }
        }
    }

    /// Adds a line to the access log: of the exchange, or of a request that was refused with this status.
    pub fn record(&mut self, key: usize, refused: u16, end: End) {
        let Some(client) = self.clients.get(key) else { return };
        let status = client.exchange.as_ref().map_or(refused, |exchange| exchange.record.status);
        self.journal.add(&Concerned::of(client, &self.upstreams, self.now), status, end);
    }

    /// The exchange is over, its upstream connection given back: on to the next request.
    pub fn end_exchange(&mut self, key: usize) -> Next {
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        if client.ending != Ending::Open {
            let ahead = std::mem::take(&mut client.ahead);
            self.drop_ahead(ahead);
        }
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        client.next_request(&mut self.pool);
        // Sent already, and now in its turn.
        self.counts.requests += u64::from(client.exchange.as_ref().is_some_and(|exchange| exchange.link.is_some()));
        let more = client.exchange.is_some() || client.inbox.is_ready();
        if more && client.ending == Ending::Open {
            return Next::Again;
        }
        match self.flush_soon(key) {
            Next::Wait if more => Next::Again,
            next => next,
        }
    }

    /// Answers with a status of the proxy's own; or, if the response has begun, closes after what has come of it.
    pub fn fail_exchange(&mut self, key: usize, status: u16, why: &str) {
        if let Next::Again | Next::Yield = self.fail(key, status, why, false) {
            self.again.push(key);
        }
    }

    /// As [`fail_exchange`](Proxy::fail_exchange). If the fault is the client's, its connection ends with the answer; and
    /// what clients can bring about at will isn't for the operator to read.
    pub fn fail(&mut self, key: usize, status: u16, why: &str, is_clients: bool) -> Next {
        let Some(client) = self.clients.get_mut(key) else { return Next::Wait };
        let (started, done, keep) = match &client.exchange {
            Some(exchange) => (exchange.started, exchange.request_done, exchange.keep_alive),
            None => (false, false, false),
        };
        let concerned = Concerned::of(client, &self.upstreams, self.now);
        let level = if status >= 500 && !is_clients { Level::Warn } else { Level::Info };
        log!(level, "event=failed status={status} started={started} reason={why:?} {concerned}");
        self.counts.failed(status);
        let link = client.exchange.as_mut().and_then(|exchange| exchange.link.take());
        let waiter = client.exchange.as_mut().and_then(|exchange| exchange.waiter.take());
        if started {
            client.ending = Ending::AfterFlush;
        } else {
            let close = is_clients || !done || !keep || self.draining;
            let body = format!("{status} {}\n", crate::messages::reason(status));
            client.answer(&mut self.pool, status, "text/plain", body.as_bytes(), close);
        }
        self.record(key, status, if started { End::Cut } else { End::Whole });
        link.into_iter().for_each(|link| self.drop_link(link));
        waiter.into_iter().for_each(|waiter| self.leave_line(waiter));
        if let Some(client) = self.clients.get_mut(key).filter(|client| started && client.ends_by_reset) {
            client.exchange = None;
            self.close(key);
            return Next::Wait;
        }
        self.end_exchange(key)
    }
}

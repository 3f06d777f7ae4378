//! Upstream connections that belong to one client, since the upstream has authenticated the connection, not the request.
//!
//! NTLM and Negotiate do that. The next request on such a connection needs no credentials, so it must come from the
//! same client: from the first such head on, that client has a channel binding of its own.

use crate::proxy::Proxy;
use conncache::ChannelBindingId;
use http::framing::head::Fields;

/// The schemes that authenticate a connection, by their beginning: `Nego2` is one, too.
const SCHEMES: [&[u8]; 3] = [b"ntlm", b"nego", b"kerberos"];

/// The channel binding of requests that go on a new connection. No connection is ever inactive under it.
pub const FRESH: ChannelBindingId = ChannelBindingId(ChannelBindingId::PLAIN.0 + 1);

/// Where a client's own connections are.
#[derive(Clone, Copy, Debug)]
pub struct Pin {
    pub upstream: usize,
    pub channel: ChannelBindingId,
}

/// Whether this head, of a request or a response, takes part in the authentication of a connection.
pub fn binds_connection(fields: Fields<'_>) -> bool {
    fields.iter().any(|field| {
        if field.is_named(b"www-authenticate") || field.is_named(b"proxy-authenticate") {
            // Several challenges may stand in one line. A comma in a quoted string is taken for the end of one: then
            // a connection may be pinned without need.
            field.value().split(|&byte| byte == b',').any(is_binding)
        } else if field.is_named(b"authorization") {
            is_binding(field.value())
        } else {
            field.is_named(b"persistent-auth") && field.value().eq_ignore_ascii_case(b"true")
        }
    })
}

fn is_binding(challenge: &[u8]) -> bool {
    let challenge = challenge.trim_ascii_start();
    SCHEMES.iter().any(|scheme| challenge.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

impl Proxy {
    /// The channel binding of a client's upstream connections.
    pub fn own_channel(&self, key: usize) -> ChannelBindingId {
        self.clients.get(key).and_then(|client| client.pin).map_or(ChannelBindingId::PLAIN, |pin| pin.channel)
    }

    /// The channel binding under which a client's request asks for a connection.
    pub fn channel(&self, key: usize) -> ChannelBindingId {
        let exchange = self.clients.get(key).and_then(|client| client.exchange.as_ref());
        match self.own_channel(key) {
            ChannelBindingId::PLAIN if exchange.is_some_and(|exchange| exchange.fresh) => FRESH,
            own => own,
        }
    }

    /// From now on this client has connections of its own, at this upstream if there is a choice.
    pub fn pin(&mut self, key: usize, upstream: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let channel = client.pin.map_or_else(
            || {
                self.last_channel.0 += 1;
                self.last_channel
            },
            |pin| pin.channel,
        );
        client.pin = Some(Pin { upstream, channel });
    }

    /// Closes what a client that has gone had for itself alone.
    pub fn unpin(&mut self, pin: Pin) {
        for at in 0..self.upstreams.len() {
            let peer = &self.upstreams[at].peer;
            // There is one at most: a client has one exchange at a time.
            let Ok((id, _)) = self.cache.find_inactive_connection(self.now, peer, pin.channel) else { continue };
            self.cache.close_connection(id).into_iter().for_each(|evicted| self.note(evicted));
        }
    }
}

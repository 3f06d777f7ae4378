//! `adopt`: how connections come in that have left another cache, and what a connection's history means when it comes
//! back.

use crate::cache::Cache;
use crate::cache::jitter::Jitter;
use crate::channel::ChannelBindingId;
use crate::closings;
use crate::connection::Connection;
use crate::error::AdoptError;
use crate::history::History;
use crate::outcome::Evicted;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::state::{ConnId, Owner};
use crate::table::buckets::Destination;
use crate::table::clock::{Clock, Tick};
use log::debug;
use std::time::Instant;

/// # Moving between caches
impl<C: Connection, P: Policy> Cache<C, P> {
    /// Takes in a connection that has left another cache, or this one, by [`remove`](Cache::remove), and makes `owner`
    /// its owner. The cache registers it for reading and writing. So a move from one loop to another costs one
    /// deregistration there and one registration here.
    ///
    /// It keeps its peer, channel binding, age, uses and end of lifetime (if this cache's isn't earlier). A
    /// [`close_peer`](Cache::close_peer) or [`close_channel`](Cache::close_channel) in the meantime takes effect. The
    /// move doesn't count as a use. Its own deadline and its private data don't move with it: take
    /// [`private`](Evicted::private) out first if you need it.
    ///
    /// It isn't probed. If it was inactive, [check it in](Cache::checkin); the next hand-out probes it.
    ///
    /// ```
    /// use conncache::{AggressiveCache, ChannelBindingId, Owner, mio};
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let addr = listener.local_addr()?;
    /// # let (now, plain, peer) = (std::time::Instant::now(), ChannelBindingId::PLAIN, addr.into());
    /// // Two loops, on two threads as a rule.
    /// let (here, there) = (mio::Poll::new()?, mio::Poll::new()?);
    /// let mut one: AggressiveCache<mio::net::TcpStream> = AggressiveCache::builder().build(here.registry())?;
    /// let mut other: AggressiveCache<mio::net::TcpStream> = AggressiveCache::builder().build(there.registry())?;
    /// let conn = mio::net::TcpStream::connect(addr)?;
    /// let id = one.insert(now, conn, &peer, plain, Owner(1))?;
    ///
    /// let moving = one.remove(id)?;
    /// // Here it goes through a channel to the other thread.
    /// let id = other.adopt(now, moving, Owner(7))?;
    /// assert_eq!(other.find_my_connections(Owner(7)).collect::<Vec<_>>(), [id]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The connection comes back as it was given, with a cause as for [`insert`](Cache::insert). Nothing has changed.
    pub fn adopt(&mut self, now: Instant, mut evicted: Evicted<C>, owner: Owner) -> Result<ConnId, AdoptError<C>> {
        let connected = evicted.history.connected || evicted.conn.is_connected();
        let site = self.site_or_new(&evicted.peer);
        let may_enter = self.may_enter(now, &site, !connected);
        if let Err(cause) = may_enter.and_then(|()| self.register_next(&mut evicted.conn)) {
            return Err(AdoptError::new(cause, evicted));
        }
        let Evicted { conn, peer, channel, history, .. } = evicted;
        let to = Destination { peer: &peer, channel, most: Some(site.most) };
        let id = self.take_in(now, conn, to, owner, Some(History { connected, ..history }));
        debug!(target: "conncache", "event=adopt id={id} peer={peer} channel={channel} owner={}", owner.0);
        Ok(id)
    }

    /// When a connection that comes back was opened, and the end of its lifetime.
    pub(super) fn times_of(&self, history: &History, clock: &Clock, jitter: &mut Jitter) -> (Tick, Tick) {
        // Nothing is opened in the future.
        let opened = clock.tick(history.opened).min(clock.latest());
        let fixed = clock.end(history.lifetime_end);
        let is_ours = history.cache == self.tokens.cache();
        (opened, if is_ours { fixed } else { jitter.lifetime_end(&self.limits, opened).min(fixed) })
    }

    /// Whether the peer or channel binding of a connection that comes back was closed before it left, or since.
    pub(super) fn closed_since(&self, history: &History, peer: &Peer, channel: ChannelBindingId) -> Option<Reason> {
        let caches = [history.cache, self.tokens.cache()];
        history.closed.or_else(|| closings::since(history.epoch, caches, peer, channel))
    }
}

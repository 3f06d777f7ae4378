//! The sites, one for each peer in use: what the peer's buckets have in common. A site counts the peer's connections
//! and places, has its limit, and lists its lines in the order of their turns.
//!
//! The sites that may be able to open a connection for a waiting request stand in a queue. Being in it only means that
//! it is worth trying: [`Sites::enqueue`] says when a site gets in, and a try without success takes it out.

use crate::table::lines::Line;
use crate::table::lists::{Links, List, NONE, linked};
use slab::Slab;

/// No limit.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// What all buckets of a peer share. It is removed with the last of them.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    /// The first bucket in the list of the peer's buckets.
    pub(crate) first_bucket: u32,
    /// The next site in the chain of this hash, or [`NONE`].
    pub(crate) next_in_chain: u32,
    /// The number of connections to the peer, active and inactive, and of places.
    pub(crate) total: u32,
    /// How many of the `total` are not established yet. Places are among them.
    pub(crate) connecting: u32,
    /// The limit on `total`, or [`UNLIMITED`].
    pub(crate) most: u32,
    /// How many requests wait for the peer, in all its lines.
    pub(crate) waiting: u32,
    /// The peer's lines. The oldest in this list has the next turn.
    pub(crate) turns: List,
    /// How many services have passed over the peer's other lines since a connection last made room for one of them: see
    /// `turns.rs`.
    pub(crate) passes: u32,
    /// Whether the site is in the queue of [`Sites`].
    queued: bool,
    /// Its neighbours in that queue.
    links: Links,
}

impl Site {
    /// The site of a new peer, to which at most `most` connections may lead.
    pub(crate) fn new(most: u32) -> Site {
        let (turns, links) = (List::EMPTY, Links::NONE);
        let (first_bucket, next_in_chain) = (NONE, NONE);
        let (total, connecting, waiting, passes, queued) = (0, 0, 0, 0, false);
        Site { first_bucket, next_in_chain, total, connecting, most, waiting, turns, passes, queued, links }
    }

    /// Counts one more connection, or a place for one.
    #[inline]
    pub(crate) fn enter(&mut self, connecting: bool) {
        self.total += 1;
        self.connecting += u32::from(connecting);
    }

    /// Counts one connection or place less.
    #[inline]
    pub(crate) fn leave(&mut self, connecting: bool) {
        self.total -= 1;
        self.connecting -= u32::from(connecting);
    }

    /// Whether the peer has as many connections and places as its limit allows.
    pub(crate) fn is_full(&self) -> bool {
        self.total >= self.most
    }
}

/// All sites, and the queue of those with waiting requests.
#[derive(Default)]
pub(crate) struct Sites {
    sites: Slab<Site>,
    /// The sites that have waiting requests and may have room for a connection. The oldest has the next turn.
    queue: List,
    /// How many services have passed over requests for other peers since a connection last made room for one of them:
    /// see `turns.rs`.
    pub(crate) passes: u32,
}

impl Sites {
    pub(crate) fn with_capacity(sites: usize) -> Sites {
        Sites { sites: Slab::with_capacity(sites), queue: List::EMPTY, passes: 0 }
    }

    pub(crate) fn add(&mut self, most: u32) -> u32 {
        self.sites.insert(Site::new(most)) as u32
    }

    #[inline]
    pub(crate) fn get(&self, site: u32) -> &Site {
        &self.sites[site as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, site: u32) -> &mut Site {
        &mut self.sites[site as usize]
    }

    pub(crate) fn remove(&mut self, site: u32) {
        self.sites.remove(site as usize);
    }

    /// Counts so many requests of this site as no longer waiting.
    #[inline]
    pub(crate) fn remove_waiting(&mut self, site: u32, requests: u32) {
        let it = self.get_mut(site);
        it.waiting -= requests;
        if it.waiting == 0 {
            self.dequeue(site);
        }
    }

    /// Puts a site at the end of the queue, if requests wait for it and it isn't there. To be called whenever something
    /// has happened that may let the site open a connection for them.
    #[inline]
    pub(crate) fn enqueue(&mut self, site: u32) {
        let it = self.get_mut(site);
        if it.waiting > 0 && !it.queued {
            it.queued = true;
            self.queue.push_newest(&mut self.sites, site);
        }
    }

    /// The site that has the next turn.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.queue.oldest()
    }

    /// The site other than `but` that has the next turn.
    pub(crate) fn first_other_than(&self, but: u32) -> Option<u32> {
        let first = self.first()?;
        if first == but { self.queue.newer(&self.sites, first) } else { Some(first) }
    }

    /// Takes a site out of the queue, if it is there.
    #[inline]
    pub(crate) fn dequeue(&mut self, site: u32) {
        if std::mem::take(&mut self.get_mut(site).queued) {
            self.queue.remove(&mut self.sites, site);
        }
    }

    /// Gives the next turn to this site, which has waiting requests.
    pub(crate) fn move_to_front(&mut self, site: u32) {
        self.dequeue(site);
        self.get_mut(site).queued = true;
        self.queue.insert(&mut self.sites, site, NONE);
    }

    /// Moves this site to the end of the queue: all others have their turns before it.
    pub(crate) fn move_to_back(&mut self, site: u32) {
        if self.queue.newest != site {
            self.dequeue(site);
            self.enqueue(site);
        }
    }

    /// The lines of this site, in the order of their turns.
    pub(crate) fn lines<'a>(&self, site: u32, lines: &'a Slab<Line>) -> impl Iterator<Item = u32> + 'a {
        self.get(site).turns.oldest_first(lines)
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.sites.shrink_to_fit();
    }
}

linked!(|self: Slab<Site>, slot| self[slot as usize].links);

//! The peers, whatever their channel bindings: how many connections lead there, and who waits for one.

use crate::table::lines::Line;
use crate::table::lists::{Links, List, NONE, linked};
use slab::Slab;

/// No limit.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// What all buckets of a peer share. It goes with the last of them.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    /// The first in the list of the peer's buckets.
    pub(crate) first: u32,
    /// The next site in the chain of the peer's hash.
    pub(crate) next: u32,
    /// Connections, and places given for them.
    pub(crate) total: u32,
    /// Those of them that are not established yet.
    pub(crate) connecting: u32,
    /// The most connections that may lead there.
    pub(crate) most: u32,
    /// How many requests wait.
    pub(crate) waiting: u32,
    /// The lines of those who wait, the one whose turn it is being the oldest.
    pub(crate) turns: List,
    /// How often those who wait under other channel bindings were passed over since a connection made room for one of
    /// them.
    pub(crate) passes: u32,
    queued: bool,
    /// Its neighbours in the queue.
    links: Links,
}

impl Site {
    /// The site of a new peer, to which at most `most` connections may lead.
    pub(crate) fn new(most: u32) -> Site {
        let (turns, links) = (List::EMPTY, Links::NONE);
        let (first, next) = (NONE, NONE);
        Site { first, next, total: 0, connecting: 0, most, waiting: 0, turns, passes: 0, queued: false, links }
    }

    /// Counts one more connection, or a place for one.
    #[inline]
    pub(crate) fn enter(&mut self, connecting: bool) {
        self.total += 1;
        self.connecting += u32::from(connecting);
    }

    #[inline]
    pub(crate) fn leave(&mut self, connecting: bool) {
        self.total -= 1;
        self.connecting -= u32::from(connecting);
    }

    /// Whether as many connections lead there as are allowed.
    pub(crate) fn is_full(&self) -> bool {
        self.total >= self.most
    }
}

/// All sites, and the order in which those with waiting requests get their turns.
#[derive(Default)]
pub(crate) struct Sites {
    sites: Slab<Site>,
    /// Those that have waiting requests and may have room for a connection, the one whose turn it is being the oldest.
    queue: List,
    /// How often those who wait for other peers were passed over since a connection made room for one of them.
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

    /// To be called when so many requests wait no longer.
    #[inline]
    pub(crate) fn remove_waiting(&mut self, site: u32, requests: u32) {
        let it = self.get_mut(site);
        it.waiting -= requests;
        if it.waiting == 0 {
            self.drop(site);
        }
    }

    /// To be called when something happened that may let the site open a connection for those who wait.
    #[inline]
    pub(crate) fn look_again(&mut self, site: u32) {
        let it = self.get_mut(site);
        if it.waiting > 0 && !it.queued {
            it.queued = true;
            self.queue.push_newest(&mut self.sites, site);
        }
    }

    /// The site whose turn it is.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.queue.oldest()
    }

    /// The site whose turn it is, other than this one.
    pub(crate) fn first_but(&self, but: u32) -> Option<u32> {
        let first = self.first()?;
        if first == but { self.queue.newer(&self.sites, first) } else { Some(first) }
    }

    /// Takes a site out of the queue: it has to be looked at again when something happens.
    #[inline]
    pub(crate) fn drop(&mut self, site: u32) {
        if std::mem::take(&mut self.get_mut(site).queued) {
            self.queue.remove(&mut self.sites, site);
        }
    }

    /// Gives the next turn to this site, which has waiting requests.
    pub(crate) fn bring_forward(&mut self, site: u32) {
        self.drop(site);
        self.get_mut(site).queued = true;
        self.queue.insert(&mut self.sites, site, NONE);
    }

    /// Lets all others of the queue have their turns before this site.
    pub(crate) fn put_behind(&mut self, site: u32) {
        if self.queue.newest != site {
            self.drop(site);
            self.look_again(site);
        }
    }

    /// The line of this site whose turn it is, and those after it.
    pub(crate) fn lines<'a>(&self, site: u32, lines: &'a Slab<Line>) -> impl Iterator<Item = u32> + 'a {
        self.get(site).turns.oldest_first(lines)
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.sites.shrink_to_fit();
    }
}

linked!(|self: Slab<Site>, slot| self[slot as usize].links);

//! The peers, whatever their channel bindings: how many connections lead there, and who waits for one.

use crate::table::lines::Line;
use crate::table::slots::List;
use slab::Slab;
use std::collections::VecDeque;

/// No limit.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// What all buckets of a peer share. It goes with the last of them.
pub(crate) struct Site {
    pub(crate) buckets: u32,
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
    /// How often connections have served their own line since one of another was closed to make room here.
    pub(crate) passes: u32,
    queued: bool,
}

/// All sites, and the order in which those with waiting requests get their turns.
#[derive(Default)]
pub(crate) struct Sites {
    sites: Slab<Site>,
    /// Those that have waiting requests and may have room for a connection. An entry whose site isn't marked as queued
    /// is a leftover.
    queue: VecDeque<u32>,
}

impl Sites {
    pub(crate) fn with_capacity(sites: usize) -> Sites {
        Sites { sites: Slab::with_capacity(sites), queue: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, most: u32) -> u32 {
        let (turns, queued) = (List::EMPTY, false);
        self.sites.insert(Site { buckets: 0, total: 0, connecting: 0, most, waiting: 0, turns, passes: 0, queued })
            as u32
    }

    pub(crate) fn get(&self, site: u32) -> &Site {
        &self.sites[site as usize]
    }

    pub(crate) fn get_mut(&mut self, site: u32) -> &mut Site {
        &mut self.sites[site as usize]
    }

    /// To be called when a bucket of the site went.
    pub(crate) fn release(&mut self, site: u32) {
        let left = &mut self.get_mut(site).buckets;
        *left -= 1;
        if *left == 0 {
            self.sites.remove(site as usize);
        }
    }

    /// To be called when something happened that may let the site open a connection for those who wait.
    pub(crate) fn look_again(&mut self, site: u32) {
        let it = &mut self.sites[site as usize];
        if it.waiting > 0 && !it.queued {
            it.queued = true;
            self.queue.push_back(site);
        }
    }

    /// Whether there may be a site whose turn it is.
    pub(crate) fn is_any_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The site whose turn it is.
    pub(crate) fn first(&mut self) -> Option<u32> {
        while let Some(&site) = self.queue.front() {
            if self.is_queued(site) {
                return Some(site);
            }
            self.drop_first();
        }
        None
    }

    /// The site whose turn it is, other than this one.
    pub(crate) fn first_but(&mut self, but: u32) -> Option<u32> {
        let first = self.first()?;
        if first != but {
            return Some(first);
        }
        self.queue.iter().skip(1).copied().find(|&site| site != but && self.is_queued(site))
    }

    /// Takes the first site out of the queue: it has to be looked at again when something happens.
    pub(crate) fn drop_first(&mut self) {
        if let Some(site) = self.queue.pop_front().and_then(|site| self.sites.get_mut(site as usize)) {
            site.queued = false;
        }
    }

    /// The line of this site whose turn it is, and those after it.
    pub(crate) fn lines<'a>(&self, site: u32, lines: &'a Slab<Line>) -> impl Iterator<Item = u32> + 'a {
        let turns = self.get(site).turns;
        std::iter::successors((!turns.is_empty()).then_some(turns.oldest), move |&line| turns.newer(lines, line))
    }

    fn is_queued(&self, site: u32) -> bool {
        self.sites.get(site as usize).is_some_and(|site| site.queued && site.waiting > 0)
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.sites.shrink_to_fit();
        self.queue.shrink_to_fit();
    }
}

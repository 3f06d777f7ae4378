//! The buckets, one for each peer and channel binding in use: their inactive connections, newest first, and their
//! counts. How a bucket is found is in `finding.rs`.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::table::chains::{Heads, Mixer};
use crate::table::lists::{Links, List, NONE, linked, some};
use crate::table::living::Living;
use crate::table::sites::{Site, Sites};
use slab::Slab;

mod finding;

/// What all connections to one peer under one channel binding share. It is removed when it has no connection, no place
/// and no waiting request left. What a cycle of hand-out and return needs is here, in one line of the processor's
/// cache. The rest is in [`More`].
#[repr(align(64))]
pub(crate) struct Bucket {
    pub(crate) peer: Peer,
    pub(crate) channel: ChannelBindingId,
    /// The inactive connections, except those that are condemned.
    pub(crate) list: List,
    /// How many connections in the list are [kept](crate::table::record::Standing::Kept) for anybody.
    pub(crate) kept: u32,
    /// How many connections in the list are promised to waiting requests.
    pub(crate) promised: u32,
    /// How many connections are active.
    pub(crate) active: u32,
    /// The peer's site: what this bucket shares with the peer's other buckets.
    pub(crate) site: u32,
    /// The line of the requests that wait for a connection of this bucket, or [`NONE`].
    pub(crate) line: u32,
    /// Why the bucket is closed: the host has closed its peer or its channel binding. [`Buckets::find`] doesn't find a
    /// closed bucket, and the connections in its list have to leave.
    pub(crate) closed: Option<Reason>,
    /// Its neighbours in the chain of its key's hash. Once it is closed: those in the list of closed buckets.
    links: Links,
}

/// Where a connection leads. It finds the connection's bucket, or adds it.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) channel: ChannelBindingId,
    /// How many connections may lead to the peer, in case it is new. `None` if it is known to have a site.
    pub(crate) most: Option<u32>,
}

/// The part of a bucket that a cycle of hand-out and return doesn't need.
#[derive(Clone, Copy)]
pub(crate) struct More {
    /// How many inactive connections are condemned. They aren't in the bucket's list, only in the order of age.
    pub(crate) condemned: u32,
    /// How many places are held for connections of this bucket.
    pub(crate) places: u32,
    /// The oldest promised connection. It means nothing while none is promised.
    pub(crate) oldest_promised: u32,
    /// The buckets before and after it in the list of its peer's buckets, or [`NONE`].
    same_peer: (u32, u32),
}

pub(crate) struct Buckets {
    buckets: Slab<Bucket>,
    more: Vec<More>,
    pub(crate) sites: Sites,
    living: Living,
    /// Finds a bucket by its key, which is peer and channel binding: chains by the key's hash. Keys are compared in
    /// full.
    by_key: Heads,
    /// Finds a site by its peer: chains by the peer's hash, linked by [`Site::next_in_chain`].
    by_peer: Heads,
    /// The closed buckets that have connections in their lists.
    closed: List,
    mixer: Mixer,
}

impl More {
    const EMPTY: More = More { condemned: 0, places: 0, oldest_promised: NONE, same_peer: (NONE, NONE) };
}

impl Buckets {
    pub(crate) fn new(capacity: usize, mixer: Mixer) -> Buckets {
        // While a connection moves, both its old bucket and its new one exist.
        let buckets = if capacity > 0 { capacity + 1 } else { 0 };
        Buckets {
            buckets: Slab::with_capacity(buckets),
            more: Vec::with_capacity(buckets),
            sites: Sites::with_capacity(buckets),
            living: Living::with_capacity(buckets),
            by_key: Heads::with_room(capacity),
            by_peer: Heads::with_room(capacity),
            closed: List::EMPTY,
            mixer,
        }
    }

    #[inline]
    pub(crate) fn get(&self, bucket: u32) -> &Bucket {
        &self.buckets[bucket as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, bucket: u32) -> &mut Bucket {
        &mut self.buckets[bucket as usize]
    }

    #[inline]
    pub(crate) fn more_mut(&mut self, bucket: u32) -> &mut More {
        &mut self.more[bucket as usize]
    }

    #[inline]
    pub(crate) fn more(&self, bucket: u32) -> &More {
        &self.more[bucket as usize]
    }

    /// How many connections are inactive, whatever their standing.
    #[inline]
    pub(crate) fn inactive(&self, bucket: u32) -> u32 {
        // Without an index that may panic, a cycle takes 11 instructions less.
        let condemned = self.more.get(bucket as usize).map_or(0, |more| more.condemned);
        self.buckets.get(bucket as usize).map_or(0, |bucket| bucket.kept + bucket.promised) + condemned
    }

    /// How many connections and places there are.
    pub(crate) fn connections(&self, bucket: u32) -> u32 {
        self.get(bucket).active + self.inactive(bucket) + self.more[bucket as usize].places
    }

    /// The open bucket of this peer and channel binding. If there is none, it is [added](Buckets::add).
    pub(crate) fn find_or_add(&mut self, to: Destination<'_>) -> u32 {
        self.find(to.peer, to.channel).unwrap_or_else(|| self.add(to))
    }

    /// The open bucket of the same peer and channel binding: this bucket itself, unless it is closed.
    pub(crate) fn successor(&mut self, bucket: u32) -> u32 {
        let &Bucket { ref peer, channel, .. } = self.get(bucket);
        self.find_or_add(Destination { peer: &peer.clone(), channel, most: None })
    }

    /// Adds a bucket for a peer and channel binding that have no open one. The caller has to give it a connection, a
    /// place or a line, or to [release](Buckets::release_if_empty) it.
    pub(crate) fn add(&mut self, to: Destination<'_>) -> u32 {
        if self.buckets.len() > self.by_key.room() {
            self.make_room(2 * self.buckets.len());
        }
        let site =
            self.site_of(to.peer).unwrap_or_else(|| self.sites.add(to.most.expect("a new peer comes with its limit")));
        let added = self.buckets.insert(Bucket {
            peer: to.peer.clone(),
            channel: to.channel,
            list: List::EMPTY,
            kept: 0,
            promised: 0,
            active: 0,
            site,
            line: NONE,
            closed: None,
            links: Links::NONE,
        }) as u32;
        self.living.add(added);
        if self.more.len() <= added as usize {
            self.more.resize(added as usize + 1, More::EMPTY);
        }
        let first = std::mem::replace(&mut self.sites.get_mut(site).first_bucket, added);
        self.more[added as usize] = More { same_peer: (NONE, first), ..More::EMPTY };
        match first {
            NONE => self.link_site(site),
            first => self.more[first as usize].same_peer.0 = added,
        }
        self.link_key(added);
        added
    }

    /// Removes the bucket if it has no connection, no place and no line left.
    pub(crate) fn release_if_empty(&mut self, at: u32) {
        let bucket = &self.buckets[at as usize];
        if bucket.line != NONE || self.connections(at) > 0 {
            return;
        }
        let site = bucket.site;
        if bucket.closed.is_none() {
            self.unlink_key(at);
        }
        self.unlink_peer(at, site);
        self.buckets.remove(at as usize);
        self.living.remove(at);
    }

    /// All buckets of `peer`, whatever their channel binding, closed ones too.
    pub(crate) fn of_peer(&self, peer: &Peer) -> impl Iterator<Item = (u32, &Bucket)> {
        self.site_of(peer).into_iter().flat_map(|site| self.of_site(self.sites.get(site)))
    }

    /// As [`of_peer`](Buckets::of_peer), but copied, so that the table can be changed during the walk.
    pub(crate) fn all_of_peer(&self, peer: &Peer) -> Vec<u32> {
        self.of_peer(peer).map(|(at, _)| at).collect()
    }

    /// All buckets of this site, whatever their channel binding, closed ones too.
    pub(crate) fn of_site(&self, site: &Site) -> impl Iterator<Item = (u32, &Bucket)> {
        let next = move |&at: &u32| some(self.more[at as usize].same_peer.1);
        std::iter::successors(some(site.first_bucket), next).map(|at| (at, self.get(at)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Bucket)> {
        self.living.iter().map(|at| (at, &self.buckets[at as usize]))
    }

    /// The buckets for which `which` is true, copied, so that the table can be changed during the walk.
    pub(crate) fn all(&self, which: impl Fn(&Bucket) -> bool) -> Vec<u32> {
        self.iter().filter(|(_, bucket)| which(bucket)).map(|(at, _)| at).collect()
    }

    /// Closes a bucket: [`find`](Buckets::find) doesn't find it any more.
    pub(crate) fn close(&mut self, at: u32, reason: Reason) {
        if self.get(at).closed.is_some() {
            return;
        }
        self.unlink_key(at);
        let bucket = &mut self.buckets[at as usize];
        bucket.closed = Some(reason);
        if !bucket.list.is_empty() {
            self.closed.push_newest(&mut self.buckets, at);
        }
    }

    /// The oldest connection of the bucket that was closed first, and why that bucket is closed.
    pub(crate) fn next_closed(&self) -> Option<(u32, Reason)> {
        let bucket = self.get(self.closed.oldest()?);
        Some((bucket.list.oldest()?, bucket.closed?))
    }

    /// Takes a closed bucket out of the list of closed ones if it has no connection left. To be called when a
    /// connection has left its list.
    #[cold]
    pub(crate) fn forget_if_emptied(&mut self, at: u32) {
        if self.buckets[at as usize].list.is_empty() {
            self.closed.remove(&mut self.buckets, at);
        }
    }

    /// Gives back the memory that the present buckets don't need.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.buckets.shrink_to_fit();
        let end = self.living.last().map_or(0, |last| last as usize + 1);
        self.more.truncate(end);
        self.more.shrink_to_fit();
        self.sites.shrink_to_fit();
        self.living.shrink_to_fit();
        self.make_room(self.buckets.len());
    }

    /// Takes a bucket out of the list of its peer's buckets, which is linked both ways because it may be long. The site
    /// is removed with the last of them.
    fn unlink_peer(&mut self, at: u32, site: u32) {
        match self.more[at as usize].same_peer {
            (NONE, NONE) => {
                self.unlink_site(site);
                self.sites.remove(site);
            }
            (before, after) => {
                match before {
                    NONE => self.sites.get_mut(site).first_bucket = after,
                    before => self.more[before as usize].same_peer.1 = after,
                }
                if after != NONE {
                    self.more[after as usize].same_peer.0 = before;
                }
            }
        }
    }
}

linked!(|self: Slab<Bucket>, slot| self[slot as usize].links);

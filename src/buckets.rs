//! The inactive connections by peer and channel binding, the newest of each first.

use crate::peer::Peer;
use crate::slots::{List, NONE};
use crate::state::ChannelBindingId;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// What all connections to one peer under one channel binding share. It goes with the last of them.
pub(crate) struct Bucket {
    pub(crate) peer: Peer,
    pub(crate) channel: ChannelBindingId,
    /// The inactive ones.
    pub(crate) list: List,
    pub(crate) inactive: u32,
    pub(crate) active: u32,
    /// How many of the oldest inactive ones are to go: over a lowered limit, or all when `closed`. Outside of the
    /// cache's calls a bucket with a surplus stands in the queue.
    pub(crate) surplus: u32,
    /// The newest of the surplus, while there is any.
    pub(crate) newest_surplus: u32,
    /// The peer was closed: nothing is found here any more.
    pub(crate) closed: bool,
    queued: bool,
    /// The next bucket whose key has the same hash.
    same_key: u32,
    /// Its neighbours among the buckets whose peers have the same hash.
    same_peer: (u32, u32),
}

impl Bucket {
    /// How many of the newest may be handed out.
    pub(crate) fn kept(&self) -> u32 {
        self.inactive - self.surplus
    }
}

#[derive(Default)]
pub(crate) struct Buckets {
    buckets: Slab<Bucket>,
    /// The first bucket by the hash of peer and channel. Keys are compared whole, in the bucket.
    by_key: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// The first bucket by the hash of the peer alone, closed ones included.
    by_peer: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// Buckets that may have a surplus. An entry may be out of date: its bucket tells.
    queue: VecDeque<u32>,
}

impl Buckets {
    pub(crate) fn get(&self, bucket: u32) -> &Bucket {
        &self.buckets[bucket as usize]
    }

    pub(crate) fn get_mut(&mut self, bucket: u32) -> &mut Bucket {
        &mut self.buckets[bucket as usize]
    }

    /// The bucket of connections that may be handed out for this peer and channel.
    pub(crate) fn find(&self, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        let mut at = *self.by_key.get(&key_hash(peer, channel))?;
        while at != NONE {
            let bucket = &self.buckets[at as usize];
            if bucket.channel == channel && bucket.peer == *peer {
                return Some(at);
            }
            at = bucket.same_key;
        }
        None
    }

    /// The bucket of this peer and channel, new if there is none. It has to be given a connection or
    /// [released](Buckets::release_if_empty).
    pub(crate) fn find_or_add(&mut self, peer: &Peer, channel: ChannelBindingId) -> u32 {
        if let Some(found) = self.find(peer, channel) {
            return found;
        }
        let added = self.buckets.vacant_key() as u32;
        let same_key = self.by_key.insert(key_hash(peer, channel), added).unwrap_or(NONE);
        let sibling = self.by_peer.insert(peer.hash(), added).unwrap_or(NONE);
        if sibling != NONE {
            self.buckets[sibling as usize].same_peer.0 = added;
        }
        self.buckets.insert(Bucket {
            peer: peer.clone(),
            channel,
            list: List::EMPTY,
            inactive: 0,
            active: 0,
            surplus: 0,
            newest_surplus: NONE,
            closed: false,
            queued: false,
            same_key,
            same_peer: (NONE, sibling),
        });
        added
    }

    /// Forgets the bucket if it has no connection left.
    pub(crate) fn release_if_empty(&mut self, at: u32) {
        let bucket = &self.buckets[at as usize];
        if bucket.inactive + bucket.active > 0 {
            return;
        }
        if !bucket.closed {
            self.unlink_key(at);
        }
        let bucket = self.buckets.remove(at as usize);
        let (before, after) = bucket.same_peer;
        if after != NONE {
            self.buckets[after as usize].same_peer.0 = before;
        }
        match (before, after) {
            (NONE, NONE) => {
                self.by_peer.remove(&bucket.peer.hash());
            }
            (NONE, after) => {
                self.by_peer.insert(bucket.peer.hash(), after);
            }
            (before, after) => self.buckets[before as usize].same_peer.1 = after,
        }
    }

    /// All buckets of `peer`, whatever their channel; also those closed.
    pub(crate) fn of_peer(&self, peer: &Peer) -> impl Iterator<Item = (u32, &Bucket)> {
        let first = self.by_peer.get(&peer.hash()).copied();
        std::iter::successors(first, |&at| Some(self.buckets[at as usize].same_peer.1).filter(|&next| next != NONE))
            .map(|at| (at, &self.buckets[at as usize]))
            .filter(move |(_, bucket)| bucket.peer == *peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Bucket)> {
        self.buckets.iter().map(|(at, bucket)| (at as u32, bucket))
    }

    /// Makes all buckets of `peer` unfindable, and all that waits in them surplus.
    pub(crate) fn close(&mut self, peer: &Peer) {
        let open: Vec<u32> = self.of_peer(peer).filter(|(_, bucket)| !bucket.closed).map(|(at, _)| at).collect();
        for at in open {
            self.unlink_key(at);
            let bucket = &mut self.buckets[at as usize];
            bucket.closed = true;
            bucket.surplus = bucket.inactive;
            bucket.newest_surplus = bucket.list.newest;
            self.enqueue(at);
        }
    }

    /// Sees to it that the bucket's surplus will be found.
    pub(crate) fn enqueue(&mut self, at: u32) {
        let bucket = &mut self.buckets[at as usize];
        if bucket.surplus > 0 && !bucket.queued {
            bucket.queued = true;
            self.queue.push_back(at);
        }
    }

    /// Whether a bucket may have a surplus.
    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A bucket that has a surplus.
    pub(crate) fn next_surplus(&mut self) -> Option<u32> {
        while let Some(&at) = self.queue.front() {
            match self.buckets.get_mut(at as usize) {
                Some(bucket) if bucket.surplus > 0 => return Some(at),
                Some(bucket) => bucket.queued = false,
                None => {}
            }
            self.queue.pop_front();
        }
        None
    }

    fn unlink_key(&mut self, at: u32) {
        let bucket = &self.buckets[at as usize];
        let (hash, next) = (key_hash(&bucket.peer, bucket.channel), bucket.same_key);
        let first = self.by_key[&hash];
        if first != at {
            let mut before = first;
            while self.buckets[before as usize].same_key != at {
                before = self.buckets[before as usize].same_key;
            }
            self.buckets[before as usize].same_key = next;
        } else if next == NONE {
            self.by_key.remove(&hash);
        } else {
            self.by_key.insert(hash, next);
        }
    }
}

/// The peer's hash is random already; channels are the host's own numbers.
fn key_hash(peer: &Peer, channel: ChannelBindingId) -> u64 {
    peer.hash().wrapping_add(u64::from(channel.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Takes a hash as it is.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are hashes: one u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn buckets_are_found_by_the_whole_key_even_if_all_hashes_collide() {
        let peers: Vec<Peer> = (0..4).map(|i| Peer::direct("host", i).with_hash(42)).collect();
        for seed in 0..20 {
            let (mut random, mut buckets) = (Random::new(seed), Buckets::default());
            let mut naive: Vec<(usize, u32, u32, bool)> = Vec::new();
            for _ in 0..2_000 {
                let (peer, channel) = (random.below(4), random.below(3) as u32);
                let known = naive.iter().position(|&(p, c, _, closed)| (p, c) == (peer, channel) && !closed);
                let found = buckets.find(&peers[peer], ChannelBindingId(channel));
                assert_eq!(found, known.map(|at| naive[at].2), "seed {seed}");
                match (random.below(10), known) {
                    (0, _) => {
                        buckets.close(&peers[peer]);
                        naive.iter_mut().filter(|b| b.0 == peer).for_each(|b| b.3 = true);
                    }
                    (1..=4, Some(at)) => {
                        let (_, _, bucket, _) = naive.remove(at);
                        buckets.get_mut(bucket).active = 0;
                        buckets.release_if_empty(bucket);
                    }
                    (1, None) if !naive.is_empty() => {
                        let (_, _, bucket, _) = naive.remove(random.below(naive.len()));
                        buckets.get_mut(bucket).active = 0;
                        buckets.release_if_empty(bucket);
                    }
                    _ => {
                        let bucket = buckets.find_or_add(&peers[peer], ChannelBindingId(channel));
                        buckets.get_mut(bucket).active = 1;
                        if known.is_none() {
                            naive.push((peer, channel, bucket, false));
                        }
                    }
                }
                for (index, peer) in peers.iter().enumerate() {
                    let mut listed: Vec<u32> = buckets.of_peer(peer).map(|(at, _)| at).collect();
                    let mut expected: Vec<u32> = naive.iter().filter(|b| b.0 == index).map(|b| b.2).collect();
                    listed.sort_unstable();
                    expected.sort_unstable();
                    assert_eq!(listed, expected, "seed {seed}");
                }
                assert_eq!(buckets.buckets.len(), naive.len(), "seed {seed}");
                assert_eq!(buckets.by_peer.is_empty(), naive.is_empty(), "seed {seed}");
                assert_eq!(buckets.by_key.is_empty(), naive.iter().all(|b| b.3), "seed {seed}");
            }
        }
    }
}

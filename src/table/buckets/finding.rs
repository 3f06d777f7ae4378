//! The two hash tables of the buckets: one finds a bucket by its peer and channel binding, the other a site by its peer.

use super::Buckets;
use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::table::chains::Mixer;
use crate::table::lists::{NONE, some};
use crate::table::sites::Site;

impl Buckets {
    /// The open bucket of this peer and channel binding.
    #[inline]
    pub(crate) fn find(&self, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        let mut at = self.by_key.first(self.mixer.key_hash(peer, channel));
        while at != NONE {
            let bucket = &self.buckets[at as usize];
            if bucket.channel == channel && bucket.peer == *peer {
                return Some(at);
            }
            at = bucket.links.older;
        }
        None
    }

    /// The site of this peer, if it has one.
    pub(crate) fn site_of(&self, peer: &Peer) -> Option<u32> {
        let next = |&site: &u32| some(self.sites.get(site).next_in_chain);
        let mut chain = std::iter::successors(some(self.by_peer.first(peer.hash())), next);
        chain.find(|&site| self.get(self.sites.get(site).first_bucket).peer == *peer)
    }

    /// Makes an open bucket findable by its key.
    pub(super) fn link_key(&mut self, at: u32) {
        let bucket = self.get(at);
        if bucket.closed.is_none() {
            let hash = self.mixer.key_hash(&bucket.peer, bucket.channel);
            self.by_key.push(&mut self.buckets, hash, at);
        }
    }

    /// Makes a site findable by its peer.
    pub(super) fn link_site(&mut self, site: u32) {
        let it = self.sites.get_mut(site);
        let first = self.by_peer.first_mut(self.buckets[it.first_bucket as usize].peer.hash());
        it.next_in_chain = std::mem::replace(first, site);
    }

    /// Makes an open bucket unfindable.
    pub(super) fn unlink_key(&mut self, at: u32) {
        let bucket = self.get(at);
        let (hash, links) = (self.mixer.key_hash(&bucket.peer, bucket.channel), bucket.links);
        self.by_key.remove(&mut self.buckets, links, || hash);
    }

    /// Takes a site out of its chain. The chain is linked one way only, and is walked from its start: it is short,
    /// because each peer is in it once.
    pub(super) fn unlink_site(&mut self, site: u32) {
        let &Site { first_bucket, next_in_chain: next, .. } = self.sites.get(site);
        let head = self.by_peer.first_mut(self.buckets[first_bucket as usize].peer.hash());
        if *head == site {
            *head = next;
            return;
        }
        let mut before = *head;
        while self.sites.get(before).next_in_chain != site {
            before = self.sites.get(before).next_in_chain;
        }
        self.sites.get_mut(before).next_in_chain = next;
    }

    /// Makes room in the hash tables for so many buckets.
    #[cold]
    pub(super) fn make_room(&mut self, buckets: usize) {
        self.by_key.make_room(buckets);
        self.by_peer.make_room(buckets);
        for at in self.all(|_| true) {
            self.link_key(at);
            let site = self.get(at).site;
            if self.sites.get(site).first_bucket == at {
                self.link_site(site);
            }
        }
    }
}

impl Mixer {
    /// The hash of a bucket's key. The peer's own hash is random already, so only the channel binding is mixed.
    #[inline]
    fn key_hash(self, peer: &Peer, channel: ChannelBindingId) -> u64 {
        peer.hash().wrapping_add(self.mix(channel.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;
    use crate::table::buckets::Destination;
    use crate::table::chains::colliding;
    use crate::testing::Random;

    fn buckets() -> Buckets {
        Buckets::new(0, Mixer::new(1))
    }

    fn to(peer: &Peer, channel: u64) -> Destination<'_> {
        Destination { peer, channel: ChannelBindingId(channel), most: Some(9) }
    }

    #[test]
    fn buckets_are_found_by_the_whole_key_even_if_all_hashes_collide() {
        let peers: Vec<Peer> = (0..4).map(|i| Peer::direct("host", i).with_hash(42)).collect();
        for seed in 0..5 {
            let (mut random, mut buckets) = (Random::new(seed), buckets());
            let mut naive: Vec<(usize, u64, u32, bool)> = Vec::new();
            for _ in 0..600 {
                let (peer, channel) = (random.below(4), random.below(3) as u64);
                let known = naive.iter().position(|&(p, c, _, closed)| (p, c) == (peer, channel) && !closed);
                let found = buckets.find(&peers[peer], ChannelBindingId(channel));
                assert_eq!(found, known.map(|at| naive[at].2), "seed {seed}");
                match (random.below(10), known) {
                    (0, _) => {
                        let all = buckets.all_of_peer(&peers[peer]);
                        all.into_iter().for_each(|at| buckets.close(at, Reason::ClosedPeer));
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
                        let bucket = buckets.find_or_add(to(&peers[peer], channel));
                        buckets.get_mut(bucket).active = 1;
                        if known.is_none() {
                            naive.push((peer, channel, bucket, false));
                        }
                    }
                }
                for (index, peer) in peers.iter().enumerate() {
                    let mut listed = buckets.all_of_peer(peer);
                    let mut expected: Vec<u32> = naive.iter().filter(|b| b.0 == index).map(|b| b.2).collect();
                    listed.sort_unstable();
                    expected.sort_unstable();
                    assert_eq!(listed, expected, "seed {seed}");
                }
                assert_eq!(buckets.buckets.len(), naive.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn chains_stay_short_whatever_the_channels_numbers() {
        let longest = |mixer: Mixer, channels: &[u64]| {
            let (peer, mut buckets) = (Peer::direct("host", 1), Buckets::new(0, mixer));
            for &channel in channels {
                let bucket = buckets.find_or_add(to(&peer, channel));
                buckets.get_mut(bucket).active = 1;
            }
            assert!(buckets.by_key.room() >= 1_000);
            let chain = |&channel: &u64| {
                let hash = buckets.mixer.key_hash(&peer, ChannelBindingId(channel));
                buckets.by_key.chain(&buckets.buckets, hash).count()
            };
            channels.iter().map(chain).max()
        };
        let shifted: Vec<u64> = (0..1_000).map(|channel| channel << 16).collect();
        assert!(longest(Mixer::new(1), &shifted) < Some(12));
        // Chosen so that they share a chain in one cache, they share none in another.
        let chosen = colliding(1_000, |number| Mixer::new(1).mix(number));
        assert_eq!(longest(Mixer::new(1), &chosen), Some(1_000));
        assert!(longest(Mixer::new(2), &chosen) < Some(12));
    }
}

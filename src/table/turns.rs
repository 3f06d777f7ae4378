//! Fairness: whether a connection that comes back serves its own line, or makes room for another line.
//!
//! A *service* is a hand-out to a request of the connection's own line, or to a host that asks between two grants.
//! While other lines wait at the same limit, each service *passes over* them. After [`QUANTUM`] of these passes, the
//! next connection to come back looks at the line that has the next turn. If that line is in need, the connection
//! *yields*: it is evicted, and the other line gets the room. Otherwise that line goes to the end of the queue.
//!
//! Passes are counted in two places: [`Sites::passes`](crate::table::sites::Sites::passes) counts those over other
//! peers, and [`Site::passes`](crate::table::sites::Site::passes) those over the other channel bindings of one peer.

use crate::table::Table;
use crate::table::buckets::Bucket;
use crate::table::lists::NONE;

/// How many services may pass over other lines before a connection has to make room for one of them.
pub(crate) const QUANTUM: u32 = 8;

impl<C> Table<C> {
    /// Whether a connection that is about to serve the line of its own bucket yields to another line instead. If so,
    /// that line opens the next connection. If not, the service counts as a pass. `coming` is 1 if the connection isn't
    /// in the table yet, else 0. `most` is the limit on all connections, and `most_connecting` the one on those of a
    /// peer that are being opened.
    #[inline]
    pub(crate) fn yields_to_others(&mut self, bucket: u32, coming: u32, most: usize, most_connecting: u32) -> bool {
        let full = self.total() + coming as usize >= most;
        full && self.yields_to_peer(bucket, coming, most_connecting)
            || self.is_another_in_line(bucket) && self.yields_to_channel(bucket, coming, most_connecting, full)
    }

    /// Counts a service by this bucket as a pass over the lines that wait at the same limit.
    pub(crate) fn pass_over(&mut self, bucket: u32, most: usize) {
        let (full, site) = (self.total() >= most, self.buckets.get(bucket).site);
        let (others_wait, sites) = (self.buckets.sites.first_other_than(site).is_some(), &mut self.buckets.sites);
        sites.passes = sites.passes.saturating_add(u32::from(full && others_wait));
        let it = self.buckets.sites.get_mut(site);
        it.passes = it.passes.saturating_add(u32::from(it.waiting > 0 && (full || it.is_full())));
    }

    /// Whether other lines were passed over so often that this bucket has to yield.
    pub(crate) fn is_quantum_over(&self, bucket: u32) -> bool {
        self.buckets.sites.passes >= QUANTUM || self.buckets.sites.get(self.buckets.get(bucket).site).passes >= QUANTUM
    }

    /// Whether a connection yields to the peer that has the next turn. It does if that peer has no connection, or at
    /// least two fewer than its own peer, or none for the line that has its next turn.
    #[inline(never)]
    fn yields_to_peer(&mut self, bucket: u32, coming: u32, most_connecting: u32) -> bool {
        let site = self.buckets.get(bucket).site;
        let sites = &mut self.buckets.sites;
        let Some(other) = sites.first_other_than(site) else { return false };
        sites.passes = sites.passes.saturating_add(1);
        if sites.passes <= QUANTUM {
            return false;
        }
        let (here, there) = (sites.get(site), sites.get(other));
        let line = there.turns.oldest;
        if !there.is_full() && there.connecting < most_connecting {
            if is_in_need(here.total + coming, there.total)
                || self.buckets.connections(self.lines.line(line).bucket) == 0
            {
                self.buckets.sites.passes = 0;
                self.buckets.sites.move_to_front(other);
                return true;
            }
            self.move_line_to_back(other, line);
        }
        // So that the next service looks at another peer.
        self.buckets.sites.move_to_back(other);
        false
    }

    /// Moves this line of the site to the end: all its other lines have their turns before it.
    pub(crate) fn move_line_to_back(&mut self, site: u32, line: u32) {
        let turns = &mut self.buckets.sites.get_mut(site).turns;
        turns.remove(&mut self.lines.lines, line);
        turns.push_newest(&mut self.lines.lines, line);
    }

    /// Whether requests wait for the peer of this bucket under another channel binding.
    #[inline]
    fn is_another_in_line(&self, bucket: u32) -> bool {
        let it = self.buckets.get(bucket);
        !self.buckets.sites.get(it.site).turns.is_only(it.line)
    }

    /// Whether a connection yields to the other channel binding of its peer that has the next turn. It does if that has
    /// no connection, or at least two fewer. `full`: the limit on all connections is reached; if it isn't, only the
    /// peer's own limit can keep requests waiting.
    #[inline(never)]
    fn yields_to_channel(&mut self, bucket: u32, coming: u32, most_connecting: u32, full: bool) -> bool {
        let Bucket { site, line, .. } = *self.buckets.get(bucket);
        let sites = &self.buckets.sites;
        let it = sites.get(site);
        if !full && it.total + coming < it.most || it.connecting >= most_connecting {
            return false;
        }
        let Some(other) = sites.lines(site, &self.lines.lines).find(|&other| other != line) else { return false };
        let [here, there] = [bucket, self.lines.line(other).bucket].map(|bucket| self.buckets.connections(bucket));
        let it = self.buckets.sites.get_mut(site);
        it.passes = it.passes.saturating_add(1);
        if it.passes <= QUANTUM {
            return false;
        }
        if is_in_need(here + coming, there) {
            it.passes = 0;
            it.turns.remove(&mut self.lines.lines, other);
            it.turns.insert(&mut self.lines.lines, other, NONE);
            self.buckets.sites.move_to_front(site);
            return true;
        }
        self.move_line_to_back(site, other);
        false
    }
}

/// Whether a peer or line with `there` connections needs one from another with `here`.
fn is_in_need(here: u32, there: u32) -> bool {
    there == 0 || here >= there + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelBindingId;
    use crate::peer::Peer;
    use crate::state::Owner;
    use crate::table::buckets::Destination;
    use crate::table::clock::Tick;
    use crate::table::record::{Record, Rest};

    /// Between lines with one connection each, none yields, and the count of passes must not overflow.
    #[test]
    fn passes_are_counted_however_many_there_were() {
        let [one, two] = [1, 2].map(|port| Peer::direct("host", port));
        let [plain, other] = [0, 1].map(ChannelBindingId);
        let mut table = Table::new(0, 1);
        for (peer, channel) in [(&one, plain), (&one, other), (&two, plain)] {
            let to = Destination { peer, channel, most: Some(2) };
            table.insert(Record::new(Owner(0)), Rest::new(Tick::FIRST), (), to);
            let bucket = table.buckets.find_or_add(to);
            table.wait(bucket, Owner(0), Tick::FIRST, Tick::NEVER, false);
        }
        let [bucket, lonely] = [&one, &two].map(|peer| table.buckets.find(peer, plain).expect("it has a connection"));
        let site = table.buckets.get(bucket).site;
        (table.buckets.sites.passes, table.buckets.sites.get_mut(site).passes) = (u32::MAX, u32::MAX);
        table.pass_over(bucket, 3);
        assert!(!table.yields_to_others(bucket, 0, 3, 9) && table.is_quantum_over(bucket));
        table.buckets.sites.passes = 0;
        assert!(!table.is_quantum_over(lonely));
    }
}

//! The requests that wait, in step with the connections.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::request::WaiterId;
use crate::state::Owner;
use crate::table::Table;
use crate::table::buckets::{Bucket, Destination};
use crate::table::clock::Tick;
use crate::table::lines::{At, Line, Request};
use crate::table::lists::{Links, NONE};
use crate::table::record::{Record, Standing, State};
use crate::table::sites::Site;

/// How many times a connection serves those who wait for its own peer and channel binding, before one is closed to make
/// room for somebody else who waits.
pub(crate) const QUANTUM: u32 = 8;

impl<C> Table<C> {
    /// How many connections there are, and places given for them.
    pub(crate) fn total(&self) -> usize {
        self.len() + self.lines.places()
    }

    /// How many requests wait in the line of this bucket.
    #[inline]
    pub(crate) fn waiting_in(&self, bucket: u32) -> u32 {
        match self.buckets.get(bucket).line {
            NONE => 0,
            line => self.lines.line(line).waiting,
        }
    }

    /// How many of those have no connection promised yet. A promise of the connection `but` isn't counted.
    pub(crate) fn unmatched_in(&self, bucket: u32, but: Option<u32>) -> u32 {
        let own = but.map(|slot| self.at(slot)).filter(|own| own.bucket == bucket && own.inactive_since().is_some());
        let own = own.is_some_and(|own| own.flags.standing == Standing::Promised);
        self.waiting_in(bucket).saturating_sub(self.buckets.get(bucket).promised - u32::from(own))
    }

    /// Whether this bucket may have an inactive connection for a request that comes now. Those who wait there come first.
    #[inline]
    pub(crate) fn has_some_for_newcomers(&self, bucket: u32) -> bool {
        let it = self.buckets.get(bucket);
        it.line == NONE && !it.list.is_empty()
    }

    /// Puts a new request into the line of this bucket. `has_no_room`: nobody else waits for this peer, which has no
    /// room.
    pub(crate) fn wait(&mut self, bucket: u32, owner: Owner, since: Tick, until: Tick, has_no_room: bool) -> WaiterId {
        let waiter = self.lines.add(owner, since, until);
        self.enter(bucket, waiter.slot, false);
        if !has_no_room {
            self.buckets.sites.look_again(self.buckets.get(bucket).site);
        }
        waiter
    }

    /// Puts a request into the line of this bucket, as [`Lines::enter`](super::lines::Lines::enter) does. The first one
    /// begins the line.
    fn enter(&mut self, bucket: u32, request: u32, put_back: bool) {
        let it = self.buckets.get_mut(bucket);
        let (site, has_connections) = (it.site, !it.list.is_empty());
        if it.line == NONE {
            it.line = self.lines.add_line(it.channel, site, bucket);
        }
        let line = it.line;
        let waiting = self.lines.enter(line, request, put_back).waiting;
        let site = self.buckets.sites.get_mut(site);
        site.waiting += 1;
        if waiting == 1 {
            site.turns.push_newest(&mut self.lines.lines, line);
        }
        if has_connections {
            self.lines.look_at(line);
        }
    }

    /// Takes a request out of its line. Its bucket may go; the request is nowhere then.
    fn step_out(&mut self, request: u32, line: u32) {
        let bucket = self.leave_line(request, line);
        if bucket != NONE {
            self.buckets.release_if_empty(bucket);
        }
    }

    /// Takes a request out of its line. Returns the line's bucket, which the caller has to release if it is empty, or
    /// [`NONE`] if the line was refused as a whole.
    #[inline]
    fn leave_line(&mut self, request: u32, line: u32) -> u32 {
        let &Line { site, bucket, waiting, .. } = self.lines.step_out(request, line);
        if bucket == NONE {
            // Its site doesn't know it any more.
            return NONE;
        }
        let it = self.buckets.sites.get_mut(site);
        if waiting == 0 {
            it.turns.remove(&mut self.lines.lines, line);
            self.lines.remove_line(line);
            self.buckets.get_mut(bucket).line = NONE;
        }
        self.buckets.sites.remove_waiting(site, 1);
        bucket
    }

    /// Ends a request, wherever it is.
    pub(crate) fn end(&mut self, request: u32) {
        match self.lines.at(request).at {
            At::Line(line) => self.step_out(request, line),
            At::Place(bucket) => self.free_place(bucket),
        }
        self.lines.remove(request);
    }

    /// Ends the first request of a line. There has to be one, and a connection in the line's bucket: so the bucket stays.
    #[inline]
    pub(crate) fn end_first(&mut self, line: u32) -> (WaiterId, Request) {
        let request = self.lines.head(line).expect("somebody waits");
        self.leave_line(request, line);
        let ended = self.lines.remove(request);
        (ended.id(request), ended)
    }

    /// When the request that has waited longest began to wait. O(buckets): a walk of the slab of lines would cost what was
    /// there at a peak.
    pub(crate) fn longest_since(&self) -> Option<Tick> {
        if self.lines.waiting() == 0 {
            return None;
        }
        let lines = self.buckets.iter().map(|(_, bucket)| bucket.line).filter(|&line| line != NONE);
        lines.filter_map(|line| self.lines.head(line)).map(|head| self.lines.at(head).since).min()
    }

    /// What a request is for.
    pub(crate) fn asked_for(&self, request: &Request) -> (&Peer, ChannelBindingId) {
        let bucket = match request.at {
            At::Line(line) => {
                let line = self.lines.line(line);
                if let Some(peer) = &line.refused {
                    return (peer, line.channel);
                }
                line.bucket
            }
            At::Place(bucket) => bucket,
        };
        let bucket = self.buckets.get(bucket);
        (&bucket.peer, bucket.channel)
    }

    /// How many inactive connections to a peer are promised to nobody.
    pub(crate) fn inactive_at(&self, site: &Site) -> u32 {
        self.buckets.of_site(site).map(|(at, bucket)| self.buckets.inactive(at) - bucket.promised).sum()
    }

    /// Condemns the oldest inactive ones beyond the limit of a peer, up to `at_most` of them.
    pub(crate) fn condemn_surplus_of(&mut self, site: u32, at_most: u32) {
        let site = *self.buckets.sites.get(site);
        let kept: u32 = self.buckets.of_site(&site).map(|(_, bucket)| bucket.kept).sum();
        let condemned = self.inactive_at(&site) - kept;
        for _ in 0..site.total.saturating_sub(site.most + condemned).min(at_most) {
            let oldest = self.buckets.of_site(&site).filter_map(|(at, _)| self.oldest_in(at, Standing::Kept));
            let Some(oldest) = oldest.min_by_key(|&slot| self.at(slot).inactive_since()) else { return };
            self.condemn(oldest, Reason::MadeRoom);
        }
    }

    /// Gives a place to a request that waits. Its line is the last of its peer to get another one.
    pub(crate) fn take_turn(&mut self, request: u32, end: Tick) {
        let At::Line(line) = self.lines.at(request).at else { unreachable!("it waits") };
        let &Line { site, bucket, waiting, .. } = self.lines.line(line);
        self.count_place(bucket);
        self.step_out(request, line);
        self.lines.take_place(request, bucket, end);
        if waiting > 1 {
            self.put_line_behind(site, line);
        }
        self.buckets.sites.look_again(site);
    }

    /// Gives a place to a request that is in no line.
    pub(crate) fn take_place(&mut self, to: Destination<'_>, request: u32, end: Tick) {
        let bucket = self.buckets.find_or_add(to);
        self.count_place(bucket);
        self.lines.take_place(request, bucket, end);
    }

    fn count_place(&mut self, bucket: u32) {
        self.buckets.more_mut(bucket).places += 1;
        let site = self.buckets.get(bucket).site;
        let site = self.buckets.sites.get_mut(site);
        site.total += 1;
        site.connecting += 1;
    }

    /// Takes the place of a request away. Its bucket may go; the request is nowhere then.
    fn free_place(&mut self, bucket: u32) {
        self.buckets.more_mut(bucket).places -= 1;
        let at = self.buckets.get(bucket).site;
        let site = self.buckets.sites.get_mut(at);
        site.total -= 1;
        site.connecting -= 1;
        self.lines.leave_place();
        self.buckets.sites.look_again(at);
        self.buckets.release_if_empty(bucket);
    }

    /// Puts a request that has a place back into its line: the bucket whose line that is.
    pub(crate) fn put_back(&mut self, request: u32) -> u32 {
        let At::Place(old) = self.lines.at(request).at else { unreachable!("it has a place") };
        let (peer, channel) = (self.buckets.get(old).peer.clone(), self.buckets.get(old).channel);
        // As long as it has its place, the peer is known.
        let bucket = self.buckets.find_or_add(Destination { peer: &peer, channel, most: 0 });
        self.enter(bucket, request, true);
        // This looks at the site again.
        self.free_place(old);
        bucket
    }

    /// To be called when a connection of this bucket became inactive for whoever comes, or left.
    pub(crate) fn may_serve(&mut self, bucket: u32) {
        self.buckets.sites.look_again(self.buckets.get(bucket).site);
        self.look_at_line(bucket);
    }

    /// To be called when a connection of this bucket may be there for somebody who waits, and no room was made.
    #[inline]
    pub(crate) fn look_at_line(&mut self, bucket: u32) {
        let it = self.buckets.get(bucket);
        if it.line != NONE && !it.list.is_empty() {
            self.lines.look_at(it.line);
        }
    }

    /// Keeps a promised connection for whoever comes, because its request has left: until `end` at the latest.
    /// O(connections that have become inactive since it did).
    pub(crate) fn end_promise(&mut self, slot: u32, end: Tick) {
        let since = self.at(slot).inactive_since();
        let older =
            self.ages.newest_first(&self.slots, Standing::Kept).find(|&other| self.at(other).inactive_since() <= since);
        self.ages.remove(&mut self.slots, slot, Standing::Promised);
        self.ages.insert(&mut self.slots, slot, Standing::Kept, older.unwrap_or(NONE));
        let record = &mut self.slots[slot];
        record.flags.standing = Standing::Kept;
        if let State::Inactive { since, until } = record.state() {
            record.set_state(State::Inactive { since, until: end.min(until) });
        }
        if end != Tick::NEVER {
            record.flags.armed = true;
            self.deadlines.bring_forward(slot, end);
        }
        let Record { bucket, links, .. } = self.slots[slot];
        self.forget_promise(slot, bucket, links);
        let it = self.buckets.get_mut(bucket);
        it.kept += 1;
        let site = it.site;
        self.buckets.sites.look_again(site);
    }

    /// To be called when a connection of this bucket, the newest, was promised to somebody who waits.
    pub(crate) fn promise(&mut self, slot: u32, bucket: u32) {
        if self.buckets.get(bucket).promised == 1 {
            self.buckets.more_mut(bucket).oldest_promised = slot;
        }
    }

    /// Counts a connection of this bucket, with these links in its list, no longer as promised.
    #[inline]
    pub(crate) fn forget_promise(&mut self, slot: u32, bucket: u32, links: Links) {
        let it = self.buckets.get_mut(bucket);
        it.promised -= 1;
        if it.promised > 0 && self.buckets.oldest_promised(bucket) == slot {
            self.find_oldest_promised(bucket, links.newer);
        }
    }

    /// Finds the oldest promised connection of a bucket; none older than `from` is promised. O(1), amortised: what was
    /// passed isn't passed again.
    #[cold]
    fn find_oldest_promised(&mut self, bucket: u32, from: u32) {
        let list = self.buckets.get(bucket).list;
        let mut all = std::iter::successors(Some(from), |&slot| list.newer(&self.slots, slot));
        let oldest = all.find(|&slot| self.at(slot).flags.standing == Standing::Promised);
        self.buckets.more_mut(bucket).oldest_promised = oldest.expect("another one is promised");
    }

    /// The connection of this bucket whose promise is broken when only `waiting` requests wait there.
    pub(crate) fn broken_promise(&self, bucket: u32, waiting: u32) -> Option<u32> {
        (self.buckets.get(bucket).promised > waiting).then(|| self.buckets.oldest_promised(bucket))
    }

    /// Has everybody in the line of this bucket refused.
    pub(crate) fn refuse_line(&mut self, bucket: u32) {
        let it = self.buckets.get_mut(bucket);
        let (line, peer) = (std::mem::replace(&mut it.line, NONE), it.peer.clone());
        if line == NONE {
            return;
        }
        let &Line { site, waiting, .. } = self.lines.line(line);
        self.buckets.sites.get_mut(site).turns.remove(&mut self.lines.lines, line);
        self.buckets.sites.remove_waiting(site, waiting);
        self.lines.refuse(line, peer);
        self.buckets.release_if_empty(bucket);
    }

    /// Closes a bucket. Whoever waits there waits for a new connection.
    pub(crate) fn close(&mut self, bucket: u32, reason: Reason) {
        let it = self.buckets.get_mut(bucket);
        let line = std::mem::replace(&mut it.line, NONE);
        let (peer, channel, site) = (it.peer.clone(), it.channel, it.site);
        self.buckets.close(bucket, reason);
        self.buckets.sites.look_again(site);
        if line != NONE {
            let fresh = self.buckets.find_or_add(Destination { peer: &peer, channel, most: 0 });
            self.buckets.get_mut(fresh).line = line;
            self.lines.line_mut(line).bucket = fresh;
        }
        self.buckets.release_if_empty(bucket);
    }

    /// Whether a connection that is about to serve the line of its own bucket has to make room for another line instead,
    /// which was passed over often enough. Then that line is the next to open a connection. Otherwise, the service counts
    /// as one that passed the others over. `coming` is 1 if the connection isn't in the table yet, else 0. `most` and
    /// `most_connecting` are the limits.
    #[inline]
    pub(crate) fn yields_to_others(&mut self, bucket: u32, coming: u32, most: usize, most_connecting: u32) -> bool {
        let full = self.total() + coming as usize >= most;
        full && self.yields_to_peer(bucket, coming, most_connecting)
            || self.is_another_in_line(bucket) && self.yields_to_channel(bucket, coming, most_connecting, full)
    }

    /// Counts a service that passed over those who wait elsewhere.
    pub(crate) fn pass_over(&mut self, bucket: u32, most: usize) {
        let (full, site) = (self.total() >= most, self.buckets.get(bucket).site);
        let (others_wait, sites) = (self.buckets.sites.first_but(site).is_some(), &mut self.buckets.sites);
        sites.passes = sites.passes.saturating_add(u32::from(full && others_wait));
        let it = self.buckets.sites.get_mut(site);
        it.passes = it.passes.saturating_add(u32::from(it.waiting > 0 && (full || it.is_full())));
    }

    /// Whether those who wait elsewhere were passed over often enough.
    pub(crate) fn is_quantum_over(&self, bucket: u32) -> bool {
        self.buckets.sites.passes >= QUANTUM || self.buckets.sites.get(self.buckets.get(bucket).site).passes >= QUANTUM
    }

    /// Yields to another peer if that has no connection, or two fewer than this one, or none for the line whose turn is
    /// next there.
    #[inline(never)]
    fn yields_to_peer(&mut self, bucket: u32, coming: u32, most_connecting: u32) -> bool {
        let site = self.buckets.get(bucket).site;
        let sites = &mut self.buckets.sites;
        let Some(other) = sites.first_but(site) else { return false };
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
                self.buckets.sites.bring_forward(other);
                return true;
            }
            self.put_line_behind(other, line);
        }
        // The next service looks at the next peer.
        self.buckets.sites.put_behind(other);
        false
    }

    /// Lets all other lines of this site have their turns before this one.
    fn put_line_behind(&mut self, site: u32, line: u32) {
        let turns = &mut self.buckets.sites.get_mut(site).turns;
        turns.remove(&mut self.lines.lines, line);
        turns.push_newest(&mut self.lines.lines, line);
    }

    /// Whether somebody waits for the peer of this bucket under another channel binding.
    #[inline]
    fn is_another_in_line(&self, bucket: u32) -> bool {
        let it = self.buckets.get(bucket);
        !self.buckets.sites.get(it.site).turns.is_only(it.line)
    }

    /// Yields to another channel binding of the same peer if that has no connection, or two fewer than this one. The limit
    /// that binds is the peer's, or the one on all connections (`full`).
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
            self.buckets.sites.bring_forward(site);
            return true;
        }
        self.put_line_behind(site, other);
        false
    }
}

/// Whether a peer or line with `here` connections gives one away to another with `there`.
fn is_in_need(here: u32, there: u32) -> bool {
    there == 0 || here >= there + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;
    use crate::table::record::Rest;

    /// Between lines with a connection each, no service makes room, and the count of services goes on.
    #[test]
    fn services_are_counted_however_many_there_were() {
        let [one, two] = [1, 2].map(|port| Peer::direct("host", port));
        let [plain, other] = [0, 1].map(ChannelBindingId);
        let mut table = Table::new(0, 1);
        for (peer, channel) in [(&one, plain), (&one, other), (&two, plain)] {
            let to = Destination { peer, channel, most: 2 };
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

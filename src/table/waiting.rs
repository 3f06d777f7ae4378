//! What happens to a request, in all structures at once: its line or place, its bucket, and its site. It enters a line,
//! leaves it, gets a place, gives it up, or is refused.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::reason::Reason;
use crate::request::WaiterId;
use crate::state::Owner;
use crate::stats::Counts;
use crate::table::Table;
use crate::table::buckets::Destination;
use crate::table::clock::Tick;
use crate::table::lines::{At, Line, Request};
use crate::table::lists::{NONE, some};
use crate::table::sites::Site;

impl<C> Table<C> {
    /// How many connections and places there are: what `max_connections` limits.
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

    /// The public counts of one bucket.
    pub(crate) fn counts_in(&self, bucket: u32) -> Counts {
        let (it, more) = (self.buckets.get(bucket), self.buckets.more(bucket));
        Counts {
            active: it.active as usize,
            inactive: self.buckets.inactive(bucket) as usize,
            condemned: more.condemned as usize,
            places: more.places as usize,
            waiting: self.waiting_in(bucket) as usize,
        }
    }

    /// Whether this bucket may have an inactive connection for a request that comes now. If requests wait there, it has
    /// none, because they come first.
    #[inline]
    pub(crate) fn has_some_for_newcomers(&self, bucket: u32) -> bool {
        let it = self.buckets.get(bucket);
        it.line == NONE && !it.list.is_empty()
    }

    /// The bucket of this peer and channel binding, if it may have an inactive connection for a request that comes now.
    pub(crate) fn bucket_for_newcomers(&self, peer: &Peer, channel: ChannelBindingId) -> Option<u32> {
        self.buckets.find(peer, channel).filter(|&bucket| self.has_some_for_newcomers(bucket))
    }

    /// Puts a new request into the line of this bucket. `has_no_room` says that no other request waits for this peer,
    /// and that its limits forbid another connection: then the site need not enter the queue.
    pub(crate) fn wait(&mut self, bucket: u32, owner: Owner, since: Tick, until: Tick, has_no_room: bool) -> WaiterId {
        let waiter = self.lines.add(owner, since, until);
        self.enter(bucket, waiter.slot, false);
        if !has_no_room {
            self.buckets.sites.enqueue(self.buckets.get(bucket).site);
        }
        waiter
    }

    /// Puts a request into the line of this bucket, as [`Lines::enter`](super::lines::Lines::enter) does. If there is
    /// no line, it is made.
    fn enter(&mut self, bucket: u32, request: u32, put_back: bool) {
        let it = self.buckets.get_mut(bucket);
        let (site, has_connections) = (it.site, !it.list.is_empty());
        if it.line == NONE {
            it.line = self.lines.add_line(it.channel, bucket);
        }
        let line = it.line;
        let waiting = self.lines.enter(line, request, put_back).waiting;
        let site = self.buckets.sites.get_mut(site);
        site.waiting += 1;
        if waiting == 1 {
            site.turns.push_newest(&mut self.lines.lines, line);
        }
        if has_connections {
            self.lines.mark_ready(line);
        }
    }

    /// Takes a request out of its line. The bucket is released if that leaves it empty.
    fn leave_line_and_release(&mut self, request: u32, line: u32) {
        let bucket = self.leave_line(request, line);
        if bucket != NONE {
            self.buckets.release_if_empty(bucket);
        }
    }

    /// Takes a request out of its line. An empty line is removed. Returns the line's bucket, which the caller has to
    /// release if it is empty; [`NONE`] if the line was refused as a whole.
    #[inline]
    fn leave_line(&mut self, request: u32, line: u32) -> u32 {
        let &Line { bucket, waiting, .. } = self.lines.leave(request, line);
        if bucket == NONE {
            // A refused line belongs to no bucket and no site.
            return NONE;
        }
        let it = self.buckets.get_mut(bucket);
        let site = it.site;
        if waiting == 0 {
            it.line = NONE;
            self.buckets.sites.get_mut(site).turns.remove(&mut self.lines.lines, line);
            self.lines.remove_line(line);
        }
        self.buckets.sites.remove_waiting(site, 1);
        bucket
    }

    /// Ends a request, wherever it is.
    pub(crate) fn end(&mut self, request: u32) {
        match self.lines.at(request).at {
            At::Line(line) => self.leave_line_and_release(request, line),
            At::Place(bucket) => self.free_place(bucket),
        }
        self.lines.remove(request);
    }

    /// Ends the first request of a line, which a connection of the line's bucket is going to serve. Because of that
    /// connection, the bucket need not be released.
    #[inline]
    pub(crate) fn end_first(&mut self, line: u32) -> (WaiterId, Request) {
        let request = self.lines.head(line).expect("somebody waits");
        self.leave_line(request, line);
        let ended = self.lines.remove(request);
        (ended.id(request), ended)
    }

    /// When the request was made that has waited longest. O(buckets). (A walk of the slab of lines would take as long
    /// as at the peak of their number.)
    pub(crate) fn longest_since(&self) -> Option<Tick> {
        if self.lines.waiting() == 0 {
            return None;
        }
        let lines = self.buckets.iter().filter_map(|(_, bucket)| some(bucket.line));
        lines.filter_map(|line| self.lines.head(line)).map(|head| self.lines.at(head).since).min()
    }

    /// The peer and channel binding that a request is for.
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

    /// How many inactive connections to a peer are kept or condemned: all but the promised ones.
    pub(crate) fn inactive_at(&self, site: &Site) -> u32 {
        self.buckets.of_site(site).map(|(at, bucket)| self.buckets.inactive(at) - bucket.promised).sum()
    }

    /// Condemns the oldest kept connections to a peer that has more connections than its limit allows: as many as are
    /// beyond the limit without those condemned before, but at most `at_most`.
    pub(crate) fn condemn_beyond_peer_limit(&mut self, site: u32, at_most: u32) {
        let site = *self.buckets.sites.get(site);
        let kept: u32 = self.buckets.of_site(&site).map(|(_, bucket)| bucket.kept).sum();
        let condemned = self.inactive_at(&site) - kept;
        for _ in 0..site.total.saturating_sub(site.most + condemned).min(at_most) {
            let oldest = self.buckets.of_site(&site).filter_map(|(at, _)| self.oldest_kept_in(at));
            let Some(oldest) = oldest.min_by_key(|&slot| self.at(slot).inactive_since()) else { return };
            self.condemn(oldest, Reason::MadeRoom);
        }
    }

    /// Gives a place to a request that waits in line. The line goes behind the peer's other lines.
    pub(crate) fn give_place_in_turn(&mut self, request: u32, end: Tick) {
        let At::Line(line) = self.lines.at(request).at else { unreachable!("it waits") };
        let &Line { bucket, waiting, .. } = self.lines.line(line);
        let site = self.buckets.get(bucket).site;
        self.count_place(bucket);
        self.leave_line_and_release(request, line);
        self.lines.give_place(request, bucket, end);
        if waiting > 1 {
            self.move_line_to_back(site, line);
        }
        self.buckets.sites.enqueue(site);
    }

    /// Gives a place to a request that is in no line.
    pub(crate) fn give_place(&mut self, to: Destination<'_>, request: u32, end: Tick) {
        let bucket = self.buckets.find_or_add(to);
        self.count_place(bucket);
        self.lines.give_place(request, bucket, end);
    }

    /// Counts one more place of this bucket.
    fn count_place(&mut self, bucket: u32) {
        self.buckets.more_mut(bucket).places += 1;
        let site = self.buckets.get(bucket).site;
        self.buckets.sites.get_mut(site).enter(true);
    }

    /// Counts one place of this bucket less. The bucket is released if that leaves it empty.
    fn free_place(&mut self, bucket: u32) {
        self.buckets.more_mut(bucket).places -= 1;
        let site = self.buckets.get(bucket).site;
        self.buckets.sites.get_mut(site).leave(true);
        self.lines.remove_place();
        self.buckets.sites.enqueue(site);
        self.buckets.release_if_empty(bucket);
    }

    /// Puts a request that has a place back into its line. Returns the line's bucket.
    pub(crate) fn put_back(&mut self, request: u32) -> u32 {
        let At::Place(old) = self.lines.at(request).at else { unreachable!("it has a place") };
        let bucket = self.buckets.successor(old);
        self.enter(bucket, request, true);
        // This puts the site into the queue.
        self.free_place(old);
        bucket
    }

    /// Lets the requests be served that a connection of this bucket may have helped by becoming inactive or by leaving.
    /// It may serve its own line, or its peer may have room for another connection.
    pub(crate) fn wake_waiting(&mut self, bucket: u32) {
        self.buckets.sites.enqueue(self.buckets.get(bucket).site);
        self.mark_line_ready(bucket);
    }

    /// Makes the line of this bucket ready, if it has a line and an inactive connection.
    #[inline]
    pub(crate) fn mark_line_ready(&mut self, bucket: u32) {
        let it = self.buckets.get(bucket);
        if it.line != NONE && !it.list.is_empty() {
            self.lines.mark_ready(it.line);
        }
    }

    /// Refuses all requests in the line of this bucket.
    pub(crate) fn refuse_line(&mut self, bucket: u32) {
        let it = self.buckets.get_mut(bucket);
        let (line, site, peer) = (std::mem::replace(&mut it.line, NONE), it.site, it.peer.clone());
        if line == NONE {
            return;
        }
        let waiting = self.lines.line(line).waiting;
        self.buckets.sites.get_mut(site).turns.remove(&mut self.lines.lines, line);
        self.buckets.sites.remove_waiting(site, waiting);
        self.lines.refuse(line, peer);
        self.buckets.release_if_empty(bucket);
    }

    /// Closes a bucket. Its line moves to a new bucket, to wait for a new connection.
    pub(crate) fn close(&mut self, bucket: u32, reason: Reason) {
        let it = self.buckets.get_mut(bucket);
        let (line, site) = (std::mem::replace(&mut it.line, NONE), it.site);
        self.buckets.close(bucket, reason);
        self.buckets.sites.enqueue(site);
        if line != NONE {
            let fresh = self.buckets.successor(bucket);
            self.buckets.get_mut(fresh).line = line;
            self.lines.line_mut(line).bucket = fresh;
        }
        self.buckets.release_if_empty(bucket);
    }
}

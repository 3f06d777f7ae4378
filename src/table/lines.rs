//! The requests that are not served yet. Each either waits in the line of its peer and channel binding, or has a place.
//! `waiting.rs` keeps the lines in step with the buckets and sites.
//!
//! A line is *ready* if its bucket may have an inactive connection for it. That only means that it is worth trying, and
//! a try without success ends it.

use crate::channel::ChannelBindingId;
use crate::peer::Peer;
use crate::request::WaiterId;
use crate::state::Owner;
use crate::table::clock::Tick;
use crate::table::deadlines::Deadlines;
use crate::table::lists::{Links, List, NONE, linked};
use slab::Slab;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// A request: in a line, or with a place for a connection that its host is about to open.
pub(crate) struct Request {
    /// A number that no other request of the process has.
    number: u64,
    pub(crate) owner: Owner,
    /// When the request was made.
    pub(crate) since: Tick,
    /// The deadline that it was made with.
    pub(crate) until: Tick,
    pub(crate) at: At,
    /// Its neighbours in its line.
    links: Links,
}

impl Request {
    #[inline]
    pub(crate) fn id(&self, slot: u32) -> WaiterId {
        WaiterId { number: self.number, slot }
    }
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// It waits in this line.
    Line(u32),
    /// It has a place, which is counted in this bucket.
    Place(u32),
}

/// The requests that wait for a connection to one peer under one channel binding: first come, first served.
pub(crate) struct Line {
    pub(crate) channel: ChannelBindingId,
    /// Its bucket, whose connections serve it. [`NONE`] once the line was refused as a whole.
    pub(crate) bucket: u32,
    /// The peer, once the line was refused as a whole. Before that, it is in the bucket.
    pub(crate) refused: Option<Peer>,
    /// The requests. The oldest in this list is served first.
    list: List,
    /// How many requests wait. None does once the line was refused, although they stay in the list until they are told.
    pub(crate) waiting: u32,
    /// Its neighbours among the lines of its site.
    turn: Links,
    /// Whether its bucket may have a connection for it.
    pub(crate) ready: bool,
    /// Its neighbours among the ready lines.
    ready_links: Links,
}

/// The lines, linked by `ready_links` instead of by `turn`.
struct ByReadiness<'a>(&'a mut Slab<Line>);

#[derive(Default)]
pub(crate) struct Lines {
    requests: Slab<Request>,
    pub(crate) lines: Slab<Line>,
    /// Until when each request waits, or its place is held.
    pub(crate) deadlines: Deadlines,
    /// The ready lines. The oldest in this list is served first.
    ready: List,
    /// The lines that were refused as a whole.
    refused: VecDeque<u32>,
    waiting: usize,
    places: usize,
}

impl Lines {
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    #[inline]
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    #[inline]
    pub(crate) fn get(&self, id: WaiterId) -> Option<&Request> {
        self.requests.get(id.slot as usize).filter(|request| request.number == id.number)
    }

    #[inline]
    pub(crate) fn at(&self, request: u32) -> &Request {
        &self.requests[request as usize]
    }

    #[inline]
    pub(crate) fn line(&self, line: u32) -> &Line {
        &self.lines[line as usize]
    }

    #[inline]
    pub(crate) fn line_mut(&mut self, line: u32) -> &mut Line {
        &mut self.lines[line as usize]
    }

    #[inline]
    pub(crate) fn add_line(&mut self, channel: ChannelBindingId, bucket: u32) -> u32 {
        let (list, turn, ready_links) = (List::EMPTY, Links::NONE, Links::NONE);
        let line = Line { channel, bucket, refused: None, list, waiting: 0, turn, ready: false, ready_links };
        self.lines.insert(line) as u32
    }

    #[inline]
    pub(crate) fn remove_line(&mut self, line: u32) {
        self.mark_unready(line);
        self.lines.remove(line as usize);
    }

    /// Adds a request. The caller has to put it into a line or to give it a place.
    #[inline]
    pub(crate) fn add(&mut self, owner: Owner, since: Tick, until: Tick) -> WaiterId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (at, links) = (At::Line(NONE), Links::NONE);
        let slot = self.requests.insert(Request { number, owner, since, until, at, links }) as u32;
        WaiterId { number, slot }
    }

    /// Puts a request at the end of a line. One that had a place is put back at the head, but behind those that were
    /// made before it and were put back, too. Returns the line.
    #[inline]
    pub(crate) fn enter(&mut self, line: u32, request: u32, put_back: bool) -> &Line {
        let older = if put_back { Some(self.last_before(request, line)) } else { None };
        let entering = &mut self.requests[request as usize];
        entering.at = At::Line(line);
        self.deadlines.set(request, entering.until);
        let it = &mut self.lines[line as usize];
        match older {
            Some(older) => it.list.insert(&mut self.requests, request, older),
            None => it.list.push_newest(&mut self.requests, request),
        }
        it.waiting += 1;
        self.waiting += 1;
        it
    }

    /// The last request in this line of those that were made before this one, or [`NONE`].
    fn last_before(&self, request: u32, line: u32) -> u32 {
        let number = self.at(request).number;
        let all = self.line(line).list.oldest_first(&self.requests);
        all.take_while(|&other| self.at(other).number < number).last().unwrap_or(NONE)
    }

    /// Takes a request out of its line, and returns the line.
    #[inline]
    pub(crate) fn leave(&mut self, request: u32, line: u32) -> &Line {
        let it = &mut self.lines[line as usize];
        it.list.remove(&mut self.requests, request);
        if it.bucket != NONE {
            it.waiting -= 1;
            self.waiting -= 1;
        }
        it
    }

    /// Gives a place to a request that is in no line. It is held until `until` at the latest.
    pub(crate) fn give_place(&mut self, request: u32, bucket: u32, until: Tick) {
        self.requests[request as usize].at = At::Place(bucket);
        self.places += 1;
        self.deadlines.set(request, until);
    }

    /// Counts one place less.
    #[inline]
    pub(crate) fn remove_place(&mut self) {
        self.places -= 1;
    }

    /// Removes a request that is in no line, and returns it.
    #[inline]
    pub(crate) fn remove(&mut self, request: u32) -> Request {
        self.deadlines.remove(request);
        self.requests.remove(request as usize)
    }

    /// The first request in this line.
    #[inline]
    pub(crate) fn head(&self, line: u32) -> Option<u32> {
        self.line(line).list.oldest()
    }

    /// Makes a line ready, if requests wait in it. To be called whenever its bucket may have a connection for it.
    #[inline]
    pub(crate) fn mark_ready(&mut self, line: u32) {
        let it = &mut self.lines[line as usize];
        if it.waiting > 0 && !it.ready {
            it.ready = true;
            self.ready.push_newest(&mut ByReadiness(&mut self.lines), line);
        }
    }

    /// Makes a line unready. To be called when its bucket has no connection for it.
    #[inline]
    pub(crate) fn mark_unready(&mut self, line: u32) {
        if std::mem::take(&mut self.lines[line as usize].ready) {
            self.ready.remove(&mut ByReadiness(&mut self.lines), line);
        }
    }

    /// The ready line that is served next.
    #[inline]
    pub(crate) fn first_ready(&self) -> Option<u32> {
        self.ready.oldest()
    }

    /// Refuses all requests in this line. From now on none of them waits: [`first_refused`](Lines::first_refused) names
    /// one after the other, so that the host is told. The caller has taken the line out of its bucket and its site.
    pub(crate) fn refuse(&mut self, line: u32, peer: Peer) {
        self.mark_unready(line);
        let it = &mut self.lines[line as usize];
        self.waiting -= std::mem::take(&mut it.waiting) as usize;
        (it.bucket, it.refused) = (NONE, Some(peer));
        self.refused.push_back(line);
    }

    /// The next refused request that the host is to be told of.
    #[inline]
    pub(crate) fn first_refused(&mut self) -> Option<u32> {
        while let Some(&line) = self.refused.front() {
            if let Some(request) = self.head(line) {
                return Some(request);
            }
            self.refused.pop_front();
            self.remove_line(line);
        }
        None
    }

    #[inline]
    pub(crate) fn is_any_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.requests.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.refused.shrink_to_fit();
        self.deadlines.shrink_to_fit(self.requests.capacity());
    }
}

linked!(|self: Slab<Request>, slot| self[slot as usize].links);
linked!(|self: Slab<Line>, slot| self[slot as usize].turn);
linked!(|self: ByReadiness<'_>, slot| self.0[slot as usize].ready_links);

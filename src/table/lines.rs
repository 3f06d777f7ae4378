//! The requests that wait, in a line for each peer and channel binding, and the places given to some of them.

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
    pub(crate) since: Tick,
    pub(crate) until: Tick,
    pub(crate) at: At,
    links: Links,
}

impl Request {
    #[inline]
    pub(crate) fn id(&self, slot: u32) -> WaiterId {
        WaiterId { number: self.number, slot }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Line(u32),
    /// A place, counted in this bucket.
    Place(u32),
}

/// Those who wait for a connection to one peer under one channel binding, first come first served.
pub(crate) struct Line {
    pub(crate) channel: ChannelBindingId,
    /// Where its connections are; [`NONE`] once the line was refused as a whole.
    pub(crate) bucket: u32,
    /// The peer, once the line was refused as a whole. Before that, its bucket says it.
    pub(crate) refused: Option<Peer>,
    /// The requests, the first to come being the oldest.
    list: List,
    pub(crate) waiting: u32,
    /// Its neighbours among the lines of its site.
    turn: Links,
    /// A connection may be there for it.
    pub(crate) ready: bool,
    /// Its neighbours among the lines that are ready.
    ready_links: Links,
}

/// The lines, linked by `ready_links` instead of by `turn`.
struct ByReadiness<'a>(&'a mut Slab<Line>);

#[derive(Default)]
pub(crate) struct Lines {
    requests: Slab<Request>,
    pub(crate) lines: Slab<Line>,
    /// Until when requests wait, or their places are held.
    pub(crate) deadlines: Deadlines,
    /// Lines that a connection may be there for, the first to be served being the oldest.
    ready: List,
    /// Lines refused as a whole.
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
        self.look_away(line);
        self.lines.remove(line as usize);
    }

    /// A new request that is nowhere yet.
    #[inline]
    pub(crate) fn add(&mut self, owner: Owner, since: Tick, until: Tick) -> WaiterId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (at, links) = (At::Line(NONE), Links::NONE);
        let slot = self.requests.insert(Request { number, owner, since, until, at, links }) as u32;
        WaiterId { number, slot }
    }

    /// Puts a request into a line, at its end. One that had a place goes back to the head, behind only those that
    /// came before it and were put back, too. Returns the line.
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

    /// The last in this line of those who came before this request, or [`NONE`].
    fn last_before(&self, request: u32, line: u32) -> u32 {
        let number = self.at(request).number;
        let all = self.line(line).list.oldest_first(&self.requests);
        all.take_while(|&other| self.at(other).number < number).last().unwrap_or(NONE)
    }

    /// Takes a request out of its line, and returns the line.
    #[inline]
    pub(crate) fn step_out(&mut self, request: u32, line: u32) -> &Line {
        let it = &mut self.lines[line as usize];
        it.list.remove(&mut self.requests, request);
        if it.bucket != NONE {
            it.waiting -= 1;
            self.waiting -= 1;
        }
        it
    }

    /// Gives a request a place, until then at the latest.
    pub(crate) fn take_place(&mut self, request: u32, bucket: u32, until: Tick) {
        self.requests[request as usize].at = At::Place(bucket);
        self.places += 1;
        self.deadlines.set(request, until);
    }

    #[inline]
    pub(crate) fn leave_place(&mut self) {
        self.places -= 1;
    }

    /// Forgets a request that is in no line. Returns what was known of it.
    #[inline]
    pub(crate) fn remove(&mut self, request: u32) -> Request {
        self.deadlines.remove(request);
        self.requests.remove(request as usize)
    }

    /// Who is first in this line.
    #[inline]
    pub(crate) fn head(&self, line: u32) -> Option<u32> {
        self.line(line).list.oldest()
    }

    /// To be called when a connection may be there for this line.
    #[inline]
    pub(crate) fn look_at(&mut self, line: u32) {
        let it = &mut self.lines[line as usize];
        if it.waiting > 0 && !it.ready {
            it.ready = true;
            self.ready.push_newest(&mut ByReadiness(&mut self.lines), line);
        }
    }

    /// To be called when no connection is there for this line.
    #[inline]
    pub(crate) fn look_away(&mut self, line: u32) {
        if std::mem::take(&mut self.lines[line as usize].ready) {
            self.ready.remove(&mut ByReadiness(&mut self.lines), line);
        }
    }

    #[inline]
    pub(crate) fn first_ready(&self) -> Option<u32> {
        self.ready.oldest()
    }

    /// Has everybody in this line refused: from now on they don't wait, they are to be told.
    pub(crate) fn refuse(&mut self, line: u32, peer: Peer) {
        self.look_away(line);
        let it = &mut self.lines[line as usize];
        self.waiting -= std::mem::take(&mut it.waiting) as usize;
        (it.bucket, it.refused) = (NONE, Some(peer));
        self.refused.push_back(line);
    }

    /// The next request to be refused.
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

//! One peer: the work to be done there, and what is known about it.

use crate::exchange::{Exchange, Way};
use crate::routes::Route;
use http::addresses::Addresses;
use std::collections::VecDeque;

/// A peer under a channel binding, with its share of the work. Its index is the connections' owner.
pub struct Site {
    pub route: Route,
    pub addresses: Addresses,
    pub is_looking_up: bool,
    /// Connections in use or being opened, and requests that wait for addresses: each has one request at least.
    pub busy: usize,
    /// Requests that wait for the addresses.
    pub waiting: Vec<Exchange>,
    /// Whether the server breaks connections with several requests under way: then it gets one at a time.
    pub breaks_pipelines: bool,
    /// Whether the site is in the queue of those that may start something.
    pub is_ready: bool,
    /// Requests for connections to be opened anew, since the ones they went by first are dead.
    again: VecDeque<Exchange>,
    /// Requests that came back without having been dealt with.
    returned: VecDeque<Exchange>,
    work: Work,
}

/// The requests yet to be made: places in a list that is gone through several times. Takes no memory for the times.
#[derive(Default)]
struct Work {
    places: Vec<usize>,
    at: usize,
    rounds_left: u64,
    /// The number of the list's first request in this round.
    first: u64,
    list: u64,
}

impl Site {
    pub fn new(route: Route) -> Site {
        Site {
            route,
            addresses: Addresses::default(),
            is_looking_up: false,
            busy: 0,
            waiting: Vec::new(),
            breaks_pipelines: false,
            is_ready: false,
            again: VecDeque::new(),
            returned: VecDeque::new(),
            work: Work::default(),
        }
    }

    /// Begins a list of `list` URLs, to be gone through several times, of which none is this site's yet.
    pub fn begin(&mut self, rounds: u64, first: u64, list: u64) {
        self.work = Work { places: Vec::new(), at: 0, rounds_left: rounds, first, list };
    }

    /// The URL at this place in the list is this site's.
    pub fn add(&mut self, place: usize) {
        self.work.places.push(place);
    }

    /// The next request, of any kind.
    pub fn next(&mut self, make: impl FnOnce(u64, usize) -> Exchange) -> Option<Exchange> {
        self.again.pop_front().or_else(|| self.next_for_any_connection(make))
    }

    /// The next request that may go by any connection. `make` makes one of its number and its URL's place.
    pub fn next_for_any_connection(&mut self, make: impl FnOnce(u64, usize) -> Exchange) -> Option<Exchange> {
        self.returned.pop_front().or_else(|| self.work.next().map(|(number, place)| make(number, place)))
    }

    /// Takes back a request that wasn't dealt with, to be the next of its kind.
    pub fn put_back(&mut self, mut exchange: Exchange) {
        exchange.remove_file();
        let queue = if exchange.way == Way::Retried { &mut self.again } else { &mut self.returned };
        queue.push_front(exchange);
    }

    /// Takes a request to be repeated on a connection of its own.
    pub fn repeat(&mut self, mut exchange: Exchange) {
        exchange.way = Way::Retried;
        exchange.remove_file();
        self.again.push_back(exchange);
    }
}

impl Work {
    fn next(&mut self) -> Option<(u64, usize)> {
        if self.rounds_left == 0 {
            return None;
        }
        let place = *self.places.get(self.at)?;
        let number = self.first + place as u64;
        self.at += 1;
        if self.at == self.places.len() {
            self.at = 0;
            self.rounds_left -= 1;
            self.first += self.list;
        }
        Some((number, place))
    }
}

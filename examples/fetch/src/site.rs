//! One peer: the work to be done there, and what is known about it.

use crate::client::Config;
use crate::exchange::{Exchange, Way};
use crate::routes::Route;
use http::addresses::Addresses;
use std::collections::VecDeque;
use std::time::Instant;

/// A peer under a channel binding, with its share of the work. Its index is the connections' owner.
pub struct Site {
    pub route: Route,
    pub addresses: Addresses,
    pub is_looking_up: bool,
    /// Whether a request of this site's waits in the cache's line. One at a time does: which of the site's requests it
    /// is for shows when there is a connection.
    pub is_asking: bool,
    /// Whether the server breaks connections with several requests under way: then it gets one at a time.
    pub breaks_pipelines: bool,
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
            is_asking: false,
            breaks_pipelines: false,
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

    /// Whether there is a next request.
    pub fn has_work(&self) -> bool {
        self.has_repeats() || !self.returned.is_empty() || self.work.is_left()
    }

    /// Whether the next request is one that needs a newly opened connection.
    pub fn has_repeats(&self) -> bool {
        !self.again.is_empty()
    }

    /// The next request: one to be repeated, if there is any.
    pub fn next(&mut self, now: Instant, config: &Config) -> Option<Exchange> {
        let old = self.again.pop_front().or_else(|| self.returned.pop_front());
        old.or_else(|| {
            let (number, place) = self.work.next()?;
            let mut exchange = Exchange::new(place, now, config.timeout);
            if let Some(dir) = &config.output {
                exchange.write_to(dir.join(number.to_string()));
            }
            Some(exchange)
        })
    }

    /// Takes back a request that wasn't dealt with, to be the next of its kind.
    pub fn put_back(&mut self, mut exchange: Exchange) {
        exchange.remove_file();
        if exchange.way == Way::Retried {
            self.again.push_front(exchange);
        } else {
            exchange.way = Way::New;
            self.returned.push_front(exchange);
        }
    }

    /// Takes a request to be repeated on a connection of its own.
    pub fn repeat(&mut self, mut exchange: Exchange) {
        exchange.way = Way::Retried;
        exchange.remove_file();
        self.again.push_back(exchange);
    }
}

impl Work {
    fn is_left(&self) -> bool {
        self.rounds_left > 0 && !self.places.is_empty()
    }

    fn next(&mut self) -> Option<(u64, usize)> {
        if !self.is_left() {
            return None;
        }
        let place = self.places[self.at];
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

//! Which of several addresses a connection goes to. The clock is the test's own.

use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Interest, Poll, Token};
use http::addresses::Addresses;
use http::connecting::{ATTEMPT_DELAY, Race, connected};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use testing::nobody::{refusing, silent, to_itself};

const TOKEN: Token = Token(1);

/// A loop with one race in it.
struct Bed {
    poll: Poll,
    race: Race,
    start: Instant,
}

impl Bed {
    fn new(addresses: &[SocketAddr]) -> Bed {
        let (poll, start) = (Poll::new().unwrap(), Instant::now());
        let mut race = Race::begin(addresses.iter().copied(), start).unwrap();
        poll.registry().register(&mut race, TOKEN, Interest::READABLE | Interest::WRITABLE).unwrap();
        Bed { poll, race, start }
    }

    /// What the race says when so much time has gone by.
    fn advance(&mut self, after: Duration) -> io::Result<Option<TcpStream>> {
        self.race.advance(self.start + after, self.poll.registry())
    }

    /// Waits for an event; none but the race's can come.
    fn wait(&mut self) {
        let mut events = Events::with_capacity(8);
        self.poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty() && events.iter().all(|event| event.token() == TOKEN), "{events:?}");
    }

    /// Goes on, at this time, until the race is decided.
    fn finish(&mut self, after: Duration) -> io::Result<TcpStream> {
        loop {
            self.wait();
            if let Some(winner) = self.advance(after)? {
                return Ok(winner);
            }
        }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
#[cfg(target_os = "linux")]
fn a_silent_address_costs_one_delay() {
    let (_silent, dead) = silent();
    let (_listener, alive) = listener();
    let mut bed = Bed::new(&[dead, alive]);
    let early = ATTEMPT_DELAY - Duration::from_millis(1);
    assert!(bed.advance(early).unwrap().is_none());
    assert_eq!(bed.race.deadline(), Some(bed.start + ATTEMPT_DELAY));
    assert_eq!(bed.race.to_string(), format!("{dead}: no answer"));

    let _ = bed.advance(ATTEMPT_DELAY).unwrap();
    assert_eq!(bed.race.deadline(), None, "all addresses are being tried");
    let winner = bed.finish(ATTEMPT_DELAY).unwrap();
    assert_eq!(winner.peer_addr().unwrap(), alive);
}

/// The first attempt goes on beside the second: its answer may still come.
#[test]
#[cfg(target_os = "linux")]
fn a_slow_address_wins_if_the_others_fail() {
    let (silent, slow) = silent();
    let (_refusing, refused) = refusing();
    let mut bed = Bed::new(&[slow, refused]);
    assert!(bed.advance(ATTEMPT_DELAY).unwrap().is_none());
    while !bed.race.to_string().starts_with(&format!("{refused}: ")) {
        bed.wait();
        assert!(bed.advance(ATTEMPT_DELAY).unwrap().is_none());
    }
    silent.make_room();
    let winner = bed.finish(ATTEMPT_DELAY).unwrap();
    assert_eq!(winner.peer_addr().unwrap(), slow);
}

#[test]
fn an_address_that_refuses_costs_no_delay() {
    let (_refusing, refused) = refusing();
    let (_listener, alive) = listener();
    let winner = Bed::new(&[refused, refused, alive]).finish(Duration::ZERO).unwrap();
    assert_eq!(winner.peer_addr().unwrap(), alive);
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_to_itself_is_refused() {
    let stream = to_itself();
    assert_eq!(stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    let error = connected(&TcpStream::from_std(stream)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn when_all_fail_the_error_names_each() {
    let ((_one, one), (_two, two)) = (refusing(), refusing());
    let error = Bed::new(&[one, two]).finish(Duration::ZERO).unwrap_err().to_string();
    let at = |address: SocketAddr| error.find(&format!("{address}: ")).expect("it is named");
    assert!(at(one) < at(two), "{error}");
    assert_eq!(Race::begin([], Instant::now()).unwrap_err().to_string(), "no address to connect to");
}

/// No connection can be made to a group, and the system says so in the call already.
#[test]
#[cfg(target_os = "linux")]
fn an_address_that_fails_at_once_is_passed_over() {
    let group: SocketAddr = "224.0.0.1:9".parse().unwrap();
    let error = Race::begin([group, group], Instant::now()).unwrap_err();
    assert_eq!(error.to_string().matches("224.0.0.1:9: ").count(), 2);
    let (_listener, alive) = listener();
    let (_refusing, refused) = refusing();
    let winner = Bed::new(&[group, refused, group, alive]).finish(Duration::ZERO).unwrap();
    assert_eq!(winner.peer_addr().unwrap(), alive);
}

/// Only the winner stays registered, for it is the only one whose events mean something.
#[test]
#[cfg(target_os = "linux")]
fn the_winner_stays_registered_and_the_others_are_closed() {
    let (silent, slow) = silent();
    let (listener, alive) = listener();
    let mut bed = Bed::new(&[slow, alive]);
    let _ = bed.advance(ATTEMPT_DELAY).unwrap();
    let mut winner = bed.finish(ATTEMPT_DELAY).unwrap();
    silent.make_room();
    drop(listener.accept().unwrap());
    loop {
        bed.wait();
        match io::Read::read(&mut winner, &mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => break assert_eq!(read.unwrap(), 0),
        }
    }
}

#[test]
fn the_families_take_turns_and_the_address_that_worked_comes_first() {
    let of = |text: &str| -> Vec<SocketAddr> { text.split(' ').map(|address| address.parse().unwrap()).collect() };
    let (now, mut addresses) = (Instant::now(), Addresses::default());
    assert!(addresses.known(now).is_none());
    addresses.found(Ok(of("[::1]:80 [::2]:80 [::3]:80 127.0.0.1:80 127.0.0.2:80")), now);
    let turns = of("[::1]:80 127.0.0.1:80 [::2]:80 127.0.0.2:80 [::3]:80");
    assert_eq!(addresses.known(now), Some(Ok(turns)));
    addresses.worked("127.0.0.2:80".parse().unwrap());
    let expected = of("127.0.0.2:80 [::1]:80 127.0.0.1:80 [::2]:80 [::3]:80");
    assert_eq!(addresses.known(now), Some(Ok(expected)));
    // A name that has moved is followed.
    addresses.found(Ok(of("127.0.0.9:80 [::9]:80")), now);
    assert_eq!(addresses.known(now), Some(Ok(of("127.0.0.9:80 [::9]:80"))));
}

#[test]
fn what_a_look_up_found_expires_whether_good_or_bad() {
    let (now, mut addresses) = (Instant::now(), Addresses::default());
    let until = now + Duration::from_secs(60);
    for found in [Ok(vec!["127.0.0.1:80".parse().unwrap()]), Err("no such name")] {
        addresses.found(found.clone().map_err(str::to_owned), until);
        assert_eq!(addresses.known(until), Some(found));
        assert!(addresses.known(until + Duration::from_nanos(1)).is_none());
    }
}

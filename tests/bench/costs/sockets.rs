//! C2 and C4: what the cache adds where the operating system does the work.

use crate::fixtures::{BareMap, ME, PLAIN, Pool, loopback, order};
use crate::measure::{Spread, in_turns, nanos, per_operation, timed};
use crate::report::{Effort, Report};
use conncache::mio::event::{Event, Source};
use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Interest, Poll, Registry, Token};
use conncache::{AggressiveCache, ConnId, Connection, Handled, Peer, Probe, Reason};
use slab::Slab;
use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

const EVENTS: usize = 1_024;

/// A socket that counts what the cache does to it: it can make system calls in no other way.
struct Counted {
    socket: TcpStream,
    probes: usize,
    registrations: usize,
    questions: Cell<usize>,
}

impl Source for Counted {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.registrations += 1;
        self.socket.register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.registrations += 1;
        self.socket.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registrations += 1;
        self.socket.deregister(registry)
    }
}

impl Connection for Counted {
    fn probe(&mut self) -> Probe {
        self.probes += 1;
        self.socket.probe()
    }

    fn is_connected(&self) -> bool {
        self.questions.set(self.questions.get() + 1);
        self.socket.is_connected()
    }
}

pub fn c2(report: &mut Report, effort: Effort) -> io::Result<()> {
    const SOCKETS: usize = 100;
    report.heading("C2  a cycle of a real socket, against a bare recv that finds nothing", "one probe, nothing else");
    let peers: Vec<Peer> = (0..SOCKETS).map(|peer| Peer::direct(&format!("10.0.0.{peer}"), 443)).collect();
    let order = order(effort.of(5_000, 50_000), SOCKETS);
    let (mut bare, _far_ends) = loopback(SOCKETS)?;
    let (poll, now) = (Poll::new()?, Instant::now());
    let mut recv = || {
        for &socket in &order {
            assert!(bare[socket as usize].read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        }
    };
    for probe in [true, false] {
        let mut cache = AggressiveCache::builder().probe(probe).build(poll.registry())?;
        let (sockets, _far_ends) = loopback(SOCKETS)?;
        let mut ids = Vec::new();
        for (socket, peer) in sockets.into_iter().zip(&peers) {
            let id = cache.insert(
                now,
                Counted { socket, probes: 0, registrations: 0, questions: Cell::default() },
                peer,
                PLAIN,
                ME,
            )?;
            assert!(matches!(cache.checkin(now, id), Ok(None)));
            ids.push(id);
        }
        let mut cycle = || {
            for &peer in &order {
                let found = cache.checkout(now, &peers[peer as usize], PLAIN, ME).expect("one is inactive");
                assert!(found.id.same_connection(ids[peer as usize]));
                assert!(matches!(cache.checkin(now, found.id), Ok(None)));
            }
        };
        let rounds = effort.of(4, 40);
        let times = (0..rounds).map(|_| (nanos(order.len(), &mut recv), nanos(order.len(), &mut cycle)));
        let (bare, ours): (Vec<f64>, Vec<f64>) = times.unzip();
        let cycles = rounds * order.len();
        let counted = |count: fn(&Counted) -> usize| cache.iter().map(|entry| count(entry.conn)).sum::<usize>();
        let (probes, registrations) = (counted(|conn| conn.probes), counted(|conn| conn.registrations) - SOCKETS);
        // Whether it is connected is asked once in its life, before the first cycle.
        let questions = counted(|conn| conn.questions.get()) - SOCKETS;
        report.verdict(
            probes == cycles * usize::from(probe) && registrations + questions == 0,
            format_args!(
                "probe {:<3}  recv {:.0} ns  cycle {:.0}  more {:.0}  ratio {:<17}  {:.2} probes, {:.2} epoll_ctl, {:.2} getpeername to a cycle",
                if probe { "on" } else { "off" },
                Spread::of(bare.iter().copied()).median,
                Spread::of(ours.iter().copied()).median,
                Spread::of(ours.iter().zip(&bare).map(|(ours, bare)| ours - bare)),
                Spread::of_ratios(&ours, &bare),
                probes as f64 / cycles as f64,
                registrations as f64 / cycles as f64,
                questions as f64 / cycles as f64,
            ),
        );
    }
    Ok(())
}

pub fn c4(report: &mut Report, effort: Effort) -> io::Result<()> {
    let sockets = effort.of(500, 4_000);
    report.heading(
        &format!("C4  {sockets} peers hang up: evicting all, against a raw mio loop that probes and deregisters"),
        "ratio <= 1.2",
    );
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for round in 0..effort.of(4, 20) {
        // Whose sockets are made first may matter.
        for turn in 0..2 {
            match (round + turn) % 2 {
                0 => raw.push(per_operation(raw_loop(sockets)?, sockets)),
                _ => ours.push(per_operation(cache_loop(sockets)?, sockets)),
            }
        }
    }
    let ratio = Spread::of_ratios(&ours, &raw);
    let [raw, ours] = [raw, ours].map(|nanos| Spread::of(nanos).median);
    report.verdict(ratio.median <= 1.2, format_args!("raw {raw:.0} ns to a connection  ours {ours:.0}  ratio {ratio}"));
    Ok(())
}

fn raw_loop(sockets: usize) -> io::Result<Duration> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(EVENTS));
    let (streams, far_ends) = loopback(sockets)?;
    let mut table = Slab::with_capacity(sockets);
    for mut stream in streams {
        let token = Token(table.vacant_key());
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        table.insert(stream);
    }
    settle(&mut poll, &mut events, sockets, |_| {})?;
    drop(far_ends);
    let time = hangups(&mut poll, &mut events, sockets, |poll, event| {
        let stream: &mut TcpStream = table.get_mut(event.token().0).expect("a known token");
        match stream.read(&mut [0]) {
            Ok(0) => {
                let mut stream = table.remove(event.token().0);
                poll.registry().deregister(&mut stream).expect("a registered socket");
                Some(stream)
            }
            Ok(_) => panic!("nobody sent anything"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                None
            }
        }
    });
    assert!(table.is_empty());
    Ok(time)
}

fn cache_loop(sockets: usize) -> io::Result<Duration> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(EVENTS));
    let mut cache: AggressiveCache<TcpStream> = AggressiveCache::builder().capacity(sockets).build(poll.registry())?;
    let (streams, far_ends) = loopback(sockets)?;
    let (peers, now) = ((0..100).map(|port| Peer::direct("127.0.0.1", port)).collect::<Vec<_>>(), Instant::now());
    for (number, stream) in streams.into_iter().enumerate() {
        let id: ConnId = cache.insert(now, stream, &peers[number % peers.len()], PLAIN, ME)?;
        assert!(matches!(cache.checkin(now, id), Ok(None)));
    }
    settle(&mut poll, &mut events, sockets, |event| assert!(matches!(cache.handle_event(event), Handled::Nothing)))?;
    drop(far_ends);
    let time = hangups(&mut poll, &mut events, sockets, |_, event| match cache.handle_event(event) {
        Handled::Evicted(evicted) => Some(evicted.conn),
        Handled::Nothing => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(cache.stats().left(Reason::HungUp), sockets as u64);
    Ok(time)
}

/// With real sockets, as far as descriptors go: a bare map that looks as well, beside the cache.
pub fn c5(report: &mut Report, effort: Effort) -> io::Result<()> {
    const PEERS: usize = 100;
    let order = order(effort.of(5_000, 50_000), PEERS);
    // The smaller one first: it has to have its descriptors.
    let mut sizes = [Watched::new(PEERS, effort.of(1, 10))?, Watched::new(PEERS, effort.of(2, 200))?];
    let ratios = in_turns(&mut sizes, effort.of(4, 32), |size| {
        let map = nanos(order.len(), || size.bare_cycle(&order));
        nanos(order.len(), || size.cycle(&order)) / map
    });
    let [few, many] = &ratios;
    let growth = Spread::of_ratios(many, few);
    report.verdict(
        growth.median <= 2.0,
        format_args!(
            "{PEERS} peers, sockets that both probe: {} with {}, {} with {}; quotient {growth}",
            Spread::of(few.iter().copied()),
            sizes[0].twins.len(),
            Spread::of(many.iter().copied()),
            sizes[1].twins.len(),
        ),
    );
    Ok(())
}

/// Real connections, in a cache and in a bare map.
struct Watched {
    cache: AggressiveCache<TcpStream>,
    peers: Vec<Peer>,
    now: Instant,
    map: BareMap,
    /// Second descriptors of the same sockets.
    twins: Vec<std::net::TcpStream>,
    _far_ends: Vec<std::net::TcpStream>,
    _poll: Poll,
}

impl Watched {
    /// At most `most` connections to each peer, and as many as there are descriptors for.
    fn new(peers: usize, most: usize) -> io::Result<Watched> {
        let (poll, now) = (Poll::new()?, Instant::now());
        let mut cache: AggressiveCache<TcpStream> =
            AggressiveCache::builder().capacity(peers * most).build(poll.registry())?;
        let peers: Vec<Peer> = (0..peers).map(|peer| Peer::direct(&format!("host-{peer}.example.org"), 443)).collect();
        let (mut twins, mut far_ends, mut each) = (Vec::new(), Vec::new(), 0);
        while each < most {
            let made = loopback(peers.len()).and_then(|(near, far)| {
                let near = near.into_iter().map(std::net::TcpStream::from);
                let pairs: io::Result<Vec<_>> = near.map(|near| Ok((near.try_clone()?, near))).collect();
                Ok((pairs?, far))
            });
            let (pairs, far) = match made {
                Ok(made) => made,
                Err(error) if each == 0 => return Err(error),
                Err(_) => break,
            };
            for ((twin, near), peer) in pairs.into_iter().zip(&peers) {
                let id = cache.insert(now, TcpStream::from_std(near), peer, PLAIN, ME)?;
                assert!(matches!(cache.checkin(now, id), Ok(None)));
                twins.push(twin);
            }
            far_ends.extend(far);
            each += 1;
        }
        let map = BareMap::new(peers.len(), each);
        Ok(Watched { cache, peers, now, map, twins, _far_ends: far_ends, _poll: poll })
    }

    fn cycle(&mut self, order: &[u32]) {
        for &peer in order {
            let found = self.cache.checkout(self.now, &self.peers[peer as usize], PLAIN, ME).expect("one is inactive");
            assert!(matches!(self.cache.checkin(self.now, found.id), Ok(None)));
        }
    }

    fn bare_cycle(&mut self, order: &[u32]) {
        for &peer in order {
            let found = self.map.take(peer).expect("one is inactive");
            let looked = self.twins[found >> 32].read(&mut [0]);
            assert!(looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
            self.map.put(found);
        }
    }
}

/// The time it takes to turn all hangups into closed connections, which are dropped after that.
fn hangups(
    poll: &mut Poll,
    events: &mut Events,
    sockets: usize,
    mut each: impl FnMut(&Poll, &Event) -> Option<TcpStream>,
) -> Duration {
    let mut closed: Vec<TcpStream> = Vec::with_capacity(sockets);
    timed(|| {
        while closed.len() < sockets {
            poll.poll(events, Some(Duration::from_secs(10))).expect("a poll");
            assert!(!events.is_empty(), "{} of {sockets} hangups were told", closed.len());
            for event in &*events {
                closed.extend(each(poll, event));
            }
        }
    })
}

/// Takes the events that tell that new sockets are writable.
fn settle(poll: &mut Poll, events: &mut Events, sockets: usize, mut each: impl FnMut(&Event)) -> io::Result<()> {
    let mut told = 0;
    while told < sockets {
        poll.poll(events, Some(Duration::from_secs(10)))?;
        assert!(!events.is_empty(), "{told} of {sockets} became writable");
        told += events.iter().inspect(|event| each(event)).count();
    }
    Ok(())
}

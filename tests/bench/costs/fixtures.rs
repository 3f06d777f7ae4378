//! What the measurements share: connections that cost nothing, connections over loopback, and a bare map to compare with.

use conncache::mio::event::Source;
use conncache::mio::net::TcpStream;
use conncache::mio::{Interest, Poll, Registry, Token};
use conncache::{AggressiveCache, Builder, ChannelBindingId, ConnId, Connection, Owner, Peer, Probe};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub const PLAIN: ChannelBindingId = ChannelBindingId(0);
pub const ME: Owner = Owner(7);

/// A connection without a socket: what is measured is the cache alone. It knows where it leads.
pub struct Scripted {
    pub leads_to: usize,
}

impl Source for Scripted {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Scripted {
    fn probe(&mut self) -> Probe {
        Probe::Quiet
    }

    fn is_connected(&self) -> bool {
        true
    }
}

pub type ScriptedCache = AggressiveCache<Scripted>;
pub type Settings = fn(Builder<Scripted, conncache::Aggressive>) -> Builder<Scripted, conncache::Aggressive>;

pub const NO_LIMITS: Settings = |builder| builder;

pub const ALL_LIMITS: Settings = |builder| {
    let (minute, many) = (Duration::from_secs(60), 20_000_000);
    let builder = builder.idle_timeout(minute).max_lifetime(60 * minute).lifetime_jitter(minute);
    let builder = builder.max_uses(u32::MAX).max_inactive(many).max_inactive_per_peer(many);
    let builder = builder.max_connections(many).max_connections_per_peer(many);
    builder.max_connecting_per_peer(many).max_waiting(many)
};

/// A cache of scripted connections, `each` to every one of `peers`.
pub struct Ours {
    pub cache: ScriptedCache,
    pub peers: Vec<Peer>,
    pub now: Instant,
    pub owner: Owner,
}

impl Ours {
    pub fn new(peers: usize, each: usize, settings: Settings) -> Ours {
        let peers: Vec<Peer> = (0..peers).map(|peer| Peer::direct(&host(peer), 443)).collect();
        let poll = Poll::new().expect("a poll");
        let builder = settings(AggressiveCache::builder().capacity(peers.len() * each));
        let cache = builder.build(poll.registry()).expect("a cache");
        let mut ours = Ours { cache, peers, now: Instant::now(), owner: ME };
        // In turns, so that the connections to one peer don't lie side by side.
        for connection in 0..ours.peers.len() * each {
            ours.add(connection % ours.peers.len());
        }
        assert_eq!(ours.cache.counts().inactive, ours.peers.len() * each);
        ours
    }

    /// A new inactive connection to a peer.
    pub fn add(&mut self, leads_to: usize) -> ConnId {
        let id = self.insert(leads_to);
        assert!(matches!(self.cache.checkin(self.now, id), Ok(None)));
        id
    }

    /// A new active connection to a peer.
    pub fn insert(&mut self, leads_to: usize) -> ConnId {
        let conn = Scripted { leads_to };
        self.cache.insert(self.now, conn, &self.peers[leads_to], PLAIN, ME).expect("there is room")
    }

    /// Hands out and takes back a connection to each of these peers in turn.
    pub fn cycle(&mut self, order: &[u32]) {
        let now = self.now;
        self.cycle_at(order, || now);
    }

    pub fn cycle_at(&mut self, order: &[u32], mut clock: impl FnMut() -> Instant) {
        for &peer in order {
            let now = clock();
            let found = self.cache.checkout(now, &self.peers[peer as usize], PLAIN, ME).expect("one is inactive");
            assert_eq!(self.cache[found.id].leads_to, peer as usize);
            assert!(matches!(self.cache.checkin(now, found.id), Ok(None)));
        }
        // The next cycles are not before these: hosts' times don't run backwards.
        self.now = clock();
    }
}

/// How a pool is used when connections stay out for a while: at most `out` of them, the first one out comes back first.
pub trait Pool {
    type Taken;
    /// A connection to the peer, if one is in.
    fn take(&mut self, peer: u32) -> Option<Self::Taken>;
    fn put(&mut self, taken: Self::Taken);

    /// How many were taken; all are back in the end.
    fn overlapping(&mut self, order: &[u32], out: usize) -> usize {
        let (mut taken, mut hits) = (VecDeque::with_capacity(out), 0);
        for &peer in order {
            if taken.len() == out {
                taken.pop_front().into_iter().for_each(|first| self.put(first));
            }
            let found = self.take(peer);
            hits += usize::from(found.is_some());
            taken.extend(found);
        }
        taken.into_iter().for_each(|rest| self.put(rest));
        hits
    }
}

impl Pool for Ours {
    type Taken = ConnId;

    fn take(&mut self, peer: u32) -> Option<ConnId> {
        // Each is somebody else's.
        self.owner.0 += 1;
        let found = self.cache.checkout(self.now, &self.peers[peer as usize], PLAIN, self.owner)?;
        assert_eq!(self.cache[found.id].leads_to, peer as usize);
        Some(found.id)
    }

    fn put(&mut self, id: ConnId) {
        assert!(matches!(self.cache.checkin(self.now, id), Ok(None)));
    }
}

impl<S: BuildHasher + Default> Pool for BareMap<S> {
    type Taken = usize;

    fn take(&mut self, peer: u32) -> Option<usize> {
        let found = self.map.get_mut(&self.keys[peer as usize]).and_then(Vec::pop)?;
        assert_eq!(found as u32, peer);
        Some(found)
    }

    fn put(&mut self, found: usize) {
        self.map.get_mut(&self.keys[found as u32 as usize]).expect("a known peer").push(found);
    }
}

/// The least that any pool does: a map to stacks of connection numbers.
pub struct BareMap<S = RandomState> {
    map: HashMap<(String, u16, u32), Vec<usize>, S>,
    keys: Vec<(String, u16, u32)>,
}

impl<S: BuildHasher + Default> BareMap<S> {
    pub fn new(peers: usize, each: usize) -> BareMap<S> {
        let keys: Vec<_> = (0..peers).map(|peer| (host(peer), 443, 0)).collect();
        let mut map = BareMap { map: HashMap::default(), keys };
        for connection in 0..peers * each {
            map.map
                .entry(map.keys[connection % peers].clone())
                .or_default()
                .push((connection << 32) | (connection % peers));
        }
        map
    }

    pub fn cycle(&mut self, order: &[u32]) {
        for &peer in order {
            let key = &self.keys[peer as usize];
            let found = self.map.get_mut(key).and_then(Vec::pop).expect("one is inactive");
            assert_eq!(found as u32, peer);
            self.map.get_mut(key).expect("a known peer").push(found);
        }
    }
}

/// A hash of a few instructions, which whoever chooses the names can make collide: the map of [`BareMap`] with it is
/// for orientation alone.
#[derive(Clone, Default)]
pub struct Fast(u64);

impl BuildHasher for Fast {
    type Hasher = Fast;

    fn build_hasher(&self) -> Fast {
        Fast(0)
    }
}

impl Hasher for Fast {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(padded)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// For orientation: stacks in an array, for hosts whose peers are small numbers.
pub struct Dense(Vec<Vec<usize>>);

impl Dense {
    pub fn new(peers: usize, each: usize) -> Dense {
        Dense((0..peers).map(|peer| (0..each).map(|at| ((at * peers + peer) << 32) | peer).collect()).collect())
    }

    pub fn cycle(&mut self, order: &[u32]) {
        for &peer in order {
            let found = self.0[peer as usize].pop().expect("one is inactive");
            assert_eq!(found as u32, peer);
            self.0[std::hint::black_box(peer) as usize].push(found);
        }
    }
}

fn host(peer: usize) -> String {
    format!("host-{peer}.example.org")
}

/// A small seeded generator (xorshift64*): each run does the same.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// As many peers, drawn at random.
pub fn order(length: usize, peers: usize) -> Vec<u32> {
    let mut random = Random(0x5eed);
    (0..length).map(|_| random.below(peers) as u32).collect()
}

/// Connections over loopback and their far ends. Each call uses a port of its own, so that ports that wait for late
/// packets are not in the way.
pub fn loopback(connections: usize) -> io::Result<(Vec<TcpStream>, Vec<std::net::TcpStream>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let pair = |_| {
        let near = std::net::TcpStream::connect(listener.local_addr()?)?;
        near.set_nonblocking(true)?;
        Ok((TcpStream::from_std(near), listener.accept()?.0))
    };
    (0..connections).map(pair).collect()
}

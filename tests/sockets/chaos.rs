//! A host and its peers in threads of their own: the far ends act whenever they like, also in the very moment of a
//! hand-out.

use crate::common::PLAIN;
use crate::common::random::{Random, for_seeds};
use crate::far::{Act, Far, Near, PATIENCE};
use crate::{alone, descriptors, leased};
use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ConnId, Handled, Owner, Peer, Reason};
use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 1_500;
const AT_ONCE: usize = 8;
const ANSWERS_PER_ACT: usize = 3;

/// What each far end has done, by the number of its connection.
#[derive(Default)]
struct Ledger {
    /// It is about to act.
    acting: AtomicBool,
    /// It has acted: one more than the act's place in `Act::ALL`.
    acted: AtomicU8,
}

/// Answers requests, and acts at random moments: at most once for `ANSWERS_PER_ACT` answers, so that connections are
/// used again however fast this thread runs beside the host's.
fn far_ends(listener: TcpListener, ledger: Arc<Vec<Ledger>>, over: Arc<AtomicBool>, mut random: Random) {
    listener.set_nonblocking(true).unwrap();
    let mut ends: Vec<(Option<u64>, std::net::TcpStream)> = Vec::new();
    let mut retired = Vec::new();
    let (mut answers, mut acts) = (0, 0);
    while !over.load(Ordering::SeqCst) {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            ends.push((None, stream));
        }
        for (number, stream) in &mut ends {
            let mut request = [0; 8];
            if let Ok(8) = stream.read(&mut request) {
                *number = Some(u64::from_le_bytes(request));
                let _ = stream.write_all(&request);
                answers += 1;
            }
        }
        ends.retain(|(_, stream)| !matches!(stream.peek(&mut [0]), Ok(0)));
        if acts * ANSWERS_PER_ACT < answers && !ends.is_empty() && random.one_in(3) {
            let at = random.below(ends.len());
            let Some(number) = ends[at].0 else { continue };
            acts += 1;
            let act = random.below(Act::ALL.len());
            let (_, stream) = ends.swap_remove(at);
            let entry = &ledger[number as usize];
            entry.acting.store(true, Ordering::SeqCst);
            // A connection that its host has closed meanwhile may refuse.
            let left = std::panic::catch_unwind(|| Far::Tcp(stream).act(Act::ALL[act])).unwrap_or_default();
            retired.extend(left);
            entry.acted.store(act as u8 + 1, Ordering::SeqCst);
        }
        thread::yield_now();
    }
}

struct Job {
    number: usize,
    sent: bool,
    answer: Vec<u8>,
}

struct Client {
    poll: Poll,
    cache: AggressiveCache<TcpStream>,
    peer: Peer,
    to: SocketAddr,
    ledger: Arc<Vec<Ledger>>,
    numbers: HashMap<ConnId, usize>,
    jobs: HashMap<ConnId, Job>,
    opened: usize,
    done: usize,
    lost: usize,
}

impl Client {
    fn start_job(&mut self) {
        let now = Instant::now();
        let known: HashSet<usize> = self.known_dead().collect();
        if let Some(found) = self.cache.checkout(now, &self.peer, PLAIN, Owner(0)) {
            leased(&mut self.numbers, found.id);
            let number = self.numbers[&found.id];
            assert!(!known.contains(&number), "connection {number} was handed out after its far end had acted");
            self.jobs.insert(found.id, Job { number, sent: false, answer: Vec::new() });
            self.drive(found.id, true);
        } else if self.opened < CONNECTIONS {
            let stream = TcpStream::connect(self.to).unwrap();
            let id = self.cache.insert(now, stream, &self.peer, PLAIN, Owner(0)).unwrap_or_else(|e| panic!("{e}"));
            self.numbers.insert(id, self.opened);
            self.jobs.insert(id, Job { number: self.opened, sent: false, answer: Vec::new() });
            self.opened += 1;
        }
    }

    /// The inactive ones whose far end has acted, as the kernel knows on this side.
    fn known_dead(&self) -> impl Iterator<Item = usize> {
        self.cache.iter().filter(|entry| entry.state.is_inactive()).filter_map(|entry| {
            let number = self.numbers[&entry.id];
            let act = Act::ALL[self.ledger[number].acted.load(Ordering::SeqCst).checked_sub(1)? as usize];
            entry.conn.has_felt(act).then_some(number)
        })
    }

    fn drive(&mut self, id: ConnId, writable: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let conn = &mut self.cache[id];
        if !job.sent && writable {
            job.sent = conn.write_all(&(job.number as u64).to_le_bytes()).is_ok();
            if !job.sent {
                return self.lose(id);
            }
        }
        let mut buffer = [0; 64];
        while job.answer.len() < 8 {
            match conn.read(&mut buffer) {
                Ok(n) if n > 0 => job.answer.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => return self.lose(id),
            }
        }
        if job.answer != (job.number as u64).to_le_bytes() {
            return self.lose(id);
        }
        self.jobs.remove(&id);
        self.done += 1;
        let evicted = self.cache.checkin(Instant::now(), id).unwrap();
        assert!(evicted.is_none_or(|evicted| evicted.id == id && self.has_acted(id)));
    }

    fn has_acted(&self, id: ConnId) -> bool {
        self.ledger[self.numbers[&id]].acting.load(Ordering::SeqCst)
    }

    /// An exchange failed: only because the far end acted meanwhile.
    fn lose(&mut self, id: ConnId) {
        let job = self.jobs.remove(&id).unwrap();
        assert!(self.has_acted(id), "connection {} failed though its far end is well: {job:?}", job.number);
        self.lost += 1;
        drop(self.cache.close_connection(id).unwrap());
    }

    fn run(&mut self) {
        let (mut events, begin) = (Events::with_capacity(4), Instant::now());
        while self.opened < CONNECTIONS || !self.jobs.is_empty() {
            assert!(begin.elapsed() < 6 * PATIENCE, "opened {}, done {}", self.opened, self.done);
            while self.jobs.len() < AT_ONCE && self.opened < CONNECTIONS {
                self.start_job();
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
            for event in &events {
                match self.cache.handle_event(event) {
                    Handled::Active { id, .. } => self.drive(id, event.is_writable()),
                    Handled::Evicted(evicted) => {
                        assert!(self.has_acted(evicted.id), "{evicted:?} though its far end is well");
                        assert_ne!(evicted.reason, Reason::NotConnected);
                    }
                    Handled::Nothing => {}
                    Handled::Rejected => panic!("no one else is here"),
                }
            }
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sent: {}, answer: {:?}", self.sent, self.answer)
    }
}

#[test]
fn a_far_end_that_acted_before_the_hand_out_is_never_met() {
    let _alone = alone();
    for_seeds(300..302, |seed| {
        let before = descriptors();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let ledger: Arc<Vec<Ledger>> = Arc::new((0..CONNECTIONS).map(|_| Ledger::default()).collect());
        let over = Arc::new(AtomicBool::new(false));
        let serving = thread::spawn({
            let (ledger, over) = (Arc::clone(&ledger), Arc::clone(&over));
            move || far_ends(listener, ledger, over, Random::new(seed))
        });
        let poll = Poll::new().unwrap();
        let mut client = Client {
            cache: AggressiveCache::builder().build(poll.registry()).unwrap(),
            poll,
            peer: Peer::direct("127.0.0.1", to.port()),
            to,
            ledger,
            numbers: HashMap::new(),
            jobs: HashMap::new(),
            opened: 0,
            done: 0,
            lost: 0,
        };
        client.run();
        // All but a few of the connections ended by an act, and each act had its answers before.
        let stats = client.cache.stats();
        assert!(stats.handed_out > CONNECTIONS as u64, "{stats:?}");
        assert!(client.done > client.lost, "{} done, {} lost", client.done, client.lost);
        over.store(true, Ordering::SeqCst);
        serving.join().unwrap();
        drop(client);
        assert_eq!(descriptors(), before, "descriptors are left over");
    });
}

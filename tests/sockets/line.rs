//! Many clients share few connections to a server that kills them at random: every answer is right, never more are open
//! than allowed, and everybody is served in turn.

use crate::common::random::Random;
use crate::common::{PLAIN, SECOND};
use crate::{alone, descriptors};
use conncache::mio::net::{TcpListener, TcpStream};
use conncache::mio::{Events, Interest, Poll, Token};
use conncache::{AggressiveCache, ConnId, Granted, Handled, Owner, Peer, Place, Requested, WaiterId};
use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where edges are emulated, each exchange takes long.
const CLIENTS: usize = if cfg!(mio_unsupported_force_poll_poll) { 50 } else { 200 };
const REQUESTS: usize = 50;
const MOST: usize = 4;

/// Answers lines by themselves, and hangs up at random: the most connections that were open at a time, and how many
/// requests it left unanswered.
fn serve(mut listener: TcpListener, done: Arc<AtomicBool>) -> (usize, usize) {
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(64));
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    let (mut random, mut next, mut most, mut unanswered) = (Random::new(1), 1, 0, 0);
    let mut connections: HashMap<usize, TcpStream> = HashMap::new();
    while !done.load(Ordering::Relaxed) {
        if poll.poll(&mut events, Some(SECOND / 20)).is_err() {
            continue;
        }
        // Those that were closed before another one was opened have to be seen first.
        while let Ok((mut connection, _)) = listener.accept() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut connection, Token(next), interest).unwrap();
            connections.retain(|_, other| {
                !matches!(other.peek(&mut [0]), Ok(0)) && other.take_error().is_ok_and(|error| error.is_none())
            });
            connections.insert(next, connection);
            (next, most) = (next + 1, most.max(connections.len()));
        }
        let mut buffer = [0; 100];
        connections.retain(|_, connection| {
            loop {
                match connection.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Ok(0) | Err(_) => return false,
                    // Nobody sends a second line before the first one was answered.
                    Ok(_) if random.one_in(40) => {
                        unanswered += 1;
                        return false;
                    }
                    Ok(read) if connection.write_all(&buffer[..read]).is_err() || random.one_in(40) => return false,
                    Ok(_) => {}
                }
            }
        });
    }
    (most, unanswered)
}

#[derive(Default)]
struct Client {
    answered: usize,
    /// Its connection, and whether the request was sent.
    has: Option<(ConnId, bool)>,
    waits: Option<WaiterId>,
    received: Vec<u8>,
    /// It will not wait for this connection.
    is_tired: bool,
    left: bool,
}

struct Host {
    poll: Poll,
    cache: AggressiveCache<TcpStream>,
    clients: Vec<Client>,
    peer: Peer,
    address: SocketAddr,
    /// Those that stopped waiting, which must not be served.
    gone: HashSet<WaiterId>,
    latest: Option<WaiterId>,
}

impl Host {
    fn ask(&mut self, client: usize) {
        match self.cache.request(Instant::now(), &self.peer, PLAIN, Owner(client as u64), None).unwrap() {
            Requested::Wait(waiter) => self.clients[client].waits = Some(waiter),
            Requested::Reuse(found) => self.has(client, found.id, true),
            Requested::Open { place, .. } => self.open(client, place),
        }
    }

    fn open(&mut self, client: usize, place: Place) {
        let stream = TcpStream::connect(self.address).unwrap();
        let id = self.cache.insert_at(Instant::now(), place, stream).unwrap();
        self.has(client, id, false);
        let counts = self.cache.counts();
        assert!(counts.active + counts.inactive + counts.places <= MOST);
    }

    fn has(&mut self, client: usize, id: ConnId, connected: bool) {
        self.clients[client].has = Some((id, false));
        self.clients[client].received.clear();
        if connected {
            self.ready(client);
        }
    }

    fn text(&self, client: usize) -> String {
        format!("client {client}, request {}\n", self.clients[client].answered)
    }

    /// Goes on with a client's connection.
    fn ready(&mut self, client: usize) {
        let text = self.text(client);
        let Client { has: Some((id, sent)), received, .. } = &mut self.clients[client] else { return };
        let (id, stream) = (*id, &mut self.cache[*id]);
        let mut failed = false;
        if !*sent {
            match stream.write(text.as_bytes()) {
                Ok(written) => *sent = written == text.len(),
                Err(error) => failed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected),
            }
        }
        while *sent && !failed {
            let mut buffer = [0; 100];
            match stream.read(&mut buffer) {
                Ok(0) => failed = true,
                Ok(read) => received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => failed = true,
            }
        }
        if received.ends_with(b"\n") {
            assert_eq!(String::from_utf8_lossy(received), text, "somebody else's answer");
            self.clients[client].answered += 1;
            self.clients[client].has = None;
            drop(self.cache.checkin(Instant::now(), id).unwrap());
        } else if failed {
            self.clients[client].has = None;
            drop(self.cache.close_connection(id).unwrap());
        }
    }

    /// Each who waits came later than whoever was served before: there is one line.
    fn grants(&mut self) {
        while let Some(grant) = self.cache.grant(Instant::now()) {
            assert!(!self.gone.contains(&grant.waiter) && Some(grant.waiter) > self.latest, "out of turn");
            self.latest = Some(grant.waiter);
            let client = grant.owner.0 as usize;
            assert_eq!(self.clients[client].waits.take(), Some(grant.waiter));
            match grant.granted {
                Granted::Reuse(found) => self.has(client, found.id, true),
                Granted::Open { place, .. } => self.open(client, place),
                other => panic!("{other:?}"),
            }
        }
    }

    fn turn(&mut self, events: &mut Events, random: &mut Random) {
        for client in 0..CLIENTS {
            let it = &mut self.clients[client];
            let is_done = it.left || it.answered == REQUESTS;
            if let Some(waiter) = it.waits.filter(|_| it.is_tired) {
                self.cache.withdraw(waiter).unwrap();
                (it.waits, it.left) = (None, true);
                self.gone.insert(waiter);
            } else if it.has.is_none() && it.waits.is_none() && !is_done {
                it.is_tired = random.one_in(400);
                self.ask(client);
            }
        }
        self.grants();
        let until = self.cache.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        // Who has got a connection at once, or answered at once, goes on.
        let busy =
            self.clients.iter().any(|it| it.has.is_none() && it.waits.is_none() && !it.left && it.answered < REQUESTS);
        let until = if busy { Some(Duration::ZERO) } else { Some(until.unwrap_or(SECOND).min(SECOND)) };
        if self.poll.poll(events, until).is_err() {
            return;
        }
        for event in &*events {
            match self.cache.handle_event(event) {
                Handled::Active { owner, .. } => self.ready(owner.0 as usize),
                Handled::Evicted(evicted) => drop(evicted),
                Handled::Nothing => {}
                Handled::Rejected => panic!("{event:?}"),
            }
        }
        while let Some(evicted) = self.cache.expire(Instant::now()) {
            drop(evicted);
        }
    }
}

#[test]
fn many_clients_share_few_connections_to_a_server_that_kills_them() {
    let _alone = alone();
    let before = descriptors();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let (address, done) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let server = std::thread::spawn({
        let done = Arc::clone(&done);
        move || serve(listener, done)
    });
    let poll = Poll::new().unwrap();
    let cache = AggressiveCache::builder().max_connections_per_peer(MOST).build(poll.registry()).unwrap();
    let clients = (0..CLIENTS).map(|_| Client::default()).collect();
    let peer = Peer::from(address);
    let mut host = Host { poll, cache, clients, peer, address, gone: HashSet::new(), latest: None };
    let (mut events, mut random, start) = (Events::with_capacity(64), Random::new(2), Instant::now());
    while host.clients.iter().any(|client| !client.left && client.answered < REQUESTS) {
        host.turn(&mut events, &mut random);
        assert!(start.elapsed() < 300 * SECOND, "somebody is forgotten");
    }
    let stats = host.cache.stats();
    assert_eq!((stats.waiting, stats.places, stats.active), (0, 0, 0));
    done.store(true, Ordering::Relaxed);
    let (most, unanswered) = server.join().unwrap();
    let answered: usize = host.clients.iter().map(|client| client.answered).sum();
    println!("{answered} answers, {unanswered} repeated, {} connections, {} left", stats.inserted, host.gone.len());
    assert!(most <= MOST, "the server saw {most}");
    assert!(unanswered > CLIENTS / 4 && !host.gone.is_empty() && stats.handed_out as usize > 25 * CLIENTS, "{stats:?}");
    drop(host);
    assert_eq!(descriptors(), before, "descriptors are left over");
}

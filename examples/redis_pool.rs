//! Many clients share a few connections: the number of connections to the server is limited, and the other clients wait
//! in line, first come, first served.
//!
//! `cargo run --example redis_pool` uses a server of its own, which hangs up on every tenth request;
//! `cargo run --example redis_pool -- 127.0.0.1:6379` uses Redis.

use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ChannelBindingId, ConnId, Granted, Handled, Owner, Peer, Place, Requested};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

const CLIENTS: usize = 200;
const REQUESTS: usize = 50;
const CONNECTIONS: usize = 4;
const MOST_FAILURES: usize = 20;
const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;

/// What a client is doing: its requests are answered one after the other.
#[derive(Default)]
struct Client {
    answered: usize,
    sent: bool,
    answer: Vec<u8>,
    /// How often the present request has failed.
    failed: usize,
}

struct Pool {
    cache: AggressiveCache<TcpStream>,
    server: SocketAddr,
    peer: Peer,
    now: Instant,
    clients: Vec<Client>,
    repeated: usize,
}

fn main() -> io::Result<()> {
    let server = match std::env::args().nth(1) {
        Some(address) => address.parse().map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?,
        None => serve()?,
    };
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    let cache = AggressiveCache::builder().max_connections_per_peer(CONNECTIONS).build(poll.registry())?;
    let clients = (0..CLIENTS).map(|_| Client::default()).collect();
    let mut pool = Pool { cache, server, peer: server.into(), now: Instant::now(), clients, repeated: 0 };
    for client in 0..CLIENTS {
        pool.request(client)?;
    }
    while pool.clients.iter().any(|client| client.answered < REQUESTS) {
        let timeout = pool.cache.next_deadline().map(|at| at.saturating_duration_since(pool.now));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        pool.now = Instant::now();
        for event in &events {
            if let Handled::Active { id, owner } = pool.cache.handle_event(event) {
                pool.drive(id, owner.0 as usize)?;
            }
        }
        while let Some(grant) = pool.cache.grant(pool.now) {
            let client = grant.owner.0 as usize;
            match grant.granted {
                Granted::Reuse(found) => pool.drive(found.id, client)?,
                Granted::Open { place, evicted } => {
                    drop(evicted); // first close what made room
                    pool.open(place)?;
                }
                other => return Err(io::Error::other(format!("client {client}: {other:?}"))),
            }
        }
        while pool.cache.expire(pool.now).is_some() {}
        assert!(pool.cache.iter().count() <= CONNECTIONS);
    }
    let stats = pool.cache.stats();
    println!("{CLIENTS} clients have {REQUESTS} answers each, over {} connections", stats.inserted);
    println!("{} requests waited; {} were repeated after a hangup", stats.waited, pool.repeated);
    Ok(())
}

impl Pool {
    /// A client wants a connection for its next request.
    fn request(&mut self, client: usize) -> io::Result<()> {
        match self.cache.request(self.now, &self.peer, PLAIN, Owner(client as u64), None)? {
            Requested::Reuse(found) => self.drive(found.id, client),
            Requested::Open { place, evicted } => {
                drop(evicted);
                self.open(place)
            }
            Requested::Wait(_) => Ok(()),
        }
    }

    fn open(&mut self, place: Place) -> io::Result<()> {
        let conn = TcpStream::connect(self.server)?;
        self.cache.insert_at(self.now, place, conn)?; // an event tells when it is connected
        Ok(())
    }

    /// Sends the client's request if it isn't sent, and reads its answer as far as it is there.
    fn drive(&mut self, id: ConnId, client: usize) -> io::Result<()> {
        let (state, conn) = (&mut self.clients[client], &mut self.cache[id]);
        let text = format!("{client}-{}", state.answered);
        let sent = match state.sent {
            // A request this short is written completely or not at all.
            false => conn.write(format!("ECHO {text}\r\n").as_bytes()).map(|_| state.sent = true),
            true => Ok(()),
        };
        let mut buffer = [0; 64];
        match sent.and_then(|()| conn.read(&mut buffer)) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return Ok(()),
            Ok(length) if length > 0 => state.answer.extend(&buffer[..length]),
            // The server has hung up. This request may be repeated.
            failure => {
                drop(self.cache.close_connection(id)?);
                if state.failed == MOST_FAILURES {
                    return Err(failure.err().unwrap_or(ErrorKind::UnexpectedEof.into()));
                }
                *state = Client { answered: state.answered, failed: state.failed + 1, ..Client::default() };
                self.repeated += 1;
                return self.request(client);
            }
        }
        let whole = format!("${}\r\n{text}\r\n", text.len());
        if state.answer.len() < whole.len() {
            return self.drive(id, client);
        }
        assert_eq!(String::from_utf8_lossy(&state.answer), whole, "another client's answer");
        *state = Client { answered: state.answered + 1, ..Client::default() };
        // The whole request was sent, and its whole answer was read: somebody else may have the connection.
        drop(self.cache.checkin(self.now, id)?);
        if self.clients[client].answered < REQUESTS { self.request(client) } else { Ok(()) }
    }
}

/// A server that knows only `ECHO`, and hangs up instead of answering every tenth request.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for (first, stream) in listener.incoming().flatten().enumerate() {
            std::thread::spawn(move || {
                let mut requests = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                for number in first.. {
                    let (Some(request), false) = (requests.next(), number % 10 == 9) else { return };
                    let text = request.strip_prefix("ECHO ").unwrap_or_default();
                    let _ = (&stream).write_all(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
                }
            });
        }
    });
    Ok(address)
}

//! No loop at all: threads that block, and a cache behind a mutex.

use crate::client::{AT_ONCE, IDLE_TIMEOUT, REQUESTS, exchange};
use crate::server::Server;
use conncache::mio::{Interest, Token};
use conncache::{AggressiveCache, ChannelBindingId, History, ParkOptions, Peer, Reason, Unwatched};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;

type Cache = AggressiveCache<Unwatched<TcpStream>>;

pub fn run(name: &str) -> io::Result<()> {
    let server = Server::start(1)?;
    let cache: Cache = AggressiveCache::builder().idle_timeout(IDLE_TIMEOUT).build_unwatched()?;
    let (cache, numbers, peer) = (Mutex::new(cache), Mutex::new(1..=REQUESTS), Peer::from(server.addr));
    let next = || numbers.lock().expect("nobody panics with it").next();
    let work = || std::iter::from_fn(next).try_for_each(|number| fetch(&cache, &server, &peer, number));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it doesn't panic"))
    })?;
    server.client_is_done();
    let mut cache = cache.into_inner().expect("nobody panics with it");
    while cache.counts().inactive > 0 {
        drop(cache.sweep(16)); // no event reports the hangups
        thread::yield_now();
    }
    let stats = cache.stats();
    assert_eq!(stats.handed_out, stats.left(Reason::Taken), "{name}: every other one was hung up on");
    let reasons: Vec<_> = stats.reasons().collect();
    println!("{name}: {REQUESTS} requests answered, {} on reused connections; left: {reasons:?}", stats.handed_out);
    Ok(())
}

fn fetch(cache: &Mutex<Cache>, server: &Server, peer: &Peer, number: usize) -> io::Result<()> {
    let lock = || cache.lock().expect("nobody panics with it");
    // Without a `Poll`, the token and the interest aren't used.
    let reused = lock().take(Instant::now(), peer, PLAIN, Token(0), Interest::READABLE)?;
    let reused = match reused.map(|taken| (exchange(&taken.conn.0, number), taken)) {
        Some((Ok(()), taken)) => Some((taken.conn.0, taken.history)),
        Some((Err(error), _)) if error.kind() == ErrorKind::InvalidData => return Err(error),
        Some((Err(_), _)) | None => None, // the server has closed it in the meantime
    };
    let (stream, history) = match reused {
        Some(reused) => reused,
        None => {
            let (stream, history) = (TcpStream::connect(server.addr)?, History::opened_at(Instant::now()));
            exchange(&stream, number)?;
            (stream, history)
        }
    };
    stream.set_nonblocking(true)?; // or a probe would block everybody
    drop(lock().park(Instant::now(), Unwatched(stream), peer, PLAIN, ParkOptions::default().history(history))?);
    Ok(())
}

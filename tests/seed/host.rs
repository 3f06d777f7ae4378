//! A whole host that knows the trait only.

use crate::PLAIN;
use crate::policies::CloseAfter;
use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, Cache, ConnId, ConnectionCache, Handled, Owner, Peer, Reason, RestrictiveCache};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

const REQUESTS: u64 = 200;
const AT_ONCE: u64 = 4;

/// Echoes; hangs up on each connection after five exchanges.
fn serve(listener: TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 8];
        if stream.peek(&mut request).is_ok_and(|n| n == 8) && request == [0xff; 8] {
            return;
        }
        thread::spawn(move || {
            for _ in 0..5 {
                if stream.read_exact(&mut request).is_err() || stream.write_all(&request).is_err() {
                    return;
                }
            }
        });
    }
}

/// What an owner is at.
struct Task {
    request: u64,
    sent: bool,
    reused: bool,
    answer: Vec<u8>,
}

/// Does all requests over whatever cache it is given: how many it had to repeat.
fn host(poll: &mut Poll, cache: &mut dyn ConnectionCache<TcpStream>, to: std::net::SocketAddr) -> io::Result<u64> {
    let peer = Peer::direct("127.0.0.1", to.port());
    let (mut events, mut tasks) = (Events::with_capacity(16), HashMap::new());
    let (mut todo, mut repeated): (Vec<u64>, u64) = ((0..REQUESTS).collect(), 0);
    let begin = Instant::now();
    while !todo.is_empty() || !tasks.is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{} left to do", todo.len());
        let now = Instant::now();
        for owner in (0..AT_ONCE).map(Owner) {
            if !cache.find_my_connections(owner).is_empty() {
                continue;
            }
            let Some(request) = todo.pop() else { break };
            let found = cache.checkout(now, &peer, PLAIN, owner);
            let reused = found.is_some();
            let id = match found {
                Some(found) => found.id,
                None => cache.insert(now, TcpStream::connect(to)?, &peer, PLAIN, owner)?,
            };
            tasks.insert(id, Task { request, sent: false, reused, answer: Vec::new() });
            if reused {
                drive(cache, &mut tasks, id, true, &mut todo, &mut repeated);
            }
        }
        match poll.poll(&mut events, Some(Duration::from_secs(1))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        for event in &events {
            match cache.handle_event(event) {
                Handled::Active { id, .. } => {
                    drive(cache, &mut tasks, id, event.is_writable(), &mut todo, &mut repeated)
                }
                Handled::Evicted(evicted) => assert_eq!(evicted.reason, Reason::HungUp),
                Handled::Nothing => {}
                Handled::Rejected => panic!("no one else is here"),
            }
        }
        while cache.expire(Instant::now()).is_some() {}
    }
    Ok(repeated)
}

fn drive(
    cache: &mut dyn ConnectionCache<TcpStream>,
    tasks: &mut HashMap<ConnId, Task>,
    id: ConnId,
    writable: bool,
    todo: &mut Vec<u64>,
    repeated: &mut u64,
) {
    let Some(task) = tasks.get_mut(&id) else { return };
    let conn = cache.get_mut(id).expect("a task's connection is here");
    let mut advance = || -> io::Result<bool> {
        if !task.sent {
            if !writable {
                return Ok(false);
            }
            conn.write_all(&task.request.to_le_bytes())?;
            task.sent = true;
        }
        let mut buffer = [0; 8];
        while task.answer.len() < 8 {
            match conn.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => task.answer.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    };
    match advance() {
        Ok(false) => {}
        Ok(true) => {
            assert_eq!(task.answer, task.request.to_le_bytes());
            tasks.remove(&id);
            drop(cache.checkin(Instant::now(), id).unwrap());
        }
        Err(error) => {
            assert!(task.reused, "a new connection failed: {error}");
            todo.push(task.request);
            *repeated += 1;
            tasks.remove(&id);
            drop(cache.close_connection(id).unwrap());
        }
    }
}

#[test]
fn a_host_that_knows_the_trait_alone_runs_with_any_cache() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let serving = thread::spawn(move || serve(listener));
    for kind in 0..3 {
        let mut poll = Poll::new().unwrap();
        let mut cache: Box<dyn ConnectionCache<TcpStream>> = match kind {
            0 => Box::new(RestrictiveCache::builder().build(poll.registry()).unwrap()),
            1 => Box::new(AggressiveCache::builder().build(poll.registry()).unwrap()),
            _ => Box::new(Cache::with_policy(CloseAfter(Duration::from_secs(60))).build(poll.registry()).unwrap()),
        };
        let repeated = host(&mut poll, &mut *cache, to).unwrap();
        let stats = cache.stats();
        assert_eq!(stats.inserted + stats.handed_out, REQUESTS + repeated, "{stats:?}");
        match kind {
            0 => assert_eq!((stats.inserted, stats.handed_out), (REQUESTS, 0)),
            _ => assert!(stats.handed_out > REQUESTS / 2, "{stats:?}"),
        }
        cache.close_all();
        assert_eq!(cache.stats().left_in_all(), cache.stats().inserted);
    }
    std::net::TcpStream::connect(to).unwrap().write_all(&[0xff; 8]).unwrap();
    serving.join().unwrap();
}

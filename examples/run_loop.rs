//! The smallest complete host: one loop, one cache, and a server of its own on loopback.
//!
//! It connects, sends a line and reads the answer, gives the connection back, gets the same one again, and does the
//! same with a second line. Then the server hangs up, and the cache evicts the connection.

use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use conncache::{AggressiveCache, ChannelBindingId, Handled, Owner, Peer};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;
const ME: Owner = Owner(1);
const LINES: [&str; 2] = ["first\n", "second\n"];

fn main() -> io::Result<()> {
    let (addr, hang_up, serving) = serve()?;
    let mut hang_up = Some(hang_up);

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut cache: AggressiveCache<TcpStream> =
        AggressiveCache::builder().idle_timeout(Duration::from_secs(60)).max_inactive(100).build(poll.registry())?;
    let peer = Peer::direct("127.0.0.1", addr.port());

    let mut now = Instant::now();
    let (mut sent, mut answered, mut answer) = (0, 0, Vec::new());
    let id = cache.insert(now, TcpStream::connect(addr)?, &peer, PLAIN, ME)?;
    println!("{id}: opened to {peer}");
    'running: loop {
        match poll.poll(&mut events, cache.next_deadline().map(|at| at.saturating_duration_since(now))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        now = Instant::now();
        for event in &events {
            match cache.handle_event(event) {
                Handled::Rejected => println!("not the cache's: {event:?}"),
                Handled::Nothing => {}
                Handled::Evicted(evicted) => {
                    println!("{}: evicted, {}", evicted.id, evicted.reason);
                    break 'running;
                }
                Handled::Active { id, .. } => {
                    if sent == 0 && event.is_writable() {
                        cache[id].take_error()?.map_or(Ok(()), Err)?; // is it connected?
                        send(&mut cache[id], LINES[0])?;
                        sent = 1;
                    }
                    if !event.is_readable() || !read_line(&mut cache[id], &mut answer)? {
                        continue; // not complete: another event will come
                    }
                    println!("{id}: answered {:?}", String::from_utf8_lossy(&answer));
                    answer.clear();
                    answered += 1;
                    if let Some(refused) = cache.checkin(now, id)? {
                        println!("{}: not kept, {}", refused.id, refused.reason);
                    }
                    if answered < LINES.len() {
                        let found = cache.checkout(now, &peer, PLAIN, ME).expect("it is inactive and still good");
                        println!("{}: reused after {:?}", found.id, found.inactive_for);
                        send(&mut cache[found.id], LINES[sent])?; // at once: no event will say it is writable
                        sent += 1;
                    } else {
                        drop(hang_up.take()); // tells the server to hang up
                    }
                }
            }
        }
        while let Some(evicted) = cache.expire(now) {
            println!("{}: evicted, {}", evicted.id, evicted.reason);
        }
    }
    let stats = cache.stats();
    println!("opened {}, reused {}, left {}", stats.inserted, stats.handed_out, stats.left_in_all());
    serving.join().expect("the server doesn't panic")
}

fn send(conn: &mut TcpStream, line: &str) -> io::Result<()> {
    conn.write_all(line.as_bytes()) // so few bytes always fit
}

/// Reads until the line is complete, or reading would block.
fn read_line(conn: &mut TcpStream, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 1024];
    while !line.ends_with(b"\n") {
        match conn.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => line.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Answers two lines of one client, each with itself, and hangs up once the sender is dropped.
fn serve() -> io::Result<(SocketAddr, Sender<()>, JoinHandle<io::Result<()>>)> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let addr = server.local_addr()?;
    let (hang_up, told) = mpsc::channel();
    let serving = thread::spawn(move || {
        let (conn, _) = server.accept()?;
        for line in BufReader::new(&conn).lines().take(2) {
            (&conn).write_all(format!("{}\n", line?).as_bytes())?;
        }
        let _ = told.recv();
        Ok(())
    });
    Ok((addr, hang_up, serving))
}

//! A host with a table of its own: its sessions own sockets and tokens, and only the inactive connections are in the
//! cache.
//!
//! A session connects, sends a line and reads the answer, and parks its connection. The next session takes the
//! connection, under another token, does the same, and parks it. Then the server hangs up, and the cache evicts the
//! connection.

use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Interest, Poll, Token};
use conncache::{AggressiveCache, ChannelBindingId, Handled, History, ParkOptions, Peer};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

const PLAIN: ChannelBindingId = ChannelBindingId::PLAIN;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// What this host knows of a connection in use. Its index in the table is its token.
struct Session {
    conn: TcpStream,
    history: History,
    asked: bool,
    answer: Vec<u8>,
}

fn main() -> io::Result<()> {
    let (addr, hang_up, serving) = serve()?;
    let mut hang_up = Some(hang_up);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    // Tokens below 1,000 are for the sessions.
    let mut cache: AggressiveCache<TcpStream> =
        AggressiveCache::builder().tokens(1_000..2_000).build(poll.registry())?;
    let peer = Peer::direct("127.0.0.1", addr.port());

    let mut sessions: Vec<Option<Session>> = Vec::new();
    let mut now = Instant::now();
    let mut conn = TcpStream::connect(addr)?;
    poll.registry().register(&mut conn, Token(0), BOTH)?;
    sessions.push(Some(Session::new(conn, History::opened_at(now))));
    println!("session 0: opened to {peer}");
    'running: loop {
        match poll.poll(&mut events, cache.next_deadline().map(|at| at.saturating_duration_since(now))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        now = Instant::now();
        for event in &events {
            match cache.handle_event(event) {
                Handled::Evicted(evicted) => {
                    println!("evicted: {}", evicted.reason);
                    break 'running;
                }
                Handled::Nothing | Handled::Active { .. } => {}
                Handled::Rejected => {
                    let token = event.token();
                    let Some(slot) = sessions.get_mut(token.0) else { continue };
                    if !slot.as_mut().map_or(Ok(false), |session| session.drive(event))? {
                        continue; // an old event, or more to come
                    }
                    let Session { conn, history, answer, .. } = slot.take().expect("it was driven");
                    println!("session {}: answered {:?}, parks", token.0, String::from_utf8_lossy(&answer));
                    let parked = cache.park(now, conn, &peer, PLAIN, ParkOptions::default().history(history))?;
                    drop(parked.evicted); // nothing, because there is no limit
                    let next = sessions.len();
                    if next == 2 {
                        drop(hang_up.take()); // tells the server to hang up
                        continue;
                    }
                    let taken =
                        cache.take(now, &peer, PLAIN, Token(next), BOTH)?.expect("it is inactive and still good");
                    println!("session {next}: takes it after {:?}", taken.inactive_for);
                    sessions.push(Some(Session::new(taken.conn, taken.history)));
                }
            }
        }
        while cache.expire(now).is_some() {}
    }
    serving.join().expect("the server doesn't panic")
}

impl Session {
    fn new(conn: TcpStream, history: History) -> Session {
        Session { conn, history, asked: false, answer: Vec::new() }
    }

    /// Asks as soon as that is possible. Returns whether the answer is complete.
    fn drive(&mut self, event: &conncache::mio::event::Event) -> io::Result<bool> {
        if !self.asked && event.is_writable() {
            self.conn.take_error()?.map_or(Ok(()), Err)?;
            self.conn.write_all(b"hello\n")?; // so few bytes always fit
            self.asked = true;
        }
        match event.is_readable().then(|| self.conn.read_to_end(&mut self.answer)) {
            None => Ok(false),
            Some(Ok(_)) => Err(ErrorKind::UnexpectedEof.into()),
            Some(Err(e)) if e.kind() == ErrorKind::WouldBlock => Ok(self.answer.ends_with(b"\n")),
            Some(Err(e)) => Err(e),
        }
    }
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

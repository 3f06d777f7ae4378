//! mio on two threads, each with a loop and a cache of its own.

use crate::client::{Client, IDLE_TIMEOUT};
use conncache::AggressiveCache;
use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll};
use std::io::{self, ErrorKind};
use std::thread;
use std::time::Instant;

pub fn run(name: &str) -> io::Result<()> {
    let threads = [1, 2].map(|number| {
        let name = format!("{name}, thread {number}");
        thread::spawn(move || serve(&name))
    });
    threads.into_iter().try_for_each(|thread| thread.join().expect("it doesn't panic"))
}

fn serve(name: &str) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
    let cache = AggressiveCache::builder().idle_timeout(IDLE_TIMEOUT).build(poll.registry())?;
    let mut client = Client::new(cache, TcpStream::connect)?;
    let mut now = Instant::now();
    while client.goes_on(now)? {
        let wait = client.cache.next_deadline().map(|at| at.saturating_duration_since(now));
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        now = Instant::now();
        for event in &events {
            client.handle_event(now, event)?;
        }
    }
    client.report(name);
    Ok(())
}

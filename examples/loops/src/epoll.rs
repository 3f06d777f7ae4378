//! epoll itself, by rustix: the host registers the connections, and the cache has no `Poll`.

use crate::client::{Client, IDLE_TIMEOUT};
use conncache::mio::Token;
use conncache::mio::net::TcpStream;
use conncache::{AggressiveCache, Handled};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io;
use std::time::Instant;

pub fn run_edge_triggered(name: &str) -> io::Result<()> {
    run(name, true)
}

pub fn run_level_triggered(name: &str) -> io::Result<()> {
    run(name, false)
}

fn run(name: &str, edges: bool) -> io::Result<()> {
    use epoll::EventFlags as Flags;
    let reading = Flags::IN | Flags::RDHUP;
    // Edges are reported once. Levels are reported again and again: for writing, wait only until connected.
    let (at_first, later) = if edges { (reading | Flags::OUT | Flags::ET, None) } else { (Flags::OUT, Some(reading)) };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let cache = AggressiveCache::builder().idle_timeout(IDLE_TIMEOUT).level_triggered(!edges).build_unwatched()?;
    let mut client: Client<TcpStream> = Client::new(cache, TcpStream::connect)?;
    let mut events = Vec::with_capacity(64);
    let mut now = Instant::now();
    while client.goes_on(now)? {
        for id in std::mem::take(&mut client.opened) {
            if let (Some(conn), Some(token)) = (client.cache.get(id), client.cache.token(id)) {
                epoll::add(&epoll, conn, epoll::EventData::new_u64(token.0 as u64), at_first)?;
            }
        }
        let wait = client.cache.next_deadline().map(|at| at.saturating_duration_since(now));
        let wait = wait.map(|wait| Timespec::try_from(wait).expect("it is short"));
        match epoll::wait(&epoll, spare_capacity(&mut events), wait.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            done => drop(done?),
        }
        now = Instant::now();
        for event in events.drain(..) {
            let (token, flags) = (event.data, event.flags);
            let read_closed = flags.intersects(Flags::RDHUP | Flags::HUP);
            let handled = client.cache.handle_readiness(Token(token.u64() as usize), read_closed);
            if let (Some(later), Handled::Active { id, .. }, true) = (later, &handled, flags.contains(Flags::OUT)) {
                epoll::modify(&epoll, &client.cache[*id], token, later)?;
            }
            client.handle(now, handled)?;
        }
    }
    client.report(name);
    Ok(())
}

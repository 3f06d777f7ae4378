//! mio on two threads, each with a loop and a cache of its own. In each turn, the first gives a connection to the second.

use crate::client::{Client, IDLE_TIMEOUT};
use crate::server::Server;
use conncache::mio::net::TcpStream;
use conncache::mio::{Events, Poll, Token, Waker};
use conncache::{AggressiveCache, Evicted, Owner};
use std::io::{self, ErrorKind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

pub fn run(name: &str) -> io::Result<()> {
    let (server, here, there) = (Arc::new(Server::start(2)?), Poll::new()?, Poll::new()?);
    let (waker, (sender, receiver)) = (Waker::new(there.registry(), Token(0))?, mpsc::channel::<Evicted<TcpStream>>());
    let (mut given, mut taken) = (0, 0);
    let mut give = |client: &mut Client<TcpStream>, _| {
        let Some(id) = client.cache.iter_inactive().next().map(|entry| entry.id) else { return Ok(()) };
        sender.send(client.cache.remove(id)?).map_err(|_| ErrorKind::BrokenPipe)?;
        given += 1;
        waker.wake()
    };
    let mut take = |client: &mut Client<TcpStream>, now| {
        for moving in receiver.try_iter() {
            let id = client.cache.adopt(now, moving, Owner(0))?;
            drop(client.cache.checkin(now, id)?);
            taken += 1;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let giving = scope.spawn(|| serve(&format!("{name}, giving"), &server, here, &mut give));
        serve(&format!("{name}, taking"), &server, there, &mut take)?;
        giving.join().expect("it doesn't panic")
    })?;
    assert!(given > 0 && given == taken, "{name}: {given} given, {taken} taken");
    Ok(())
}

type AtEnd<'a> = &'a mut dyn FnMut(&mut Client<TcpStream>, Instant) -> io::Result<()>;

fn serve(name: &str, server: &Arc<Server>, mut poll: Poll, at_end_of_turn: AtEnd) -> io::Result<()> {
    let cache = AggressiveCache::builder().idle_timeout(IDLE_TIMEOUT).build(poll.registry())?;
    let mut client = Client::of(Arc::clone(server), cache, TcpStream::connect);
    let (mut events, mut now) = (Events::with_capacity(64), Instant::now());
    while client.goes_on(now)? {
        match poll.poll(&mut events, client.cache.next_deadline().map(|at| at.saturating_duration_since(now))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done?,
        }
        now = Instant::now();
        for event in events.iter().filter(|event| event.token() != Token(0)) {
            client.handle_event(now, event)?;
        }
        at_end_of_turn(&mut client, now)?;
    }
    client.report(name);
    Ok(())
}

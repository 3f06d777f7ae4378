//! Where clients come in, and how the descriptors are shared out when they don't suffice.
//!
//! Clients must not take them all, or none of them could be answered: one descriptor is kept spare for an upstream
//! connection, requests without a connection wait in line for one, and nobody is let in before they have theirs. Meanwhile
//! clients are asked to close after their answers.

use crate::address::Listen;
use crate::client::{Client, Ending};
use crate::proxy::{Proxy, STATUS};
use conncache::mio::net::{TcpListener, TcpStream};
use conncache::mio::{Interest, Registry, Token};
use log::{info, warn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How many clients one turn lets in.
const MOST_ACCEPTS: usize = 64;
/// A client that has been idle for so long hardly has its next request on the way.
const SETTLED: Duration = Duration::from_secs(1);
/// For how long clients are asked to close, since descriptors last ran out.
const SHORTAGE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Doors {
    listeners: Vec<Door>,
    /// Descriptors ran out: there is no point in trying before one is closed.
    pub stuck: bool,
    /// When they last ran out.
    ran_out: Option<Instant>,
    /// Holds a descriptor for the one upstream connection that there has to be.
    spare: Option<Registry>,
}

struct Door {
    listener: TcpListener,
    token: Token,
    /// Somebody may be waiting.
    pending: bool,
}

impl Doors {
    /// Whether nobody is let in any more.
    pub fn are_shut(&self) -> bool {
        self.listeners.is_empty()
    }

    pub fn shut(&mut self, registry: &Registry) {
        for mut door in self.listeners.drain(..) {
            let _ = registry.deregister(&mut door.listener);
        }
    }
}

/// Binds each of the addresses, with the same port, once for each thread; returns those that there are, and the
/// listeners of each thread. A name may have addresses that this machine hasn't.
pub fn bind(listen: &Listen, threads: usize) -> io::Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>)> {
    let (mut bound, mut failed) = (Vec::<SocketAddr>::new(), None);
    let mut shares: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    for &(mut addr) in &listen.addrs {
        let any_port = addr.port() == 0;
        if let (true, Some(first)) = (any_port, bound.first()) {
            addr.set_port(first.port());
        }
        match bind_one(addr, threads) {
            Ok((addr, listeners)) => {
                bound.push(addr);
                shares.iter_mut().zip(listeners).for_each(|(share, listener)| share.push(listener));
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && !any_port => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok((bound, shares)),
    }
}

fn bind_one(addr: SocketAddr, threads: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    if threads == 1 {
        return Ok((addr, vec![listener]));
    }
    // It has found out that nobody else listens there. Listeners that share an address would share it with another
    // process, too.
    drop(listener);
    let listeners: io::Result<_> = (0..threads).map(|_| bind_shared(addr)).collect();
    Ok((addr, listeners?))
}

/// A listener that shares its address with others: the kernel gives each client to one of them.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
fn bind_shared(addr: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd")))]
fn bind_shared(_: SocketAddr) -> io::Result<TcpListener> {
    Err(io::Error::new(ErrorKind::Unsupported, "listeners can't share an address here: --threads 1"))
}

impl Proxy {
    /// Lets clients in that come to these listeners.
    pub fn listen(&mut self, listeners: Vec<TcpListener>, token: Token) -> io::Result<()> {
        for mut listener in listeners {
            self.registry.register(&mut listener, token, Interest::READABLE)?;
            self.doors.listeners.push(Door { listener, token, pending: true });
        }
        Ok(())
    }

    /// Whether there is somebody to let in.
    pub fn is_door_ready(&self) -> bool {
        let others_wait = self.is_short() && self.cache.counts().waiting > 0;
        !self.doors.stuck && !others_wait && self.doors.listeners.iter().any(|door| door.pending)
    }

    /// Somebody is at the door. Let in at the end of the turn, so that no late event for a client that has gone meets
    /// a newcomer in its place.
    pub fn knock(&mut self, token: Token) {
        self.doors.listeners.iter_mut().filter(|door| door.token == token).for_each(|door| door.pending = true);
    }

    /// Looks for those who have connected without being let in so far.
    pub fn knock_at_all(&mut self) {
        self.doors.listeners.iter_mut().for_each(|door| door.pending = true);
    }

    /// Lets clients in.
    pub fn accept(&mut self) {
        if self.doors.spare.is_none() {
            self.doors.spare = self.registry.try_clone().ok();
        }
        for at in 0..self.doors.listeners.len() {
            for _ in 0..MOST_ACCEPTS {
                if !self.is_door_ready() || !self.doors.listeners[at].pending {
                    break;
                }
                self.accept_one(at);
            }
        }
    }

    fn accept_one(&mut self, at: usize) {
        let door = &mut self.doors.listeners[at];
        let error = match door.listener.accept() {
            Ok((stream, addr)) => {
                let status = door.token == STATUS;
                return self.welcome(stream, addr, status);
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::WouldBlock => door.pending = false,
            ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
            _ if is_out_of_descriptors(&error) && self.make_room(1) => {}
            _ => {
                info!("event=accept_failed error={error}");
                self.doors.stuck = true;
            }
        }
    }

    fn welcome(&mut self, mut stream: TcpStream, addr: SocketAddr, status: bool) {
        let entry = self.clients.vacant_entry();
        let token = Proxy::client_token(entry.key());
        if let Err(error) = self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE) {
            return warn!("event=register_failed error={error}");
        }
        let _ = stream.set_nodelay(true);
        entry.insert(Client::new(stream, addr, status, self.now));
        self.counts.clients += 1;
    }

    /// Frees a descriptor, by closing what is missed least: the connection that has been inactive for longest, if
    /// more than `keep` are, or the client that has been idle, or has had its last answer, for longest.
    fn make_room(&mut self, keep: usize) -> bool {
        self.doors.ran_out = Some(self.now);
        if self.cache.counts().inactive > keep {
            if let Some(evicted) = self.cache.shed() {
                self.note(evicted);
                return true;
            }
        }
        let settled = |client: &Client| self.now.saturating_duration_since(client.touched) >= SETTLED;
        let unused = |client: &Client| client.is_idle() || client.ending == Ending::Lingering;
        let idle = self.clients.iter().filter(|(_, client)| unused(client) && settled(client));
        let Some((key, _)) = idle.min_by_key(|(_, client)| client.touched) else { return false };
        self.close(key);
        true
    }

    /// Whether clients are to close after their answers: the process ends, or others need their descriptors.
    pub fn wants_rid(&self) -> bool {
        let short = |at| self.now.saturating_duration_since(at) < SHORTAGE;
        self.draining || self.doors.ran_out.is_some_and(short)
    }

    /// Frees a descriptor for an upstream connection, at any price but that of a request.
    pub fn make_room_upstream(&mut self) -> bool {
        let alone = self.cache.counts().active == 0;
        self.make_room(0) || (alone && self.doors.spare.take().is_some())
    }
}

/// Whether the process, or the machine, has as many descriptors open as it may.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    let codes: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

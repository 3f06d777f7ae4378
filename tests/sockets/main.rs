//! The cache over real sockets, whose far ends hang up, reset, close halves and send bytes at random moments: what is
//! handed out is alive and clean, which an exchange proves; and nothing is left over.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod chaos;
mod far;
mod host;
mod line;
mod moving;
#[cfg(not(mio_unsupported_force_poll_poll))]
mod nest;
mod unwatched;

use common::loopback::pair_through;
use common::random::{Random, for_seeds};
use conncache::ConnId;
use conncache::mio::net::{TcpStream, UnixStream};
use far::{Far, Near};
use host::{Connect, Host};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tests count the process's descriptors, and can't do so together.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what is known of a connection under its new lease.
fn leased<T>(known: &mut HashMap<ConnId, T>, id: ConnId) {
    let former = *known.keys().find(|former| former.same_connection(id)).expect("it was inserted");
    let value = known.remove(&former).expect("it was found");
    known.insert(id, value);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// `connections` in all, over several seeds.
fn play<C: Near>(seeds: std::ops::Range<u64>, connections: u64, make: fn() -> Connect<C>) {
    let _alone = alone();
    let share = connections.div_ceil(seeds.end - seeds.start);
    let (opened, exchanged) = (Cell::new(0), Cell::new(0));
    for_seeds(seeds, |seed| {
        let before = descriptors();
        let mut random = Random::new(seed);
        let mut host = Host::new(&mut random, make());
        let mut step = 0;
        while host.opened < share {
            host.step(&mut random, step);
            step += 1;
        }
        assert!(host.exchanged > host.opened + share / 10, "hardly any was used again: {}", host.exchanged);
        let kinds = host.evicted.iter().filter(|&&count| count > 0).count();
        assert!(kinds > 3, "{:?}", host.evicted);
        opened.set(opened.get() + host.opened);
        exchanged.set(exchanged.get() + host.exchanged);
        host.end();
        assert_eq!(descriptors(), before, "descriptors are left over");
    });
    println!("{} connections, {} exchanges", opened.get(), exchanged.get());
}

fn tcp() -> impl FnMut() -> (TcpStream, Far) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    move || {
        let (near, far) = pair_through(&listener);
        (near, Far::Tcp(far))
    }
}

fn unix() -> (UnixStream, Far) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (UnixStream::from_std(near), Far::Unix(far))
}

#[test]
fn tcp_connections_handed_out_are_alive_and_clean() {
    play::<TcpStream>(0..12, 6_000, || Box::new(tcp()));
}

#[test]
fn unix_connections_handed_out_are_alive_and_clean() {
    play::<UnixStream>(100..104, 1_500, || Box::new(unix));
}

#[test]
fn boxed_connections_of_two_kinds_handed_out_are_alive_and_clean() {
    play::<Box<dyn Near + Send>>(200..204, 1_500, || {
        let mut connect = tcp();
        let mut turn = false;
        Box::new(move || {
            turn = !turn;
            if turn {
                let (near, far) = connect();
                (Box::new(near) as Box<dyn Near + Send>, far)
            } else {
                let (near, far) = unix();
                (Box::new(near) as Box<dyn Near + Send>, far)
            }
        })
    });
}

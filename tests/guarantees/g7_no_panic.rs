//! G7: nothing that a peer sends and no order of calls panics or leaks.

use crate::common::host::Host;
use crate::common::light::Light;
use crate::common::loopback::{Act, pair};
use crate::common::{ME, PLAIN};
use conncache::mio::Poll;
use conncache::mio::net::TcpStream;
use conncache::{Evicted, Handled, Limits, Peer, Reason, RestrictiveCache};
use socket2::SockRef;
use std::io::{Read, Write};
use std::time::Instant;

#[test]
fn nothing_a_peer_sends_panics_or_is_kept() {
    let megabyte = vec![b'x'; 1 << 20];
    let messages: [&[u8]; 5] =
        [b"\0", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\x15\x03\x03\0\x02", &[0xff; 70_000], &megabyte];
    for message in messages {
        let mut host = Host::new(Limits::default());
        let (near, far) = pair();
        let id = host.keep(near);
        let mut far_end = far.try_clone().unwrap();
        far_end.set_nonblocking(true).unwrap();
        assert!(far_end.write(message).unwrap() > 0);
        let handled = host.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
        assert!(handled.iter().any(|one| matches!(one, Handled::Evicted(e) if e.reason == Reason::Unsolicited)));
        assert!(host.cache.get(id).is_none());
    }
    let mut host = Host::new(Limits::default());
    let (near, far) = pair();
    host.keep(near);
    SockRef::from(&far).send_out_of_band(b"!").unwrap();
    Act::Fin.by(far, host.cache.iter().next().unwrap().conn);
    host.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
}

#[test]
fn buckets_closed_and_emptied_in_a_circle_leave_nothing_behind() {
    let mut host = Host::new(Limits::default());
    // Not too often: the closings of a whole process are remembered, and other tests have some, too.
    for _ in 0..200 {
        let id = host.keep(Light);
        host.cache.close_peer(&host.peer);
        drop(host.cache.close_connection(id).unwrap());
        assert!(host.cache.expire(host.now).is_none());
    }
    host.keep(Light);
    assert_eq!(host.cache.next_deadline(), None, "nothing is due");
}

#[test]
#[should_panic(expected = "is not in the cache")]
fn indexing_by_a_stale_id_panics_as_a_slice_does() {
    let mut host = Host::new(Limits::default());
    let id = host.insert(Light);
    drop(host.cache.close_connection(id).unwrap());
    let _ = &host.cache[id];
}

#[test]
fn a_connection_evicted_can_still_say_goodbye() {
    let poll = Poll::new().unwrap();
    let mut cache: RestrictiveCache<TcpStream> = RestrictiveCache::builder().build(poll.registry()).unwrap();
    let (now, (near, mut far)) = (Instant::now(), pair());
    let id = cache.insert(now, near, &Peer::direct("a", 1), PLAIN, ME).unwrap();
    let mut evicted = cache.checkin(now, id).unwrap().unwrap();
    assert_eq!(evicted.reason, Reason::Policy);
    evicted.conn.write_all(b"bye").unwrap();
    drop(evicted);
    let mut said = Vec::new();
    far.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"bye");
}

#[test]
fn a_connection_goes_to_another_loop_through_its_standard_socket() {
    let (mut one, mut other) = (Host::<TcpStream>::new(Limits::default()), Host::new(Limits::default()));
    let (near, far) = pair();
    let id = one.keep(near);
    let removed = one.cache.remove(id).unwrap();
    // mio wants a source to stay with its first `Poll`. A new one of the same socket is another.
    other.keep(TcpStream::from_std(removed.conn.into()));
    drop(far);
    let handled = other.turns(|handled| handled.iter().any(|one| matches!(one, Handled::Evicted(_))));
    assert!(handled.iter().any(|one| matches!(one, Handled::Evicted(Evicted { reason: Reason::HungUp, .. }))));
}

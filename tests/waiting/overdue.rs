//! A time for whoever has a connection.

use super::*;
use crate::common::SECOND;
use conncache::{NotFound, Reason, StateError};

#[test]
fn an_owner_whose_time_is_over_is_named_once() {
    let mut host = host(|_| ());
    let [late, early, untimed] = [1, 1, 1].map(|to| host.open(to));
    host.cache.set_deadline(late, Some(host.now + 2 * SECOND)).unwrap();
    host.cache.set_deadline(early, Some(host.now + SECOND)).unwrap();
    assert_eq!(host.cache.next_deadline(), Some(host.now + SECOND));
    assert_eq!(host.cache.overdue(host.now), None);
    host.now += 3 * SECOND;
    assert_eq!(host.cache.overdue(host.now), Some((early, ME)));
    assert_eq!(host.cache.overdue(host.now), Some((late, ME)));
    assert_eq!(host.cache.overdue(host.now), None);
    assert_eq!(host.cache.next_deadline(), None);
    assert!([late, early, untimed].iter().all(|&id| host.cache.get(id).is_some()), "nothing is closed");
    let closed = host.cache.close_because(late, "response late").unwrap();
    assert_eq!((closed.id, closed.reason, closed.words), (late, Reason::Closed, Some("response late")));
    assert_eq!(host.cache.close_because(late, "again").map(drop), Err(NotFound));
}

#[test]
fn giving_back_closing_and_unsetting_end_it() {
    let mut host = host(|_| ());
    let ids = [1, 1, 1].map(|to| host.open(to));
    for id in ids {
        host.cache.set_deadline(id, Some(host.now + SECOND)).unwrap();
    }
    assert!(host.checkin(ids[0]));
    drop(host.cache.close_connection(ids[1]).unwrap());
    host.cache.set_deadline(ids[2], None).unwrap();
    assert_eq!(host.cache.overdue(host.now + SECOND), None);
    assert_eq!(host.cache.next_deadline(), None);
    assert_eq!(host.cache.set_deadline(ids[0], Some(host.now)), Err(StateError::AlreadyInactive), "it is inactive");
    let again = host.reuse(1).id;
    assert_eq!(host.cache.set_deadline(ids[0], Some(host.now)), Err(StateError::NotFound), "the lease is over");
    assert!(again.same_connection(ids[0]));
    assert_eq!(host.cache.overdue(host.now + 9 * SECOND), None);
}

#[test]
fn a_deadline_can_be_moved_to_both_sides() {
    let mut host = host(|_| ());
    let (start, id) = (host.now, host.open(1));
    for (times, until) in [(&[1, 5, 3][..], 3), (&[9, 7], 7), (&[9, 20, 11], 11)] {
        for &time in times {
            host.cache.set_deadline(id, Some(start + time * SECOND)).unwrap();
        }
        let end = start + until * SECOND;
        while host.cache.next_deadline() < Some(end) {
            host.now = host.cache.next_deadline().expect("a deadline is set");
            assert_eq!(host.cache.overdue(host.now), None);
        }
        assert_eq!(host.cache.next_deadline(), Some(end));
        assert_eq!(host.cache.overdue(end - SECOND / 2), None);
        assert_eq!(host.cache.overdue(end), Some((id, ME)));
        assert_eq!((host.cache.overdue(end), host.cache.next_deadline()), (None, None));
    }
}

/// However many there were: a call passes 64 of them.
#[test]
fn ended_deadlines_wake_the_loop_once_each_at_most() {
    let mut host = host(|_| ());
    let ids: Vec<ConnId> = (0..200).map(|_| host.open(1)).collect();
    for id in ids {
        host.cache.set_deadline(id, Some(host.now + SECOND)).unwrap();
        assert!(host.checkin(id));
    }
    let (again, late) = (host.reuse(1).id, host.now + 2 * SECOND);
    host.cache.set_deadline(again, Some(late)).unwrap();
    let _untimed = host.reuse(1);
    host.now += SECOND;
    let calls = std::iter::from_fn(|| host.is_due().then(|| host.cache.overdue(host.now)));
    assert_eq!(calls.collect::<Vec<_>>(), [None; 4]);
    assert_eq!(host.cache.next_deadline(), Some(late));
    assert_eq!(host.cache.overdue(late), Some((again, ME)));
}

/// What is due, made in a host that has one connection; and which calls of `overdue`, `grant` and `expire` return
/// something.
type Due = (fn(&mut Host, ConnId), [bool; 3]);

const DUE: [Due; 3] = [
    (|host, id| host.cache.set_deadline(id, Some(host.now)).unwrap(), [true, false, false]),
    (
        |host, id| {
            host.wait(1);
            assert!(host.checkin(id));
        },
        [false, true, false],
    ),
    (
        |host, id| {
            assert!(host.checkin(id));
            host.cache.close_peer(&peer(1));
        },
        [false, false, true],
    ),
];

fn returns(host: &mut Host, call: usize) -> bool {
    match call {
        0 => host.cache.overdue(host.now).is_some(),
        1 => host.cache.grant(host.now).is_some(),
        _ => host.cache.expire(host.now).is_some(),
    }
}

/// So whoever wonders why a loop spins finds the call that it has forgotten.
#[test]
fn a_call_that_is_left_out_keeps_the_loop_awake_and_is_the_one_that_returns_something() {
    for (make, expected) in DUE {
        let mut host = host(|l| l.max_connections_per_peer = Some(1));
        let id = host.open(1);
        make(&mut host, id);
        let forgotten = expected.iter().position(|&is| is).expect("one of them");
        for _ in 0..10 {
            host.now += SECOND;
            assert!(host.is_due());
            for call in (0..3).filter(|&call| call != forgotten) {
                assert!(!returns(&mut host, call), "{call} instead of {forgotten}");
            }
        }
        assert!(returns(&mut host, forgotten) && !host.is_due(), "{forgotten}");
    }
}

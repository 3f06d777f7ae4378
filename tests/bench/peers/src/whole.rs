//! Pools to all peers.

use crate::per_peer::runtime;
use crate::{Cycle, host};
use http::Uri;
use hyper_util::client::pool::{cache, map::Map};
use pingora_pool::{ConnectionMeta, ConnectionPool};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Mutex;
use tower_service::Service;

struct Connector;

impl Service<u32> for Connector {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, peer: u32) -> Self::Future {
        ready(Ok(peer))
    }
}

fn at_once<T>(result: Poll<Result<T, Infallible>>) -> T {
    match result {
        Poll::Ready(Ok(value)) => value,
        Poll::Pending => panic!("one is inactive, or made at once"),
    }
}

/// `client::pool`'s map of caches, with the key that its documentation suggests. The pool of `client::legacy` is
/// private: a cycle of it can't be told from the HTTP client around it.
pub fn hyper_util(peers: usize, each: usize) -> Cycle {
    let uris: Vec<Uri> = (0..peers).map(|peer| format!("https://{}/", host(peer)).parse().expect("a URI")).collect();
    let mut map = Map::builder::<Uri>()
        .keys(|uri| (uri.scheme().cloned(), uri.authority().cloned()))
        .values(|_| cache::builder().build(Connector))
        .build();
    let mut cx = Context::from_waker(Waker::noop());
    for (peer, uri) in uris.iter().enumerate() {
        let cache = map.service(uri);
        // They go back together.
        let mut taken = Vec::new();
        for _ in 0..each {
            at_once(cache.poll_ready(&mut cx));
            taken.push(at_once(pin!(cache.call(peer as u32)).poll(&mut cx)));
        }
    }
    Box::new(move |order| {
        let mut cx = Context::from_waker(Waker::noop());
        for &peer in order {
            let cache = map.service(&uris[peer as usize]);
            at_once(cache.poll_ready(&mut cx));
            let found = at_once(pin!(cache.call(peer)).poll(&mut cx));
            assert_eq!(*found.inner(), peer);
        }
    })
}

/// The caller hashes the peer to a number. That is not measured.
pub fn pingora(peers: usize, each: usize) -> Cycle {
    let pool = ConnectionPool::new(peers * each);
    let metas = |connection| ConnectionMeta::new((connection % peers) as u64, connection as i32);
    (0..peers * each).for_each(|connection| drop(pool.put(&metas(connection), metas(connection))));
    Box::new(move |order| {
        for &peer in order {
            let found = pool.get(&u64::from(peer)).expect("one is inactive");
            assert_eq!(found.key, u64::from(peer));
            pool.put(&found.clone(), found);
        }
    })
}

/// Nothing ever comes.
struct Silent(ConnectionMeta);

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

type Watched = Arc<ConnectionPool<Arc<Mutex<Silent>>>>;

/// With a task that reads from each inactive connection and ends with an idle time-out, as pingora's proxy does.
pub fn pingora_watched(peers: usize, each: usize) -> Cycle {
    let (runtime, pool) = (runtime(), Arc::new(ConnectionPool::new(peers * each)));
    runtime.block_on(async {
        for connection in 0..peers * each {
            let meta = ConnectionMeta::new((connection % peers) as u64, connection as i32);
            watch(&pool, Arc::new(Mutex::new(Silent(meta))));
        }
        tokio::task::yield_now().await;
    });
    Box::new(move |order| {
        runtime.block_on(async {
            for &peer in order {
                let found = pool.get(&u64::from(peer)).expect("one is inactive");
                // The watching task lets go of it.
                let key = found.lock().await.0.key;
                assert_eq!(key, u64::from(peer));
                watch(&pool, found);
            }
        });
    })
}

fn watch(pool: &Watched, connection: Arc<Mutex<Silent>>) {
    let reading = connection.clone().try_lock_owned().expect("nobody reads");
    let meta = reading.0.clone();
    let (evicted, used) = pool.put(&meta, connection);
    let pool = pool.clone();
    tokio::spawn(async move {
        pool.idle_poll(reading, &meta, Some(Duration::from_secs(60)), evicted, used).await;
    });
}

//! Pools to one peer: a map finds the peer's pool. All are set as they come, save for their size.

use crate::{Cycle, Key, keys};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::runtime::{self, Runtime};

/// Connects to this peer.
struct ToOne(u32);

fn pools<P>(keys: &[Key], make: impl Fn(ToOne) -> P) -> HashMap<Key, P> {
    keys.iter().enumerate().map(|(peer, key)| (key.clone(), make(ToOne(peer as u32)))).collect()
}

pub fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl bb8::ManageConnection for ToOne {
    type Connection = u32;
    type Error = Infallible;

    async fn connect(&self) -> Result<u32, Infallible> {
        Ok(self.0)
    }

    async fn is_valid(&self, _: &mut u32) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u32) -> bool {
        false
    }
}

pub fn bb8(peers: usize, each: usize) -> Cycle {
    let (keys, runtime) = (keys(peers), runtime());
    let within = runtime.enter();
    let pools = pools(&keys, |peer| {
        let number = peer.0;
        let pool = bb8::Pool::builder().max_size(each as u32).build_unchecked(peer);
        (0..each).for_each(|_| pool.add(number).expect("there is room"));
        pool
    });
    drop(within);
    Box::new(move |order| {
        runtime.block_on(async {
            for &peer in order {
                let found = pools[&keys[peer as usize]].get().await.expect("one is inactive");
                assert_eq!(*found, peer);
            }
        });
    })
}

impl deadpool::managed::Manager for ToOne {
    type Type = u32;
    type Error = Infallible;

    async fn create(&self) -> Result<u32, Infallible> {
        Ok(self.0)
    }

    async fn recycle(
        &self,
        _: &mut u32,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

pub fn deadpool(peers: usize, each: usize) -> Cycle {
    let (keys, runtime) = (keys(peers), runtime());
    let pools: HashMap<_, deadpool::managed::Pool<ToOne>> =
        pools(&keys, |peer| deadpool::managed::Pool::builder(peer).max_size(each).build().expect("a pool"));
    runtime.block_on(async {
        for pool in pools.values() {
            // They go back together.
            let mut taken = Vec::new();
            for _ in 0..each {
                taken.push(pool.get().await.expect("there is room"));
            }
        }
    });
    Box::new(move |order| {
        runtime.block_on(async {
            for &peer in order {
                let found = pools[&keys[peer as usize]].get().await.expect("one is inactive");
                assert_eq!(*found, peer);
            }
        });
    })
}

impl r2d2::ManageConnection for ToOne {
    type Connection = u32;
    type Error = Infallible;

    fn connect(&self) -> Result<u32, Infallible> {
        Ok(self.0)
    }

    fn is_valid(&self, _: &mut u32) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u32) -> bool {
        false
    }
}

pub fn r2d2(peers: usize, each: usize) -> Cycle {
    let keys = keys(peers);
    // By default, each pool has three threads.
    let threads = Arc::new(scheduled_thread_pool::ScheduledThreadPool::new(1));
    let pools = pools(&keys, |peer| {
        let builder = r2d2::Pool::builder().max_size(each as u32).thread_pool(threads.clone());
        builder.build(peer).expect("a pool")
    });
    Box::new(move |order| {
        for &peer in order {
            let found = pools[&keys[peer as usize]].get().expect("one is inactive");
            assert_eq!(*found, peer);
        }
    })
}

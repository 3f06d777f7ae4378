//! The upstreams' names are looked up again now and then: a name may move to other addresses.

use crate::proxy::Proxy;
use conncache::mio::Waker;
use http::resolving::{LookupId, Resolver};
use log::info;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Names {
    resolver: Resolver,
    /// What is being looked up, for which upstream.
    lookups: HashMap<LookupId, usize>,
    /// How long what was found holds.
    time: Duration,
    /// When to look up next. `None`: never.
    next: Option<Instant>,
}

impl Names {
    /// What is known at the beginning was found just now.
    pub fn new(waker: Arc<Waker>, time: Duration, now: Instant) -> Names {
        Names { resolver: Resolver::new(waker), lookups: HashMap::new(), time, next: now.checked_add(time) }
    }
}

impl Proxy {
    /// Looks the names up if it is time, unless that is under way. The loop is woken when there is something to take.
    pub fn look_up_names(&mut self) {
        let is_due = |names: &&mut Names| names.lookups.is_empty() && names.next.is_some_and(|next| next <= self.now);
        let Some(names) = self.names.as_mut().filter(is_due) else { return };
        for (at, upstream) in self.upstreams.iter().enumerate() {
            if let Some((host, port)) = upstream.name() {
                names.lookups.insert(names.resolver.lookup(host, port), at);
            }
        }
        names.next = self.now.checked_add(names.time);
    }

    /// Has the names looked up soon, since none of an upstream's addresses can be connected to.
    pub fn doubt_names(&mut self) {
        self.names.iter_mut().for_each(|names| names.next = Some(self.now));
    }

    /// Takes what was found. New connections go there; those that stand stay. Where nothing was found, the addresses stay.
    pub fn take_addresses(&mut self) {
        let Some(names) = &mut self.names else { return };
        while let Some((id, found)) = names.resolver.poll() {
            let Some(upstream) = names.lookups.remove(&id).map(|at| &mut self.upstreams[at]) else { continue };
            match found {
                Ok(addrs) if upstream.moved(&addrs) => {
                    info!("event=moved peer={} addrs={:?}", upstream.peer, upstream.addrs);
                }
                Ok(_) => {}
                Err(error) => info!("event=lookup_failed peer={} error={error}", upstream.peer),
            }
        }
    }
}

//! tokio, on one thread. Its readiness flag, once cleared, is set by edges.

use crate::EVENTS;
use crate::client::Client;
use conncache::Nest;
use std::io;
use std::time::Instant;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub fn run(name: &str) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(name))
}

async fn serve(name: &str) -> io::Result<()> {
    // SAFETY: a nest's descriptor remains the same until the nest is dropped.
    let mut nest = unsafe { AsyncFd::register_with_interest(Nest::with_capacity(EVENTS)?, Interest::READABLE)? };
    let mut client = Client::in_nest(nest.get_ref())?;
    let mut now = Instant::now();
    while client.goes_on(now)? {
        match nest.get_ref().timeout(now, client.cache.next_deadline()) {
            // Something is left. Other tasks may run first.
            Some(wait) if wait.is_zero() => tokio::task::yield_now().await,
            Some(wait) => tokio::time::timeout(wait, ready(&nest)).await.unwrap_or(Ok(()))?,
            None => ready(&nest).await?,
        }
        now = Instant::now();
        let nest = nest.get_mut();
        while let Some(event) = nest.next_event()? {
            client.handle_event(now, &event)?;
        }
        let _ = nest.has_more()?; // `timeout` takes it into account
    }
    client.report(name);
    Ok(())
}

/// Waits, and clears the flag before anybody looks at the nest: what comes later sets it again.
async fn ready(nest: &AsyncFd<Nest>) -> io::Result<()> {
    nest.readable().await?.clear_ready();
    Ok(())
}

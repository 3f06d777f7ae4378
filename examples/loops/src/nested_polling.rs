//! `polling`, which is oneshot unless told otherwise. Here it is edge-triggered.

use crate::EVENTS;
use crate::client::Client;
use conncache::Nest;
use polling::{Event, Events, PollMode, Poller};
use std::io;
use std::time::Instant;

pub fn run(name: &str) -> io::Result<()> {
    let (poller, mut wake_ups) = (Poller::new()?, Events::new());
    let mut nest = Nest::with_capacity(EVENTS)?;
    // SAFETY: the nest is deleted below before it is dropped. An error ends the program.
    unsafe { poller.add_with_mode(&nest, Event::readable(0), PollMode::Edge)? };
    let mut client = Client::in_nest(&nest)?;
    let mut now = Instant::now();
    while client.goes_on(now)? {
        wake_ups.clear();
        poller.wait(&mut wake_ups, nest.timeout(now, client.cache.next_deadline()))?;
        now = Instant::now();
        while let Some(event) = nest.next_event()? {
            client.handle_event(now, &event)?;
        }
        let _ = nest.has_more()?; // `timeout` takes it into account
    }
    poller.delete(&nest)?;
    client.report(name);
    Ok(())
}

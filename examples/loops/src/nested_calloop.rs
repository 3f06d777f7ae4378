//! calloop, level-triggered.

use crate::EVENTS;
use crate::client::Client;
use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use conncache::Nest;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

pub fn run(name: &str) -> io::Result<()> {
    let mut outer: EventLoop<()> = EventLoop::try_new()?;
    let mut nest = Nest::with_capacity(EVENTS)?;
    // calloop owns what it watches, so it gets a duplicate of the descriptor.
    let watched = Generic::new(nest.as_fd().try_clone_to_owned()?, Interest::READ, Mode::Level);
    let woken = |_, _: &mut _, _: &mut _| Ok(PostAction::Continue);
    outer.handle().insert_source(watched, woken).map_err(|error| error.error)?;
    let mut client = Client::in_nest(&nest)?;
    let mut now = Instant::now();
    while client.goes_on(now)? {
        outer.dispatch(nest.timeout(now, client.cache.next_deadline()), &mut ())?;
        now = Instant::now();
        while let Some(event) = nest.next_event()? {
            client.handle_event(now, &event)?;
        }
        // What is left wakes the loop again: levels need no `has_more`.
    }
    client.report(name);
    Ok(())
}

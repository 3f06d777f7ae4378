//! glib, level-triggered. The deadline is a glib timer.

use crate::EVENTS;
use crate::client::Client;
use conncache::Nest;
use glib::{ControlFlow, IOCondition, MainContext};
use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

pub fn run(name: &str) -> io::Result<()> {
    let mut nest = Nest::with_capacity(EVENTS)?;
    let mut client = Client::in_nest(&nest)?;
    let context = MainContext::default();
    let watch = glib::unix_fd_add_local(nest.as_raw_fd(), IOCondition::IN, |_, _| ControlFlow::Continue);
    let mut now = Instant::now();
    while client.goes_on(now)? {
        let due = Rc::new(Cell::new(false));
        let timer = nest.timeout(now, client.cache.next_deadline()).map(|wait| {
            let due = Rc::clone(&due);
            glib::timeout_add_local_once(wait, move || due.set(true))
        });
        context.iteration(true);
        if let Some(timer) = timer.filter(|_| !due.get()) {
            timer.remove();
        }
        now = Instant::now();
        while let Some(event) = nest.next_event()? {
            client.handle_event(now, &event)?;
        }
        // What is left wakes the loop again: levels need no `has_more`.
    }
    watch.remove();
    client.report(name);
    Ok(())
}

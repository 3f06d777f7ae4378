//! io_uring: a multishot poll reports, like an edge, that the nest has become readable.

use crate::EVENTS;
use crate::client::Client;
use conncache::Nest;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::Instant;

pub fn run(name: &str) -> io::Result<()> {
    let mut ring = match IoUring::new(8) {
        Ok(ring) if ring.params().is_feature_ext_arg() => ring,
        Ok(_) => return skip(name, "the kernel is older than 5.11"),
        Err(error) => return skip(name, &error.to_string()),
    };
    let mut nest = Nest::with_capacity(EVENTS)?;
    let mut client = Client::in_nest(&nest)?;
    let watch = opcode::PollAdd::new(Fd(nest.as_raw_fd()), PollFlags::IN.bits().into()).multi(true).build();
    let (mut watched, mut now) = (false, Instant::now());
    while client.goes_on(now)? {
        if !watched {
            // SAFETY: it refers to a descriptor and to no memory.
            unsafe { ring.submission().push(&watch) }.map_err(io::Error::other)?;
            watched = true;
        }
        let wait = nest.timeout(now, client.cache.next_deadline()).map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(wait) = &wait {
            args = args.timespec(wait);
        }
        match ring.submitter().submit_with_args(1, &args) {
            Err(error)
                if error.kind() == ErrorKind::Interrupted
                    || error.raw_os_error() == Some(Errno::TIME.raw_os_error()) => {}
            done => drop(done?),
        }
        for entry in ring.completion() {
            watched &= cqueue::more(entry.flags()); // otherwise it has ended, and has to be submitted again
        }
        now = Instant::now();
        while let Some(event) = nest.next_event()? {
            client.handle_event(now, &event)?;
        }
        let _ = nest.has_more()?; // `timeout` takes it into account
    }
    client.report(name);
    Ok(())
}

fn skip(name: &str, why: &str) -> io::Result<()> {
    println!("{name}: skipped, {why}");
    Ok(())
}

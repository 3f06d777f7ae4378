//! What the cache costs, beside what it can't cost less than: a bare map, a bare `recv`, a raw mio loop.
//!
//! `cargo bench` takes about two minutes; `cargo bench -- --quick` takes seconds and says less.

mod cycle;
mod fixtures;
mod measure;
mod memory;
mod peak;
mod report;
mod scale;
mod sockets;
mod waiting;

use report::{Effort, Report};

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

fn main() -> std::io::Result<()> {
    // Cargo's own test runs are not for measuring.
    let normal = std::env::args().any(|arg| arg == "--bench") && std::env::args().all(|arg| arg != "--quick");
    let (effort, mut report) = (if normal { Effort::Normal } else { Effort::Quick }, Report::default());
    if cfg!(debug_assertions) {
        println!("not optimized: the times mean nothing");
    }
    println!("medians of all rounds, [first and third quartile]; what is compared was measured in turns");
    cycle::c1(&mut report, effort);
    cycle::overlapping(&mut report, effort);
    sockets::c2(&mut report, effort)?;
    memory::bytes(&mut report);
    scale::operations(&mut report, effort);
    peak::costs(&mut report, effort);
    waiting::requests(&mut report, effort);
    sockets::c4(&mut report, effort)?;
    cycle::c5(&mut report, effort);
    sockets::c5(&mut report, effort)?;
    report.summary();
    Ok(())
}

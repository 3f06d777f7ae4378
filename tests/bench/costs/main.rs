//! What the cache costs, beside what it can't cost less than: a bare map, a bare `recv`, a raw mio loop.
//!
//! `cargo bench` takes about four minutes; `cargo bench -- --quick` takes seconds and says less. Names of parts choose
//! among them: `cargo bench -- c1 c3`. It is built as whoever wants the fastest map builds it, with thin LTO and one
//! codegen unit; `cargo bench --profile release` compares the default build.

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
    println!("built with the profile `bench` (thin LTO, one codegen unit) unless `--profile` said otherwise");
    println!("medians of all rounds, [first and third quartile]; what is compared was measured in turns");
    if chosen("c1") {
        cycle::c1(&mut report, effort);
        cycle::overlapping(&mut report, effort);
    }
    if chosen("c2") {
        sockets::c2(&mut report, effort)?;
    }
    if chosen("c3") {
        memory::bytes(&mut report, effort);
        scale::operations(&mut report, effort);
    }
    if chosen("waiting") {
        waiting::requests(&mut report, effort);
    }
    if chosen("c4") {
        sockets::c4(&mut report, effort)?;
    }
    if chosen("c5") {
        cycle::c5(&mut report, effort);
        sockets::c5(&mut report, effort)?;
    }
    if chosen("g6") {
        peak::costs(&mut report, effort);
    }
    report.summary();
    Ok(())
}

/// Whether a part is to be run: all are if none is named.
fn chosen(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

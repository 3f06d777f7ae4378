//! What a cycle of taking a connection and returning it costs in conncache, in a bare map and in other pools.
//!
//! The connections are numbers: only the bookkeeping is measured. All pools of one shape live in this process at the
//! same time and are measured in turns. `--quick` makes one short round of the small shapes.

mod basis;
mod per_peer;
mod whole;

use rustix::time::{ClockId, clock_gettime};

/// Takes and returns a connection to each of these peers, one after the other.
type Cycle = Box<dyn FnMut(&[u32])>;

struct Pool {
    name: &'static str,
    /// Makes it with inactive connections: how many peers, how many connections to each.
    make: fn(usize, usize) -> Cycle,
    /// It isn't measured with more connections.
    most: usize,
}

const BARE_MAP: usize = 2;
const MILLION: usize = 1_000_000;

const POOLS: [Pool; 9] = [
    Pool { name: "conncache", make: basis::conncache, most: MILLION },
    Pool { name: "conncache, all limits", make: basis::conncache_limited, most: MILLION },
    Pool { name: "bare map", make: basis::bare_map, most: MILLION },
    Pool { name: "hyper-util", make: whole::hyper_util, most: MILLION },
    Pool { name: "bb8", make: per_peer::bb8, most: MILLION },
    Pool { name: "r2d2", make: per_peer::r2d2, most: MILLION },
    Pool { name: "deadpool", make: per_peer::deadpool, most: MILLION },
    Pool { name: "pingora-pool", make: whole::pingora, most: MILLION },
    // A task for each connection.
    Pool { name: "pingora-pool, watched", make: whole::pingora_watched, most: 100_000 },
];

/// How many peers, how many connections to each.
const SHAPES: [(usize, usize); 7] = [(1, 1), (10, 10), (100, 10), (100, 16), (1_000, 10), (10_000, 10), (100_000, 10)];

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (cycles, rounds) = if quick { (2_000, 1) } else { (100_000, 9) };
    for (peers, each) in SHAPES {
        if quick && peers > 1_000 {
            continue;
        }
        println!("{peers} x {each}: median ns a cycle, ratio to the bare map [quartiles]");
        let order = order(cycles, peers);
        let pools = POOLS.iter().filter(|pool| peers * each <= pool.most);
        let mut pools: Vec<_> = pools.map(|pool| (pool.name, (pool.make)(peers, each), Vec::new())).collect();
        for _ in 0..rounds {
            for (_, cycle, times) in &mut pools {
                // The pool before it has left the processor's caches full of its own.
                cycle(&order[..order.len() / 4]);
                let start = processor_time();
                cycle(&order);
                let time = (processor_time() - start) / order.len() as f64;
                times.push(time);
            }
        }
        let map = pools[BARE_MAP].2.clone();
        for (name, _, times) in &pools {
            let [_, time, _] = quartiles(times.iter().copied());
            let [low, ratio, high] = quartiles(times.iter().zip(&map).map(|(time, map)| time / map));
            println!("  {name:<22} {time:>8.1} {ratio:>8.2} [{low:.2} {high:.2}]");
        }
    }
}

/// Nanoseconds of the whole process: whatever else runs on the machine doesn't count, threads of the pools do.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarters| values[(values.len() - 1) * quarters / 4])
}

/// Peers drawn at random, the same in each run.
fn order(length: usize, peers: usize) -> Vec<u32> {
    let mut state = 0x5eed_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize % peers) as u32
    };
    (0..length).map(|_| draw()).collect()
}

fn host(peer: usize) -> String {
    format!("host-{peer}.example.org")
}

type Key = (String, u16, u32);

/// What the pools that have no key of their own are looked up by.
fn keys(peers: usize) -> Vec<Key> {
    (0..peers).map(|peer| (host(peer), 443, 0)).collect()
}

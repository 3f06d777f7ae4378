//! Limits, misuse and faults: each has a defined answer, and an error changes nothing.

#[path = "../common/mod.rs"]
mod common;

mod clock;
mod errors;
mod histories;
mod ids;
mod lowered_limits;
mod numbers;
mod orders;
mod registering;
mod settings;
mod times;
mod tokens;
mod unchanged;

use common::host::Host;
use common::light::Light;
use conncache::{ConnId, Limits, ParkOptions};
use std::time::Duration;

const INSTANT: Duration = Duration::from_nanos(1);

fn host(set: impl FnOnce(&mut Limits)) -> Host<Light> {
    Host::new(common::limits(set))
}

fn keep_many(host: &mut Host<Light>, count: usize) -> Vec<ConnId> {
    (0..count).map(|_| host.keep(Light)).collect()
}

fn with_data() -> ParkOptions {
    ParkOptions::default().private_data(Some(Box::new(5)))
}

//! What several test crates of the library share.

#![allow(dead_code)] // No crate needs all of it.

pub mod host;
pub mod light;
pub mod loopback;
pub mod nobody;
pub mod random;
pub mod scripted;

use conncache::{ChannelBindingId, ConnId, Counts, Limits, Owner};
use std::time::Duration;

pub const PLAIN: ChannelBindingId = ChannelBindingId(0);
pub const TLS: ChannelBindingId = ChannelBindingId(1);
pub const ME: Owner = Owner(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// No limits but those that `set` sets.
pub fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

pub fn counts(active: usize, inactive: usize) -> Counts {
    let mut counts = Counts::default();
    (counts.active, counts.inactive) = (active, inactive);
    counts
}

/// A connection, whichever lease of it is known.
#[derive(Clone, Copy, Debug)]
pub struct Same(pub ConnId);

impl PartialEq for Same {
    fn eq(&self, other: &Same) -> bool {
        self.0.same_connection(other.0)
    }
}

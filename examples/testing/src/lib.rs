//! What the tests of several example packages share.

#![forbid(unsafe_code)]

pub mod certificates;
pub mod nobody;
pub mod servers;
pub mod temp_dir;

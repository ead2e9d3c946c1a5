//! What KMON and the guest daemon say to each other through a region.
//!
//! One crate holds the message format, the statistics record and the way both
//! ends find their rings, so that neither side has a copy of its own.
//!
//! | module      | one purpose                                              |
//! |-------------|----------------------------------------------------------|
//! | [`message`] | the records of the command and the result ring           |
//! | [`kernel`]  | the records of the log ring                              |
//! | [`stats`]   | the statistics an instance publishes                     |
//! | [`settings`]| what KMON tells an instance about itself                 |
//! | [`link`]    | the two ends of an instance's region                     |

#[cfg(test)]
mod c_header;
pub mod kernel;
pub mod link;
pub mod message;
pub mod settings;
pub mod stats;
mod wire;

pub use kernel::KernelLine;
pub use link::{DaemonLink, LinkError, MonitorLink, Received, Sent};
pub use message::{Command, Ending, Event};
pub use settings::Settings;
pub use stats::Stats;

/// Partition number of the monitor; instances count from 2.
pub const MONITOR: u8 = 1;

/// The highest partition number: a region has a slot for each.
pub const LAST_PARTITION: u8 = 128;

/// The program in the project's README is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

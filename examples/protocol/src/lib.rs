//! The protocol between KMON and the guest daemon in a region.
//!
//! Both ends share this crate: the message formats, the statistics, and the way in which they find
//! their rings.
//!
//! | module      | one purpose                                              |
//! |-------------|----------------------------------------------------------|
//! | [`message`] | the records of the command and the result ring           |
//! | [`transfer`]| those of them that copy files                            |
//! | [`file`]    | reads and writes a file that is copied                   |
//! | [`kernel`]  | the records of the log ring                              |
//! | [`stats`]   | the statistics that an instance publishes                |
//! | [`settings`]| the settings that KMON gives an instance                 |
//! | [`link`]    | the two ends of an instance's region                     |

#[cfg(test)]
mod c_header;
pub mod file;
pub mod kernel;
pub mod link;
pub mod message;
pub mod settings;
pub mod stats;
pub mod transfer;
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

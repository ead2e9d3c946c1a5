//! The whole system: U-Boot as KMON at its serial console, and instances that run
//! the real guest daemon, each behind a region of its own.
//!
//! | module      | one purpose                                                       |
//! |-------------|-------------------------------------------------------------------|
//! | [`board`]   | what U-Boot runs on, and where the regions' memory is there       |
//! | [`machine`] | one U-Boot with its instances, from power-on to power-off         |
//! | [`console`] | what a person types and sees at a serial console                  |
//! | [`guest`]   | one instance's daemon, as a process here                          |
//! | [`linux`]   | one instance that is a Linux machine of its own, under QEMU       |
//! | `process`   | processes that do not outlive the test                            |
//!
//! `tests/scenario` says what has to hold, on whichever board; `tests/linux_guests.rs`
//! what holds where U-Boot and its instances are machines of two architectures.

pub mod board;
pub mod console;
pub mod guest;
pub mod linux;
pub mod machine;
mod process;

use std::time::Duration;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

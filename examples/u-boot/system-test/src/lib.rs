//! The whole system: U-Boot as KMON at its serial console, and instances that run
//! the real guest daemon, each with a region of its own.
//!
//! | module      | purpose                                                           |
//! |-------------|-------------------------------------------------------------------|
//! | [`board`]   | the boards, and where each has the regions' memory                |
//! | [`machine`] | one U-Boot with its instances, from power-on to power-off         |
//! | [`console`] | a serial console, with a user's input and output                  |
//! | [`guest`]   | an instance's daemon, as a process of this machine                |
//! | [`linux`]   | an instance that is a Linux machine of its own, under QEMU        |
//! | `process`   | processes that end with the test                                  |
//!
//! `tests/scenario` states the claims that hold on every board. `tests/linux_guests.rs` states
//! those that hold where U-Boot and its instances are machines of two architectures.

pub mod board;
pub mod console;
pub mod guest;
pub mod linux;
pub mod machine;
mod process;

use std::time::Duration;

/// Longer than any step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

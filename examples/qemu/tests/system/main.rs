//! The whole system: KMON, and Linux guests under QEMU, as their operator has them.
//!
//! | module        | what holds                                                    |
//! |---------------|---------------------------------------------------------------|
//! | [`boots`]     | guests come up over every transport, or it is said why not    |
//! | [`console`]   | a person works in a guest                                     |
//! | [`commands`]  | commands and figures are the guest's own                      |
//! | [`transfers`] | bytes arrive as they were sent                                |
//! | [`ends`]      | how guests end, are ended, and stand still                    |
//! | [`restarts`]  | KMON may end at any moment                                    |
//! | [`disk`]      | a disk with a boot loader of its own                          |
//! | [`isolation`] | a guest has its own region and no other                       |
//! | [`memory`]    | what works across its memory is found out                     |
//!
//! Guests are those of `cargo xtask guest-image`; programs are those that were built.

mod boots;
mod commands;
#[path = "../../../kmon/tests/common/mod.rs"]
mod common;
mod console;
mod disk;
mod ends;
mod guests;
mod isolation;
mod memory;
mod restarts;
mod transfers;

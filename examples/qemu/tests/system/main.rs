//! The whole system: KMON with Linux guests under QEMU, as an operator uses it.
//!
//! | module        | tests                                                         |
//! |---------------|---------------------------------------------------------------|
//! | [`boots`]     | guests boot over every transport, or an error says why not    |
//! | [`console`]   | an operator works in a guest                                  |
//! | [`commands`]  | commands run in the guest; figures are its own                |
//! | [`transfers`] | bytes arrive as they were sent                                |
//! | [`ends`]      | guests end, are ended, or are paused                          |
//! | [`restarts`]  | KMON may end at any moment                                    |
//! | [`disk`]      | a disk with its own boot loader                               |
//! | [`isolation`] | a guest has only its own region                               |
//! | [`memory`]    | which operations work across a guest's memory                 |
//!
//! The guests are those of `cargo xtask guest-image`; the programs must be built.

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

//! The locks across kernels: two Linux guests and a process of the host share one region.
//!
//! Guest 2 maps it as the memory of a PCI device, guest 3 as reserved physical memory, and the
//! host, party 1, as a file. Each runs `shmem-contend`.
//!
//! | module        | tests                                                           |
//! |---------------|-----------------------------------------------------------------|
//! | [`contention`]| rounds and records are counted exactly                          |
//! | [`pauses`]    | a paused guest loses nothing until its end is certain           |
//! | [`ends`]      | what a killed or reset guest held comes back                    |
//! | [`unfit`]     | locks refuse memory without compare-and-swap                    |

mod contention;
mod ends;
mod pauses;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod unfit;

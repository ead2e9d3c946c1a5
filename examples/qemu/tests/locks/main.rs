//! The locks across kernels: two Linux guests and a process of the host share one region.
//!
//! Guest 2 has it as the memory of a PCI device, guest 3 as reserved physical memory, the
//! host, party 1, as a file. Each runs `shmem-contend`.
//!
//! | module        | what holds                                                      |
//! |---------------|-----------------------------------------------------------------|
//! | [`contention`]| every lock, and every ring, counts exactly                      |
//! | [`pauses`]    | who stands still loses nothing until its end is certain         |
//! | [`ends`]      | what a guest that was killed or reset held comes back           |
//! | [`unfit`]     | where compare-and-swap does not work, locks that need it refuse |

mod contention;
mod ends;
mod pauses;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod unfit;

//! The C interface of shmem-channel, shmem-core, shmem-registry and shmem-sync.
//!
//! `include/shmr.h` is generated from this crate and committed. Its comments are those of this
//! crate, which are written for C programmers; `docs/c-api.md` has the rest.
//!
//! - **C1** A handle is the caller's memory: an error, a tag, and the Rust value, in a C struct
//!   that is at least as large and as aligned (`handle`).
//! - **C2** A call checks a pointer for null and alignment, and a handle for its tag, which is
//!   valid at one address only. The caller guarantees what cannot be checked:
//!   - the memory of a new handle did not contain an open handle of its type;
//!   - a pointer's memory stays valid for as long as the header says.
//! - **C3** One thread at a time uses a handle. Handles that are opened through a session read the
//!   session's handle in any thread that uses them (`session`).
//! - **C4** Mapped memory stays mapped until every handle over it is closed: hence `'static` for
//!   everything in a region.
//!
//! | module                                       | one purpose                              |
//! |----------------------------------------------|------------------------------------------|
//! | `status`, `text`                             | the status of a call, and its text       |
//! | `word`, `strings`                            | the names in an error                    |
//! | `handle`                                     | Rust values in memory of a C program     |
//! | `client`, `server`, `channel`                | commands and their answers               |
//! | `sender`, `receiver`                         | one ring with doorbells                  |
//! | `session`, `on_session`, `platform`          | membership of a region                   |
//! | `region`, `mapping`                          | memory                                   |
//! | `registry`, `partition`, `segment`, `table`  | partitions and segments                  |
//! | `producer`, `consumer`, `snapshot`           | data                                     |
//! | `mutex`, `bakery`, `rwlock`, `semaphore`, `barrier` | synchronisation                   |
//! | `wait`, `doorbell`, `liveness`               | the caller's functions, or the library's |
//! | `litmus`                                     | testing what works across the memory     |
//! | `inspect`                                    | inspection                               |
//! | `cache`                                      | memory without cache coherence           |

#![cfg_attr(not(feature = "linux"), no_std)]
// Names are C's. So are the comments: a struct's comment describes its fields, and the header's
// first comment the duties of a caller.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]
// All unsafe calls in a function rest on the same duties of its caller.
#![allow(clippy::multiple_unsafe_ops_per_block)]

mod bakery;
mod barrier;
#[cfg(feature = "noncoherent")]
mod cache;
mod channel;
mod client;
mod consumer;
mod doorbell;
mod handle;
mod inspect;
mod litmus;
mod liveness;
#[cfg(feature = "linux")]
mod mapping;
mod mutex;
mod on_session;
mod partition;
mod platform;
mod producer;
mod receiver;
mod region;
mod registry;
mod rwlock;
mod segment;
mod semaphore;
mod sender;
mod server;
mod session;
mod snapshot;
mod status;
mod strings;
mod table;
mod text;
mod wait;
mod word;

pub use bakery::*;
pub use barrier::*;
#[cfg(feature = "noncoherent")]
pub use cache::*;
pub use channel::*;
pub use client::*;
pub use consumer::*;
pub use doorbell::*;
pub use inspect::*;
pub use litmus::*;
pub use liveness::*;
#[cfg(feature = "linux")]
pub use mapping::*;
pub use mutex::*;
pub use partition::*;
pub use platform::*;
pub use producer::*;
pub use receiver::*;
pub use region::*;
pub use registry::*;
pub use rwlock::*;
pub use segment::*;
pub use semaphore::*;
pub use sender::*;
pub use server::*;
pub use session::*;
pub use snapshot::*;
pub use status::*;
pub use table::*;
pub use text::*;
pub use wait::*;

/// Without an operating system, the program decides what a panic does.
#[cfg(all(not(feature = "linux"), panic = "abort", not(test)))]
mod panic {
    extern "C" {
        /// The program's function: reports the panic and resets; it must not return.
        fn shmr_panic() -> !;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        // SAFETY: the program's function takes no arguments and does not return.
        unsafe { shmr_panic() }
    }
}

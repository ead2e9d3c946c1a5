//! The C interface of shmem-channel, shmem-core, shmem-registry and shmem-sync.
//!
//! `include/shmr.h` is generated from this crate and committed, its comments
//! are the ones here: they are written for C, and `docs/c-api.md` has the rest.
//!
//! - **C1** A handle is the caller's memory: an error, a tag, and the Rust value,
//!   in a C struct that is at least as large and as aligned (`handle`).
//! - **C2** A pointer is checked for null and alignment, a handle for its tag, which is
//!   right at one address only; what cannot be checked, that the memory of a handle
//!   was not used for one of its type before, and that the memory a pointer points to is
//!   there for as long as the header says, is the caller's to answer for.
//! - **C3** A handle is used by one thread at a time. What is opened through a session reads
//!   the session's handle by whatever thread uses it (`session`).
//! - **C4** What is mapped stays mapped until every handle over it is closed:
//!   hence `'static` for everything in a region.
//!
//! | module                                       | one purpose                              |
//! |----------------------------------------------|------------------------------------------|
//! | `status`, `text`                             | what a call says, and in words           |
//! | `handle`                                     | Rust values in memory of a C program     |
//! | `client`, `server`, `channel`                | commands and their answers               |
//! | `sender`, `receiver`                         | one ring with doorbells                  |
//! | `session`, `on_session`, `platform`          | who is in a region, and where that runs  |
//! | `region`, `mapping`                          | memory                                   |
//! | `registry`, `partition`, `segment`, `table`  | who is there, what is where              |
//! | `producer`, `consumer`, `snapshot`           | data                                     |
//! | `mutex`, `bakery`, `rwlock`, `semaphore`, `barrier` | synchronisation                   |
//! | `wait`, `doorbell`, `liveness`               | the caller's functions, and ours |
//! | `litmus`                                     | what works across the memory             |
//! | `inspect`                                    | looking                                  |
//! | `cache`                                      | memory that nothing keeps coherent       |

#![cfg_attr(not(feature = "linux"), no_std)]
// Names are C's, and so are the comments: a struct's says what its fields are, the
// header's first one what a caller answers for.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]
// A function is one promise of its caller's, which all its unsafe calls rest on.
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

/// Where there is no operating system the program says what becomes of it.
#[cfg(all(not(feature = "linux"), panic = "abort", not(test)))]
mod panic {
    extern "C" {
        /// The program's: says so and resets; does not return.
        fn shmr_panic() -> !;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        // SAFETY: the program's function takes nothing and does not return.
        unsafe { shmr_panic() }
    }
}

//! Memory, waiting and liveness from the Linux kernel.

mod boots;
mod owned;
mod pass;
mod platforms;

pub use boots::next_boot;
pub use owned::HeartbeatThread;
pub use pass::{receive_memory, send_memory};
pub use platforms::{PollPlatform, SameKernel};

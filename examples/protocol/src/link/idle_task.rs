//! Work that an end does on the thread that waits for records.
//!
//! A separate thread would need a change of threads for each piece of work: on a translated
//! processor, a fifth of the time that a line takes through a console.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Work that an end does while it waits for records. It is not called when an end sleeps on a futex
/// ([`Waiting::Futex`](super::Waiting::Futex)): only a record of the other end ends such a sleep.
pub trait IdleTask {
    /// Does a bounded part of the work, and never waits. Called between two checks for records.
    fn step(&mut self);

    /// Sleeps until there is work, until `bell` is readable, or until the time-out. It may return
    /// earlier. Returns true if `bell` is readable.
    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool;
}

/// No work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle;

impl IdleTask for Idle {
    fn step(&mut self) {}

    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool {
        let Some(bell) = bell else {
            thread::sleep(timeout);
            return false;
        };
        // A time-out that the kernel cannot represent counts as none.
        let timeout = Timespec::try_from(timeout).ok();
        let mut event = [PollFd::from_borrowed_fd(bell, PollFlags::IN)];
        poll(&mut event, timeout.as_ref()) == Ok(1)
    }
}

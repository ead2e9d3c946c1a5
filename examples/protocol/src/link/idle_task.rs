//! What an end does besides, on the thread that waits for records.
//!
//! Another thread for it would cost a change of threads for each thing that there is to do:
//! for a translated processor, a fifth of a line's way through a console.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What an end does besides. None of it is called where an end sleeps on a futex
/// ([`Waiting::Futex`](super::Waiting::Futex)), which nothing but the other end's record ends.
pub trait IdleTask {
    /// Does some of what there is to do, a bounded part, and never waits. Called between two
    /// looks.
    fn step(&mut self);

    /// Sleeps until there is something to do, until `bell` can be read, or until `timeout` has
    /// passed; it may return at any time. Says whether `bell` can be read.
    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool;
}

/// Nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle;

impl IdleTask for Idle {
    fn step(&mut self) {}

    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool {
        let Some(bell) = bell else {
            thread::sleep(timeout);
            return false;
        };
        // One that the kernel has no number for is as good as none.
        let timeout = Timespec::try_from(timeout).ok();
        let mut event = [PollFd::from_borrowed_fd(bell, PollFlags::IN)];
        poll(&mut event, timeout.as_ref()) == Ok(1)
    }
}

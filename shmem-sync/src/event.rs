//! Sleeping and waking with an eventfd. A device's interrupt also reaches a program this way.
//!
//! A peer on the same kernel rings by a write to the eventfd. A peer in another guest rings through
//! an interrupt of ivshmem (vfio) or an ioeventfd of KVM.

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::{ioctl_fionbio, read, write};
use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::{AtomicU32, Ordering::Relaxed};
use shmem_core::wait::{Pause, Wait, RECHECK};

use crate::deadline::{Deadline, LONGEST};

/// An eventfd: the partition that rings writes it, and the one that sleeps reads it.
///
/// Only one partition may sleep on it: of several, one would read the event, and the others would
/// sleep until their re-check.
#[derive(Debug)]
pub struct EventBell(OwnedFd);

impl EventBell {
    /// Returns a new doorbell; peers get its descriptor.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    /// Returns the doorbell of a descriptor from a peer or a device. From now on the eventfd does
    /// not block, for any process that shares it.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&fd, true)?;
        Ok(Self(fd))
    }

    /// Removes the notifications that have arrived, so that the next sleep waits for a new one;
    /// returns false if there are none. For programs that poll the descriptor together with others.
    pub fn take(&self) -> bool {
        read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Doorbell for EventBell {
    fn ring(&self, _: &AtomicU32) {
        // It fails only if 2^64 - 2 rings are unread: then the eventfd is readable anyway.
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// Sleeps in the kernel until an [`EventBell`] rings, after a short spin.
#[derive(Debug)]
pub struct EventWait<'e> {
    bell: &'e EventBell,
    deadline: Deadline,
    recheck: Duration,
}

impl<'e> EventWait<'e> {
    /// Returns a wait without a deadline.
    #[inline]
    pub fn forever(bell: &'e EventBell) -> Self {
        Self::with_deadline(bell, Deadline::new(None))
    }

    /// Returns a wait that times out after `timeout`.
    #[inline]
    pub fn timeout(bell: &'e EventBell, timeout: Duration) -> Self {
        Self::with_deadline(bell, Deadline::with_timeout(timeout))
    }

    /// Returns a wait that times out at `deadline`. If that has already passed, the caller checks
    /// once.
    #[inline]
    pub fn until(bell: &'e EventBell, deadline: Instant) -> Self {
        Self::with_deadline(bell, Deadline::new(Some(deadline)))
    }

    #[inline]
    fn with_deadline(bell: &'e EventBell, deadline: Deadline) -> Self {
        Self {
            bell,
            deadline,
            recheck: RECHECK,
        }
    }

    /// Sleeps up to `longest` between two checks instead of [`RECHECK`], so that the processor
    /// stays asleep for longer. A lost notification or the death of a peer is then noticed after up
    /// to `longest`.
    #[must_use]
    pub fn recheck(self, longest: Duration) -> Self {
        Self {
            recheck: longest,
            ..self
        }
    }

    /// Checks `spins` times before each sleep, for peers that answer at once.
    #[must_use]
    #[inline]
    pub fn spin_first(mut self, spins: u32) -> Self {
        self.deadline.spins = spins;
        self
    }
}

impl Wait for EventWait<'_> {
    fn pause(&mut self) -> Pause {
        self.deadline.pause()
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        // relaxed: a ring that is not seen here has left its event.
        if ring_count.load(Relaxed) != seen {
            return;
        }
        let left = self.deadline.left(self.recheck.min(LONGEST));
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut event = [PollFd::new(self.bell, PollFlags::IN)];
        // Each result is a reason to check again: rung now or before, time, or a signal.
        if poll(&mut event, Some(&timeout)) == Ok(1) {
            self.bell.take();
        }
    }
}

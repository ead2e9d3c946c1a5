//! Sleeping and waking by an eventfd: what a program sees of an interrupt.
//!
//! The `ring` of a peer on the same kernel is a write to it; that of another guest
//! comes through it as an interrupt of ivshmem (vfio) or an ioeventfd of KVM.

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

/// An eventfd that is written by who rings and read by who sleeps.
///
/// It is one sleeper's: of several, one would find the event and the others sleep
/// on until their re-check.
#[derive(Debug)]
pub struct EventBell(OwnedFd);

impl EventBell {
    /// A new one; peers get it by its descriptor.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    /// The eventfd behind a descriptor that a peer, or the device, gave; from now on it
    /// does not block, for none of those that share it.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&fd, true)?;
        Ok(Self(fd))
    }

    /// Takes the rings that have come, so that the next sleep is one; false if there are none.
    /// For a loop of one's own that polls the descriptor with others.
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
        // It fails only where nobody has read 2^64 - 2 rings: it is readable.
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
    /// Waits for ever.
    #[inline]
    pub fn forever(bell: &'e EventBell) -> Self {
        Self::with(bell, Deadline::new(None))
    }

    /// Gives up after `timeout`.
    #[inline]
    pub fn timeout(bell: &'e EventBell, timeout: Duration) -> Self {
        Self::with(bell, Deadline::after(timeout))
    }

    /// Gives up at `deadline`; one that has passed leaves time for one look.
    #[inline]
    pub fn until(bell: &'e EventBell, deadline: Instant) -> Self {
        Self::with(bell, Deadline::new(Some(deadline)))
    }

    #[inline]
    fn with(bell: &'e EventBell, deadline: Deadline) -> Self {
        Self {
            bell,
            deadline,
            recheck: RECHECK,
        }
    }

    /// Sleeps up to `longest` between two checks instead of [`RECHECK`]: for a processor
    /// that is to be left asleep. A lost ring, and a peer that died, costs as much.
    #[must_use]
    pub fn recheck(self, longest: Duration) -> Self {
        Self {
            recheck: longest,
            ..self
        }
    }

    /// Looks `spins` times before each sleep, for peers that answer at once.
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

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        // relaxed: a ring that is not seen here has left its event.
        if rings.load(Relaxed) != seen {
            return;
        }
        let left = self.deadline.left(self.recheck.min(LONGEST));
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut event = [PollFd::new(self.bell, PollFlags::IN)];
        // Every outcome is a reason to look again: rung, already rung, time, a signal.
        if poll(&mut event, Some(&timeout)) == Ok(1) {
            self.bell.take();
        }
    }
}

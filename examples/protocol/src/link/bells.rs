//! How an end waits for the other one, and wakes it.
//!
//! Two ends on different kernels may interrupt each other as peers of a device such as QEMU's
//! `ivshmem-doorbell`, whose server gives each peer a number.
//!
//! - **B1** A ring is a hint. An end that waits checks again at its time-out. So a lost ring delays
//!   it until then, and a needless ring costs one check.
//! - **B2** Each incarnation of KMON has its own number, and stores it in the region before it
//!   waits. The instance loads it for each ring: an outdated or invalid number rings no peer, or
//!   causes a needless check. A KMON without a number polls, and its instance then polls, too.
//! - **B3** KMON rings all peers that it knows: only its instance shares the region with it.
//!
//! | segment      | kind | bytes | word 0                                            |
//! |--------------|------|-------|---------------------------------------------------|
//! | `kmon.bells` | raw  | 128   | KMON's number + 1, stored by KMON; 0 if it has none |

use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use shmem_channel::{Platform, SameKernel, WakeReason};
use shmem_core::mem::Word;
use shmem_core::primitive::{AtomicU32, Ordering::Relaxed};
use shmem_core::region::MemorySource;
use shmem_core::wait::RECHECK;
use shmem_core::{Incarnation, PartitionState};
use shmem_registry::{Kind, OpenError, Process, Registry, Request, Segment};
use shmem_sync::EventBell;

use super::idle_task::{Idle, IdleTask};
use super::{LinkError, segment};

/// The number of interrupts of each end.
pub const VECTORS: u16 = 2;
/// The interrupt for new records.
pub const RECORDS: u16 = 0;
/// The interrupt for new room.
pub const ROOM: u16 = 1;

const LEN: usize = 128;
/// Pause between two checks, of a polling end, for room or for the end of an earlier incarnation.
const PAUSE: Duration = Duration::from_millis(5);

/// How two ends wait for each other.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// They are processes of one kernel and use futexes.
    Futex,
    /// They share only the memory, and poll.
    Poll,
    /// They interrupt each other.
    Bells(Bells),
}

impl From<&MemorySource> for Waiting {
    /// The default for the memory at a place.
    fn from(place: &MemorySource) -> Self {
        match place.has_futex() {
            true => Self::Futex,
            false => Self::Poll,
        }
    }
}

impl Waiting {
    /// Ends the other end's wait for records, if it can be rung, although there are no records. So
    /// it notices other changes at once, for example that its region is being formatted.
    pub fn wake_peer(&self) {
        if let Self::Bells(bells) = self {
            bells.peers.ring(None, RECORDS);
        }
    }
}

/// Interrupts the other end.
pub trait RingPeers: Send + Sync {
    /// Interrupts peer number `peer` with `vector`; without a number, all peers (B3).
    fn ring(&self, peer: Option<u16>, vector: u16);
}

/// The interrupts of one end.
#[derive(Clone)]
pub struct Bells {
    number: Option<u16>,
    own: [Arc<EventBell>; VECTORS as usize],
    peers: Arc<dyn RingPeers>,
}

impl Bells {
    /// Returns KMON's interrupts; KMON is peer `number`. `own` are for [`RECORDS`] and [`ROOM`].
    pub fn for_monitor(
        number: u16,
        own: [Arc<EventBell>; VECTORS as usize],
        peers: Arc<dyn RingPeers>,
    ) -> Self {
        Self {
            number: Some(number),
            own,
            peers,
        }
    }

    /// Returns an instance's interrupts.
    pub fn for_instance(
        own: [Arc<EventBell>; VECTORS as usize],
        peers: Arc<dyn RingPeers>,
    ) -> Self {
        Self {
            number: None,
            own,
            peers,
        }
    }

    /// Returns what this end sleeps on.
    pub(super) fn own(&self, vector: u16) -> &Arc<EventBell> {
        &self.own[usize::from(vector)]
    }
}

impl fmt::Debug for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bells = f.debug_struct("Bells");
        bells.field("number", &self.number).finish_non_exhaustive()
    }
}

/// [`Waiting`] in a region, as the platform of a session.
pub(super) struct WakeMethod<'m> {
    waiting: Waiting,
    /// KMON's number; not set in a region without the segment for it.
    number: OnceLock<Word<'m>>,
}

impl<'m> WakeMethod<'m> {
    pub(super) fn new(waiting: Waiting) -> Self {
        let number = OnceLock::new();
        Self { waiting, number }
    }

    /// Finds the segment of KMON's number, after the session has attached.
    pub(super) fn find_number(
        &self,
        mut open: impl FnMut(&Request) -> Result<Segment<'m>, OpenError>,
    ) -> Result<(), LinkError> {
        match segment(&mut open, "kmon.bells", Kind::RAW, LEN) {
            Ok(segment) => {
                let _ = self.number.set(segment.window().word(0));
                Ok(())
            }
            Err(LinkError::Unformatted(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stores KMON's number in the region, or that it has none.
    pub(super) fn store_number(&self) {
        let own = match &self.waiting {
            Waiting::Bells(bells) => bells.number,
            Waiting::Futex | Waiting::Poll => None,
        };
        if let Some(word) = self.number.get() {
            // Relaxed: an instance that rings the earlier incarnation meanwhile loses one ring
            // (B1).
            word.store(own.map_or(0, |own| u32::from(own) + 1), Relaxed);
        }
    }

    /// Loads KMON's number from the region.
    fn peer(&self) -> Option<u16> {
        // Relaxed: the number may be outdated (B2).
        let word = self.number.get()?.load(Relaxed);
        u16::try_from(word.checked_sub(1)?).ok()
    }

    /// Returns how this end waits now.
    pub(super) fn waiting(&self) -> &Waiting {
        match &self.waiting {
            // An end that would not be rung polls (B2).
            Waiting::Bells(bells) if bells.number.is_none() && self.peer().is_none() => {
                &Waiting::Poll
            }
            waiting => waiting,
        }
    }

    /// Returns what this end sleeps on, if it is rung.
    pub(super) fn own_bell(&self, vector: u16) -> Option<Arc<EventBell>> {
        match &self.waiting {
            Waiting::Futex | Waiting::Poll => None,
            Waiting::Bells(bells) => Some(Arc::clone(bells.own(vector))),
        }
    }
}

impl Platform for WakeMethod<'_> {
    fn now(&self) -> Duration {
        SameKernel.now()
    }

    fn sleep(&self, ring_count: &AtomicU32, seen: u32, longest: Duration) {
        match self.waiting() {
            Waiting::Futex => SameKernel.sleep(ring_count, seen, longest),
            Waiting::Poll => thread::sleep(longest.min(PAUSE)),
            // For room: a wait for records does not use this function.
            Waiting::Bells(bells) => {
                let bell = bells.own(ROOM);
                if Idle.sleep(Some(bell.as_fd()), longest.min(RECHECK)) {
                    bell.take();
                }
            }
        }
    }

    fn wake(&self, ring_count: &AtomicU32, reason: WakeReason) {
        let vector = match reason {
            WakeReason::Records => RECORDS,
            WakeReason::Space | WakeReason::Lock => ROOM,
        };
        match &self.waiting {
            Waiting::Futex => SameKernel.wake(ring_count, reason),
            Waiting::Poll => {}
            // B3.
            Waiting::Bells(bells) if bells.number.is_some() => bells.peers.ring(None, vector),
            Waiting::Bells(bells) => {
                if let Some(peer) = self.peer() {
                    bells.peers.ring(Some(peer), vector);
                }
            }
        }
    }

    fn state(&self, registry: &Registry<'_>, partition: Incarnation) -> PartitionState {
        SameKernel.state(registry, partition)
    }

    fn process(&self) -> Process {
        SameKernel.process()
    }
}

#[cfg(test)]
mod tests;

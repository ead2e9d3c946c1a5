//! How an end waits for the other, and wakes it.
//!
//! Two ends on different kernels may interrupt each other, as peers of a device like
//! QEMU's `ivshmem-doorbell` whose server gives each a number.
//!
//! - **B1** A ring is a hint. Whoever waits looks again when its time is up, so a ring that
//!   is lost costs that long, and one for nothing costs a look.
//! - **B2** Each incarnation of KMON has a number of its own, and says it in the region before it
//!   waits. The instance loads it for each ring: one that is stale or mad rings nobody, or
//!   one who looks in vain.
//!   One that says none polls: so does its instance, as long as it is so.
//! - **B3** KMON rings all peers that it knows: it shares the region with its instance alone.
//!
//! | segment      | kind | bytes | word 0                                            |
//! |--------------|------|-------|---------------------------------------------------|
//! | `kmon.bells` | raw  | 128   | KMON's number + 1, stored by KMON; 0 says nothing |

use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use shmem_channel::{Platform, Reason, SameKernel};
use shmem_core::mem::Word;
use shmem_core::primitive::{AtomicU32, Ordering::Relaxed};
use shmem_core::region::Place;
use shmem_core::wait::RECHECK;
use shmem_core::{Incarnation, PartitionState};
use shmem_registry::{Kind, OpenError, Process, Registry, Request, Segment};
use shmem_sync::EventBell;

use super::idle_task::{Idle, IdleTask};
use super::{LinkError, segment};

/// Interrupts that each end has.
pub const VECTORS: u16 = 2;
/// The one that says that records are there.
pub const RECORDS: u16 = 0;
/// The one that says that there is room.
pub const ROOM: u16 = 1;

const LEN: usize = 128;
/// Between two looks for room, or for the end of an earlier incarnation, of one that polls.
const PAUSE: Duration = Duration::from_millis(5);

/// How two ends wait for each other.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// They are processes of one kernel.
    Futex,
    /// They share nothing but the memory.
    Poll,
    /// They interrupt each other.
    Bells(Bells),
}

impl From<&Place> for Waiting {
    /// Over the memory at a place, where nothing else is known.
    fn from(place: &Place) -> Self {
        match place.has_futex() {
            true => Self::Futex,
            false => Self::Poll,
        }
    }
}

impl Waiting {
    /// Ends the other end's wait for records although there are none, where it can be rung:
    /// so it sees at once what else is new, that its region is one no more for example.
    pub fn disturb(&self) {
        if let Self::Bells(bells) = self {
            bells.peers.ring(None, RECORDS);
        }
    }
}

/// Interrupts the other end.
pub trait RingPeers: Send + Sync {
    /// Interrupts peer number `peer` with `vector`; without a number, whoever is there (B3).
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
    /// KMON's, which is peer `number`; `own` ring for [`RECORDS`] and for [`ROOM`].
    pub fn of_monitor(
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

    /// An instance's.
    pub fn of_instance(own: [Arc<EventBell>; VECTORS as usize], peers: Arc<dyn RingPeers>) -> Self {
        Self {
            number: None,
            own,
            peers,
        }
    }

    /// What this end sleeps on.
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

/// [`Waiting`] in a region: where an end runs, as its session needs to know it.
pub(super) struct WakeMethod<'m> {
    waiting: Waiting,
    /// KMON's number; nothing in a region of a KMON that has none.
    number: OnceLock<Word<'m>>,
}

impl<'m> WakeMethod<'m> {
    pub(super) fn new(waiting: Waiting) -> Self {
        let number = OnceLock::new();
        Self { waiting, number }
    }

    /// Finds where KMON's number is said, once the session is there.
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

    /// Says KMON's number in the region, or that it has none.
    pub(super) fn say_number(&self) {
        let own = match &self.waiting {
            Waiting::Bells(bells) => bells.number,
            Waiting::Futex | Waiting::Poll => None,
        };
        if let Some(word) = self.number.get() {
            // Relaxed: whoever rings the earlier incarnation meanwhile costs a look (B1).
            word.store(own.map_or(0, |own| u32::from(own) + 1), Relaxed);
        }
    }

    /// KMON's number, as the region has it now.
    fn peer(&self) -> Option<u16> {
        // Relaxed: of a stale number see B2.
        let word = self.number.get()?.load(Relaxed);
        u16::try_from(word.checked_sub(1)?).ok()
    }

    /// How this end waits now.
    pub(super) fn waiting(&self) -> &Waiting {
        match &self.waiting {
            // Whom nobody would ring looks for itself (B2).
            Waiting::Bells(bells) if bells.number.is_none() && self.peer().is_none() => {
                &Waiting::Poll
            }
            waiting => waiting,
        }
    }

    /// What this end sleeps on, where it is rung.
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

    fn sleep(&self, rings: &AtomicU32, seen: u32, longest: Duration) {
        match self.waiting() {
            Waiting::Futex => SameKernel.sleep(rings, seen, longest),
            Waiting::Poll => thread::sleep(longest.min(PAUSE)),
            // For room: who waits for records has its own way.
            Waiting::Bells(bells) => {
                let bell = bells.own(ROOM);
                if Idle.sleep(Some(bell.as_fd()), longest.min(RECHECK)) {
                    bell.take();
                }
            }
        }
    }

    fn wake(&self, rings: &AtomicU32, reason: Reason) {
        let vector = match reason {
            Reason::Records => RECORDS,
            Reason::Room | Reason::Lock => ROOM,
        };
        match &self.waiting {
            Waiting::Futex => SameKernel.wake(rings, reason),
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

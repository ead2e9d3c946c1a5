//! Mutual exclusion without read-modify-write, between partitions that may die.
//!
//! `queue.rs` decides which partition enters next. This module passes to it what the last owner
//! left.
//!
//! - **B1** Only the partition that is inside uses `holder`, `health` and the protected bytes.
//! - **B2** A partition that enters stores its incarnation in `holder`, and stores 0 there before
//!   it releases its ticket. So a partition that enters and finds an incarnation there comes after
//!   one that died while it held the lock.
//! - **B3** If it finds one, it stores its own incarnation in `health`, which means *suspect*, and
//!   then in `holder`. Only `make_consistent` removes the first.
//! - **B4** *Suspect* bytes are left only as *poisoned*, which is stored before `holder` becomes 0.
//!
//! At whichever point a partition dies, the next one finds a correct state:
//!
//! | it dies | it leaves | the next one |
//! |---------|-----------|--------------|
//! | attaching, its word not stored | no ticket, an earlier incarnation's word | is not affected |
//! | while it draws | a ticket being drawn | passes it over |
//! | waiting | a ticket  | passes it over |
//! | next in turn, `holder` is still 0 | a ticket  | passes it over; whole |
//! | next in turn, `holder` names a dead owner | a ticket, `holder` | passes it over; warned |
//! | inside, `holder` its own | a ticket, `holder` | passes it over; warned |
//! | inside, after `make_consistent` | the same  | the same     |
//! | leaving, before *poisoned* is stored | the same  | the same: it may repair |
//! | leaving, *poisoned* stored | the same  | gets an error |
//! | leaving, before `holder` is 0 | a ticket, `holder`, whole bytes | is warned unnecessarily |
//! | leaving, `holder` is 0 | a ticket  | passes it over; whole |
//! | leaving, the ticket released | nothing   | is not affected |
//!
//! An owner that dies before it changes the colour leaves the order of the others unchanged: the
//! next one of its colour changes it.
//!
//! B1 binds honest partitions that were not treated as gone while they ran. An incarnation that was
//! detects it when it leaves, if another has entered: `holder` is not its own. It then stores
//! nothing except its ticket, and not even that if a later incarnation of its partition has
//! attached.
//!
//! - **B5** Before each store of `health`, `holder` and `colour` a partition checks that it is
//!   still inside. Before each store of its ticket it checks that its place is its own.
//!
//! - **B6** A partition that enters may find in `holder` an incarnation that still has its ticket
//!   and is not gone. Then it was itself treated as gone while it waited, and was passed over: it
//!   leaves at once.
//!
//! No exchange makes the check and the store one step. So one store of an incarnation that is
//! stopped between the two can arrive late:
//!
//! | late store | effect |
//! |------------|--------|
//! | `health` = its incarnation | the next owner is warned unnecessarily |
//! | `health` = poisoned | the bytes are given up, unless the owner repairs them after it |
//! | `health` = whole | if the owner was warned, it poisons the bytes, or its successor is warned |
//! | `holder`   | the owner gets [`NotHeld`], and its death is not reported; or two are inside |
//! | `colour`   | partitions that wait may enter together |
//! | its ticket | a later incarnation of the partition may be inside with others |
//! | its `protects` | partitions that attach with another type get an error |
//!
//! Two are inside if the incarnation that is late was about to enter. So the guarantee of
//! [`PartitionState::Gone`](crate::PartitionState::Gone) is most important here. Where
//! compare-and-swap works, [`Mutex`](crate::Mutex) has no such store.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Wait;
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};

use crate::error::{Acquired, AttachError, LockFailure, NotHeld};
use crate::health::{self, POISONED, WHOLE};
use crate::layout::{BakeryControl, BAKERY_PARTITIONS};
use crate::owner::{incarnation_without_flag, not_held};
use crate::protected::{control, segment_len};
use crate::waiter::Waiter;
use crate::Liveness;

mod declare;
mod queue;
mod ticket;

pub(crate) use declare::declare;
use queue::Queue;

pub(crate) const CONTROL: usize = core::mem::size_of::<BakeryControl>();

/// The protocol of [`BakeryMutex`](crate::BakeryMutex), without a guard.
///
/// # Examples
///
/// ```
/// use shmem_core::{mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawBakeryMutex, Acquired, AssumeAlive};
///
/// let heap = Heap::new(RawBakeryMutex::segment_len(0));
/// // SAFETY: the only handle of this partition.
/// let mut mutex = unsafe { RawBakeryMutex::attach(heap.window(), Incarnation::first(1), 4)? };
/// assert_eq!(mutex.lock(&mut Spin::forever(), &mut AssumeAlive)?, Acquired::Clean);
/// // SAFETY: locked above.
/// unsafe { mutex.unlock()? };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawBakeryMutex<'m> {
    queue: Queue<'m>,
    holder: Word<'m>,
    health: Word<'m>,
    /// While we are inside: true if the bytes are suspect.
    suspect: bool,
}

impl<'m> RawBakeryMutex<'m> {
    /// Returns the length of a segment whose mutex protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        segment_len(CONTROL, data)
    }

    /// Returns the mutex in `segment`, used by `incarnation`, among partitions 1 to `partitions`,
    /// at most 64. A zeroed segment is a free mutex.
    ///
    /// It stores the incarnation in its partition's entry, and removes the ticket that an earlier
    /// incarnation may have left there.
    ///
    /// # Errors
    ///
    /// [`AttachError::Partition`] if this partition's number is larger than `partitions`;
    /// [`AttachError::Length`] if the segment is shorter than the control block;
    /// [`AttachError::Evicted`] if a later incarnation of this partition has attached: nothing is
    /// stored.
    ///
    /// # Safety
    ///
    /// No other handle of `incarnation` on this mutex is used from now on. A partition has one
    /// entry, so two handles of one incarnation let each other in. By loads and stores alone, two
    /// handles that attach at the same time cannot detect each other.
    pub unsafe fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        partitions: u8,
    ) -> Result<Self, AttachError> {
        let control = control(segment, CONTROL)?;
        let limit = limit(incarnation, partitions)?;
        Ok(Self {
            queue: Queue::attach(control, incarnation, limit)?,
            holder: control.word(offset_of!(BakeryControl, holder)),
            health: control.word(offset_of!(BakeryControl, health)),
            suspect: false,
        })
    }

    /// As [`BakeryMutex::try_lock`](crate::BakeryMutex::try_lock).
    ///
    /// # Errors
    ///
    /// As [`RawBakeryMutex::lock`], but [`LockFailure::Busy`] instead of waiting.
    pub fn try_lock<L: Liveness>(&mut self, liveness: &mut L) -> Result<Acquired, LockFailure> {
        // An incarnation of our own partition does not block us: an earlier one is gone, and this
        // one has its ticket.
        let us = self.queue.incarnation().partition();
        // relaxed: a hint, which avoids a ticket that would be withdrawn.
        let holder = Incarnation::from_word(self.holder.load(Relaxed));
        let other = holder.filter(|holder| holder.partition() != us);
        if other.is_some_and(|other| !liveness.is_gone(other)) {
            return Err(LockFailure::Busy);
        }
        self.lock_with(&mut Waiter::without_waiting(liveness))
    }

    /// As [`BakeryMutex::lock`](crate::BakeryMutex::lock).
    ///
    /// # Errors
    ///
    /// [`LockFailure`], with the meaning it has there.
    pub fn lock<W: Wait, L: Liveness>(
        &mut self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Acquired, LockFailure> {
        self.lock_with(&mut Waiter::new(wait, liveness))
    }

    /// Unlocks the mutex. If it was acquired from a dead owner and not declared consistent, it is
    /// poisoned.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this handle does not have it; then only its ticket is withdrawn, if it still
    /// has one.
    ///
    /// # Safety
    ///
    /// No guard of the mutex and no pointer to what it protects is used after this.
    pub unsafe fn unlock(&mut self) -> Result<(), NotHeld> {
        if let Err(not_held) = self.check() {
            // Our ticket may still be ours, and the others regard us as alive.
            self.queue.withdraw();
            return Err(not_held);
        }
        if self.suspect {
            // relaxed: the release of the ticket in `clear_ticket` hands it to the next owner (B1,
            // B4).
            self.health.store(POISONED, Relaxed);
        }
        if let Err(not_held) = self.check() {
            self.queue.withdraw();
            return Err(not_held);
        }
        self.leave();
        Ok(())
    }

    /// Declares that the data that a dead owner left is repaired.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this handle does not have the mutex.
    ///
    /// # Safety
    ///
    /// The caller has repaired the bytes.
    pub unsafe fn make_consistent(&mut self) -> Result<(), NotHeld> {
        self.check()?;
        // relaxed: the release of the ticket in `clear_ticket` hands it to the next owner (B1, B3).
        self.health.store(WHOLE, Relaxed);
        self.suspect = false;
        Ok(())
    }

    /// Returns the incarnation that holds the mutex: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the word has a value that no honest partition stores.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        // relaxed: the Acquire in `blocking_ticket` orders it for a partition inside (B1); for
        // others it is a hint.
        let value = self.holder.load(Relaxed);
        match incarnation_without_flag(value) {
            None if value == 0 => Ok(None),
            Some(incarnation) if self.queue.takes_part(incarnation.partition()) => {
                Ok(Some(incarnation))
            }
            _ => Err(Corrupt {
                word: ControlWord::BakeryHolder,
                value,
            }),
        }
    }

    // relaxed in all of this: `health` and `holder` are used only inside (B1): after the Acquire in
    // `blocking_ticket` and before the Release in `clear_ticket`. The stores of a dead owner have
    // arrived when it is known to be gone.
    fn lock_with(&mut self, waiter: &mut Waiter<'_>) -> Result<Acquired, LockFailure> {
        self.queue.enter(waiter)?;
        let died = match self.died_inside(waiter) {
            Ok(died) => died,
            Err(failure) => {
                self.queue.withdraw();
                return Err(failure);
            }
        };
        match health::check_after_acquire(
            self.health.load(Relaxed),
            ControlWord::BakeryHealth,
            died,
        ) {
            Ok(suspect) => {
                if suspect {
                    self.health.store(self.queue.incarnation().word(), Relaxed);
                }
                self.holder.store(self.queue.incarnation().word(), Relaxed);
                self.suspect = suspect;
                Ok(Acquired::new(suspect))
            }
            Err(failure) => {
                self.leave();
                Err(failure)
            }
        }
    }

    /// Returns true if the last owner died while it held the lock; the caller has just entered.
    /// Returns an error if that owner still holds it (B6).
    fn died_inside(&self, waiter: &mut Waiter<'_>) -> Result<bool, LockFailure> {
        let Some(holder) = self.owner().map_err(LockFailure::Corrupt)? else {
            return Ok(false);
        };
        match self.queue.is_waiting(holder)? && !waiter.is_gone(holder) {
            true => Err(LockFailure::Evicted),
            false => Ok(true),
        }
    }

    // relaxed in all of this: the release of the ticket in `clear_ticket` hands `holder` to the
    // next owner (B1). The load finds our own store or a later one; if another's is not seen yet,
    // we make one of the late stores above.
    fn leave(&mut self) {
        self.holder.store(0, Relaxed); // B2
        let alone = self.holder.load(Relaxed) == 0; // B5
        self.queue.leave(alone);
    }

    /// Returns an error unless this handle is inside.
    fn check(&self) -> Result<(), NotHeld> {
        // relaxed: finds our own store or a later one. If we do not see yet that we were passed
        // over, we make one of the late stores above.
        let found = self.holder.load(Relaxed);
        let inside = self.queue.is_inside() && self.queue.check_place().is_ok();
        match inside && found == self.queue.incarnation().word() {
            true => Ok(()),
            false => Err(not_held(found)),
        }
    }
}

/// Returns the largest partition number that takes part; an error if `incarnation` does not.
pub(crate) fn limit(incarnation: Incarnation, partitions: u8) -> Result<u8, AttachError> {
    let (partition, limit) = (
        incarnation.partition(),
        partitions.min(BAKERY_PARTITIONS as u8),
    );
    match partition <= limit {
        true => Ok(limit),
        false => Err(AttachError::Partition { partition, limit }),
    }
}

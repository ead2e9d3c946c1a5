//! Mutual exclusion without read-modify-write, between partitions that may die.
//!
//! Who comes first: `queue.rs`. Here is what the one that comes in learns of the
//! last one that was inside.
//!
//! - **B1** `holder`, `health` and the protected bytes are used by whoever is inside.
//! - **B2** Whoever comes in stores its incarnation in `holder`, and whoever leaves stores 0
//!   before it gives its ticket back. So whoever comes in and finds an incarnation there
//!   comes after one that died inside.
//! - **B3** Whoever finds one puts its incarnation in `health`, which is *suspect*, and then in
//!   `holder`; only `make_consistent` takes the first away.
//! - **B4** *Suspect* bytes are not left but as *poisoned*, stored before `holder` is 0.
//!
//! Wherever a partition dies, what it leaves is right for the next one:
//!
//! | it dies                                | it leaves                       | the next one            |
//! |----------------------------------------|---------------------------------|-------------------------|
//! | attaching, before its incarnation is stored   | no ticket, its earlier incarnation     | does not meet it        |
//! | while it draws                         | a ticket being drawn            | passes it over          |
//! | waiting                                | a ticket                        | passes it over          |
//! | its turn has come, `holder` is still 0 | a ticket                        | passes it over; whole   |
//! | the same, but `holder` names the dead one before it; *suspect* stored or not | a ticket; that incarnation | passes it over; warned, on account of the other |
//! | inside, `holder` its own               | a ticket, its incarnation              | passes it over; warned  |
//! | inside, after `make_consistent`        | the same                        | the same                |
//! | leaving, before *poisoned* is stored   | the same                        | the same: it may repair |
//! | leaving, *poisoned* stored             | the same                        | is turned away          |
//! | leaving, before `holder` is 0          | a ticket, its incarnation, whole bytes | warned without need     |
//! | leaving, `holder` is 0; the colour changed or not | a ticket             | passes it over; whole   |
//! | leaving, the ticket given back         | nothing                         | does not meet it        |
//!
//! An owner that dies before it changes the colour leaves the order of the others
//! as it is: the next one of its colour changes it.
//!
//! B1 binds honest partitions, and those that were not said to be gone while they
//! lived. One that was learns it when it leaves, if another has come in: `holder`
//! is not its own, and it stores nothing but its ticket; or nothing at all, if a later
//! incarnation of its partition has attached.
//!
//! - **B5** Before each store of `health`, `holder` and `colour` it looks whether it is
//!   inside still, and before each of its ticket, whether its place is its own.
//!
//! - **B6** Whoever comes in and finds an incarnation there that has its ticket still, and is not
//!   gone, was itself said to be gone while it waited, and passed over: it leaves at once.
//!
//! There is no exchange to make the look and the store one, so one store of an incarnation that
//! is stopped between the two can still arrive late. What it does then:
//!
//! | late store          | does                                                            |
//! |---------------------|-----------------------------------------------------------------|
//! | `health` = its incarnation | the next one is warned without need                             |
//! | `health` = poisoned | the bytes are given up, unless who is inside repairs them after it |
//! | `health` = whole    | who is inside and was warned gives them back as poisoned nevertheless; if it dies, the next one is warned |
//! | `holder`            | who is inside is told [`NotHeld`]; should it die inside, nobody is warned. If it was about to come in, both are inside |
//! | `colour`            | those that wait may be let in together                          |
//! | its ticket          | a later incarnation of the partition that waits may meet others inside |
//! | its `protects`      | those that attach with another type than that are refused       |
//!
//! So the promise of [`PartitionState::Gone`](crate::PartitionState::Gone) is to be kept
//! here above all; where compare-and-swap works, [`Mutex`](crate::Mutex) has no such store.

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
    /// While we are inside: whether the last one's death is not made good.
    suspect: bool,
}

impl<'m> RawBakeryMutex<'m> {
    /// Bytes of a segment whose mutex protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        segment_len(CONTROL, data)
    }

    /// The mutex in `segment`, used by `incarnation`, among partitions 1 to `partitions`, 64 at
    /// the most. A zeroed segment is a free mutex.
    ///
    /// It stores the incarnation in its partition's entry, and takes away the ticket that an
    /// earlier incarnation may have left there.
    ///
    /// # Errors
    ///
    /// [`AttachError::Partition`] if the number of this one is larger;
    /// [`AttachError::Length`] if the segment is shorter than the control block;
    /// [`AttachError::Evicted`] if a later incarnation of this partition has attached: nothing is
    /// stored.
    ///
    /// # Safety
    ///
    /// No other handle of `incarnation` on this mutex is used from now on: a partition has one
    /// entry, so two handles of one incarnation let each other in. By loads and stores alone, two
    /// that attach at the same time cannot find each other.
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
        // An incarnation of our own is no blocking_ticket: an earlier one is over, and this one has its
        // ticket.
        let us = self.queue.incarnation().partition();
        // relaxed: a hint, which saves a ticket that would be given back.
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

    /// Unlocks the mutex. One that was acquired from a dead owner and is not consistent is
    /// poisoned.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this handle does not have it; nothing is changed then.
    ///
    /// # Safety
    ///
    /// No guard of the mutex and no pointer to what it protects is used after this.
    pub unsafe fn unlock(&mut self) -> Result<(), NotHeld> {
        if let Err(not_held) = self.check() {
            // Our ticket may be ours still, and the others believe that we live.
            self.queue.withdraw();
            return Err(not_held);
        }
        if self.suspect {
            // relaxed: the ticket that `clear_ticket` gives back hands it to the next one (B1, B4).
            self.health.store(POISONED, Relaxed);
        }
        if let Err(not_held) = self.check() {
            self.queue.withdraw();
            return Err(not_held);
        }
        self.leave();
        Ok(())
    }

    /// Declares what a dead owner left repaired.
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
        // relaxed: the ticket that `clear_ticket` gives back hands it to the next one (B1, B3).
        self.health.store(WHOLE, Relaxed);
        self.suspect = false;
        Ok(())
    }

    /// Which incarnation is inside now: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition puts there what is there.
    pub fn owner(&self) -> Result<Option<Incarnation>, Corrupt> {
        // relaxed: the Acquire in `blocking_ticket` orders it for one inside (B1); for others it is
        // a hint.
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

    // relaxed in all of this: `health` and `holder` are used inside alone (B1): the Acquire in
    // `blocking_ticket` comes before, the Release in `clear_ticket` after. What a dead one stored has
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

    /// Whether the last one inside died there, for one whose turn has come. An error if it
    /// is inside still (B6).
    fn died_inside(&self, waiter: &mut Waiter<'_>) -> Result<bool, LockFailure> {
        let Some(holder) = self.owner().map_err(LockFailure::Corrupt)? else {
            return Ok(false);
        };
        match self.queue.is_waiting(holder)? && !waiter.is_gone(holder) {
            true => Err(LockFailure::Evicted),
            false => Ok(true),
        }
    }

    // relaxed in all of this: the ticket that `clear_ticket` gives back hands `holder` to the
    // next one (B1). The load finds our own store or a later one; another's that is not seen yet
    // is one of the late stores above.
    fn leave(&mut self) {
        self.holder.store(0, Relaxed); // B2
        let alone = self.holder.load(Relaxed) == 0; // B5
        self.queue.leave(alone);
    }

    /// An error unless this handle is inside.
    fn check(&self) -> Result<(), NotHeld> {
        // relaxed: finds our own store or a later one; who has not seen yet that it was passed
        // over stores late, see above.
        let found = self.holder.load(Relaxed);
        let inside = self.queue.is_inside() && self.queue.check_place().is_ok();
        match inside && found == self.queue.incarnation().word() {
            true => Ok(()),
            false => Err(not_held(found)),
        }
    }
}

/// The largest number that takes part, where `incarnation`'s is one of them.
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

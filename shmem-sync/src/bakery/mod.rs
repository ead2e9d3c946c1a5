//! Mutual exclusion without read-modify-write, between partitions that may die.
//!
//! Who comes first: `queue.rs`. Here is what the one that comes in learns of the
//! last one that was inside.
//!
//! - **B1** `holder`, `health` and the protected bytes are used by whoever is inside.
//! - **B2** Whoever comes in stores its life in `holder`, and whoever leaves stores 0
//!   before it gives its ticket back. So whoever comes in and finds a life there
//!   comes after one that died inside.
//! - **B3** Whoever finds one puts its life in `health`, which is *suspect*, and then in
//!   `holder`; only `make_consistent` takes the first away.
//! - **B4** *Suspect* bytes are not left but as *poisoned*, stored before `holder` is 0.
//!
//! Wherever a partition dies, what it leaves is right for the next one:
//!
//! | it dies                                | it leaves                       | the next one            |
//! |----------------------------------------|---------------------------------|-------------------------|
//! | attaching, before its life is stored   | no ticket, its earlier life     | does not meet it        |
//! | while it draws                         | a ticket being drawn            | passes it over          |
//! | waiting                                | a ticket                        | passes it over          |
//! | its turn has come, `holder` is still 0 | a ticket                        | passes it over; whole   |
//! | the same, but `holder` names the dead one before it; *suspect* stored or not | a ticket; that life | passes it over; warned, on account of the other |
//! | inside, `holder` its own               | a ticket, its life              | passes it over; warned  |
//! | inside, after `make_consistent`        | the same                        | the same                |
//! | leaving, before *poisoned* is stored   | the same                        | the same: it may repair |
//! | leaving, *poisoned* stored             | the same                        | is turned away          |
//! | leaving, before `holder` is 0          | a ticket, its life, whole bytes | warned without need     |
//! | leaving, `holder` is 0; the colour changed or not | a ticket             | passes it over; whole   |
//! | leaving, the ticket given back         | nothing                         | does not meet it        |
//!
//! An owner that dies before it changes the colour leaves the order of the others
//! as it is: the next one of its colour changes it.
//!
//! B1 binds honest partitions, and those that were not said to be gone while they
//! lived. One that was learns it when it leaves, if another has come in: `holder`
//! is not its own, and it stores nothing but its ticket; or nothing at all, if a later
//! life of its partition has attached.
//!
//! - **B5** Before each store of `health`, `holder` and `colour` it looks whether it is
//!   inside still, and before each of its ticket, whether its place is its own.
//!
//! - **B6** Whoever comes in and finds a life there that has its ticket still, and is not
//!   gone, was itself said to be gone while it waited, and passed over: it leaves at once.
//!
//! There is no exchange to make the look and the store one, so one store of a life that
//! is stopped between the two can still arrive late. What it does then:
//!
//! | late store          | does                                                            |
//! |---------------------|-----------------------------------------------------------------|
//! | `health` = its life | the next one is warned without need                             |
//! | `health` = poisoned | the bytes are given up, unless who is inside repairs them after it |
//! | `health` = whole    | who is inside and was warned gives them back as poisoned nevertheless; if it dies, the next one is warned |
//! | `holder`            | who is inside is told [`NotHeld`]; should it die inside, nobody is warned. If it was about to come in, both are inside |
//! | `colour`            | those that wait may be let in together                          |
//! | its ticket          | a later life of the partition that waits may meet others inside |
//!
//! So the promise of [`PartitionState::Gone`](crate::PartitionState::Gone) is to be kept
//! here above all; where compare-and-swap works, [`Mutex`](crate::Mutex) has no such store.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Wait;
use shmem_core::{ControlWord, Corrupt, Life, Window};

use crate::error::{LockError, LockResult, NotHeld, Refusal};
use crate::health::{self, POISONED, WHOLE};
use crate::layout::{BakeryControl, BAKERY_PARTITIONS};
use crate::owner::{not_held, plain};
use crate::vigil::Vigil;
use crate::Liveness;

mod error;
mod queue;
mod ticket;

pub use error::BakeryAttachError;
use queue::Queue;

const CONTROL: usize = core::mem::size_of::<BakeryControl>();

/// A robust mutex for memory on which compare-and-swap does not work, and the bytes
/// in it that it protects.
///
/// Device mappings and some emulators have loads and stores only. Where
/// compare-and-swap works, [`Mutex`](crate::Mutex) costs less: here every locking
/// reads the tickets of all partitions that may take part, twice.
///
/// Fair, first come first served: once a partition has drawn its ticket, which
/// takes one look at every other's, each other partition goes in before it once
/// at the most, and whoever comes later goes in later. So one that has its turn and
/// is not running holds up all the others, where they would pass it at a
/// [`Mutex`](crate::Mutex). A call that gives up, at its deadline or because it does
/// not wait, loses its place.
///
/// Nobody rings when it is given back, so wait with what looks by itself:
/// [`Spin`](shmem_core::wait::Spin), [`SpinYield`](crate::SpinYield),
/// [`SleepPoll`](crate::SleepPoll). A wait that sleeps until it is woken looks
/// again after [`RECHECK`](shmem_core::wait::RECHECK).
///
/// A partition has one handle to a mutex, and one thread uses it at a time, which
/// `&mut` sees to. One that forgets its guard and locks again waits for itself.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use shmem_core::{Life, Mapping};
/// use shmem_sync::{BakeryMutex, AssumeAlive, LockError, SpinYield};
///
/// let memory = Mapping::memfd("demo", BakeryMutex::segment_len(8))?;
/// let mut mutex = BakeryMutex::attach_among(memory.window(), Life::first(1), 4)?;
///
/// let guard = match mutex.lock(&mut SpinYield::forever(), &mut AssumeAlive) {
///     Ok(guard) => guard,
///     Err(LockError::OwnerDied(mut guard)) => {
///         guard.data().zero(0, 8); // Whatever makes it whole again.
///         guard.make_consistent();
///         guard
///     }
///     Err(error) => return Err(error.to_string().into()),
/// };
/// guard.data().write(0, b"together");
/// guard.unlock()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BakeryMutex<'m> {
    queue: Queue<'m>,
    holder: Word<'m>,
    health: Word<'m>,
    data: Window<'m>,
    /// While we are inside: whether the last one's death is not made good.
    suspect: bool,
}

impl<'m> BakeryMutex<'m> {
    /// Bytes of a segment whose mutex protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        CONTROL + data.div_ceil(8) * 8
    }

    /// The mutex in `segment`, used by `life`, among all partitions that there is
    /// room for: 1 to 64. A zeroed segment is a free mutex.
    ///
    /// It stores the life in its partition's entry, and takes away the ticket that
    /// an earlier life may have left there.
    ///
    /// # Errors
    ///
    /// As [`BakeryMutex::attach_among`].
    pub fn attach(segment: Window<'m>, life: Life) -> Result<Self, BakeryAttachError> {
        Self::attach_among(segment, life, BAKERY_PARTITIONS as u8)
    }

    /// As [`BakeryMutex::attach`], among partitions 1 to `partitions`, 64 at the most.
    ///
    /// All must say the same, or they do not exclude each other. The fewer, the
    /// sooner it is had: locking reads the entry of each twice, and a read of a
    /// device takes about a microsecond.
    ///
    /// # Errors
    ///
    /// [`BakeryAttachError::Partition`] if the number of this one is larger;
    /// [`BakeryAttachError::Segment`] if the segment is shorter than
    /// [`BakeryMutex::segment_len`] of 0.
    pub fn attach_among(
        segment: Window<'m>,
        life: Life,
        partitions: u8,
    ) -> Result<Self, BakeryAttachError> {
        let control = segment.sub(0, CONTROL)?;
        let limit = partitions.min(BAKERY_PARTITIONS as u8);
        if life.partition() > limit {
            return Err(BakeryAttachError::Partition {
                partition: life.partition(),
                limit,
            });
        }
        Ok(Self {
            queue: Queue::attach(control, life, limit),
            holder: control.word(offset_of!(BakeryControl, holder)),
            health: control.word(offset_of!(BakeryControl, health)),
            data: segment.sub(CONTROL, segment.len() - CONTROL)?,
            suspect: false,
        })
    }

    /// Takes the mutex if nobody is inside or before us but those that are gone.
    ///
    /// Of several that try at the same moment, all may fail.
    ///
    /// # Errors
    ///
    /// As [`BakeryMutex::lock`], but [`LockError::Busy`] instead of waiting.
    pub fn try_lock<L: Liveness>(&mut self, liveness: &mut L) -> LockResult<BakeryGuard<'_, 'm>> {
        // A life of our own is no obstacle: an earlier one is over, and this one has its ticket.
        let us = self.queue.life().partition();
        // relaxed: a hint, which saves a ticket that would be given back.
        let holder = Life::from_word(self.holder.load(Relaxed));
        let other = holder.filter(|holder| holder.partition() != us);
        if other.is_some_and(|other| !liveness.is_gone(other)) {
            return Err(LockError::Busy);
        }
        self.take(&mut Vigil::once(liveness))
    }

    /// Takes the mutex, and waits for it until the deadline of `wait`; one that has
    /// passed leaves time for one look.
    ///
    /// Those that are gone are passed over. For silent ones it waits.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] with the guard if the last owner died inside;
    /// [`LockError::Poisoned`] if nobody repaired what such a one left;
    /// [`LockError::TimedOut`] at the deadline, or [`LockError::HolderSilent`] if who is
    /// before us then is silent; [`LockError::Evicted`] if a later life of this partition
    /// has attached, or others passed this one over as gone; [`LockError::Corrupt`] if a partition broke the protocol.
    pub fn lock<W: Wait, L: Liveness>(
        &mut self,
        wait: &mut W,
        liveness: &mut L,
    ) -> LockResult<BakeryGuard<'_, 'm>> {
        self.take(&mut Vigil::long(wait, liveness))
    }

    /// Gives the mutex back without its guard, as a guard that is dropped does: for
    /// callers that forgot it because they cannot keep it.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this handle does not have it; nothing is changed then.
    pub fn release(&mut self) -> Result<(), NotHeld> {
        if let Err(robbed) = self.check() {
            // Our ticket may be ours still, and the others believe that we live.
            self.queue.withdraw();
            return Err(robbed);
        }
        if self.suspect {
            // relaxed: the ticket that `clear_ticket` gives back hands it to the next one (B1, B4).
            self.health.store(POISONED, Relaxed);
        }
        if let Err(robbed) = self.check() {
            self.queue.withdraw();
            return Err(robbed);
        }
        self.leave();
        Ok(())
    }

    /// Says without the guard that the bytes are whole again.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this handle does not have the mutex.
    pub fn make_consistent(&mut self) -> Result<(), NotHeld> {
        self.check()?;
        // relaxed: the ticket that `clear_ticket` gives back hands it to the next one (B1, B3).
        self.health.store(WHOLE, Relaxed);
        self.suspect = false;
        Ok(())
    }

    /// Which life is inside now: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition puts there what is there.
    pub fn owner(&self) -> Result<Option<Life>, Corrupt> {
        // relaxed: the Acquire in `obstacle` orders it for one inside (B1); for others it is
        // a hint.
        let value = self.holder.load(Relaxed);
        match plain(value) {
            None if value == 0 => Ok(None),
            Some(life) if self.queue.has_place(life.partition()) => Ok(Some(life)),
            _ => Err(Corrupt {
                word: ControlWord::BakeryHolder,
                value,
            }),
        }
    }

    // relaxed in all of this: `health` and `holder` are used inside alone (B1): the Acquire in
    // `obstacle` comes before, the Release in `clear_ticket` after. What a dead one stored has
    // arrived when it is known to be gone.
    fn take(&mut self, vigil: &mut Vigil<'_>) -> LockResult<BakeryGuard<'_, 'm>> {
        self.queue.enter(vigil).map_err(LockError::of)?;
        let died = match self.died_inside(vigil) {
            Ok(died) => died,
            Err(refusal) => {
                self.queue.withdraw();
                return Err(refusal.of());
            }
        };
        match health::examine(self.health.load(Relaxed), ControlWord::BakeryHealth, died) {
            Ok(suspect) => {
                if suspect {
                    self.health.store(self.queue.life().word(), Relaxed);
                }
                self.holder.store(self.queue.life().word(), Relaxed);
                self.suspect = suspect;
                let guard = BakeryGuard { mutex: self };
                match suspect {
                    false => Ok(guard),
                    true => Err(LockError::OwnerDied(guard)),
                }
            }
            Err(refusal) => {
                self.leave();
                Err(refusal.of())
            }
        }
    }

    /// Whether the last one inside died there, for one whose turn has come. An error if it
    /// is inside still (B6).
    fn died_inside(&self, vigil: &mut Vigil<'_>) -> Result<bool, Refusal> {
        let Some(holder) = self.owner().map_err(LockError::Corrupt)? else {
            return Ok(false);
        };
        match self.queue.is_waiting(holder)? && !vigil.is_gone(holder) {
            true => Err(LockError::Evicted),
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
        match inside && found == self.queue.life().word() {
            true => Ok(()),
            false => Err(not_held(found)),
        }
    }
}

/// The mutex is had; dropped, it is given back.
///
/// Dropped or given back by one that was warned and did not
/// [`make_consistent`](BakeryGuard::make_consistent), it poisons the mutex.
#[must_use = "the mutex is given back at once if the guard is dropped"]
pub struct BakeryGuard<'l, 'm> {
    mutex: &'l mut BakeryMutex<'m>,
}

impl<'m> BakeryGuard<'_, 'm> {
    /// The protected bytes: the caller's alone as long as it has the mutex.
    pub fn data(&self) -> Window<'m> {
        self.mutex.data
    }

    /// Says that what a dead owner left is repaired. One that was meanwhile said to
    /// be gone changes nothing by it, and learns it from [`BakeryGuard::unlock`].
    pub fn make_consistent(&mut self) {
        let _ = self.mutex.make_consistent();
    }

    /// Gives the mutex back.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life was said to be gone and another came in.
    pub fn unlock(self) -> Result<(), NotHeld> {
        let given = self.mutex.release();
        core::mem::forget(self);
        given
    }
}

impl Drop for BakeryGuard<'_, '_> {
    fn drop(&mut self) {
        // Nobody to tell that it was not held any more: who wants to know unlocks.
        let _ = self.mutex.release();
    }
}

//! Counting semaphore: the permits of a partition that died come back.
//!
//! Each permit has a place with two words: `permit` says who holds it, and `adder` who
//! is about to put one there, so that what is reserved is not taken for a permit.
//!
//! | `permit`    | meaning                              | becomes                              |
//! |-------------|--------------------------------------|--------------------------------------|
//! | 0           | no permit                            | 1, by who has put its incarnation in `adder` |
//! | 1           | a permit that nobody holds           | *l*, by incarnation *l* that acquires it    |
//! | *l*         | incarnation *l* holds the permit            | 1 when given back, 0 when consumed   |
//! | *l*         | and *l* is gone                      | *m*, by incarnation *m* that acquires it    |
//! | 0, *l* + flag | as without, and somebody may sleep | as without, and see P2               |
//!
//! | `adder`     | meaning                              | becomes                              |
//! |-------------|--------------------------------------|--------------------------------------|
//! | 0           | nobody adds here                     | *l*, by incarnation *l*                     |
//! | *l*         | incarnation *l* adds here, if `permit` is 0 | 0, by *l*, or by anybody once it is gone |
//!
//! - **P1** An incarnation's word is changed by that incarnation alone, and by another only when
//!   the first is gone. All changes are exchanges of the exact word, so an incarnation that was
//!   said to be gone and gives back late changes nothing of another's.
//! - **P2** The flag, once set, stays until the permit is nobody's; who makes it
//!   nobody's changes `rings` and rings.
//! - **P3** Who sleeps has set the flag on every word, found none that is nobody's,
//!   and sleeps only while `rings` is what it was before.
//! - **P4** Who has slept takes a permit of nobody's with the flag; who has slept
//!   and goes without one of those rings: one ring wakes one sleeper, and there may be others.
//!
//! ```text
//!   sleeper                       giver
//!   seen = rings                  l + flag -> 1
//!   every word: set the flag      rings += 1
//!   rings == seen? -> sleep       ring
//! ```
//!
//! The exchanges of one word have an order. If the giver's comes first, the
//! sleeper finds the permit; if the sleeper's comes first, the giver sees the
//! flag, and what it stores in `rings` is news to the sleeper. So no fence is
//! needed, and giving back costs one exchange while nobody sleeps. The sleeper
//! exchanges even a word that has the flag: a load could give it an old one.
//!
//! | store               | paired load            | hands over                      |
//! |---------------------|------------------------|---------------------------------|
//! | `permit` in `exchange_for_free` | `permit` in `try_take` | what the giver did before |
//! | flag in `arm`       | `permit` in `exchange_for_free` | that the sleeper read `rings` |
//! | `adder` in `end_reservation` | `adder` in `reserve` | the permit that was added |
//!
//! An exchange that takes over, sets the flag, or adds continues what the one
//! before it began. What the dead did is seen as far as their death is known
//! ([`crate::Liveness`]). Who dies between waking up and taking a permit, or between
//! giving one back and ringing, costs the others at most one
//! [`RECHECK`](shmem_core::wait::RECHECK). `tests/loom_semaphore.rs` has the models.

mod acquire;
mod add;
mod error;

pub use error::{AcquireError, AddError};

use core::mem::size_of;
use core::sync::atomic::AtomicUsize;

use memoffset::offset_of;
use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{AcqRel, Relaxed, Release};
use shmem_core::{Incarnation, Window};

use super::DoorbellRef;
use crate::error::{AttachError, NotHeld};
use crate::layout::{SemaphoreControl, SemaphorePlace, PERMITS, PERMIT_FREE as FREE};
use crate::owner::not_held;
use crate::protected::control;

const CONTROL: usize = size_of::<SemaphoreControl>();
const PLACE: usize = size_of::<SemaphorePlace>();

/// The flag: somebody may sleep until the word's permit is nobody's.
const SLEEPERS: u32 = Incarnation::FLAG;

/// The protocol of [`Semaphore`](crate::Semaphore), without permits that release
/// themselves.
///
/// # Examples
///
/// ```
/// use shmem_core::{doorbell::Silent, mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawSemaphore, AssumeAlive};
///
/// let heap = Heap::new(RawSemaphore::segment_len(1));
/// let semaphore = RawSemaphore::attach(heap.window(), Incarnation::first(1), &Silent)?;
/// semaphore.add(1)?;
/// let place = semaphore.acquire(&mut Spin::forever(), &mut AssumeAlive)?;
/// // SAFETY: acquired above, and nothing else releases it.
/// unsafe { semaphore.release(place)? };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawSemaphore<'m> {
    segment: Window<'m>,
    capacity: usize,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
    /// Where the last permit was acquired: where the next search begins. A private
    /// word of this handle's, and any value will do.
    hint: AtomicUsize,
}

impl<'m> RawSemaphore<'m> {
    /// Bytes of a segment with room for `capacity` permits, at most [`PERMITS`].
    pub const fn segment_len(capacity: usize) -> usize {
        CONTROL + capacity * PLACE
    }

    /// The semaphore in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a semaphore without permits; its length alone
    /// gives the capacity.
    ///
    /// # Errors
    ///
    /// [`AttachError::Length`] if the segment has no room for a permit.
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        control(segment, Self::segment_len(1))?;
        Ok(Self {
            segment,
            capacity: ((segment.len() - CONTROL) / PLACE).min(PERMITS),
            incarnation,
            bell,
            hint: AtomicUsize::new(0),
        })
    }

    /// Rings `bell` from now on.
    pub fn set_bell(&mut self, bell: DoorbellRef<'m>) {
        self.bell = bell;
    }

    /// Permits there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Permits there are, held or not: an indication, as they may change meanwhile.
    pub fn permits(&self) -> usize {
        self.count(|found| found & !SLEEPERS != 0)
    }

    /// Permits that nobody holds: an indication, as they may change meanwhile.
    pub fn available(&self) -> usize {
        self.count(|found| found == FREE)
    }

    fn count(&self, which: impl Fn(u32) -> bool) -> usize {
        // relaxed: an indication; it may have changed since.
        let words = (0..self.capacity).map(|at| self.permit(at).load(Relaxed));
        words.filter(|&found| which(found)).count()
    }

    /// Releases the permit at `place`.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have it; nothing is changed then.
    ///
    /// # Panics
    ///
    /// If there is no such place.
    ///
    /// # Safety
    ///
    /// The caller acquired this permit, or knows that this incarnation does not have it; no
    /// [`Permit`](crate::Permit) of it is used after this.
    #[inline]
    pub unsafe fn release(&self, place: usize) -> Result<(), NotHeld> {
        let slept = self.exchange_for_free(place, self.incarnation.word());
        if slept.map_err(not_held)? {
            self.ring(false);
        }
        Ok(())
    }

    /// Ends the permit at `place`: there is one less from now on.
    ///
    /// # Errors
    ///
    /// As [`RawSemaphore::release`].
    ///
    /// # Panics
    ///
    /// As [`RawSemaphore::release`].
    ///
    /// # Safety
    ///
    /// As [`RawSemaphore::release`].
    // relaxed in all of this: nothing is handed over.
    pub unsafe fn consume(&self, place: usize) -> Result<(), NotHeld> {
        let (word, ours) = (self.permit(place), self.incarnation.word());
        let discard = |flag| word.compare_exchange(ours | flag, flag, Relaxed, Relaxed);
        let done = discard(0).or_else(|_| discard(SLEEPERS)); // P2
        done.map(drop).map_err(not_held)
    }

    /// The places of the permits that this incarnation holds: for inspection, and for callers
    /// that cannot keep a place.
    pub fn held(&self) -> impl Iterator<Item = usize> + '_ {
        // relaxed: only our incarnation stores this value (P1), and an exchange decides.
        let ours =
            |&at: &usize| self.permit(at).load(Relaxed) & !SLEEPERS == self.incarnation.word();
        self.places().filter(ours)
    }

    /// Makes the permit of place `at`, which is `ours` whatever its flag, nobody's: whether
    /// somebody may sleep for it. Or what it was instead.
    #[inline]
    fn exchange_for_free(&self, at: usize, ours: u32) -> Result<bool, u32> {
        let word = self.permit(at);
        // Release: pairs with the exchange in `try_take`; we are done.
        // loom: loom_semaphore::who_has_the_permit_sees_what_the_last_one_did
        // relaxed: on failure, the exchange below has its own ordering.
        let given = word.compare_exchange(ours, FREE, Release, Relaxed);
        match given {
            Ok(_) => Ok(false),
            Err(found) if found == ours | SLEEPERS => {
                // Acquire: pairs with the exchange in `arm`; the sleeper has read `rings`,
                // and we come after it. Release as above.
                // loom: loom_semaphore::a_giver_changes_the_rings_that_the_sleeper_saw
                // relaxed: on failure, the permit is not ours any more.
                let given = word.compare_exchange(found, FREE, AcqRel, Relaxed);
                given.map(|_| true)
            }
            Err(found) => Err(found),
        }
    }

    /// Wakes one who sleeps, or all.
    #[cold]
    fn ring(&self, all: bool) {
        let rings = self.rings();
        // relaxed: the Acquire in `exchange_for_free` comes after the sleeper's look at it.
        let count = rings.load(Relaxed);
        // One attempt: if it fails, another has changed the word since.
        // relaxed: says only that there is a change; who wakes looks at the permits.
        let _ = rings.compare_exchange(count, count.wrapping_add(1), Relaxed, Relaxed);
        match all {
            false => self.bell.ring(rings.as_atomic()),
            true => self.bell.ring_all(rings.as_atomic()),
        }
    }

    /// Every word's place once, the last permit's first.
    fn places(&self) -> impl Iterator<Item = usize> {
        // relaxed: private, and any value will do.
        let first = self.hint.load(Relaxed);
        (first..self.capacity).chain(0..first)
    }

    #[inline]
    fn permit(&self, at: usize) -> Word<'m> {
        let field = offset_of!(SemaphorePlace, permit);
        self.segment.word(CONTROL + at * PLACE + field)
    }

    fn adder(&self, at: usize) -> Word<'m> {
        let field = offset_of!(SemaphorePlace, adder);
        self.segment.word(CONTROL + at * PLACE + field)
    }

    fn rings(&self) -> Word<'m> {
        self.segment.word(offset_of!(SemaphoreControl, rings))
    }
}

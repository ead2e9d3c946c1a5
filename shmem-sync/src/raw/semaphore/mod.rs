//! Counting semaphore: the permits of a partition that died return.
//!
//! Each permit has a place with two words: `permit` contains its holder, and `adder` the
//! incarnation that is about to add a permit there. So a reserved place is not mistaken for a
//! permit.
//!
//! | `permit`      | meaning | becomes |
//! |---------------|---------|---------|
//! | 0             | no permit | 1, by the incarnation in `adder` |
//! | 1             | a free permit | *l*, by incarnation *l* that acquires it |
//! | *l*           | incarnation *l* holds the permit | 1 when released, 0 when consumed |
//! | *l*           | *l* is gone | *m*, by incarnation *m* that acquires it |
//! | 0, *l* + flag | as without the flag; a partition may sleep | as without the flag; see P2 |
//!
//! | `adder` | meaning                        | becomes                                     |
//! |---------|--------------------------------|---------------------------------------------|
//! | 0       | no partition adds here         | *l*, by incarnation *l*                     |
//! | *l*     | *l* adds here if `permit` is 0 | 0, by *l*, or by any other once *l* is gone |
//!
//! - **P1** A word that names an incarnation is changed only by that incarnation, and by another
//!   only after the first is gone. All changes are exchanges of the exact word. So if an
//!   incarnation was treated as gone while it ran, its late release changes nothing of another's.
//! - **P2** The flag, once set, stays until the permit is free. The partition that frees the permit
//!   changes `ring_count` and rings.
//! - **P3** A partition that sleeps has set the flag on every word, found no free permit, and
//!   sleeps only while `ring_count` is what it was before.
//! - **P4** A partition that has slept takes a free permit with the flag. If it has slept and
//!   leaves without a permit, it rings: one notification wakes one sleeper, and there may be
//!   others.
//!
//! ```text
//!   sleeper                       releaser
//!   seen = ring_count             l + flag -> 1
//!   every word: set the flag      ring_count += 1
//!   ring_count == seen? -> sleep  ring
//! ```
//!
//! The exchanges of one word have an order. If the releaser's comes first, the sleeper finds the
//! permit. If the sleeper's comes first, the releaser sees the flag, and the value that it stores
//! in `ring_count` is new to the sleeper. So no fence is needed, and a release costs one exchange
//! while no partition sleeps. The sleeper exchanges even a word that has the flag, because a load
//! could return an old value.
//!
//! | store | paired load | hands over |
//! |-------|-------------|------------|
//! | `permit` in `exchange_for_free` | `permit` in `try_take` | the work before the release |
//! | flag in `arm` | `permit` in `exchange_for_free` | that the sleeper read `ring_count` |
//! | `adder` in `end_reservation` | `adder` in `reserve` | the permit that was added |
//!
//! An exchange that takes over, sets the flag, or adds continues the release sequence of the one
//! before it. The work of a dead partition is seen as far as its death is known
//! ([`crate::Liveness`]). If a partition dies between waking up and taking a permit, or between
//! releasing one and ringing, the others lose at most one [`RECHECK`](shmem_core::wait::RECHECK).
//! The models are in `tests/loom_semaphore.rs`.

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

/// The flag: a partition may sleep until the word's permit is free.
const SLEEPERS: u32 = Incarnation::FLAG;

/// The protocol of [`Semaphore`](crate::Semaphore), without permits that release themselves.
///
/// # Examples
///
/// ```
/// use shmem_core::{doorbell::NoDoorbell, mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawSemaphore, AssumeAlive};
///
/// let heap = Heap::new(RawSemaphore::segment_len(1));
/// let semaphore = RawSemaphore::attach(heap.window(), Incarnation::first(1), &NoDoorbell)?;
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
    /// The place where the last permit was acquired, and where the next search begins. Private to
    /// this handle; any value is harmless.
    hint: AtomicUsize,
}

impl<'m> RawSemaphore<'m> {
    /// Returns the length of a segment with room for `capacity` permits, at most [`PERMITS`].
    pub const fn segment_len(capacity: usize) -> usize {
        CONTROL + capacity * PLACE
    }

    /// Returns the semaphore in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a semaphore without permits; its length gives the capacity.
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

    /// Returns the number of permits that it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of permits, held or free: an estimate, because it may change meanwhile.
    pub fn permits(&self) -> usize {
        self.count(|found| found & !SLEEPERS != 0)
    }

    /// Returns the number of free permits: an estimate, because it may change meanwhile.
    pub fn available(&self) -> usize {
        self.count(|found| found == FREE)
    }

    fn count(&self, which: impl Fn(u32) -> bool) -> usize {
        // relaxed: an estimate; it may have changed since.
        let words = (0..self.capacity).map(|at| self.permit(at).load(Relaxed));
        words.filter(|&found| which(found)).count()
    }

    /// Releases the permit at `place`.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this incarnation does not have it; then nothing is changed.
    ///
    /// # Panics
    ///
    /// If there is no such place.
    ///
    /// # Safety
    ///
    /// The caller acquired this permit, or relies on the error because this incarnation does not
    /// have it. No [`Permit`](crate::Permit) of it is used after this.
    #[inline]
    pub unsafe fn release(&self, place: usize) -> Result<(), NotHeld> {
        let slept = self.exchange_for_free(place, self.incarnation.word());
        if slept.map_err(not_held)? {
            self.ring(false);
        }
        Ok(())
    }

    /// Removes the permit at `place` from the semaphore, which then has one permit less.
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

    /// Returns the places of the permits that this incarnation holds: for inspection, and for
    /// callers that cannot keep a place.
    pub fn held(&self) -> impl Iterator<Item = usize> + '_ {
        // relaxed: only our incarnation stores this value (P1), and an exchange decides.
        let ours =
            |&at: &usize| self.permit(at).load(Relaxed) & !SLEEPERS == self.incarnation.word();
        self.places().filter(ours)
    }

    /// Frees the permit of place `at` if it is `ours`, with or without the flag. Returns true if a
    /// partition may sleep for it; returns what the word was if it was something else.
    #[inline]
    fn exchange_for_free(&self, at: usize, ours: u32) -> Result<bool, u32> {
        let word = self.permit(at);
        // Release: pairs with the exchange in `try_take`; we have finished.
        // loom: loom_semaphore::the_holder_of_a_permit_sees_the_work_of_the_last_holder
        // relaxed: on failure, the exchange below has its own ordering.
        let freed = word.compare_exchange(ours, FREE, Release, Relaxed);
        match freed {
            Ok(_) => Ok(false),
            Err(found) if found == ours | SLEEPERS => {
                // Acquire: pairs with the exchange in `arm`; we come after the sleeper has read
                // `ring_count`. Release as above.
                // loom: loom_semaphore::a_release_changes_the_rings_that_the_sleeper_loaded
                // relaxed: on failure, the permit is no longer ours.
                let freed = word.compare_exchange(found, FREE, AcqRel, Relaxed);
                freed.map(|_| true)
            }
            Err(found) => Err(found),
        }
    }

    /// Wakes one sleeper, or all.
    #[cold]
    fn ring(&self, all: bool) {
        let ring_count = self.ring_count();
        // relaxed: the Acquire in `exchange_for_free` comes after the sleeper's load of it.
        let count = ring_count.load(Relaxed);
        // One attempt: if it fails, another has changed the word since.
        // relaxed: only shows that there is a change; a partition that wakes checks the permits.
        let _ = ring_count.compare_exchange(count, count.wrapping_add(1), Relaxed, Relaxed);
        match all {
            false => self.bell.ring(ring_count.as_atomic()),
            true => self.bell.ring_all(ring_count.as_atomic()),
        }
    }

    /// Returns every place once, starting with that of the last permit.
    fn places(&self) -> impl Iterator<Item = usize> {
        // relaxed: private; any value is harmless.
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

    fn ring_count(&self) -> Word<'m> {
        self.segment.word(offset_of!(SemaphoreControl, ring_count))
    }
}

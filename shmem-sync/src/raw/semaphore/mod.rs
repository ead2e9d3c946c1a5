//! Counting semaphore: the permits of a partition that died come back.
//!
//! Each permit has a place with two words: `permit` says who holds it, and `adder` who
//! is about to put one there, so that what is reserved is not taken for a permit.
//!
//! | `permit`    | meaning                              | becomes                              |
//! |-------------|--------------------------------------|--------------------------------------|
//! | 0           | no permit                            | 1, by who has put its life in `adder` |
//! | 1           | a permit that nobody holds           | *l*, by life *l* that acquires it    |
//! | *l*         | life *l* holds the permit            | 1 when given back, 0 when consumed   |
//! | *l*         | and *l* is gone                      | *m*, by life *m* that acquires it    |
//! | 0, *l* + flag | as without, and somebody may sleep | as without, and see P2               |
//!
//! | `adder`     | meaning                              | becomes                              |
//! |-------------|--------------------------------------|--------------------------------------|
//! | 0           | nobody adds here                     | *l*, by life *l*                     |
//! | *l*         | life *l* adds here, if `permit` is 0 | 0, by *l*, or by anybody once it is gone |
//!
//! - **P1** A life's word is changed by that life alone, and by another only when
//!   the first is gone. All changes are exchanges of the exact word, so a life that was
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
//! | `permit` in `exchange_for_free` | `permit` in `take` | what the giver did before |
//! | flag in `arm`       | `permit` in `exchange_for_free` | that the sleeper read `rings` |
//! | `adder` in `end_reservation` | `adder` in `reserve` | the permit that was added |
//!
//! An exchange that takes over, sets the flag, or adds continues what the one
//! before it began. What the dead did is seen as far as their death is known
//! ([`crate::Liveness`]). Who dies between waking up and taking a permit, or between
//! giving one back and ringing, costs the others at most one
//! [`RECHECK`](shmem_core::wait::RECHECK). `tests/loom_semaphore.rs` has the models.

mod add;
mod error;

pub use error::{AcquireError, AddError};

use core::mem::size_of;
use core::sync::atomic::AtomicUsize;

use memoffset::offset_of;
use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{ControlWord, Corrupt, Life, Window};

use super::Bell;
use crate::error::{AttachError, NotHeld};
use crate::layout::{SemaphoreControl, SemaphorePlace, PERMITS, PERMIT_FREE as FREE};
use crate::owner::{not_held, plain};
use crate::protected::control;
use crate::{Liveness, PartitionState};

const CONTROL: usize = size_of::<SemaphoreControl>();
const PLACE: usize = size_of::<SemaphorePlace>();

/// The flag: somebody may sleep until the word's permit is nobody's.
const SLEEPERS: u32 = Life::FLAG;

/// The protocol of [`Semaphore`](crate::Semaphore), without permits that release
/// themselves.
///
/// # Examples
///
/// ```
/// use shmem_core::{doorbell::Silent, mem::Heap, wait::Spin, Life};
/// use shmem_sync::{raw::RawSemaphore, AssumeAlive};
///
/// let heap = Heap::new(RawSemaphore::segment_len(1));
/// let semaphore = RawSemaphore::attach(heap.window(), Life::first(1), &Silent)?;
/// semaphore.add(1)?;
/// let place = semaphore.acquire(&mut Spin::forever(), &mut AssumeAlive)?;
/// // SAFETY: acquired above, and nothing else releases it.
/// unsafe { semaphore.release(place)? };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawSemaphore<'m> {
    segment: Window<'m>,
    capacity: usize,
    life: Life,
    bell: Bell<'m>,
    /// Where the last permit was acquired: where the next search begins. A private
    /// word of this handle's, and any value will do.
    hint: AtomicUsize,
}

impl<'m> RawSemaphore<'m> {
    /// Bytes of a segment with room for `capacity` permits, at most [`PERMITS`].
    pub const fn segment_len(capacity: usize) -> usize {
        CONTROL + capacity * PLACE
    }

    /// The semaphore in `segment`, used by `life`, which rings `bell` for those that
    /// wait. A zeroed segment is a semaphore without permits; its length alone
    /// gives the capacity.
    ///
    /// # Errors
    ///
    /// [`AttachError::Length`] if the segment has no room for a permit.
    pub fn attach(segment: Window<'m>, life: Life, bell: Bell<'m>) -> Result<Self, AttachError> {
        control(segment, Self::segment_len(1))?;
        Ok(Self {
            segment,
            capacity: ((segment.len() - CONTROL) / PLACE).min(PERMITS),
            life,
            bell,
            hint: AtomicUsize::new(0),
        })
    }

    /// Rings `bell` from now on.
    pub fn set_bell(&mut self, bell: Bell<'m>) {
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

    /// As [`Semaphore::try_acquire`](crate::Semaphore::try_acquire). Returns the permit's
    /// place.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], with the meaning it has there.
    #[inline]
    pub fn try_acquire<L: Liveness>(&self, liveness: &mut L) -> Result<usize, AcquireError> {
        if let Some(at) = self.take_again().or_else(|| self.search(0)) {
            return Ok(at);
        }
        self.inherit(0, liveness)?.map_err(|_| AcquireError::Busy)
    }

    /// As [`Semaphore::acquire`](crate::Semaphore::acquire). Returns the permit's place.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], with the meaning it has there.
    #[inline]
    pub fn acquire<W: Wait, L: Liveness>(
        &self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<usize, AcquireError> {
        match self.take_again() {
            Some(at) => Ok(at),
            None => self.wait_for_one(wait, liveness),
        }
    }

    /// Releases the permit at `place`.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if this life does not have it; nothing is changed then.
    ///
    /// # Panics
    ///
    /// If there is no such place.
    ///
    /// # Safety
    ///
    /// The caller acquired this permit, or knows that this life does not have it; no
    /// [`Permit`](crate::Permit) of it is used after this.
    #[inline]
    pub unsafe fn release(&self, place: usize) -> Result<(), NotHeld> {
        let slept = self.exchange_for_free(place, self.life.word());
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
        let (word, ours) = (self.permit(place), self.life.word());
        let discard = |flag| word.compare_exchange(ours | flag, flag, Relaxed, Relaxed);
        let done = discard(0).or_else(|_| discard(SLEEPERS)); // P2
        done.map(drop).map_err(not_held)
    }

    /// The places of the permits that this life holds: for inspection, and for callers
    /// that cannot keep a place.
    pub fn held(&self) -> impl Iterator<Item = usize> + '_ {
        // relaxed: only our life stores this value (P1), and an exchange decides.
        let ours = |&at: &usize| self.permit(at).load(Relaxed) & !SLEEPERS == self.life.word();
        self.places().filter(ours)
    }

    #[cold]
    fn wait_for_one(
        &self,
        wait: &mut dyn Wait,
        liveness: &mut dyn Liveness,
    ) -> Result<usize, AcquireError> {
        let (mut slept, mut late) = (0, false);
        let outcome = loop {
            if let Some(at) = self.search(slept) {
                return Ok(at);
            }
            match self.inherit(slept, liveness) {
                Ok(Err(Some(silent))) if late => break Err(AcquireError::HolderSilent(silent)),
                Ok(Err(None)) if late => break Err(AcquireError::TimedOut),
                Ok(Err(_)) => {}
                Ok(Ok(at)) => break Ok(at),
                Err(corrupt) => break Err(corrupt.into()),
            }
            match wait.pause() {
                Pause::Again => {}
                Pause::TimedOut => late = true,
                Pause::Sleep => {
                    slept = SLEEPERS;
                    if let Some(seen) = self.arm() {
                        wait.sleep(self.rings().as_atomic(), seen.to_le());
                    }
                }
            }
        };
        if slept != 0 {
            self.ring(false); // P4
        }
        outcome
    }

    /// Takes the permit of the last time: the uncontended way.
    #[inline]
    fn take_again(&self) -> Option<usize> {
        // relaxed: private, and any value will do.
        let at = self.hint.load(Relaxed);
        self.take(at, FREE, 0).then_some(at)
    }

    /// Takes a permit that nobody holds.
    fn search(&self, flag: u32) -> Option<usize> {
        // relaxed: a hint; the exchange in `take` decides.
        let free = |&at: &usize| self.permit(at).load(Relaxed) == FREE;
        let at = self
            .places()
            .filter(free)
            .find(|&at| self.take(at, FREE, flag))?;
        self.hint.store(at, Relaxed); // relaxed: private, and any value will do
        Some(at)
    }

    /// Takes a permit that a life holds which is gone, and gives back what such ones have
    /// reserved. Where there is none: a life that holds one and is silent, if any.
    fn inherit(
        &self,
        flag: u32,
        liveness: &mut dyn Liveness,
    ) -> Result<Result<usize, Option<Life>>, Corrupt> {
        let (mut silent, mut corrupt) = (None, None);
        for at in self.places() {
            if let Err(bad) = self.clear_adder(at, liveness) {
                corrupt = corrupt.or(Some(bad));
            }
            // relaxed: the exchange in `take` of the value that was found decides (P1).
            let found = self.permit(at).load(Relaxed);
            if found & !SLEEPERS == 0 || found == FREE {
                continue;
            }
            let Some(holder) = Life::from_word(found) else {
                corrupt = corrupt.or(Some(Corrupt {
                    word: ControlWord::Permit,
                    value: found,
                }));
                continue;
            };
            if holder == self.life {
                continue; // We live, whatever is said of us: another thread of ours has it.
            }
            match liveness.state(holder) {
                PartitionState::Gone if self.take(at, found, found & SLEEPERS | flag) => {
                    return Ok(Ok(at));
                }
                PartitionState::Silent => silent = silent.or(Some(holder)),
                _ => {}
            }
        }
        // A bad word is not in the way of a permit that is to be had.
        corrupt.map_or(Ok(Err(silent)), Err)
    }

    /// Gives place `at` back if a life has reserved it that is gone.
    fn clear_adder(&self, at: usize, liveness: &mut dyn Liveness) -> Result<(), Corrupt> {
        // relaxed: an exchange of the value that was found decides.
        let found = self.adder(at).load(Relaxed);
        if found == 0 {
            return Ok(());
        }
        let adder = plain(found).ok_or(Corrupt {
            word: ControlWord::PermitAdder,
            value: found,
        })?;
        if adder != self.life && liveness.is_gone(adder) {
            // Release: pairs with the exchange in `reserve`; the permit that the dead one may
            // have put there is seen.
            // loom: none (the heir has looked at the place before, and loom does not try that)
            // relaxed: on failure, the place is passed over.
            let _ = self.adder(at).compare_exchange(found, 0, Release, Relaxed);
        }
        Ok(())
    }

    /// Makes word `at` ours if it is `found`, which is nobody's or a dead life's.
    #[inline]
    fn take(&self, at: usize, found: u32, flag: u32) -> bool {
        let ours = self.life.word() | flag;
        // Acquire: pairs with the exchanges in `exchange_for_free`; who had the permit is done.
        // loom: loom_semaphore::who_has_the_permit_sees_what_the_last_one_did
        // relaxed: on failure, the place is passed over.
        let taken = self
            .permit(at)
            .compare_exchange(found, ours, Acquire, Relaxed);
        taken.is_ok()
    }

    /// Makes the permit of place `at`, which is `ours` whatever its flag, nobody's: whether
    /// somebody may sleep for it. Or what it was instead.
    #[inline]
    fn exchange_for_free(&self, at: usize, ours: u32) -> Result<bool, u32> {
        let word = self.permit(at);
        // Release: pairs with the exchange in `take`; we are done.
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

    /// Sets the flag on every word (P3). What `rings` was before; `None` if it is
    /// better to look again, because a permit is nobody's or a word changed.
    fn arm(&self) -> Option<u32> {
        // relaxed: the Release of each exchange below comes after it.
        let seen = self.rings().load(Relaxed);
        for at in self.places() {
            // relaxed: the exchange of the value that was found decides.
            let found = self.permit(at).load(Relaxed);
            if found == FREE {
                return None;
            }
            // Release: pairs with the exchange in `exchange_for_free`; we have read `rings`.
            // loom: loom_semaphore::a_giver_changes_the_rings_that_the_sleeper_saw
            // relaxed: on failure, the caller looks again.
            self.permit(at)
                .compare_exchange(found, found | SLEEPERS, Release, Relaxed)
                .ok()?;
        }
        Some(seen)
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

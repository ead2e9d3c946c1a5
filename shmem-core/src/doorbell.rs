//! A notification without data ("look again"), given only to a peer that sleeps.
//!
//! One side of a doorbell *sleeps* and the other *rings*. Before it sleeps, the sleeper *arms* the
//! doorbell: it shows that it needs to be woken.
//!
//! - **D1** Only the sleeper stores `armed`; only the ringer stores `ring_count`.
//! - **D2** The sleeper checks for work after it stores `armed` and before it sleeps.
//! - **D3** The ringer publishes its work before it loads `armed`.
//!
//! ```text
//!   sleeper                       ringer
//!   armed = 1                     publish work
//!   fence(SeqCst)                 fence(SeqCst)
//!   work there? -> no sleep       armed? -> ring_count += 1, ring
//! ```
//!
//! One of the two fences is ordered before the other. If the sleeper's comes
//! first, the ringer reads `armed` = 1 and rings; if the ringer's comes first,
//! the sleeper finds the work. At least one of the two happens. `tests/loom_wait.rs`
//! fails without either fence.
//!
//! | store                  | paired load           | hands over            |
//! |------------------------|-----------------------|-----------------------|
//! | `ring_count` in `ring` | `ring_count` in `arm` | the notification      |
//! | `armed` in `arm`       | `armed` in `ring`     | by the fences         |

use crate::layout::Bell;
use crate::mem::{OutOfWindow, StructWindow, Window, Word};
use crate::primitive::{
    fence, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use crate::wait::{Pause, Wait};
use memoffset::offset_of;

/// Wakes a peer: a futex, an eventfd, a hypercall, an interrupt.
pub trait Doorbell {
    /// Wakes one partition that sleeps until the word `ring_count` changes. Unneeded calls are
    /// harmless.
    fn ring(&self, ring_count: &AtomicU32);

    /// Wakes all partitions that sleep until the word `ring_count` changes: several may wait for
    /// one lock.
    fn ring_all(&self, ring_count: &AtomicU32) {
        self.ring(ring_count);
    }
}

/// No doorbell: the peer polls.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDoorbell;

impl Doorbell for NoDoorbell {
    fn ring(&self, _: &AtomicU32) {}
}

#[inline(always)]
fn armed(bell: StructWindow<'_, Bell>) -> Word<'_> {
    bell.word(offset_of!(Bell, armed))
}

#[inline(always)]
fn ring_count(bell: StructWindow<'_, Bell>) -> Word<'_> {
    bell.word(offset_of!(Bell, ring_count))
}

/// The side that rings.
pub struct Ringer<'m> {
    bell: StructWindow<'m, Bell>,
    /// The last value that we stored: our own word is never read back.
    count: u32,
}

impl<'m> Ringer<'m> {
    /// Returns the side of the doorbell in `line` that rings. No other `Ringer` may use it.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if `line` is shorter than 128 bytes.
    pub fn attach(line: Window<'m>) -> Result<Self, OutOfWindow> {
        Ok(Self::new(StructWindow::new(line)?))
    }

    /// Returns the ringing side of `bell`.
    pub(crate) fn new(bell: StructWindow<'m, Bell>) -> Self {
        // relaxed: only an earlier ringer stored it. If the value is old, we can repeat a number
        // that the sleeper has seen, and it sleeps until its re-check.
        let count = ring_count(bell).load(Relaxed);
        Self { bell, count }
    }

    /// Rings `doorbell` if the sleeper has armed it. Call it after publishing work (D3).
    /// Returns true if it rang.
    #[inline]
    pub fn ring<D: Doorbell>(&mut self, doorbell: &D) -> bool {
        // Pairs with the fence in `Sleeper::arm`: orders the publication of the work before
        // the load of `armed`.
        // loom: loom_wait
        fence(SeqCst);
        // relaxed: after the fence.
        if armed(self.bell).load(Relaxed) == 0 {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        // relaxed: another store published the work; a sleeper that reads this checks
        // again, and that check has its own ordering.
        ring_count(self.bell).store(self.count, Relaxed);
        doorbell.ring(ring_count(self.bell).as_atomic());
        true
    }
}

/// The side that sleeps.
#[derive(Clone, Copy)]
pub struct Sleeper<'m> {
    bell: StructWindow<'m, Bell>,
}

impl<'m> Sleeper<'m> {
    /// Returns the side of the doorbell in `line` that sleeps. No other `Sleeper` may use it.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if `line` is shorter than 128 bytes.
    pub fn attach(line: Window<'m>) -> Result<Self, OutOfWindow> {
        Ok(Self::new(StructWindow::new(line)?))
    }

    /// Returns the sleeping side of `bell`.
    pub(crate) fn new(bell: StructWindow<'m, Bell>) -> Self {
        Self { bell }
    }

    /// Waits until `check` returns `Some`. Returns `None` if the deadline of `wait` passes first.
    pub fn wait<T, W: Wait>(
        &self,
        wait: &mut W,
        mut check: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            if let Some(found) = check() {
                return Some(found);
            }
            match wait.pause() {
                Pause::Again => {}
                Pause::TimedOut => return check(),
                Pause::Sleep => {
                    let seen = self.arm();
                    let found = check(); // D2
                    if found.is_none() {
                        wait.sleep(ring_count(self.bell).as_atomic(), seen.to_le());
                    }
                    // relaxed: a ringer that still sees 1 rings once more than needed.
                    armed(self.bell).store(0, Relaxed);
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
    }

    fn arm(&self) -> u32 {
        // relaxed: the fence orders it before the store of a ringer that sees `armed`; if the
        // ringer's fence comes first, the check finds the work.
        let seen = ring_count(self.bell).load(Relaxed);
        // relaxed: the fence orders it before the check.
        armed(self.bell).store(1, Relaxed);
        // Pairs with the fence in `Ringer::ring`: orders the store of `armed` before the check.
        // loom: loom_wait
        fence(SeqCst);
        seen
    }
}

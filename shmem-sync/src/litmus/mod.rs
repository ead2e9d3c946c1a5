//! Tests whether read-modify-write and full fences work across a memory.
//!
//! Not every memory has them. QEMU without KVM emulates neither for a guest with one possible
//! processor. Such a guest loses increments that it and another partition make at the same time,
//! and sees stores too late. Rings, snapshots and lookup work without them. A partition that needs
//! more runs this test first.
//!
//! One party *asks* and the other *answers*: that is one run of the test, with a number that the
//! asker chooses. In each *round* a party stores the number of the round, executes a fence, records
//! which round of the other it sees, and adds to a count by compare-and-swap. An addition that is
//! missing in the count was lost. Of two rounds, one of each party, at least one must see the
//! other, or a fence did not work. Faults only show if both parties execute at the same time, so
//! overlaps are counted, too. The parties wait for each other before and after each *batch* of
//! rounds.
//!
//! - **L1** Every word has its run's number in its upper half. A word of another run counts as
//!   never written, so nothing is ever cleared.
//! - **L2** Each word but the count has one writer.
//! - **L3** A party continues from a step when the other has reached the same one. It works between
//!   the first step of a batch and the second. Between that and the first step of the next batch it
//!   only loads.
//! - **L4** A run is answered once, even if the answerer restarts: the answerer's step, which
//!   is in memory, contains the run's number.
//! - **L5** The count starts when the answerer has reached the run, so no party still works on
//!   it for an earlier one.
//! - **L6** The asker decides when the effort is enough. Each party may end at any time.
//!
//! Nothing that the other party stores makes a run longer than the caller's wait and
//! [`BATCHES`] batches. It can make the verdict wrong.

use memoffset::offset_of;

use shmem_core::mem::{OutOfWindow, Word};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Wait;
use shmem_core::Window;

use crate::layout::{LitmusControl, LITMUS_ROUNDS};

mod party;
mod verdict;

use party::{Party, Stop, Tally, Words, RUN, VALUE};
pub use verdict::{Finding, MissingFeature, Verdict};

/// The most batches of a run.
pub const BATCHES: u32 = 127;

/// The most pauses of the caller's wait between two batches.
const REST: u32 = 1 << 15;

const CONTROL: usize = core::mem::size_of::<LitmusControl>();

/// The effort of an asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Batches, 1 to [`BATCHES`].
    pub batches: u32,
    /// Rounds of a batch, 1 to 256.
    pub rounds: u32,
    /// How often the other party must have advanced between two of our rounds. With fewer overlaps,
    /// a feature that did not fail counts as [`Finding::Unknown`].
    pub overlaps: u32,
}

impl Default for Effort {
    /// A few milliseconds where both parties run.
    fn default() -> Self {
        Self {
            batches: 100,
            rounds: LITMUS_ROUNDS as u32,
            overlaps: 1000,
        }
    }
}

/// The litmus test: a segment in which two partitions test what works across their memory.
///
/// Zeroed memory is ready, and what earlier incarnations left does no harm. Two parties use it: one
/// asks, one answers.
///
/// On memory that is not normal memory, compare-and-swap can fault or never end on some processors:
/// do not ask there.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "linux")] {
/// use core::time::Duration;
/// use shmem_core::Mapping;
/// use shmem_sync::litmus::Litmus;
/// use shmem_sync::SpinYield;
///
/// let memory = Mapping::memfd("demo", Litmus::segment_len())?;
/// let deadline = Duration::from_millis(200);
/// let verdict = std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let litmus = Litmus::attach(memory.window()).unwrap();
///         let mut wait = SpinYield::timeout(deadline);
///         while litmus.answer(&mut wait).is_none() {
///             std::thread::yield_now(); // Other work.
///         }
///     });
///     let litmus = Litmus::attach(memory.window())?;
///     Ok::<_, shmem_core::mem::OutOfWindow>(litmus.ask(&mut SpinYield::timeout(deadline)))
/// })?;
/// println!("{verdict}");
/// if let Err(missing) = verdict.require_read_modify_write() {
///     println!("no locks: {missing}");
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Litmus<'m> {
    control: Window<'m>,
}

impl<'m> Litmus<'m> {
    /// Returns the length of a segment.
    pub const fn segment_len() -> usize {
        CONTROL
    }

    /// Returns the litmus test in `segment`. Nothing is stored.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if it is shorter than [`Litmus::segment_len`].
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let control = segment.sub(0, CONTROL)?;
        Ok(Self { control })
    }

    /// Begins a run, and tests together with the answerer what works.
    ///
    /// The other party must answer and finish before the deadline of `wait`. Without a deadline,
    /// the call never returns if the other party dies. A wait that checks without sleeping detects
    /// the most.
    pub fn ask<W: Wait>(&self, wait: &mut W) -> Verdict {
        self.ask_with(Effort::default(), wait)
    }

    /// As [`Litmus::ask`], with this effort. A number out of range is replaced by the nearest
    /// number in range.
    pub fn ask_with<W: Wait>(&self, effort: Effort, wait: &mut W) -> Verdict {
        let run = self.next_run();
        let asked = run | effort.rounds.clamp(1, LITMUS_ROUNDS as u32);
        // relaxed: complete in itself; the first step hands over what belongs to it.
        self.word(offset_of!(LitmusControl, asked))
            .store(asked, Relaxed);
        let words = (Words::asker(self.control), Words::answerer(self.control));
        let mut party = Party::new(words, asked, wait);
        let enough = party.begin().is_ok() && run_batches(&mut party, effort);
        // If no party has answered, the words may still be needed for an earlier run.
        if party.tally.rounds != 0 {
            self.publish(run, party.tally, enough);
        }
        party.publish_end();
        party.tally.verdict(enough)
    }

    /// Answers a run that was asked for and not yet answered; returns `None` if there is none.
    ///
    /// Call it at intervals shorter than the asker's deadline. Returns the asker's verdict, and
    /// what failed here. If the asker does not finish before the deadline of `wait`, returns only
    /// what failed here.
    pub fn answer<W: Wait>(&self, wait: &mut W) -> Option<Verdict> {
        // relaxed: complete in itself; the first step hands over what belongs to it.
        let asked = self.word(offset_of!(LitmusControl, asked)).load(Relaxed);
        let rounds = (asked & VALUE) as usize;
        let unanswered = self.answered() != asked & RUN && asked & RUN != 0;
        if !unanswered || rounds == 0 || rounds > LITMUS_ROUNDS {
            return None;
        }
        let words = (Words::answerer(self.control), Words::asker(self.control));
        let mut party = Party::new(words, asked, wait);
        let mut stop = None;
        for _ in 0..=BATCHES {
            stop = party.batch().err();
            if stop.is_some() {
                break;
            }
        }
        party.publish_end();
        let ours = party.tally.verdict(false);
        Some(match stop {
            Some(Stop::Ended) => ours.or_worse(self.published(&party)),
            _ => ours,
        })
    }

    fn word(&self, offset: usize) -> Word<'m> {
        self.control.word(offset)
    }

    /// Returns the run that was answered last.
    fn answered(&self) -> u32 {
        let step = self.word(offset_of!(LitmusControl, answerer_step));
        // relaxed: only its run matters, which an earlier incarnation of ours may have stored.
        step.load(Relaxed) & RUN
    }

    /// Returns the number after the last one that is not 0 and was not answered.
    fn next_run(&self) -> u32 {
        // relaxed: only the asker stores it (L2).
        let last = self.word(offset_of!(LitmusControl, asked)).load(Relaxed);
        let next = |run: u32| match run.wrapping_add(VALUE + 1) {
            0 => VALUE + 1,
            next => next,
        };
        let run = next(last & RUN);
        match run == self.answered() {
            true => next(run),
            false => run,
        }
    }

    /// Stores the findings.
    // relaxed in all of this: the last step hands it over, in `publish_end`.
    fn publish(&self, run: u32, tally: Tally, enough: bool) {
        let numbers = [
            tally.rounds,
            tally.lost,
            tally.violations,
            u32::from(enough),
        ];
        for (word, number) in self.findings().into_iter().zip(numbers) {
            word.store(run | number & VALUE, Relaxed);
        }
    }

    /// Returns the asker's findings.
    // relaxed in all of this: after the Acquire in `wait_for_step` that found the asker's last
    // step.
    fn published(&self, party: &Party<'_, '_>) -> Verdict {
        let number = |word: Word<'_>| party.value(word.load(Relaxed));
        let [rounds, lost, violations, enough] = self.findings().map(number);
        let tally = Tally {
            rounds,
            lost,
            violations,
            overlaps: 0,
        };
        tally.verdict(enough != 0)
    }

    fn findings(&self) -> [Word<'m>; 4] {
        [
            self.word(offset_of!(LitmusControl, rounds)),
            self.word(offset_of!(LitmusControl, lost)),
            self.word(offset_of!(LitmusControl, violations)),
            self.word(offset_of!(LitmusControl, enough)),
        ]
    }
}

/// Runs batches as the asker until the effort is enough; returns true if it is.
fn run_batches(party: &mut Party<'_, '_>, effort: Effort) -> bool {
    let mut rest = 0;
    for _ in 0..effort.batches.clamp(1, BATCHES) {
        let before = party.tally.overlaps;
        if party.batch().is_err() {
            return false;
        }
        if party.tally.overlaps >= effort.overlaps {
            return true;
        }
        // Rounds without overlap mean that both may run on one processor; the scheduler needs time
        // to change that.
        let together = party.tally.overlaps > before + 1;
        rest = if together { 0 } else { REST.min(2 * rest + 1) };
        if party.rest(rest).is_err() {
            return false;
        }
    }
    false
}

//! Whether read-modify-write and full fences work across a memory, found out by trying.
//!
//! Not every memory has them. QEMU without KVM emulates neither for a guest with one
//! possible processor, which then loses increments that it and another partition make
//! at the same time, and sees stores later than it ought to. Rings, snapshots and lookup
//! do without; who needs more asks here first.
//!
//! One party *asks*, and the other *answers*: a session, by the asker's number for it. In
//! each *round* a party stores the round's number, fences, notes which one of the other's
//! it sees, and adds to a count by compare-and-swap. An addition that is missing in the
//! count was lost. Of two rounds, one of each party, at least one has seen the other, or a
//! fence did not work. Nothing shows unless both run at the same time, so that is counted,
//! too; and since they might not, they meet before and after each *batch* of rounds.
//!
//! - **L1** Every word has its session's number in its upper half. A word of another
//!   session counts as never written, so nothing is ever cleared up.
//! - **L2** Each word but the count has one writer.
//! - **L3** A party goes on from a step when the other has come to the same one. It works
//!   between the first step of a batch and the second, and only looks between that and
//!   the first of the next batch.
//! - **L4** A session is answered once, whatever becomes of who answers it: its step, which
//!   is in memory, has the session's number.
//! - **L5** The count is begun when the answerer has come to the session, so that nobody
//!   works on it for an earlier one.
//! - **L6** The asker says when it is enough. Each party may end at any time.
//!
//! Nothing that the other party stores makes a session longer than the caller's wait and
//! [`BATCHES`] batches. It can make the verdict wrong.

use memoffset::offset_of;

use shmem_core::mem::{OutOfWindow, Word};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Wait;
use shmem_core::Window;

use crate::layout::{LitmusControl, LITMUS_ROUNDS};

mod party;
mod verdict;

use party::{Party, Stop, Tally, Words, SESSION, VALUE};
pub use verdict::{Finding, Unfit, Verdict};

/// Batches of a session, at most.
pub const BATCHES: u32 = 127;

/// Turns of the caller's wait between two batches, at most.
const REST: u32 = 1 << 15;

const CONTROL: usize = core::mem::size_of::<LitmusControl>();

/// How hard an asker tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Batches, 1 to [`BATCHES`].
    pub batches: u32,
    /// Rounds of a batch, 1 to 256.
    pub rounds: u32,
    /// How often the other party is to have gone on between two rounds of ours. That
    /// is enough; with less, what was not seen to be broken is [`Finding::Unknown`].
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

/// A place where two partitions find out what works across their memory.
///
/// Zeroed memory is ready, and what earlier incarnations of either left is no obstacle. Two
/// parties use it: one that asks, one that answers.
///
/// On memory that is not normal memory compare-and-swap may be a fault, or never
/// come to an end, on some processors: there is no asking then.
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
///             std::thread::yield_now(); // Whatever else there is to do.
///         }
///     });
///     let litmus = Litmus::attach(memory.window())?;
///     Ok::<_, shmem_core::mem::OutOfWindow>(litmus.ask(&mut SpinYield::timeout(deadline)))
/// })?;
/// println!("{verdict}");
/// if let Err(unfit) = verdict.require_read_modify_write() {
///     println!("no locks: {unfit}");
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Litmus<'m> {
    control: Window<'m>,
}

impl<'m> Litmus<'m> {
    /// Bytes of a segment.
    pub const fn segment_len() -> usize {
        CONTROL
    }

    /// The litmus in `segment`. Nothing is stored.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if it is shorter than [`Litmus::segment_len`].
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let control = segment.sub(0, CONTROL)?;
        Ok(Self { control })
    }

    /// Begins a session, and finds out with whoever answers it what works.
    ///
    /// The other party has until the deadline of `wait` to answer and to come to the
    /// end; without a deadline, one that dies is waited for for ever. A wait that
    /// looks without sleeping shows the most.
    pub fn ask<W: Wait>(&self, wait: &mut W) -> Verdict {
        self.ask_for(Effort::default(), wait)
    }

    /// As [`Litmus::ask`], and so hard. Numbers out of range are the next one in it.
    pub fn ask_for<W: Wait>(&self, effort: Effort, wait: &mut W) -> Verdict {
        let session = self.next_session();
        let asked = session | effort.rounds.clamp(1, LITMUS_ROUNDS as u32);
        // relaxed: says all by itself; the first step hands over what belongs to it.
        self.word(offset_of!(LitmusControl, asked))
            .store(asked, Relaxed);
        let words = (Words::asker(self.control), Words::answerer(self.control));
        let mut party = Party::new(words, asked, wait);
        let enough = party.begin().is_ok() && run(&mut party, effort);
        // Nobody has answered: what is there may be wanted still, of an earlier session.
        if party.tally.rounds != 0 {
            self.publish(session, party.tally, enough);
        }
        party.publish_end();
        party.tally.verdict(enough)
    }

    /// Answers a session that is asked for and was not answered; `None` if there is none.
    ///
    /// Call it now and then: more often than the asker's deadline. The verdict is the
    /// asker's, or what was seen to be broken here; from an asker that does not come to
    /// an end before the deadline of `wait`, only that.
    pub fn answer<W: Wait>(&self, wait: &mut W) -> Option<Verdict> {
        // relaxed: says all by itself; the first step hands over what belongs to it.
        let asked = self.word(offset_of!(LitmusControl, asked)).load(Relaxed);
        let rounds = (asked & VALUE) as usize;
        let unanswered = self.answered() != asked & SESSION && asked & SESSION != 0;
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

    /// The session that was answered last.
    fn answered(&self) -> u32 {
        let step = self.word(offset_of!(LitmusControl, answerer_step));
        // relaxed: only its session matters, which an earlier incarnation of ours may have stored.
        step.load(Relaxed) & SESSION
    }

    /// The number behind the last one, which is not 0, and which nobody has answered.
    fn next_session(&self) -> u32 {
        // relaxed: only the asker stores it (L2).
        let last = self.word(offset_of!(LitmusControl, asked)).load(Relaxed);
        let next = |session: u32| match session.wrapping_add(VALUE + 1) {
            0 => VALUE + 1,
            next => next,
        };
        let session = next(last & SESSION);
        match session == self.answered() {
            true => next(session),
            false => session,
        }
    }

    /// Stores what was found.
    // relaxed in all of this: the last step hands it over, in `publish_end`.
    fn publish(&self, session: u32, tally: Tally, enough: bool) {
        let numbers = [
            tally.rounds,
            tally.lost,
            tally.violations,
            u32::from(enough),
        ];
        for (word, number) in self.findings().into_iter().zip(numbers) {
            word.store(session | number & VALUE, Relaxed);
        }
    }

    /// What the asker has found.
    // relaxed in all of this: after the Acquire in `wait_for_step` that found the asker's last step.
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

/// Works as the asker until it is enough, and returns whether it is.
fn run(party: &mut Party<'_, '_>, effort: Effort) -> bool {
    let mut rest = 0;
    for _ in 0..effort.batches.clamp(1, BATCHES) {
        let before = party.tally.overlaps;
        if party.batch().is_err() {
            return false;
        }
        if party.tally.overlaps >= effort.overlaps {
            return true;
        }
        // One after the other, they may be on one processor: it takes a scheduler time to
        // change that.
        let together = party.tally.overlaps > before + 1;
        rest = if together { 0 } else { REST.min(2 * rest + 1) };
        if party.rest(rest).is_err() {
            return false;
        }
    }
    false
}

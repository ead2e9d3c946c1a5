//! One party of a litmus test, in one run.
//!
//! | store                     | paired load             | hands over                  |
//! |---------------------------|-------------------------|-----------------------------|
//! | step in `reach_next_step` | step in `wait_for_step` | the count and what was seen |
//! | step in `publish_end`     | step in `wait_for_step` | the findings                |

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::wait::{Pause, Wait};
use shmem_core::Window;

use super::verdict::{Finding, Verdict};
use crate::layout::LitmusControl;

/// Mask of the run's number in a word.
pub(super) const RUN: u32 = !VALUE;
/// Mask of the value in a word.
pub(super) const VALUE: u32 = 0xffff;
/// The step of a party that has ended.
const END: u32 = VALUE;

/// Why a run did not continue.
pub(super) enum Stop {
    /// The other party has ended it.
    Ended,
    /// The deadline passed, another run was asked for, or the other party is hostile.
    GaveUp,
}

/// The numbers of attempts and failures. Only complete batches count.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// Rounds of each party.
    pub(super) rounds: u32,
    /// Additions that are missing in the count, of two for each round.
    pub(super) lost: u32,
    /// Our rounds that missed a round of the other party which also missed them.
    pub(super) violations: u32,
    /// Our rounds that saw another round of the other party than the round before them.
    pub(super) overlaps: u32,
}

impl Tally {
    /// Returns the verdict; `enough` if the effort was enough.
    pub(super) fn verdict(&self, enough: bool) -> Verdict {
        Verdict {
            read_modify_write: Finding::from_counts(self.lost, 2 * self.rounds, enough),
            fences: Finding::from_counts(self.violations, self.rounds, enough),
        }
    }
}

/// The words of a party.
pub(super) struct Words<'m> {
    step: Word<'m>,
    flag: Word<'m>,
    control: Window<'m>,
    /// Offset of the words with the rounds that it saw.
    saw: usize,
}

impl<'m> Words<'m> {
    pub(super) fn asker(control: Window<'m>) -> Self {
        Self {
            step: control.word(offset_of!(LitmusControl, asker_step)),
            flag: control.word(offset_of!(LitmusControl, asker_flag)),
            control,
            saw: offset_of!(LitmusControl, asker_saw),
        }
    }

    pub(super) fn answerer(control: Window<'m>) -> Self {
        Self {
            step: control.word(offset_of!(LitmusControl, answerer_step)),
            flag: control.word(offset_of!(LitmusControl, answerer_flag)),
            control,
            saw: offset_of!(LitmusControl, answerer_saw),
        }
    }

    /// Returns the word with what it saw in `round` of a batch, from 1.
    fn saw(&self, round: u32) -> Word<'m> {
        self.control.word(self.saw + (round as usize - 1) * 4)
    }
}

/// A party in a run.
pub(super) struct Party<'m, 'w> {
    ours: Words<'m>,
    theirs: Words<'m>,
    asked: Word<'m>,
    count: Word<'m>,
    wait: &'w mut dyn Wait,
    /// The run's number, in the upper half.
    run: u32,
    /// Rounds of a batch.
    rounds: u32,
    /// The step that we stored last.
    step: u32,
    pub(super) tally: Tally,
}

impl<'m, 'w> Party<'m, 'w> {
    /// Returns a party of the run in `asked`, which is the asker's word.
    pub(super) fn new(
        (ours, theirs): (Words<'m>, Words<'m>),
        asked: u32,
        wait: &'w mut dyn Wait,
    ) -> Self {
        let control = ours.control;
        Self {
            ours,
            theirs,
            asked: control.word(offset_of!(LitmusControl, asked)),
            count: control.word(offset_of!(LitmusControl, count)),
            wait,
            run: asked & RUN,
            rounds: asked & VALUE,
            step: 0,
            tally: Tally::default(),
        }
    }

    /// As the asker, waits until the other party is in this run, and starts the count.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        // Until then it may have worked in an earlier one.
        self.wait_for_step(1)?;
        // relaxed: our first step hands it over.
        self.count.store(self.run, Relaxed);
        Ok(())
    }

    /// Waits for `pauses` pauses of the caller's wait.
    pub(super) fn rest(&mut self, pauses: u32) -> Result<(), Stop> {
        for _ in 0..pauses {
            // relaxed: the value to sleep on; an old one ends the sleep at once.
            let seen = self.theirs.step.load(Relaxed);
            self.pause(seen)?;
        }
        Ok(())
    }

    /// Runs a batch; then both parties evaluate it.
    pub(super) fn batch(&mut self) -> Result<(), Stop> {
        self.reach_next_step()?;
        self.work()?;
        self.reach_next_step()?;
        // No party writes now, until both reach the next batch (L3).
        let tally = &self.tally;
        let rounds = tally.rounds + self.rounds;
        // relaxed: after the Acquire in `wait_for_step`.
        let count = self.value(self.count.load(Relaxed));
        let (violations, overlaps) = self.compare();
        self.tally = Tally {
            rounds,
            lost: count.abs_diff(2 * rounds),
            violations: tally.violations + violations,
            overlaps: tally.overlaps + overlaps,
        };
        Ok(())
    }

    /// Stores that we have ended; hands over everything stored before.
    pub(super) fn publish_end(&self) {
        // Release: pairs with the Acquire in `wait_for_step`; the findings are complete.
        let end = self.run | END;
        // loom: loom_litmus::the_findings_of_the_asker_are_visible_when_it_has_ended
        self.ours.step.store(end, Release);
    }

    /// Returns the value of a word; 0 if it was not written in this run (L1).
    pub(super) fn value(&self, word: u32) -> u32 {
        match word & RUN == self.run {
            true => word & VALUE,
            false => 0,
        }
    }

    /// Reaches the next step, and waits until the other party has reached it, too.
    fn reach_next_step(&mut self) -> Result<(), Stop> {
        self.step += 1;
        // Release: pairs with the Acquire in `wait_for_step`; hands over what was stored before
        // this step.
        let step = self.run | self.step;
        // loom: loom_litmus::both_parties_find_that_everything_works
        self.ours.step.store(step, Release);
        self.wait_for_step(self.step)
    }

    /// Waits until the other party has reached `step`.
    fn wait_for_step(&mut self, step: u32) -> Result<(), Stop> {
        loop {
            // Acquire: pairs with the Release in `reach_next_step`, and in `publish_end`.
            // loom: loom_litmus::both_parties_find_that_everything_works
            let word = self.theirs.step.load(Acquire);
            match self.value(word) {
                END => return Err(Stop::Ended),
                theirs if theirs >= step => return Ok(()),
                _ => self.pause(word)?,
            }
        }
    }

    fn pause(&mut self, seen: u32) -> Result<(), Stop> {
        // relaxed: it can only show that this run has ended.
        if (self.asked.load(Relaxed) ^ self.run) & RUN != 0 {
            return Err(Stop::GaveUp);
        }
        match self.wait.pause() {
            Pause::Again => {}
            Pause::Sleep => self.wait.sleep(self.theirs.step.as_atomic(), seen.to_le()),
            Pause::TimedOut => return Err(Stop::GaveUp),
        }
        Ok(())
    }

    /// In each round, stores the number of the round, records which round of the other party it
    /// sees, and adds 1 to the count.
    // relaxed in all of this: the test is of the fence and the count alone; `reach_next_step` hands
    // over what is stored.
    fn work(&self) -> Result<(), Stop> {
        // An attempt that fails found another addition, and the other party adds as often as we do.
        let mut attempts = 2 * self.rounds;
        for round in 1..=self.rounds {
            let flag = self.run | (self.tally.rounds + round);
            self.ours.flag.store(flag, Relaxed);
            // This is the test: the store of our number before it and the load of the other's after
            // it must not be reordered.
            // loom: loom_litmus::both_parties_find_that_everything_works
            fence(SeqCst);
            let seen = self.theirs.flag.load(Relaxed);
            self.ours.saw(round).store(seen, Relaxed);
            let mut found = self.count.load(Relaxed);
            loop {
                attempts = attempts.checked_sub(1).ok_or(Stop::GaveUp)?;
                let next = found.wrapping_add(1);
                match self.count.compare_exchange(found, next, Relaxed, Relaxed) {
                    Ok(_) => break,
                    Err(other) => found = other,
                }
            }
        }
        Ok(())
    }

    /// Returns in how many of our rounds neither saw the other, and in how many we saw another
    /// round than before. The first round of the other party that ours missed must have seen ours.
    fn compare(&self) -> (u32, u32) {
        let (mut violations, mut overlaps) = (0, 0);
        let mut last = 0;
        for round in 1..=self.rounds {
            let seen = self.seen_by(&self.ours, round);
            let next = seen + 1;
            let missed = next <= self.rounds && self.seen_by(&self.theirs, next) < round;
            violations += u32::from(missed);
            overlaps += u32::from(seen != last);
            last = seen;
        }
        (violations, overlaps)
    }

    /// Returns which round of this batch a party saw of the other's; 0 if none.
    fn seen_by(&self, party: &Words<'_>, round: u32) -> u32 {
        // relaxed: after the Acquire in `wait_for_step`.
        let seen = self.value(party.saw(round).load(Relaxed));
        seen.saturating_sub(self.tally.rounds).min(self.rounds)
    }
}

//! One party of a litmus, in one session.
//!
//! | store                  | paired load          | hands over                               |
//! |------------------------|----------------------|------------------------------------------|
//! | step in `reach_next_step`         | step in `wait_for_step`     | the count and what was seen: to look at; then, to work on |
//! | step in `publish_end`     | step in `wait_for_step`     | what was found                           |

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

/// The session's number in a word; the value is below it.
pub(super) const SESSION: u32 = !VALUE;
/// The value in a word.
pub(super) const VALUE: u32 = 0xffff;
/// The step of one who has ended.
const END: u32 = VALUE;

/// Why a session did not go on.
pub(super) enum Stop {
    /// The other party has ended it.
    Ended,
    /// Time is up, or another session is asked for, or the other party is mad.
    GaveUp,
}

/// What was tried, and what came of it. Only whole batches count.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// Rounds of each party.
    pub(super) rounds: u32,
    /// Additions that are not in the count, of two for each round.
    pub(super) lost: u32,
    /// Our rounds that missed one of the other's which missed them.
    pub(super) violations: u32,
    /// Our rounds that saw another one of the other's than the round before them.
    pub(super) overlaps: u32,
}

impl Tally {
    /// What it says, if it is enough or not.
    pub(super) fn verdict(&self, enough: bool) -> Verdict {
        Verdict {
            read_modify_write: Finding::from_counts(self.lost, 2 * self.rounds, enough),
            fences: Finding::from_counts(self.violations, self.rounds, enough),
        }
    }
}

/// Where a party's words are.
pub(super) struct Words<'m> {
    step: Word<'m>,
    flag: Word<'m>,
    control: Window<'m>,
    /// Offset of what it has seen.
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

    /// What it saw in `round` of a batch, from 1.
    fn saw(&self, round: u32) -> Word<'m> {
        self.control.word(self.saw + (round as usize - 1) * 4)
    }
}

/// A party at work.
pub(super) struct Party<'m, 'w> {
    ours: Words<'m>,
    theirs: Words<'m>,
    asked: Word<'m>,
    count: Word<'m>,
    wait: &'w mut dyn Wait,
    /// Its number, in the place that it has in a word.
    session: u32,
    /// In a batch.
    rounds: u32,
    /// The last one we stored.
    step: u32,
    pub(super) tally: Tally,
}

impl<'m, 'w> Party<'m, 'w> {
    /// In the session that `asked` names, as the asker's word has it.
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
            session: asked & SESSION,
            rounds: asked & VALUE,
            step: 0,
            tally: Tally::default(),
        }
    }

    /// As the asker, waits until the other party is in this session, and begins the count.
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        // It may have been at work in an earlier one until now.
        self.wait_for_step(1)?;
        // relaxed: our first step hands it over.
        self.count.store(self.session, Relaxed);
        Ok(())
    }

    /// Lets so many turns of the caller's wait pass.
    pub(super) fn rest(&mut self, turns: u32) -> Result<(), Stop> {
        for _ in 0..turns {
            // relaxed: what a sleep is to end by; an old one ends it at once.
            let seen = self.theirs.step.load(Relaxed);
            self.pause(seen)?;
        }
        Ok(())
    }

    /// Goes through a batch; both parties then look at what came of it.
    pub(super) fn batch(&mut self) -> Result<(), Stop> {
        self.reach_next_step()?;
        self.work()?;
        self.reach_next_step()?;
        // Nobody writes now, until both come to the next batch (L3).
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

    /// Says that we have ended, and everything stored before it.
    pub(super) fn publish_end(&self) {
        // Release: pairs with the Acquire in `wait_for_step`; what was found is whole.
        let end = self.session | END;
        // loom: loom_litmus::what_the_asker_has_found_is_there_when_it_has_ended
        self.ours.step.store(end, Release);
    }

    /// The value of a word; 0 if it was not written in this session (L1).
    pub(super) fn value(&self, word: u32) -> u32 {
        match word & SESSION == self.session {
            true => word & VALUE,
            false => 0,
        }
    }

    /// Comes to the next step, and waits until the other party has come as far.
    fn reach_next_step(&mut self) -> Result<(), Stop> {
        self.step += 1;
        // Release: pairs with the Acquire in `wait_for_step`; what was stored before this step.
        let step = self.session | self.step;
        // loom: loom_litmus::both_find_that_everything_works
        self.ours.step.store(step, Release);
        self.wait_for_step(self.step)
    }

    /// Waits until the other party has come to `step`.
    fn wait_for_step(&mut self, step: u32) -> Result<(), Stop> {
        loop {
            // Acquire: pairs with the Release in `reach_next_step`, and in `publish_end`.
            // loom: loom_litmus::both_find_that_everything_works
            let word = self.theirs.step.load(Acquire);
            match self.value(word) {
                END => return Err(Stop::Ended),
                theirs if theirs >= step => return Ok(()),
                _ => self.pause(word)?,
            }
        }
    }

    fn pause(&mut self, seen: u32) -> Result<(), Stop> {
        // relaxed: all it may say is that this session is over.
        if (self.asked.load(Relaxed) ^ self.session) & SESSION != 0 {
            return Err(Stop::GaveUp);
        }
        match self.wait.pause() {
            Pause::Again => {}
            Pause::Sleep => self.wait.sleep(self.theirs.step.as_atomic(), seen.to_le()),
            Pause::TimedOut => return Err(Stop::GaveUp),
        }
        Ok(())
    }

    /// In each round stores its number, notes which one of the other party's it sees, and
    /// adds 1 to the count.
    // relaxed in all of this: what is tried is the fence and the count alone; `reach_next_step` hands over
    // what is stored.
    fn work(&self) -> Result<(), Stop> {
        // An attempt that fails found another addition, and the other adds as often as we.
        let mut attempts = 2 * self.rounds;
        for round in 1..=self.rounds {
            let flag = self.session | (self.tally.rounds + round);
            self.ours.flag.store(flag, Relaxed);
            // What is tried: our number stored before it and the other's loaded behind it
            // must not pass each other.
            // loom: loom_litmus::both_find_that_everything_works
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

    /// In how many of our rounds neither saw the other, and in how many we saw another
    /// one than before. The first round of the other's that ours missed must have seen ours.
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

    /// Which round of this batch a party saw of the other's; 0 is none.
    fn seen_by(&self, party: &Words<'_>, round: u32) -> u32 {
        // relaxed: after the Acquire in `wait_for_step`.
        let seen = self.value(party.saw(round).load(Relaxed));
        seen.saturating_sub(self.tally.rounds).min(self.rounds)
    }
}

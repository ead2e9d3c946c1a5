//! Words of the parties outside of all locks. Each has one writer, but for `release`.

use anyhow::Result;
use shmem_core::mem::Word;
use shmem_core::primitive::{
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use shmem_core::{Incarnation, Window};

use crate::cli::PARTIES;

const WORD: usize = size_of::<u32>();
/// A party's words are in lines of its own.
const PARTY: usize = 256;

/// A party's words, by their offsets.
const INCARNATION: usize = 0;
/// Odd while it is inside the semaphore.
const INSIDE: usize = WORD;
/// The phase that it arrives at.
const PHASE: usize = 2 * WORD;
/// Changed by whoever lets it go on.
const LET_GO: usize = 3 * WORD;
/// The number of the next record to each party, and of the next one from each.
const SENT: usize = 64;
const RECEIVED: usize = 128;

#[derive(Clone, Copy)]
pub(crate) struct Notes<'m>(Window<'m>);

impl<'m> Notes<'m> {
    pub(crate) const LEN: usize = PARTIES as usize * PARTY;

    pub(crate) fn new(words: Window<'m>) -> Self {
        Self(words)
    }

    fn word(self, party: u8, offset: usize) -> Word<'m> {
        self.0.word((usize::from(party) - 1) * PARTY + offset)
    }

    /// Says that `incarnation` is inside the semaphore, or outside again.
    pub(crate) fn enter(self, incarnation: Incarnation, inside: bool) {
        let word = self.word(incarnation.partition(), INSIDE);
        let now = word.load(Relaxed);
        self.word(incarnation.partition(), INCARNATION)
            .store(incarnation.word(), Relaxed);
        // One more each time, so that nobody takes two visits for one.
        let next = now.wrapping_add(if (now & 1 == 1) == inside { 2 } else { 1 });
        word.store(next, Release);
        // Whoever is let in behind us, and looks, sees us.
        fence(SeqCst);
    }

    /// How many are inside now, not counting those that `is_gone` names; none if somebody
    /// came or left meanwhile, for then there was perhaps no moment at which so many were.
    pub(crate) fn inside(self, mut is_gone: impl FnMut(Incarnation) -> bool) -> Option<usize> {
        let look = || {
            let party = |party| {
                let inside = self.word(party, INSIDE).load(Acquire);
                (inside, self.word(party, INCARNATION).load(Acquire))
            };
            (1..=PARTIES).map(party).collect::<Vec<_>>()
        };
        let first = look();
        let incarnations = first.iter().filter(|(inside, _)| inside & 1 == 1);
        let incarnations = incarnations.filter_map(|&(_, word)| Incarnation::from_word(word));
        let count = incarnations
            .filter(|&incarnation| !is_gone(incarnation))
            .count();
        fence(SeqCst);
        (look() == first).then_some(count)
    }

    /// Says which phase `party` arrives at.
    pub(crate) fn arrive(self, party: u8, phase: u32) {
        self.word(party, PHASE).store(phase, Relaxed);
    }

    /// The phase that `party` said last.
    pub(crate) fn phase(self, party: u8) -> u32 {
        self.word(party, PHASE).load(Relaxed)
    }

    /// Lets `party` give back what it holds.
    pub(crate) fn release(self, party: u8) -> Result<()> {
        let word = self.word(party, LET_GO);
        word.store(word.load(Relaxed).wrapping_add(1), Release);
        Ok(())
    }

    /// Changes when `party` is to give back what it holds.
    pub(crate) fn released(self, party: u8) -> u32 {
        self.word(party, LET_GO).load(Acquire)
    }

    /// The number of the next record from `from` to `to`, as its sender knows it.
    pub(crate) fn sent(self, from: u8, to: u8) -> Word<'m> {
        self.word(from, SENT + usize::from(to - 1) * WORD)
    }

    /// The same as its receiver knows it.
    pub(crate) fn received(self, from: u8, to: u8) -> Word<'m> {
        self.word(to, RECEIVED + usize::from(from - 1) * WORD)
    }
}

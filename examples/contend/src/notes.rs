//! Words of the parties outside all locks. Each has one writer, except `RELEASE`.

use anyhow::Result;
use shmem_core::mem::Word;
use shmem_core::primitive::{
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use shmem_core::{Incarnation, Window};

use crate::cli::PARTIES;

const WORD: usize = size_of::<u32>();
/// Bytes of a party's words, which are in cache lines of their own.
const PARTY: usize = 256;

/// Offsets of a party's words.
const INCARNATION: usize = 0;
/// Odd while it is inside the semaphore.
const INSIDE: usize = WORD;
/// The phase at which it arrives.
const PHASE: usize = 2 * WORD;
/// Changed to let the party release what it holds.
const RELEASE: usize = 3 * WORD;
/// The number of the next record to each party.
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

    /// Notes that `incarnation` enters the semaphore, or leaves it.
    pub(crate) fn enter(self, incarnation: Incarnation, inside: bool) {
        let word = self.word(incarnation.partition(), INSIDE);
        let now = word.load(Relaxed);
        self.word(incarnation.partition(), INCARNATION)
            .store(incarnation.word(), Relaxed);
        // A new value each time, so that two visits differ.
        let next = now.wrapping_add(if (now & 1 == 1) == inside { 2 } else { 1 });
        word.store(next, Release);
        // A party that acquires a permit after us sees us.
        fence(SeqCst);
    }

    /// Returns how many parties are inside now, without those for which `is_gone` returns true.
    /// Returns `None` if a party entered or left meanwhile: then there may have been no moment
    /// at which that many were inside.
    pub(crate) fn inside(self, mut is_gone: impl FnMut(Incarnation) -> bool) -> Option<usize> {
        let read = || {
            let party = |party| {
                let inside = self.word(party, INSIDE).load(Acquire);
                (inside, self.word(party, INCARNATION).load(Acquire))
            };
            (1..=PARTIES).map(party).collect::<Vec<_>>()
        };
        let first = read();
        let incarnations = first.iter().filter(|(inside, _)| inside & 1 == 1);
        let incarnations = incarnations.filter_map(|&(_, word)| Incarnation::from_word(word));
        let count = incarnations
            .filter(|&incarnation| !is_gone(incarnation))
            .count();
        fence(SeqCst);
        (read() == first).then_some(count)
    }

    /// Notes the phase at which `party` arrives.
    pub(crate) fn arrive(self, party: u8, phase: u32) {
        self.word(party, PHASE).store(phase, Relaxed);
    }

    /// Returns the phase that `party` noted last.
    pub(crate) fn phase(self, party: u8) -> u32 {
        self.word(party, PHASE).load(Relaxed)
    }

    /// Lets `party` release what it holds.
    pub(crate) fn release(self, party: u8) -> Result<()> {
        let word = self.word(party, RELEASE);
        word.store(word.load(Relaxed).wrapping_add(1), Release);
        Ok(())
    }

    /// Returns a number that changes when `party` must release what it holds.
    pub(crate) fn released(self, party: u8) -> u32 {
        self.word(party, RELEASE).load(Acquire)
    }

    /// The number of the next record from `from` to `to`, according to its sender.
    pub(crate) fn sent(self, from: u8, to: u8) -> Word<'m> {
        self.word(from, SENT + usize::from(to - 1) * WORD)
    }

    /// The number of the next record from `from` to `to`, according to its receiver.
    pub(crate) fn received(self, from: u8, to: u8) -> Word<'m> {
        self.word(to, RECEIVED + usize::from(from - 1) * WORD)
    }
}

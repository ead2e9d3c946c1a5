//! A stamp: an end's epoch and a position in one word. Four such words serve four epochs.
//!
//! - **T1** Epochs are 1 to 65535; 1 follows 65535. 0 means that the end was never claimed. One
//!   epoch follows another if it is at most 32767 later.
//! - **T2** An end stores only into the words of its own epoch: those at its epoch modulo 4.
//!   A late store of an evicted end replaces a word of its fourth successor at the earliest, and
//!   it carries an older epoch.

use crate::mem::Word;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

/// The largest epoch.
const LAST: u32 = 0xffff;

/// Stands for a word that was not loaded yet. No end stores this value: its epoch is 0.
pub(super) const NOT_LOADED: u32 = 1;

/// The number of words of each kind.
const WORDS: u32 = 4;

/// Returns the epoch after `epoch`.
pub(super) fn next(epoch: u32) -> u32 {
    epoch % LAST + 1
}

/// Returns the epoch before `epoch`, which is not 0.
pub(super) fn previous(epoch: u32) -> u32 {
    (epoch + LAST - 2) % LAST + 1
}

/// Returns true if `epoch` is later than `known` (T1).
#[inline(always)]
pub(super) fn follows(epoch: u32, known: u32) -> bool {
    if epoch == 0 || known == 0 {
        return epoch != 0;
    }
    let steps = (epoch + LAST - known) % LAST;
    steps != 0 && steps <= LAST / 2
}

/// Returns the distance from position `from` to `to`, modulo 2^16.
#[inline(always)]
pub(super) fn distance(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from) & 0xffff
}

/// An epoch in bits 16 to 31, and in bits 0 to 15 a position, or another end's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) u32);

impl Stamp {
    #[inline(always)]
    pub(super) fn new(epoch: u32, position: u32) -> Self {
        Self(epoch << 16 | position & 0xffff)
    }

    #[inline(always)]
    pub(super) fn epoch(self) -> u32 {
        self.0 >> 16
    }

    #[inline(always)]
    pub(super) fn position(self) -> u32 {
        self.0 & 0xffff
    }
}

/// Four words, of which an end stores the one of its epoch (T2).
#[derive(Clone, Copy)]
pub(super) struct EpochWords<'m>(pub(super) [Word<'m>; WORDS as usize]);

impl<'m> EpochWords<'m> {
    /// Returns the word of `epoch`.
    #[inline(always)]
    pub(super) fn word(self, epoch: u32) -> Word<'m> {
        self.0[(epoch % WORDS) as usize]
    }

    /// Returns the stamp of the latest epoch; 0 if there is none.
    pub(super) fn latest(self) -> Stamp {
        let latest = |known: Stamp, found: Stamp| match follows(found.epoch(), known.epoch()) {
            true => found,
            false => known,
        };
        self.stamps().fold(Stamp(0), latest)
    }

    /// Returns the stamp of the first epoch after `known`, for words that every epoch stores.
    ///
    /// It loads the word of the next epoch first, so that it does not skip that epoch if others
    /// follow quickly. After four or more epochs it returns the first one whose word still exists.
    pub(super) fn first_after(self, known: u32) -> Option<Stamp> {
        let expected = next(known);
        // As in `stamps`.
        // loom: loom_typed_ring
        let found = Stamp(self.word(expected).load(Acquire));
        if found.epoch() == expected {
            return Some(found);
        }
        if !follows(found.epoch(), known) {
            return None;
        }
        let later = self.stamps().filter(|s| follows(s.epoch(), known));
        later.reduce(|first, found| match follows(first.epoch(), found.epoch()) {
            true => found,
            false => first,
        })
    }

    /// Returns the stamps that are in the word of their epoch (T2).
    fn stamps(self) -> impl Iterator<Item = Stamp> + 'm {
        (0..WORDS).filter_map(move |index| {
            // Pairs with the stores of each end's words, as the table in `typed_ring` lists them.
            // loom: loom_typed_ring
            let found = Stamp(self.word(index).load(Acquire));
            (found.epoch() % WORDS == index && found.epoch() != 0).then_some(found)
        })
    }
}

/// A word of ours and the last value that we stored into it.
#[derive(Clone, Copy)]
pub(super) struct OwnWord<'m> {
    word: Word<'m>,
    pub(super) stamp: Stamp,
}

impl<'m> OwnWord<'m> {
    /// Returns the word of `epoch` among `words`, to hold `position`. Stores nothing yet.
    pub(super) fn new(words: EpochWords<'m>, epoch: u32, position: u32) -> Self {
        Self::with_stamp(words.word(epoch), Stamp::new(epoch, position))
    }

    /// Returns `word`, to hold `stamp`. Stores nothing yet.
    pub(super) fn with_stamp(word: Word<'m>, stamp: Stamp) -> Self {
        Self { word, stamp }
    }

    /// Stores another position.
    #[inline(always)]
    pub(super) fn set(&mut self, position: u32) {
        self.stamp = Stamp::new(self.stamp.epoch(), position);
        self.publish();
    }

    /// Stores the word again if a late store has replaced it (T2).
    pub(super) fn restore(self) {
        // relaxed: our own word.
        if self.word.load(Relaxed) != self.stamp.0 {
            self.publish();
        }
    }

    /// Stores the word.
    #[inline(always)]
    pub(super) fn publish(self) {
        // Pairs with the loads in `EpochWords::stamps` and in the polls of the other end:
        // a peer that sees this value sees everything that we did before.
        // loom: loom_typed_ring
        self.word.store(self.stamp.0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_follow_each_other_across_the_wrap() {
        assert_eq!((next(0), next(1), next(LAST)), (1, 2, 1));
        assert_eq!((previous(2), previous(1)), (1, LAST));
        assert!(follows(1, 0) && follows(LAST, 0) && follows(2, 1) && follows(1, LAST));
        assert!(!follows(0, 1) && !follows(0, 0) && !follows(1, 1));
        assert!(!follows(1, 2) && !follows(LAST, 1));
        assert!(follows(32768, 1) && !follows(32769, 1));
    }

    #[test]
    fn distances_are_modulo_65536() {
        assert_eq!(distance(0xffff, 0x1_0001), 2);
        assert_eq!(distance(5, 3), 0xfffe);
        let stamp = Stamp::new(7, 0x1_2345);
        assert_eq!((stamp.epoch(), stamp.position()), (7, 0x2345));
    }

    #[test]
    #[cfg(all(feature = "alloc", not(loom)))]
    fn first_after_does_not_skip_an_epoch() {
        let heap = crate::mem::Heap::new(16);
        let words = EpochWords([0, 4, 8, 12].map(|at| heap.window().word(at)));
        let first = |stored: [u32; 4], known| {
            for (word, epoch) in words.0.into_iter().zip(stored) {
                word.store(epoch << 16, Relaxed);
            }
            words.first_after(known).map_or(0, Stamp::epoch)
        };
        assert_eq!(first([4, 5, 2, 3], 3), 4);
        assert_eq!(first([4, 5, 2, 3], 5), 0);
        // The word of 4 was loaded before 5 had claimed the end after it.
        assert_eq!(first([0, 5, 2, 3], 3), 0);
        // Five epochs after 3 have claimed the end since.
        assert_eq!(first([8, 5, 6, 7], 3), 5);
        assert_eq!(first([0, 1, LAST - 1, LAST], LAST - 1), LAST);
        assert_eq!(first([0, 1, LAST - 1, LAST], LAST), 1);
        // Stamps in the words of other epochs are ignored.
        assert_eq!(first([3, 3, 3, 0], 2), 0);
    }
}

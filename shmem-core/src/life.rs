//! One life of a partition: its number and its incarnation.
//!
//! A partition that restarts is another life of the same number. Whatever in
//! shared memory has an owner names the life, not the number, so that nothing
//! of a dead life is taken for the present one's.

use core::fmt;
use core::num::NonZeroU32;

/// Bits of the incarnation: a partition has this many lives before they repeat.
const INCARNATIONS: u32 = (1 << 23) - 1;

/// One life of a partition.
///
/// In memory it is one word: bits 0 to 7 the partition's number, from 1; bits
/// 8 to 30 its incarnation, from 1; bit 31 is free for whoever keeps the word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life(NonZeroU32);

impl Life {
    /// Bit 31 of a word that holds a life: not the life's.
    pub const FLAG: u32 = 1 << 31;

    /// Life number `incarnation` of `partition`, both from 1; `None` if either is 0
    /// or the incarnation has more than 23 bits.
    pub const fn new(partition: u8, incarnation: u32) -> Option<Self> {
        if partition == 0 || incarnation == 0 || incarnation > INCARNATIONS {
            return None;
        }
        match NonZeroU32::new(incarnation << 8 | partition as u32) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// The first life of `partition`: for partitions that never restart.
    ///
    /// # Panics
    ///
    /// If `partition` is 0.
    pub const fn first(partition: u8) -> Self {
        match Self::new(partition, 1) {
            Some(life) => life,
            None => panic!("partitions count from 1"),
        }
    }

    /// The life that follows life number `incarnation` of `partition`; 0 is none yet.
    pub const fn after(partition: u8, incarnation: u32) -> Option<Self> {
        Self::new(partition, incarnation % INCARNATIONS + 1)
    }

    /// Whether this is a later life of `earlier`'s partition, by the shorter way round.
    pub const fn follows(self, earlier: Self) -> bool {
        let steps = (self.incarnation() + INCARNATIONS - earlier.incarnation()) % INCARNATIONS;
        self.partition() == earlier.partition() && steps != 0 && steps <= INCARNATIONS / 2
    }

    /// The life in `word`, whatever its flag; `None` if no honest partition puts it there.
    #[inline]
    pub const fn from_word(word: u32) -> Option<Self> {
        Self::new(word as u8, (word & !Self::FLAG) >> 8)
    }

    /// The life as a word, its flag 0.
    #[inline]
    pub const fn word(self) -> u32 {
        self.0.get()
    }

    /// The partition's number.
    pub const fn partition(self) -> u8 {
        self.word() as u8
    }

    /// Which of the partition's lives it is, from 1.
    pub const fn incarnation(self) -> u32 {
        self.word() >> 8
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, incarnation) = (self.partition(), self.incarnation());
        write!(f, "partition {partition} in its life {incarnation}")
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Life({}.{})", self.partition(), self.incarnation())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_life_comes_back_from_its_word_whatever_the_flag() {
        for (partition, incarnation) in [(1, 1), (255, INCARNATIONS), (128, 77)] {
            let life = Life::new(partition, incarnation).unwrap();
            assert_eq!(
                (life.partition(), life.incarnation()),
                (partition, incarnation)
            );
            assert_eq!(Life::from_word(life.word()), Some(life));
            assert_eq!(Life::from_word(life.word() | Life::FLAG), Some(life));
        }
    }

    #[test]
    fn nobody_is_no_life() {
        for word in [0, 1, 0xff, 0x100, Life::FLAG, Life::FLAG | 1] {
            assert_eq!(Life::from_word(word), None);
        }
        assert_eq!(Life::new(1, INCARNATIONS + 1), None);
    }

    #[test]
    fn lives_count_up_and_start_again_at_1() {
        assert_eq!(Life::after(3, 0), Some(Life::first(3)));
        assert_eq!(Life::after(3, 1), Life::new(3, 2));
        assert_eq!(Life::after(3, INCARNATIONS), Some(Life::first(3)));
        assert_eq!(Life::after(0, 1), None);
    }

    #[test]
    fn a_life_follows_those_that_came_before_it_over_the_wrap_too() {
        let life = |incarnation| Life::new(3, incarnation).unwrap();
        assert!(life(2).follows(life(1)) && life(900).follows(life(2)));
        assert!(life(1).follows(life(INCARNATIONS)) && life(5).follows(life(INCARNATIONS - 5)));
        assert!(!life(1).follows(life(1)) && !life(1).follows(life(2)));
        assert!(!life(INCARNATIONS).follows(life(1)));
        assert!(!Life::new(4, 2).unwrap().follows(life(1)));
    }
}

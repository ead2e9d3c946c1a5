//! An incarnation: one run of a partition.
//!
//! A partition that restarts begins a new incarnation and keeps its partition number. Every
//! word that names an owner names the incarnation. So what a dead incarnation owned is
//! never treated as owned by the present one.

use core::fmt;
use core::num::NonZeroU32;

/// The largest number of an incarnation; 1 follows it.
const MAX_NUMBER: u32 = (1 << 23) - 1;

/// One run of a partition.
///
/// In memory it is one word. Bits 0 to 7 are the partition, from 1. Bits 8 to 30 are the
/// incarnation's number, from 1. Bit 31 is free for the object that contains the word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(NonZeroU32);

impl Incarnation {
    /// Bit 31 of a word that holds an incarnation. It is not part of the incarnation.
    pub const FLAG: u32 = 1 << 31;

    /// Returns incarnation `number` of `partition`, both from 1; `None` if either is 0
    /// or `number` has more than 23 bits.
    pub const fn new(partition: u8, number: u32) -> Option<Self> {
        if partition == 0 || number == 0 || number > MAX_NUMBER {
            return None;
        }
        match NonZeroU32::new(number << 8 | partition as u32) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// Returns the first incarnation of `partition`: for partitions that never restart.
    ///
    /// # Panics
    ///
    /// If `partition` is 0.
    pub const fn first(partition: u8) -> Self {
        match Self::new(partition, 1) {
            Some(incarnation) => incarnation,
            None => panic!("partitions count from 1"),
        }
    }

    /// Returns the incarnation of `partition` after number `number`; pass 0 for the first one.
    /// Returns `None` if `partition` is 0.
    pub const fn next(partition: u8, number: u32) -> Option<Self> {
        Self::new(partition, number % MAX_NUMBER + 1)
    }

    /// Returns true if this is a later incarnation of `earlier`'s partition. Numbers wrap: one
    /// is later if it is ahead by at most half of all numbers.
    pub const fn follows(self, earlier: Self) -> bool {
        let (number, before) = (self.number(), earlier.number());
        let steps = match number >= before {
            true => number - before,
            false => number + MAX_NUMBER - before,
        };
        self.partition() == earlier.partition() && steps != 0 && steps <= MAX_NUMBER / 2
    }

    /// Decodes `word` and ignores its flag. Returns `None` if no honest partition stores this
    /// value.
    #[inline]
    pub const fn from_word(word: u32) -> Option<Self> {
        Self::new(word as u8, (word & !Self::FLAG) >> 8)
    }

    /// Returns the incarnation as a word with flag 0.
    #[inline]
    pub const fn word(self) -> u32 {
        self.0.get()
    }

    /// Returns the partition's number, from 1.
    pub const fn partition(self) -> u8 {
        self.word() as u8
    }

    /// Returns the incarnation's number, from 1.
    pub const fn number(self) -> u32 {
        self.word() >> 8
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, number) = (self.partition(), self.number());
        write!(f, "incarnation {number} of partition {partition}")
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({}.{})", self.partition(), self.number())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn from_word_inverts_word_and_ignores_the_flag() {
        for (partition, number) in [(1, 1), (255, MAX_NUMBER), (128, 77)] {
            let incarnation = Incarnation::new(partition, number).unwrap();
            assert_eq!(
                (incarnation.partition(), incarnation.number()),
                (partition, number)
            );
            assert_eq!(
                Incarnation::from_word(incarnation.word()),
                Some(incarnation)
            );
            assert_eq!(
                Incarnation::from_word(incarnation.word() | Incarnation::FLAG),
                Some(incarnation)
            );
        }
    }

    #[test]
    fn a_zero_partition_or_number_is_not_an_incarnation() {
        for word in [0, 1, 0xff, 0x100, Incarnation::FLAG, Incarnation::FLAG | 1] {
            assert_eq!(Incarnation::from_word(word), None);
        }
        assert_eq!(Incarnation::new(1, MAX_NUMBER + 1), None);
    }

    #[test]
    fn next_counts_up_and_wraps_to_1() {
        assert_eq!(Incarnation::next(3, 0), Some(Incarnation::first(3)));
        assert_eq!(Incarnation::next(3, 1), Incarnation::new(3, 2));
        assert_eq!(
            Incarnation::next(3, MAX_NUMBER),
            Some(Incarnation::first(3))
        );
        assert_eq!(Incarnation::next(0, 1), None);
    }

    #[test]
    fn follows_compares_numbers_across_the_wrap() {
        let incarnation = |number| Incarnation::new(3, number).unwrap();
        assert!(incarnation(2).follows(incarnation(1)) && incarnation(900).follows(incarnation(2)));
        assert!(
            incarnation(1).follows(incarnation(MAX_NUMBER))
                && incarnation(5).follows(incarnation(MAX_NUMBER - 5))
        );
        assert!(!incarnation(1).follows(incarnation(1)) && !incarnation(1).follows(incarnation(2)));
        assert!(!incarnation(MAX_NUMBER).follows(incarnation(1)));
        assert!(!Incarnation::new(4, 2).unwrap().follows(incarnation(1)));
    }
}

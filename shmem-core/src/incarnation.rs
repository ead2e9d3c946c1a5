//! One incarnation of a partition: its number and its incarnation.
//!
//! A partition that restarts is another incarnation of the same number. Whatever in
//! shared memory has an owner names the incarnation, not the number, so that nothing
//! of a dead incarnation is taken for the present one's.

use core::fmt;
use core::num::NonZeroU32;

/// Bits of the incarnation: a partition has this many incarnations before they repeat.
const MAX_NUMBER: u32 = (1 << 23) - 1;

/// One incarnation of a partition.
///
/// In memory it is one word: bits 0 to 7 the partition's number, from 1; bits
/// 8 to 30 its incarnation, from 1; bit 31 is free for whoever keeps the word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(NonZeroU32);

impl Incarnation {
    /// Bit 31 of a word that holds an incarnation: not the incarnation's.
    pub const FLAG: u32 = 1 << 31;

    /// Incarnation number `incarnation` of `partition`, both from 1; `None` if either is 0
    /// or the incarnation has more than 23 bits.
    pub const fn new(partition: u8, number: u32) -> Option<Self> {
        if partition == 0 || number == 0 || number > MAX_NUMBER {
            return None;
        }
        match NonZeroU32::new(number << 8 | partition as u32) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// The first incarnation of `partition`: for partitions that never restart.
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

    /// The incarnation that follows incarnation number `incarnation` of `partition`; 0 is none yet.
    pub const fn after(partition: u8, number: u32) -> Option<Self> {
        Self::new(partition, number % MAX_NUMBER + 1)
    }

    /// Whether this is a later incarnation of `earlier`'s partition, by the shorter way round.
    pub const fn follows(self, earlier: Self) -> bool {
        let steps = (self.number() + MAX_NUMBER - earlier.number()) % MAX_NUMBER;
        self.partition() == earlier.partition() && steps != 0 && steps <= MAX_NUMBER / 2
    }

    /// The incarnation in `word`, whatever its flag; `None` if no honest partition puts it there.
    #[inline]
    pub const fn from_word(word: u32) -> Option<Self> {
        Self::new(word as u8, (word & !Self::FLAG) >> 8)
    }

    /// The incarnation as a word, its flag 0.
    #[inline]
    pub const fn word(self) -> u32 {
        self.0.get()
    }

    /// The partition's number.
    pub const fn partition(self) -> u8 {
        self.word() as u8
    }

    /// Which of the partition's incarnations it is, from 1.
    pub const fn number(self) -> u32 {
        self.word() >> 8
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, number) = (self.partition(), self.number());
        write!(f, "number {number} of partition {partition}")
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
    fn an_incarnation_comes_back_from_its_word_whatever_the_flag() {
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
    fn nobody_is_no_incarnation() {
        for word in [0, 1, 0xff, 0x100, Incarnation::FLAG, Incarnation::FLAG | 1] {
            assert_eq!(Incarnation::from_word(word), None);
        }
        assert_eq!(Incarnation::new(1, MAX_NUMBER + 1), None);
    }

    #[test]
    fn lives_count_up_and_start_again_at_1() {
        assert_eq!(Incarnation::after(3, 0), Some(Incarnation::first(3)));
        assert_eq!(Incarnation::after(3, 1), Incarnation::new(3, 2));
        assert_eq!(
            Incarnation::after(3, MAX_NUMBER),
            Some(Incarnation::first(3))
        );
        assert_eq!(Incarnation::after(0, 1), None);
    }

    #[test]
    fn an_incarnation_follows_those_that_came_before_it_over_the_wrap_too() {
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

//! A partition's place in the queue of a bakery, as one word.

/// The two colours that tickets come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    White,
    Black,
}

impl Colour {
    /// The colour in `word`; `None` if no honest partition puts it there.
    #[inline]
    pub(super) fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::White),
            1 => Some(Self::Black),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn word(self) -> u32 {
        self as u32
    }

    #[inline]
    pub(super) fn other(self) -> Self {
        match self {
            Self::White => Self::Black,
            Self::Black => Self::White,
        }
    }
}

/// The largest number of a ticket.
pub(super) const LAST: u32 = u32::MAX >> 2;

/// A ticket: 0 none; bit 0 it is being drawn; bit 1 its colour; bits 2 to 31 its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

impl Ticket {
    pub(super) const NONE: Self = Self(0);
    pub(super) const DRAWING: Self = Self(1);

    /// The ticket in `word`; `None` if no honest partition puts it there.
    #[inline]
    pub(super) fn from_word(word: u32) -> Option<Self> {
        let is_drawn = word & 1 == 0 && word >> 2 != 0;
        (is_drawn || word <= 1).then_some(Self(word))
    }

    #[inline]
    pub(super) fn word(self) -> u32 {
        self.0
    }

    /// The ticket behind number `last`, if there is one.
    #[inline]
    pub(super) fn with_number_after(last: u32, colour: Colour) -> Option<Self> {
        (last < LAST).then_some(Self((last + 1) << 2 | colour.word() << 1))
    }

    #[inline]
    pub(super) fn is_being_drawn(self) -> bool {
        self.0 & 1 != 0
    }

    #[inline]
    pub(super) fn colour(self) -> Colour {
        match self.0 >> 1 & 1 {
            0 => Colour::White,
            _ => Colour::Black,
        }
    }

    /// From 1; 0 while there is none yet.
    #[inline]
    pub(super) fn number(self) -> u32 {
        self.0 >> 2
    }

    /// Whether this ticket, `partition`'s, is before `other`, `another`'s, of the same colour.
    #[inline]
    pub(super) fn is_before(self, partition: u8, other: Self, another: u8) -> bool {
        (self.number(), partition) < (other.number(), another)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_comes_back_from_its_word() {
        for colour in [Colour::White, Colour::Black] {
            for last in [0, 1, 63, LAST - 1] {
                let ticket =
                    Ticket::from_word(Ticket::with_number_after(last, colour).unwrap().word())
                        .unwrap();
                assert_eq!((ticket.number(), ticket.colour()), (last + 1, colour));
                assert!(!ticket.is_being_drawn());
                assert_eq!(Colour::from_word(colour.word()), Some(colour));
            }
        }
        assert!(Ticket::DRAWING.is_being_drawn());
        assert_eq!((Ticket::DRAWING.number(), Ticket::NONE.number()), (0, 0));
    }

    #[test]
    fn a_word_that_nobody_stores_is_no_ticket_and_no_colour() {
        for word in [2, 3, 5, 7, u32::MAX] {
            assert_eq!(
                (Ticket::from_word(word), Colour::from_word(word)),
                (None, None)
            );
        }
        assert_eq!(Ticket::from_word(0), Some(Ticket::NONE));
    }

    #[test]
    fn there_is_none_behind_the_last() {
        assert_eq!(Ticket::with_number_after(LAST, Colour::White), None);
    }

    #[test]
    fn of_two_equal_numbers_the_lower_partitions_is_before() {
        let ticket = |last| Ticket::with_number_after(last, Colour::Black).unwrap();
        assert!(ticket(0).is_before(2, ticket(1), 1));
        assert!(ticket(1).is_before(1, ticket(1), 2));
        assert!(!ticket(1).is_before(2, ticket(1), 1));
    }
}

//! A partition's place in the queue of a bakery, as one word.

/// The two colours that tickets come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    White,
    Black,
}

impl Colour {
    /// The colour in `word`, of which only bit 0 counts.
    #[inline]
    pub(super) fn of(word: u32) -> Self {
        match word & 1 {
            0 => Self::White,
            _ => Self::Black,
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

    #[inline]
    pub(super) fn of(word: u32) -> Self {
        Self(word)
    }

    #[inline]
    pub(super) fn word(self) -> u32 {
        self.0
    }

    /// The ticket behind number `last`, if there is one.
    #[inline]
    pub(super) fn behind(last: u32, colour: Colour) -> Option<Self> {
        (last < LAST).then_some(Self((last + 1) << 2 | colour.word() << 1))
    }

    #[inline]
    pub(super) fn is_being_drawn(self) -> bool {
        self.0 & 1 != 0
    }

    #[inline]
    pub(super) fn colour(self) -> Colour {
        Colour::of(self.0 >> 1)
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
                let ticket = Ticket::of(Ticket::behind(last, colour).unwrap().word());
                assert_eq!((ticket.number(), ticket.colour()), (last + 1, colour));
                assert!(!ticket.is_being_drawn());
                assert_eq!(Colour::of(colour.word()), colour);
            }
        }
        assert!(Ticket::DRAWING.is_being_drawn());
        assert_eq!((Ticket::DRAWING.number(), Ticket::NONE.number()), (0, 0));
    }

    #[test]
    fn there_is_none_behind_the_last() {
        assert_eq!(Ticket::behind(LAST, Colour::White), None);
    }

    #[test]
    fn of_two_equal_numbers_the_lower_partitions_is_before() {
        let ticket = |last| Ticket::behind(last, Colour::Black).unwrap();
        assert!(ticket(0).is_before(2, ticket(1), 1));
        assert!(ticket(1).is_before(1, ticket(1), 2));
        assert!(!ticket(1).is_before(2, ticket(1), 1));
    }
}

//! The words that link the rows of a bucket into a chain.

/// A word that links to a row.
///
/// Bits 0 to 16: the row's number + 1, or 0 at the end of a chain. Bits 17 to 30: a generation
/// (C3). Bit 31: the row whose `next` this word is was removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u32);

impl Link {
    const MARK: u32 = 1 << 31;
    const NUMBER: u32 = (1 << 17) - 1;
    const GENERATION: u32 = (1 << 14) - 1;

    pub(crate) fn to(row: usize, generation: u32) -> Self {
        Self((generation & Self::GENERATION) << 17 | (row as u32 + 1))
    }

    /// Returns the end of a chain, for the `next` of a row of this generation.
    pub(crate) fn end(generation: u32) -> Self {
        Self((generation & Self::GENERATION) << 17)
    }

    pub(crate) fn is_marked(self) -> bool {
        self.0 & Self::MARK != 0
    }

    pub(crate) fn marked(self) -> Self {
        Self(self.0 | Self::MARK)
    }

    pub(crate) fn unmarked(self) -> Self {
        Self(self.0 & !Self::MARK)
    }

    pub(crate) fn is_end(self) -> bool {
        self.0 & Self::NUMBER == 0
    }

    /// Returns the row that it names, unless it is the end of a chain.
    pub(crate) fn row(self) -> usize {
        (self.0 & Self::NUMBER).wrapping_sub(1) as usize
    }

    /// Returns true if the link was made in this generation of its row; it has 14 bits of it.
    pub(crate) fn leads_to(self, generation: u32) -> bool {
        self.0 >> 17 & Self::GENERATION == generation & Self::GENERATION
    }
}

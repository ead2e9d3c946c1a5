//! The words that make the rows of a bucket a chain.

/// A word that links to a row.
///
/// Bits 0 to 16: the row's number + 1, or 0 at the end of a chain. Bits 17 to
/// 30: a generation (C3). Bit 31: the row whose `next` it is is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u32);

impl Link {
    const MARK: u32 = 1 << 31;
    const NUMBER: u32 = (1 << 17) - 1;
    const GENERATION: u32 = (1 << 14) - 1;

    pub(crate) fn to(row: usize, generation: u32) -> Self {
        Self((generation & Self::GENERATION) << 17 | (row as u32 + 1))
    }

    /// The end of a chain, behind a row of this generation.
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

    /// The row that it leads to, unless it is the end.
    pub(crate) fn row(self) -> usize {
        (self.0 & Self::NUMBER).wrapping_sub(1) as usize
    }

    /// Whether it was made in this generation of its row, of which it has 14 bits.
    pub(crate) fn leads_to(self, generation: u32) -> bool {
        self.0 >> 17 & Self::GENERATION == generation & Self::GENERATION
    }
}

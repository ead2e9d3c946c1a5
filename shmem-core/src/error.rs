//! What it means that a peer broke the protocol.

use core::fmt;

/// A peer wrote a value that no honest peer writes.
///
/// A ring's end that found it says the same from then on; a snapshot and the
/// registry say it of each call that meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The word, as `docs/layout.md` names it.
    pub word: &'static str,
    /// What it held.
    pub value: u32,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer broke the protocol: {} holds {:#010x}",
            self.word, self.value
        )
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Corrupt {}

//! A value of two halves that must be equal, so that a mixture of two writes is detected.

/// Returns the number in both halves; `None` if they differ.
pub(crate) fn whole(halves: [u64; 2]) -> Option<u64> {
    (halves[0] == halves[1]).then_some(halves[0])
}

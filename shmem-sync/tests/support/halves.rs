//! A value of two halves that belong together, so that a mixture shows.

/// The number that both halves are, if they are one.
pub(crate) fn whole(halves: [u64; 2]) -> Option<u64> {
    (halves[0] == halves[1]).then_some(halves[0])
}

//! The error of a partition that runs, but whose place another has taken.

use core::fmt;

/// Another incarnation of the partition has taken this one's place: it was treated as gone while it
/// ran, or its number was given to two partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted;

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another incarnation of this partition has taken over, because this one was treated as \
             gone or its number was used twice: attach again",
        )
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Evicted {}

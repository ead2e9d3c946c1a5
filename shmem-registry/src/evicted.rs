//! That a partition was said to be gone while it lived.

use core::fmt;

/// Another incarnation of the partition has taken this one's place: somebody said that it
/// was gone, or its number was given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted;

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this partition was said to be gone while it lived, or its number was given twice: \
             others have what it held; attach anew",
        )
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Evicted {}

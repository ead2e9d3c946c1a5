//! The word that publishes a record.

use super::memory::Ring;
use crate::error::{ControlWord, Corrupt};
use crate::layout::RECORD_HEADER;

/// Bit 0: the header is published. A header of zero is not (R4).
const PUBLISHED: u32 = 1;
/// Bit 1: padding up to the end of the data.
const PADDING: u32 = 2;
/// Bits 2 to 31: bytes of payload.
const LENGTH_SHIFT: u32 = 2;

/// Returns the bytes from a record's header to the next header.
#[inline(always)]
pub(super) fn stride(len: usize) -> u32 {
    ((RECORD_HEADER + len + 7) & !7) as u32
}

#[inline(always)]
pub(super) fn record(len: usize) -> u32 {
    (len as u32) << LENGTH_SHIFT | PUBLISHED
}

#[inline(always)]
pub(super) fn padding(stride: u32) -> u32 {
    (stride - RECORD_HEADER as u32) << LENGTH_SHIFT | PADDING | PUBLISHED
}

/// A header, decoded and checked against its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Not published.
    Nothing,
    /// A contiguous record of this many bytes (R5).
    Record(u32),
    /// Padding of this many bytes, up to the end of the data.
    Padding(u32),
}

impl Header {
    /// Decodes `word`, loaded from the header at `position`. Returns `None` if no honest producer
    /// stores `word` there.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn decode(word: u32, ring: &Ring<'_>, position: u32) -> Option<Self> {
        if word == 0 {
            return Some(Self::Nothing);
        }
        let len = (word >> LENGTH_SHIFT) as usize;
        let offset = ring.data.offset(position);
        let to_end = ring.capacity() - offset;
        let honest = if word & PADDING == 0 {
            len <= ring.max_record() && stride(len) as usize <= to_end
        } else {
            offset != 0 && RECORD_HEADER + len == to_end
        };
        if !honest || word & PUBLISHED == 0 {
            return None;
        }
        Some(if word & PADDING == 0 {
            Self::Record(len as u32)
        } else {
            Self::Padding(to_end as u32)
        })
    }

    /// Returns the error for a header that no honest producer stores.
    pub(super) fn corrupt(value: u32) -> Corrupt {
        Corrupt {
            word: ControlWord::RecordHeader,
            value,
        }
    }
}

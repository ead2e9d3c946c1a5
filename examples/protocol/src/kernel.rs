//! The records of the log ring: each is one line of the instance's kernel.
//!
//! A record has a header of 24 bytes, little-endian, and the text of the kernel: `sequence: u64`,
//! `time_us: u64`, `lost: u32`, `priority: u8`, `facility: u8`, `reserved: u16`. Decoding a record
//! that ends early or is too long returns [`Malformed`].

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::Malformed;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    sequence: U64,
    time_us: U64,
    lost: U32,
    priority: u8,
    facility: u8,
    reserved: U16,
}

/// One line of the kernel's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLine<'a> {
    /// Counts the lines of one boot from 0. A smaller number than before is from another boot.
    pub sequence: u64,
    /// Microseconds since the kernel booted.
    pub time_us: u64,
    /// How many lines before this one the kernel overwrote before they were read.
    pub lost: u32,
    /// Its severity: 0 emergency, 3 error, 6 information, 7 debugging.
    pub priority: u8,
    /// Its source: 0 the kernel, 1 and above programs.
    pub facility: u8,
    /// Its text: any bytes, including line feeds and escape sequences.
    pub text: &'a [u8],
}

impl<'a> KernelLine<'a> {
    /// Bytes of the longest text.
    pub const MAX_TEXT: usize = 8 << 10;
    /// Bytes of the longest record.
    pub const MAX_LEN: usize = size_of::<Header>() + Self::MAX_TEXT;

    /// Replaces the content of `out` by the record. A text longer than [`KernelLine::MAX_TEXT`] is
    /// cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let header = Header {
            sequence: self.sequence.into(),
            time_us: self.time_us.into(),
            lost: self.lost.into(),
            priority: self.priority,
            facility: self.facility,
            reserved: 0.into(),
        };
        out.clear();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&self.text[..self.text.len().min(Self::MAX_TEXT)]);
    }

    /// Decodes a record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is shorter than its header or longer than [`KernelLine::MAX_LEN`].
    pub fn decode(record: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = |at| Malformed {
            what: "kernel line",
            at,
        };
        let (header, text) =
            Header::ref_from_prefix(record).map_err(|_| malformed(record.len()))?;
        if text.len() > Self::MAX_TEXT {
            return Err(malformed(Self::MAX_LEN));
        }
        Ok(Self {
            sequence: header.sequence.get(),
            time_us: header.time_us.get(),
            lost: header.lost.get(),
            priority: header.priority,
            facility: header.facility,
            text,
        })
    }
}

/// The boot of an instance's kernel, and how much of its log was sent, so that the next incarnation
/// of the daemon can continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Mark {
    pub(crate) boot: [u8; 16],
    /// Number of the first line that was not sent.
    next: U64,
}

impl Mark {
    pub(crate) const LEN: usize = size_of::<Self>();

    pub(crate) fn new(boot: [u8; 16], next: u64) -> Self {
        let next = next.into();
        Self { boot, next }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: KernelLine<'_> = KernelLine {
        sequence: 0x0102_0304_0506_0708,
        time_us: 0x1112_1314,
        lost: 0x2122,
        priority: 6,
        facility: 1,
        text: b"Run /init\nas init \xff",
    };

    #[test]
    fn a_line_is_decoded_as_it_was_encoded_with_fields_at_fixed_offsets() {
        let mut record = Vec::new();
        LINE.encode(&mut record);
        assert_eq!(record[..8], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(record[8..16], [0x14, 0x13, 0x12, 0x11, 0, 0, 0, 0]);
        assert_eq!(record[16..24], [0x22, 0x21, 0, 0, 6, 1, 0, 0]);
        assert_eq!(&record[24..], LINE.text);
        assert_eq!(KernelLine::decode(&record), Ok(LINE));
    }

    #[test]
    fn a_record_that_ends_early_or_is_too_long_is_malformed() {
        let mut record = Vec::new();
        LINE.encode(&mut record);
        for len in 0..24 {
            assert_eq!(KernelLine::decode(&record[..len]).unwrap_err().at, len);
        }
        assert_eq!(KernelLine::decode(&record[..24]).unwrap().text, b"");
        record.resize(KernelLine::MAX_LEN, b'x');
        assert!(KernelLine::decode(&record).is_ok());
        record.push(b'x');
        assert!(KernelLine::decode(&record).is_err());
    }

    #[test]
    fn a_text_beyond_the_limit_is_cut() {
        let text = &[b'x'; KernelLine::MAX_TEXT + 1][..];
        let mut record = Vec::new();
        KernelLine { text, ..LINE }.encode(&mut record);
        assert_eq!(record.len(), KernelLine::MAX_LEN);
        assert!(KernelLine::decode(&record).is_ok());
    }
}

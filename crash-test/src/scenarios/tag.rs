//! A record that identifies itself, and shows whether it is complete.

use fastrand::Rng;
use shmem_core::call;

/// Bytes of the shortest record: it fits into the smallest ring.
pub(super) const MIN: usize = 16;

/// The identity of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The producer's incarnation, from 1.
    pub(super) incarnation: u32,
    /// Number of the record in that incarnation, from 0.
    pub(super) number: u32,
    /// The consumer's incarnation that the record is for; 0 is the first one.
    pub(super) reader: u32,
}

impl Tag {
    /// A record of `len` bytes.
    pub(super) fn record(self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        for word in [self.incarnation, self.number, self.reader] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let start = self.incarnation.wrapping_mul(31).wrapping_add(self.number) as u8;
        bytes.extend((0..len.saturating_sub(MIN)).map(|at| start.wrapping_add(at as u8)));
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// A record of at most `longest` bytes; half of them fit into a call line.
    pub(super) fn record_of_any_length(self, longest: usize, rng: &mut Rng) -> Vec<u8> {
        let longest = match rng.bool() {
            true => call::MAX_LEN,
            false => longest.min(MIN + 50),
        };
        self.record(rng.usize(MIN..=longest))
    }

    /// The identity of a record; `None` if it is incomplete.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let (body, sum) = record.split_last_chunk()?;
        if record.len() < MIN || u32::from_le_bytes(*sum) != checksum(body) {
            return None;
        }
        let word = |at: usize| Some(u32::from_le_bytes(*body.get(at..)?.first_chunk()?));
        Some(Self {
            incarnation: word(0)?,
            number: word(4)?,
            reader: word(8)?,
        })
    }
}

/// 32-bit FNV-1a of the bytes and their number.
fn checksum(bytes: &[u8]) -> u32 {
    let start = 0x811c_9dc5 ^ bytes.len() as u32;
    bytes.iter().fold(start, |sum, &byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag {
        incarnation: 3,
        number: 70_000,
        reader: 2,
    };

    #[test]
    fn a_record_identifies_itself_at_any_length() {
        for len in MIN..200 {
            let record = TAG.record(len);
            assert_eq!((record.len(), Tag::read(&record)), (len, Some(TAG)));
        }
    }

    #[test]
    fn a_record_that_is_cut_or_changed_is_invalid() {
        let record = TAG.record(64);
        assert_eq!(Tag::read(&record[..60]), None);
        assert_eq!(Tag::read(&[]), None);
        for at in 0..record.len() {
            let mut torn = record.clone();
            torn[at] ^= 1;
            assert_eq!(Tag::read(&torn), None);
        }
    }
}

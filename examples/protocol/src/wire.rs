//! Reads and writes little-endian fields of a byte string of untrusted length.

use core::fmt;

/// Length of the longest body of a command that carries bytes.
pub(crate) const COMMAND_BODY: usize = 4 << 10;
/// Length of the longest body of an event that carries bytes.
pub(crate) const EVENT_BODY: usize = 16 << 10;

/// Bytes that do not follow the protocol, and their position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was being decoded.
    pub what: &'static str,
    /// Offset of the first byte that was missing or wrong.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// A cursor over untrusted bytes.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    pub(crate) fn malformed(&self) -> Malformed {
        Malformed {
            what: self.what,
            at: self.at,
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len).ok_or_else(|| self.malformed())?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or_else(|| self.malformed())?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads a `u16` length and text of this length. Invalid UTF-8 is replaced.
    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let len = self.u16()?;
        let bytes = self.take(usize::from(len))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Reads text as [`Reader::text`], of at most `max` bytes.
    pub(crate) fn text_up_to(&mut self, max: usize) -> Result<String, Malformed> {
        let text = self.text()?;
        // A replacement character has three bytes, for one byte of invalid UTF-8.
        match text.len() <= 3 * max {
            true => Ok(text),
            false => Err(self.malformed()),
        }
    }

    /// Returns true if nothing is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}

/// Appends the `u16` length of `text` and `text`, cut at 65,535 bytes.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&text[..usize::from(len)]);
}

//! The settings that KMON gives an instance, in a snapshot.

use crate::wire::{Malformed, Reader, put_text};

/// An instance's number and name, and the period of its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The instance's partition number, from 2.
    pub partition: u8,
    /// Milliseconds between two statistics snapshots.
    pub period_ms: u32,
    /// The instance's name.
    pub name: String,
}

impl Settings {
    /// Length of the longest encoding.
    pub const MAX_LEN: usize = 256;

    /// Replaces the content of `out` by the settings.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&u32::from(self.partition).to_le_bytes());
        out.extend_from_slice(&self.period_ms.to_le_bytes());
        let name = self.name.as_bytes();
        put_text(out, &name[..name.len().min(64)]);
    }

    /// Decodes settings.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes end early or the number is invalid.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("settings", bytes);
        let partition = u8::try_from(reader.u32()?).map_err(|_| reader.malformed())?;
        Ok(Self {
            partition,
            period_ms: reader.u32()?,
            name: reader.text()?,
        })
    }
}

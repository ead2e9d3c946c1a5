//! What the records of a copy say of a file.

use crate::wire::{Malformed, Reader, put_text};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Length of the longest path in a request.
pub const MAX_PATH: usize = 4000;
/// Length of the longest name in a directory's list.
pub const MAX_NAME: usize = 255;
/// Length of the longest list of a directory.
pub const MAX_LIST: usize = 16 << 20;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    File,
    Directory,
    /// A symbolic link; only in a directory's list, because a status follows links.
    Link,
    /// A device, a pipe or a socket.
    Other,
}

impl FileKind {
    pub(super) fn to_wire(self) -> u16 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::Link => 3,
            Self::Other => 4,
        }
    }

    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Malformed> {
        match body.u16()? {
            1 => Ok(Self::File),
            2 => Ok(Self::Directory),
            3 => Ok(Self::Link),
            4 => Ok(Self::Other),
            _ => Err(body.malformed()),
        }
    }
}

/// The status of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    pub kind: FileKind,
    /// Permissions, at most `0o7777`.
    pub mode: u32,
    pub size: u64,
    /// Identifies this version of the file.
    pub source: Digest,
}

/// One entry of a directory's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: FileKind,
    /// A single component of a path.
    pub name: Vec<u8>,
}

impl Entry {
    /// Appends the entry to a list.
    pub fn encode(&self, list: &mut Vec<u8>) {
        list.extend_from_slice(&self.kind.to_wire().to_le_bytes());
        put_text(list, &self.name);
    }

    /// Decodes a whole list.
    ///
    /// # Errors
    /// [`Malformed`] if an entry ends early, or if its name is not a single component.
    pub fn decode_all(list: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut reader = Reader::new("list of a directory", list);
        let mut entries = Vec::new();
        while !reader.is_at_end() {
            let kind = FileKind::read(&mut reader)?;
            let len = usize::from(reader.u16()?);
            let name = reader.take(len)?;
            if !is_component(name) {
                return Err(reader.malformed());
            }
            let name = name.to_vec();
            entries.push(Self { kind, name });
        }
        Ok(entries)
    }
}

/// Returns true if `name` is a single component of a path, neither `.` nor `..`.
pub fn is_component(name: &[u8]) -> bool {
    let is_special = matches!(name, b"" | b"." | b"..");
    !is_special && name.len() <= MAX_NAME && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Why a copy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    NotFound,
    Permission,
    IsDirectory,
    NotDirectory,
    NoSpace,
    /// The file changed while it was read.
    Changed,
    /// What arrived is not what was sent.
    Mismatch,
    /// Another copy writes the same file, or too many copies run.
    Busy,
    Cancelled,
    /// The other end did not follow the protocol.
    Protocol,
    Other,
}

impl Failure {
    const ALL: [Self; 11] = [
        Self::Other,
        Self::NotFound,
        Self::Permission,
        Self::IsDirectory,
        Self::NotDirectory,
        Self::NoSpace,
        Self::Changed,
        Self::Mismatch,
        Self::Busy,
        Self::Cancelled,
        Self::Protocol,
    ];

    pub(super) fn to_wire(self) -> u16 {
        let place = Self::ALL.iter().position(|one| *one == self);
        place.map_or(0, |place| place as u16)
    }

    /// An unknown number is [`Failure::Other`].
    pub(super) fn from_wire(number: u16) -> Self {
        let known = Self::ALL.get(usize::from(number));
        known.copied().unwrap_or(Self::Other)
    }
}

//! Identifiers, names and kinds of segments.

use core::fmt::{self, Write};
use core::num::NonZeroU64;

use shmem_core::Window;

/// An identifier: any 64-bit number except 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(NonZeroU64);

impl Id {
    /// Returns the identifier `value`; `None` if it is 0.
    pub fn new(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }

    /// Returns the identifier of a name: its 64-bit FNV-1a hash, or 1 if the hash is 0.
    pub fn from_name(name: impl AsRef<[u8]>) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for &byte in name.as_ref() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// Returns the identifier as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn halves(self) -> (u32, u32) {
        (self.get() as u32, (self.get() >> 32) as u32)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.get())
    }
}

/// A segment's name of up to 32 bytes; empty if the segment has none.
// The bytes are stored in words of eight, so that a processor without unaligned access copies and
// compares them as words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name([u64; 4]);

impl Name {
    /// No name.
    pub const NONE: Self = Self([0; 4]);

    /// Returns the name with these bytes, which should be text if people are to read it.
    ///
    /// # Errors
    ///
    /// [`RequestError::Name`] if it is empty, is longer than 32 bytes, or contains a zero byte.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, RequestError> {
        let name = name.as_ref();
        let mut own = Self::NONE;
        let room = bytemuck::bytes_of_mut(&mut own.0)
            .get_mut(..name.len())
            .filter(|room| !room.is_empty());
        match room {
            Some(room) if name.iter().all(|&byte| byte != 0) => room.copy_from_slice(name),
            _ => return Err(RequestError::Name { len: name.len() }),
        }
        Ok(own)
    }

    /// Reads the name at `offset` of a registry's memory, with any bytes that its creator stored.
    #[inline]
    pub(crate) fn read(memory: Window<'_>, offset: usize) -> Self {
        let mut own = Self::NONE;
        memory.read_shared(offset, bytemuck::bytes_of_mut(&mut own.0));
        own
    }

    /// Returns the bytes of the name, padded with zeroes.
    pub fn bytes(&self) -> &[u8; 32] {
        bytemuck::cast_ref(&self.0)
    }

    /// Returns the bytes of the name without the padding: the identifier is the hash of these
    /// bytes. The name of a row has any bytes that its creator stored, so it can contain zeroes.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.bytes().iter().rposition(|&byte| byte != 0);
        &self.bytes()[..end.map_or(0, |last| last + 1)]
    }

    /// Returns the name as text, up to the first byte that is not text. [`Display`](fmt::Display)
    /// also shows the bytes after it.
    pub fn as_str(&self) -> &str {
        text(self.as_bytes()).split('\0').next().unwrap_or_default()
    }
}

/// Returns the bytes before the first one that is not UTF-8.
fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_else(|error| {
        core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
    })
}

/// Returns true if a terminal shows the character as itself: it does not move the cursor, hide
/// text, change the text's direction or combine with the character before it.
fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'') || c.escape_debug().count() == 1
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Shows text as it is. A byte that is not UTF-8, or is part of a character that is not printable,
/// is shown as `\xNN`, and `\` as `\\`. So a peer's bytes cannot control a terminal, and different
/// names look different.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_bytes();
        while !rest.is_empty() {
            let c = text(rest).chars().next();
            let (bytes, after) = rest.split_at(c.map_or(1, char::len_utf8));
            match c {
                Some('\\') => f.write_str("\\\\")?,
                Some(c) if is_printable(c) => f.write_char(c)?,
                _ => bytes.iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?,
            }
            rest = after;
        }
        Ok(())
    }
}

/// The kind of content of a segment, so that a ring is not opened as a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u32);

impl Kind {
    /// Bytes whose meaning the application defines.
    pub const RAW: Self = Self(0);
    /// [`shmem_core::ring`].
    pub const RING: Self = Self(1);
    /// [`shmem_core::snapshot`].
    pub const SNAPSHOT: Self = Self(2);
    /// `shmem_sync::Mutex`.
    pub const MUTEX: Self = Self(3);
    /// `shmem_sync::BakeryMutex`.
    pub const BAKERY: Self = Self(4);
    /// `shmem_sync::Semaphore`.
    pub const SEMAPHORE: Self = Self(5);
    /// `shmem_sync::RwLock`.
    pub const RWLOCK: Self = Self(6);
    /// `shmem_sync::Barrier`.
    pub const BARRIER: Self = Self(7);
    /// `shmem_sync::litmus`.
    pub const LITMUS: Self = Self(8);
    /// [`shmem_core::typed_ring`].
    pub const TYPED_RING: Self = Self(9);
    /// [`shmem_core::call`].
    pub const CALL_LINE: Self = Self(10);
    /// The first number that applications may use.
    pub const APPLICATION: Self = Self(0x1_0000);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RAW => f.write_str("raw"),
            Self::RING => f.write_str("ring"),
            Self::SNAPSHOT => f.write_str("snapshot"),
            Self::MUTEX => f.write_str("mutex"),
            Self::BAKERY => f.write_str("bakery mutex"),
            Self::SEMAPHORE => f.write_str("semaphore"),
            Self::RWLOCK => f.write_str("reader-writer lock"),
            Self::BARRIER => f.write_str("barrier"),
            Self::TYPED_RING => f.write_str("typed ring"),
            Self::LITMUS => f.write_str("litmus"),
            Self::CALL_LINE => f.write_str("call line"),
            Self(other) => write!(f, "kind {other:#x}"),
        }
    }
}

/// A request for a segment.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub(crate) id: Id,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) align: usize,
}

impl Request {
    /// Returns a request for `len` bytes, rounded up to a multiple of 8, with the identifier `id`.
    ///
    /// # Errors
    ///
    /// [`RequestError::Length`] if `len` is 0 or more than 2^32 - 8.
    pub fn new(id: Id, kind: Kind, len: usize) -> Result<Self, RequestError> {
        let whole = len.checked_next_multiple_of(8).filter(|&len| len != 0);
        let length = whole.and_then(|len| u32::try_from(len).ok());
        Ok(Self {
            id,
            name: Name::NONE,
            kind,
            len: length.ok_or(RequestError::Length { len })?,
            align: 1,
        })
    }

    /// Returns a request for `len` bytes with the name `name` and its identifier.
    ///
    /// # Errors
    ///
    /// As [`Request::new`]; [`RequestError::Name`] as in [`Name::new`].
    pub fn named(name: impl AsRef<[u8]>, kind: Kind, len: usize) -> Result<Self, RequestError> {
        let name = name.as_ref();
        Ok(Self {
            name: Name::new(name)?,
            ..Self::new(Id::from_name(name), kind, len)?
        })
    }

    /// Returns the request with an alignment: if the segment is created, it starts at a multiple of
    /// `align` bytes from the region's start. Every segment starts at a multiple of 128.
    ///
    /// # Errors
    ///
    /// [`RequestError::Align`] if `align` is not a power of two.
    pub fn aligned(self, align: usize) -> Result<Self, RequestError> {
        if !align.is_power_of_two() {
            return Err(RequestError::Align { align });
        }
        Ok(Self { align, ..self })
    }
}

/// A request that no registry can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// A name must have 1 to 32 bytes, none of them zero.
    Name {
        /// Bytes of the name.
        len: usize,
    },
    /// A segment must have 1 to 2^32 - 8 bytes.
    Length {
        /// Bytes requested.
        len: usize,
    },
    /// An alignment must be a power of two.
    Align {
        /// The alignment requested.
        align: usize,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { len } => write!(
                f,
                "the name ({len} bytes) is invalid: a name has 1 to 32 bytes, none of them zero"
            ),
            Self::Length { len } => {
                write!(f, "a segment of {len} bytes: it must have 1 to 2^32 - 8")
            }
            Self::Align { align } => {
                write!(f, "an alignment of {align}: it must be a power of two")
            }
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for RequestError {}

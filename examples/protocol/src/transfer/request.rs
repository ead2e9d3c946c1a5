//! KMON's records of a copy.

use super::fields::{data, mode, path};
use super::types::Digest;
use crate::wire::{Malformed, Reader, put_text};

/// A request of KMON about a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Receive the file `path`.
    Put {
        path: &'a [u8],
        size: u64,
        /// Permissions, at most `0o7777`.
        mode: u32,
        /// Identifies this version of the file that is copied.
        source: Digest,
    },
    /// Send the file `path`.
    Get { path: &'a [u8] },
    /// Send the [`Entry`]s of the directory `path`.
    List { path: &'a [u8] },
    /// Report what `path` is.
    Status { path: &'a [u8] },
    /// Make the directory `path`, unless it exists.
    MakeDirectory { path: &'a [u8], mode: u32 },
    /// Set the permissions of `path`.
    SetMode { path: &'a [u8], mode: u32 },
    /// Begin at `offset`. For a `Put` it is 0 or the offset of [`Report::Held`]; for a `Get` the
    /// receiver has this many bytes, which have this digest.
    Start { offset: u64, digest: Digest },
    /// The bytes at this position.
    Data { offset: u64, bytes: &'a [u8] },
    /// All bytes were sent, and the whole file has this digest.
    Finish { digest: Digest },
    /// The instance may send up to this position.
    Credit { position: u64 },
    /// End the copy. What was received is kept for a later one.
    Cancel,
}

impl<'a> Request<'a> {
    pub(crate) const FIRST: u16 = Self::PUT;
    pub(crate) const LAST: u16 = Self::CANCEL;
    const PUT: u16 = 16;
    const GET: u16 = 17;
    const LIST: u16 = 18;
    const STATUS: u16 = 19;
    const MAKE_DIRECTORY: u16 = 20;
    const SET_MODE: u16 = 21;
    const START: u16 = 22;
    const DATA: u16 = 23;
    const FINISH: u16 = 24;
    const CREDIT: u16 = 25;
    const CANCEL: u16 = 26;

    /// The most bytes of one [`Request::Data`]: with its headers, half of the ring. So few records
    /// wake the instance, and it takes one while the next one is written.
    pub const MAX_DATA: usize = (16 << 10) - 64;

    /// Returns true if the request begins a copy.
    pub fn begins(&self) -> bool {
        (Self::PUT..=Self::SET_MODE).contains(&self.kind())
    }

    pub(crate) fn kind(&self) -> u16 {
        match self {
            Self::Put { .. } => Self::PUT,
            Self::Get { .. } => Self::GET,
            Self::List { .. } => Self::LIST,
            Self::Status { .. } => Self::STATUS,
            Self::MakeDirectory { .. } => Self::MAKE_DIRECTORY,
            Self::SetMode { .. } => Self::SET_MODE,
            Self::Start { .. } => Self::START,
            Self::Data { .. } => Self::DATA,
            Self::Finish { .. } => Self::FINISH,
            Self::Credit { .. } => Self::CREDIT,
            Self::Cancel => Self::CANCEL,
        }
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put {
                path,
                size,
                mode,
                source,
            } => {
                out.extend_from_slice(&size.to_le_bytes());
                out.extend_from_slice(&mode.to_le_bytes());
                out.extend_from_slice(source);
                put_text(out, path);
            }
            Self::Get { path } | Self::List { path } | Self::Status { path } => put_text(out, path),
            Self::MakeDirectory { path, mode } | Self::SetMode { path, mode } => {
                out.extend_from_slice(&mode.to_le_bytes());
                put_text(out, path);
            }
            Self::Start { offset, digest } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(digest);
            }
            Self::Data { offset, bytes } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Finish { digest } => out.extend_from_slice(digest),
            Self::Credit { position } => out.extend_from_slice(&position.to_le_bytes()),
            Self::Cancel => {}
        }
    }

    pub(crate) fn decode_body(kind: u16, mut body: Reader<'a>) -> Result<Self, Malformed> {
        match kind {
            Self::PUT => Ok(Self::Put {
                size: body.u64()?,
                mode: mode(&mut body)?,
                source: body.array()?,
                path: path(&mut body)?,
            }),
            Self::GET => Ok(Self::Get {
                path: path(&mut body)?,
            }),
            Self::LIST => Ok(Self::List {
                path: path(&mut body)?,
            }),
            Self::STATUS => Ok(Self::Status {
                path: path(&mut body)?,
            }),
            Self::MAKE_DIRECTORY => Ok(Self::MakeDirectory {
                mode: mode(&mut body)?,
                path: path(&mut body)?,
            }),
            Self::SET_MODE => Ok(Self::SetMode {
                mode: mode(&mut body)?,
                path: path(&mut body)?,
            }),
            Self::START => Ok(Self::Start {
                offset: body.u64()?,
                digest: body.array()?,
            }),
            Self::DATA => {
                let (offset, bytes) = data(&mut body, Self::MAX_DATA)?;
                Ok(Self::Data { offset, bytes })
            }
            Self::FINISH => Ok(Self::Finish {
                digest: body.array()?,
            }),
            Self::CREDIT => Ok(Self::Credit {
                position: body.u64()?,
            }),
            Self::CANCEL => Ok(Self::Cancel),
            _ => Err(body.malformed()),
        }
    }
}

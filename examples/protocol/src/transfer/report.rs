//! An instance's records of a copy.

use super::fields::{POSITION, data, mode};
use super::types::{Digest, Failure, FileKind, FileStatus};
use crate::wire::{Malformed, Reader, put_text};

/// Length of the longest reason of a failure.
const MAX_REASON: usize = 1024;

/// A report of an instance about a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// What the path is.
    Status(FileStatus),
    /// An earlier copy of the same source left this many bytes, which have this digest.
    Held { offset: u64, digest: Digest },
    /// The data begin at this position.
    Started { offset: u64 },
    /// The bytes at this position.
    Data { offset: u64, bytes: &'a [u8] },
    /// KMON may send up to this position.
    Credit { position: u64 },
    /// All bytes were sent, and the whole file has this digest.
    End { digest: Digest },
    /// The request was carried out; this is the last report of a stream.
    Done,
    /// It was not, for this reason of one line; this is the last report of a stream.
    Failed { failure: Failure, reason: String },
}

impl<'a> Report<'a> {
    pub(crate) const FIRST: u16 = Self::STATUS;
    pub(crate) const LAST: u16 = Self::FAILED;
    const STATUS: u16 = 16;
    const HELD: u16 = 17;
    const STARTED: u16 = 18;
    const DATA: u16 = 19;
    const CREDIT: u16 = 20;
    const END: u16 = 21;
    const DONE: u16 = 22;
    const FAILED: u16 = 23;

    /// The most bytes of one [`Report::Data`]: with its headers, a quarter of the ring. So few
    /// records wake KMON, and output finds room among them.
    pub const MAX_DATA: usize = (64 << 10) - 64;
    /// Length of the longest body of such a record.
    pub(crate) const MAX_DATA_BODY: usize = Self::MAX_DATA + POSITION;

    pub(crate) fn kind(&self) -> u16 {
        match self {
            Self::Status(_) => Self::STATUS,
            Self::Held { .. } => Self::HELD,
            Self::Started { .. } => Self::STARTED,
            Self::Data { .. } => Self::DATA,
            Self::Credit { .. } => Self::CREDIT,
            Self::End { .. } => Self::END,
            Self::Done => Self::DONE,
            Self::Failed { .. } => Self::FAILED,
        }
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(status) => {
                out.extend_from_slice(&status.kind.to_wire().to_le_bytes());
                out.extend_from_slice(&status.mode.to_le_bytes());
                out.extend_from_slice(&status.size.to_le_bytes());
                out.extend_from_slice(&status.source);
            }
            Self::Held { offset, digest } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(digest);
            }
            Self::Started { offset: position } | Self::Credit { position } => {
                out.extend_from_slice(&position.to_le_bytes());
            }
            Self::Data { offset, bytes } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::End { digest } => out.extend_from_slice(digest),
            Self::Done => {}
            Self::Failed { failure, reason } => {
                out.extend_from_slice(&failure.to_wire().to_le_bytes());
                let end = reason.floor_char_boundary(MAX_REASON);
                put_text(out, &reason.as_bytes()[..end]);
            }
        }
    }

    pub(crate) fn decode_body(kind: u16, mut body: Reader<'a>) -> Result<Self, Malformed> {
        match kind {
            Self::STATUS => Ok(Self::Status(FileStatus {
                kind: FileKind::read(&mut body)?,
                mode: mode(&mut body)?,
                size: body.u64()?,
                source: body.array()?,
            })),
            Self::HELD => Ok(Self::Held {
                offset: body.u64()?,
                digest: body.array()?,
            }),
            Self::STARTED => Ok(Self::Started {
                offset: body.u64()?,
            }),
            Self::DATA => {
                let (offset, bytes) = data(&mut body, Self::MAX_DATA)?;
                Ok(Self::Data { offset, bytes })
            }
            Self::CREDIT => Ok(Self::Credit {
                position: body.u64()?,
            }),
            Self::END => Ok(Self::End {
                digest: body.array()?,
            }),
            Self::DONE => Ok(Self::Done),
            Self::FAILED => Ok(Self::Failed {
                failure: Failure::from_wire(body.u16()?),
                reason: body.text_up_to(MAX_REASON)?,
            }),
            _ => Err(body.malformed()),
        }
    }
}

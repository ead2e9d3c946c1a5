//! What can go wrong in a session or on a channel.

use core::fmt;

use shmem_core::region;
use shmem_core::ring::{ClaimError, GeometryError};
use shmem_core::{Corrupt, Incarnation};
use shmem_registry::{AttachError, FormatError, Name, OpenError, RequestError};

/// Why a call on a session or a channel failed.
///
/// After [`Error::is_final`] says true the channel, or the session, is of no use any
/// more. The region and the other channels in it are unharmed by any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The memory cannot be mapped.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    Memory(region::MapError),
    /// The memory is not a region that can be used: too short, never formatted, of
    /// another layout version.
    Region(region::AttachError),
    /// The region has no registry, or one that cannot be used.
    Registry(FormatError),
    /// A living partition has joined under this number, or there is no such number.
    Join(AttachError),
    /// A segment cannot be opened or created: its name is used for another kind or
    /// length (another capacity of a channel, for example), or there is no room.
    Open {
        /// The segment.
        name: Name,
        /// Why.
        reason: OpenError,
    },
    /// No segment can have this name: it is empty, too long, or has a zero byte.
    Name(RequestError),
    /// A ring cannot have this capacity: a power of two from 64 bytes to 1 GiB.
    Capacity(GeometryError),
    /// The lock in a segment cannot be used: it protects another type, for example.
    Lock(shmem_sync::AttachError),
    /// Another living partition has this end of the ring: each end of a channel is used
    /// by one partition, the two by different ones.
    EndTaken {
        /// That partition.
        by: Incarnation,
    },
    /// The ring is full: try again when the peer has received something.
    Full,
    /// The deadline passed first.
    TimedOut,
    /// The message can never be sent on this ring: give the ring more capacity.
    MessageTooLong {
        /// Bytes of the longest one.
        max: usize,
    },
    /// The next message, or the answer, is longer than the buffer. A message stays where
    /// it is; an answer is given up.
    BufferTooShort {
        /// Bytes of the message.
        len: usize,
    },
    /// The peer was restarted, and nothing was sent: what it knew of this partition is
    /// gone. Reported once for each restart, here or as `Received::PeerRestarted`.
    PeerRestarted,
    /// The peer is gone while this partition waited for it: it ended, or left the
    /// channel. Whether it has done what it was sent is not known.
    PeerGone,
    /// A message that is no answer is next: receive it, then wait for the answer again.
    MessageFirst,
    /// The client that made this call was restarted since: the answer was not sent.
    CallerRestarted,
    /// The peer broke the protocol: it answered a call twice.
    AnsweredTwice {
        /// Number of the call.
        call: u32,
    },
    /// The peer broke the protocol: it answered a call that was never made.
    NeverCalled {
        /// Number of the call.
        call: u32,
    },
    /// The peer broke the protocol: it sent a record that is no message. The record was
    /// passed over.
    NotAMessage {
        /// Bytes of the record.
        len: usize,
    },
    /// This partition was taken for gone, and another has its place: join again.
    Evicted,
    /// The region was formatted again: join again.
    Reformatted,
    /// A partition broke the protocol of a ring.
    Corrupt(Corrupt),
}

impl Error {
    /// Whether no later call can succeed.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Evicted | Self::Reformatted | Self::Corrupt(_) | Self::Region(_)
        )
    }

    pub(crate) fn claim(error: ClaimError) -> Self {
        match error {
            ClaimError::Claimed { by } => Self::EndTaken { by },
            ClaimError::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(all(feature = "linux", target_os = "linux"))]
            Self::Memory(reason) => reason.fmt(f),
            Self::Region(reason) => write!(f, "region: {reason}"),
            Self::Registry(reason) => write!(f, "registry: {reason}"),
            Self::Join(reason) => write!(f, "partition: {reason}"),
            Self::Open { name, reason } => write!(f, "segment {name}: {reason}"),
            Self::Name(reason) => reason.fmt(f),
            Self::Capacity(reason) => reason.fmt(f),
            Self::Lock(reason) => reason.fmt(f),
            Self::EndTaken { by } => write!(f, "{by} has this end of the ring"),
            Self::Full => f.write_str("the ring is full"),
            Self::TimedOut => f.write_str("the deadline passed"),
            Self::MessageTooLong { max } => write!(
                f,
                "the message is longer than the {max} bytes that this ring can ever take"
            ),
            Self::BufferTooShort { len } => {
                write!(f, "the message has {len} bytes, more than the buffer")
            }
            Self::PeerRestarted => f.write_str("the peer was restarted, and nothing was sent"),
            Self::PeerGone => f.write_str("the peer is gone"),
            Self::MessageFirst => {
                f.write_str("a message that is no answer is next: receive it first")
            }
            Self::CallerRestarted => {
                f.write_str("the client that made the call was restarted: no answer was sent")
            }
            Self::AnsweredTwice { call } => write!(f, "the peer answered call {call} twice"),
            Self::NeverCalled { call } => {
                write!(f, "the peer answered call {call}, which was never made")
            }
            Self::NotAMessage { len } => {
                write!(
                    f,
                    "the peer sent a record of {len} bytes that is no message"
                )
            }
            Self::Evicted => f.write_str(
                "this partition was taken for gone, and another has its place: join again",
            ),
            Self::Reformatted => f.write_str("the region was formatted again: join again"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(all(feature = "linux", target_os = "linux"))]
impl From<region::MapError> for Error {
    fn from(reason: region::MapError) -> Self {
        Self::Memory(reason)
    }
}

#[cfg(feature = "linux")]
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Memory(reason) => Some(reason),
            Self::Region(reason) => Some(reason),
            Self::Registry(reason) => Some(reason),
            Self::Join(reason) => Some(reason),
            Self::Open { reason, .. } => Some(reason),
            Self::Name(reason) => Some(reason),
            Self::Capacity(reason) => Some(reason),
            Self::Lock(reason) => Some(reason),
            Self::Corrupt(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}

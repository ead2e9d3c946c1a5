//! The errors of sessions and channels.

use core::fmt;

use shmem_core::layout::{MAX_CAPACITY, MIN_CAPACITY};
use shmem_core::region;
use shmem_core::ring::ClaimError;
use shmem_core::{Corrupt, Incarnation};
use shmem_registry::{AttachError, Name, OpenError, RegistryError, RequestError};

/// Why a call on a session or a channel failed.
///
/// After an error for which [`Error::is_final`] returns true, the channel or the session cannot be
/// used any more. No error harms the region or its other channels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The memory cannot be mapped.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    Memory(region::MapError),
    /// The memory is not a usable region: it is too short, was never formatted, or has another
    /// layout version.
    Region(region::AttachError),
    /// The region has no registry, or an unusable one.
    Registry(RegistryError),
    /// A partition that is not known to be gone has joined under this number, or the region has no
    /// such number.
    Join(AttachError),
    /// A segment cannot be opened or created. There is no room, or its name belongs to a segment of
    /// another kind or length, for example to a channel with another capacity.
    Open {
        /// The segment.
        name: Name,
        /// The reason.
        reason: OpenError,
    },
    /// No segment can have this name or this length. A name has 1 to 32 bytes (that of a channel up
    /// to 24), none of them zero.
    Name(RequestError),
    /// A ring cannot have this capacity. Capacities are powers of two from 64 bytes to 1 GiB.
    Capacity {
        /// The capacity in bytes that the caller gave.
        capacity: usize,
    },
    /// The lock in a segment cannot be used: it protects another type, for example.
    Lock(shmem_sync::AttachError),
    /// An incarnation that is not known to be gone has this end of the ring: one of another
    /// partition, or this partition's own, by another handle. Each end of a channel has one user.
    EndTaken {
        /// The incarnation that has the end.
        holder: Incarnation,
    },
    /// The ring is full: try again after the peer has received something.
    Full,
    /// The deadline passed.
    TimedOut,
    /// The message is too long for this ring, even when the ring is empty: use a larger capacity.
    MessageTooLong {
        /// Bytes of the longest message.
        max: usize,
    },
    /// The next message, or the answer, is longer than the buffer. A message stays; an answer is
    /// lost.
    BufferTooShort {
        /// Bytes of the message.
        len: usize,
    },
    /// The peer was restarted and has lost its state; nothing was sent. Reported once for each
    /// restart: by this error, by `AnswerLost` or by `Received::PeerRestarted`. `AnswerLost` is
    /// then returned for each other unfinished call, too.
    PeerRestarted,
    /// The server was restarted after the call was sent and before it answered: there will be no
    /// answer. It is unknown whether the command was carried out. This error reports the restart:
    /// `PeerRestarted` does not report it again.
    AnswerLost,
    /// The peer that this partition waited for is gone, or has left the channel. After a call, it
    /// is unknown whether the peer carried out the command. A message that waited for room was not
    /// sent.
    PeerGone,
    /// The next message is not an answer: receive it, then wait for the answer again.
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
    /// The peer broke the protocol: it sent a record that is not a message. The record was skipped.
    NotAMessage {
        /// Bytes of the record.
        len: usize,
    },
    /// Another incarnation of this partition has taken over, because this one was presumed gone or
    /// its number was used twice: join again.
    Evicted,
    /// The region was formatted again: join again.
    Reformatted,
    /// A partition broke the protocol of a ring.
    Corrupt(Corrupt),
}

impl Error {
    /// Returns true if no later call on this session or channel can succeed. Joining again may
    /// succeed, at once or later ([`Error::is_early`]).
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Evicted | Self::Reformatted | Self::Corrupt(_) | Self::Region(_)
        )
    }

    /// Returns true if a join that failed with this error can succeed later, because the region or
    /// its file is not ready yet.
    pub fn is_early(&self) -> bool {
        match self {
            #[cfg(all(feature = "linux", target_os = "linux"))]
            Self::Memory(reason) => reason.is_early(),
            Self::Region(reason) => matches!(
                reason,
                region::AttachError::NotARegion { .. } | region::AttachError::BeingFormatted
            ),
            Self::Registry(reason) => *reason == RegistryError::NotFormatted,
            Self::Reformatted => true,
            _ => false,
        }
    }

    pub(crate) fn claim(error: ClaimError) -> Self {
        match error {
            ClaimError::Claimed { holder } => Self::EndTaken { holder },
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
            Self::Capacity { capacity } => write!(
                f,
                "a ring cannot have {capacity} bytes: give a power of two from {MIN_CAPACITY} to \
                 {MAX_CAPACITY}"
            ),
            Self::Lock(reason) => reason.fmt(f),
            Self::EndTaken { holder } => write!(
                f,
                "{holder} already has this end of the ring: wait until it closes the end or is gone"
            ),
            Self::Full => f.write_str("the ring is full"),
            Self::TimedOut => f.write_str("the deadline passed"),
            Self::MessageTooLong { max } => write!(
                f,
                "the message is longer than {max} bytes, the longest that fits into this ring"
            ),
            Self::BufferTooShort { len } => {
                write!(f, "the message has {len} bytes, more than the buffer")
            }
            Self::PeerRestarted => f.write_str("the peer was restarted, and nothing was sent"),
            Self::AnswerLost => f.write_str(
                "the server was restarted before it answered: the command may have been carried \
                 out",
            ),
            Self::PeerGone => f.write_str("the peer is gone"),
            Self::MessageFirst => {
                f.write_str("the next message is not an answer: receive it first")
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
                    "the peer sent a record of {len} bytes that is not a message"
                )
            }
            Self::Evicted => {
                f.write_str("another incarnation of this partition has taken over: join again")
            }
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
            Self::Lock(reason) => Some(reason),
            Self::Corrupt(corrupt) => Some(corrupt),
            _ => None,
        }
    }
}

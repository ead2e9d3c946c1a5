//! The status of a call, and errors.

use core::ffi::c_char;
use core::num::NonZeroU64;

use shmem_core::mem::OutOfWindow;
use shmem_core::region::AttachError as RegionError;
use shmem_core::ring::{ClaimError, GeometryError, PopError, PushError};
use shmem_core::snapshot::{ReadError, TooLong};
use shmem_core::Corrupt;
use shmem_registry::{AttachError, Evicted, OpenError, RegistryError, RemoveError, RequestError};
use shmem_sync::{
    AcquireError, AddError, AttachError as LockAttachError, BarrierAttachError, BarrierError,
    NotHeld,
};

use crate::word::{Argument, Word};

/// The version of this interface. It increases when programs must be compiled again.
pub const SHMR_ABI_VERSION: u32 = 1;

/// enum shmr_status - what a call returns
///
/// 0 is success. A positive status is not a failure; a negative one is. `value` and `word` are
/// those of `struct shmr_error`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum shmr_status {
    /// The call has done what it describes.
    SHMR_OK = 0,
    /// Nothing to read now.
    SHMR_EMPTY = 1,
    /// No room now.
    SHMR_FULL = 2,
    /// Not available now, and this call does not wait: try again.
    SHMR_BUSY = 3,
    /// The wait ended without success. For a lock or barrier: if the caller waits for an
    /// incarnation that is silent, `value` is that incarnation; else 0.
    SHMR_TIMED_OUT = 4,
    /// The other end of the ring or channel was restarted. Reported once; nothing was sent or
    /// received.
    SHMR_RESTARTED = 5,
    /// The caller has the lock, but its last owner died while it held it: repair the bytes,
    /// then make the lock consistent.
    SHMR_OWNER_DIED = 6,
    /// A party of the barrier is gone; `value` is its incarnation.
    SHMR_PARTY_DIED = 7,
    /// Other partitions changed the registry, or formatted the region, in every attempt: try
    /// again. For a registry: reap if that does not help.
    SHMR_CONTENDED = 8,
    /// The other end of the channel is gone, or has left it. After a call, it is unknown whether
    /// the command was carried out. A message that waited for room was not sent.
    SHMR_PEER_GONE = 9,
    /// The client that made this call was restarted since: the answer was not sent.
    SHMR_CALLER_RESTARTED = 10,
    /// The next message is not an answer: receive it, then wait for the answer again.
    SHMR_MESSAGE_FIRST = 11,
    /// The server was restarted after the call was sent and before it answered. It is unknown
    /// whether the command was carried out. This status reports the restart: SHMR_RESTARTED does
    /// not report it again.
    SHMR_ANSWER_LOST = 12,
    /// A pointer is null or misaligned, a handle is not open, or a number is out of range;
    /// `word` names the argument.
    SHMR_EINVAL = -1,
    /// A peer broke the protocol: `word` names the word in memory, and `value` is its contents.
    SHMR_CORRUPT = -2,
    /// What is to be written or sent is too long, and `value` is the limit; or, outside
    /// sessions, what is to be read is longer than the buffer, and `value` is its length.
    SHMR_TOO_LONG = -3,
    /// The memory, or the mapping's file, is too short; `value` is its length.
    SHMR_TOO_SHORT = -4,
    /// The memory is not a region; `value` is its first word.
    SHMR_NOT_A_REGION = -5,
    /// The region has another layout version, which is `value`.
    SHMR_OTHER_LAYOUT_VERSION = -6,
    /// The region needs features that this library does not know; `value` is their bits.
    SHMR_FEATURES = -7,
    /// The length differs from the expected one; `value` is the length that was found.
    SHMR_LENGTH = -8,
    /// The region has no registry.
    SHMR_NOT_FORMATTED = -9,
    /// The region already has a registry.
    SHMR_EXISTS = -10,
    /// No segment has the identifier, or the mapping's file was removed.
    SHMR_NOT_FOUND = -11,
    /// The segment has another kind, which is `value`.
    SHMR_KIND = -12,
    /// Another name has the same identifier.
    SHMR_COLLISION = -13,
    /// Every row of the registry is in use; `value` is the number of rows.
    SHMR_TABLE_FULL = -14,
    /// No run of free blocks is long enough; `value` is the requested length.
    SHMR_OUT_OF_SPACE = -15,
    /// The segment was already removed, or the mapping's file was replaced.
    SHMR_STALE = -16,
    /// The region has no slot for a partition with this number; `value` is the number of slots.
    SHMR_NO_SUCH_PARTITION = -17,
    /// An incarnation of this partition is attached and has not left; it is `value`.
    SHMR_ATTACHED = -18,
    /// Another incarnation has taken the place of this one, which was reported as gone while it
    /// ran.
    SHMR_EVICTED = -19,
    /// An incarnation holds this end of the ring, perhaps the caller's own by another handle; it is
    /// `value`.
    SHMR_CLAIMED = -20,
    /// The bytes that a dead owner left were not repaired. Permanent.
    SHMR_POISONED = -21,
    /// The caller does not hold the lock or permit; `value` is the incarnation that does, or 0.
    SHMR_NOT_HELD = -22,
    /// There is no room for these permits; `value` is the number that fits.
    SHMR_OVERFLOW = -23,
    /// The kernel refused; `value` is its errno.
    SHMR_SYSTEM = -24,
    /// The call needs compare-and-swap, which was disabled for this handle.
    SHMR_NO_RMW = -25,
    /// The region was formatted again since the handle was opened.
    SHMR_REFORMATTED = -26,
    /// The handle is open and has to be closed first; it is unchanged. For a session to leave,
    /// `value` is the number of open handles on it.
    SHMR_OPEN = -27,
    /// In sessions: the next message, or the answer, is longer than the buffer; `value` is its
    /// length. A message stays; an answer is lost. Calls outside sessions return SHMR_TOO_LONG
    /// for that.
    SHMR_BUFFER_TOO_SHORT = -28,
    /// The peer broke the rules of calls. What it sent was skipped, and the channel remains
    /// usable. `word` is "answered twice" or "never called", and `value` the number of the
    /// call; or `word` is "not a message", and `value` the record's length.
    SHMR_BAD_MESSAGE = -29,
}

use shmr_status::*;

/// struct shmr_error - why the last call on a handle failed
/// @status: the status that the call returned
/// @value:  the value, length or incarnation that belongs to the status; else 0
/// @word:   the word in memory that a peer corrupted, as docs/layout.md names it; the invalid
///          argument; or how a peer broke the rules of calls; else empty
///
/// Every handle begins with one. Only calls that fail write it, including those that fail to open
/// the handle.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_error {
    pub status: shmr_status,
    pub value: u64,
    pub word: [c_char; 32],
}

impl shmr_error {
    /// No error.
    pub(crate) const NONE: Self = Self {
        status: SHMR_OK,
        value: 0,
        word: [0; 32],
    };
}

/// Why a call did not succeed.
///
/// Two numbers, of which the first is not 0: so a call returns an [`Outcome`] in two registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The status in the low half, which is not [`SHMR_OK`], and the word's number in the high one.
    cause: NonZeroU64,
    value: u64,
}

pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    #[inline(always)]
    pub(crate) fn new(status: shmr_status) -> Self {
        Self::with(status, 0)
    }

    #[inline(always)]
    pub(crate) fn with(status: shmr_status, value: u64) -> Self {
        Self::with_word(status, value, Word::NONE)
    }

    #[inline(always)]
    pub(crate) fn with_word(status: shmr_status, value: u64, word: Word) -> Self {
        let cause = u64::from(word.number()) << 32 | u64::from(status as u32);
        let cause = NonZeroU64::new(cause).expect("a fault is not SHMR_OK");
        Self { cause, value }
    }

    #[inline(always)]
    pub(crate) fn status(self) -> shmr_status {
        // SAFETY: `with_word` alone makes a fault, and takes this half from a status.
        unsafe { core::mem::transmute(self.cause.get() as u32) }
    }

    /// Returns the fault of an unusable argument.
    pub(crate) fn invalid(argument: Argument) -> Self {
        Self::with_word(SHMR_EINVAL, 0, argument.into())
    }
}

impl shmr_error {
    /// Sets what was [`shmr_error::NONE`].
    pub(crate) fn set(&mut self, fault: Fault) {
        self.status = fault.status();
        self.value = fault.value;
        // The last byte stays 0.
        Word::from_number((fault.cause.get() >> 32) as u32).copy_name(&mut self.word[..31]);
    }
}

impl From<Option<Fault>> for shmr_error {
    fn from(fault: Option<Fault>) -> Self {
        let mut error = Self::NONE;
        if let Some(fault) = fault {
            error.set(fault);
        }
        error
    }
}

/// Returns the status of an outcome, for calls without a handle that could keep the rest.
pub(crate) fn status(outcome: Outcome) -> shmr_status {
    outcome.map_or_else(|fault| fault.status(), |()| SHMR_OK)
}

/// Converts a length to the type of a fault's value.
pub(crate) fn wide(len: usize) -> u64 {
    len as u64
}

impl From<Corrupt> for Fault {
    #[inline(never)]
    fn from(corrupt: Corrupt) -> Self {
        Self::with_word(SHMR_CORRUPT, corrupt.value.into(), corrupt.word.into())
    }
}

impl From<OutOfWindow> for Fault {
    fn from(error: OutOfWindow) -> Self {
        Self::with(SHMR_TOO_SHORT, wide(error.window))
    }
}

impl From<RegionError> for Fault {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::TooShort { len } => Self::with(SHMR_TOO_SHORT, wide(len)),
            RegionError::NotARegion { magic } => Self::with(SHMR_NOT_A_REGION, magic.into()),
            RegionError::Version { found } => Self::with(SHMR_OTHER_LAYOUT_VERSION, found.into()),
            RegionError::Features { unknown } => Self::with(SHMR_FEATURES, unknown.into()),
            RegionError::Length { length, .. } => Self::with(SHMR_LENGTH, length),
            RegionError::BeingFormatted => Self::new(SHMR_CONTENDED),
        }
    }
}

impl From<RegistryError> for Fault {
    #[inline(never)]
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Geometry => Self::invalid(Argument::Geometry),
            RegistryError::TooShort { len, .. } => Self::with(SHMR_TOO_SHORT, wide(len)),
            RegistryError::NotFormatted => Self::new(SHMR_NOT_FORMATTED),
            RegistryError::Exists => Self::new(SHMR_EXISTS),
            RegistryError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<RequestError> for Fault {
    fn from(error: RequestError) -> Self {
        Self::invalid(match error {
            RequestError::Name { .. } => Argument::RequestName,
            RequestError::Length { .. } => Argument::RequestLen,
            RequestError::Align { .. } => Argument::RequestAlign,
        })
    }
}

impl From<OpenError> for Fault {
    #[inline(never)]
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotFound => Self::new(SHMR_NOT_FOUND),
            OpenError::Kind { found } => Self::with(SHMR_KIND, found.0.into()),
            OpenError::Length { found } => Self::with(SHMR_LENGTH, wide(found)),
            OpenError::Collision { .. } => Self::new(SHMR_COLLISION),
            OpenError::TableFull { segments } => Self::with(SHMR_TABLE_FULL, wide(segments)),
            OpenError::Contended => Self::new(SHMR_CONTENDED),
            OpenError::Evicted => Self::new(SHMR_EVICTED),
            OpenError::Reformatted => Self::new(SHMR_REFORMATTED),
            OpenError::NoReadModifyWrite => Self::new(SHMR_NO_RMW),
            OpenError::OutOfSpace { len } => Self::with(SHMR_OUT_OF_SPACE, wide(len)),
            OpenError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<RemoveError> for Fault {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Stale => Self::new(SHMR_STALE),
            RemoveError::Foreign => Self::invalid(Argument::Segment),
            RemoveError::Evicted => Self::new(SHMR_EVICTED),
            RemoveError::Reformatted => Self::new(SHMR_REFORMATTED),
            RemoveError::Contended => Self::new(SHMR_CONTENDED),
            RemoveError::NoReadModifyWrite => Self::new(SHMR_NO_RMW),
            RemoveError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<AttachError> for Fault {
    #[inline(never)]
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::NoSuchPartition { slots, .. } => {
                Self::with(SHMR_NO_SUCH_PARTITION, wide(slots))
            }
            AttachError::Attached { incarnation } => {
                Self::with(SHMR_ATTACHED, incarnation.word().into())
            }
            AttachError::Reformatted => Self::new(SHMR_REFORMATTED),
            AttachError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<Evicted> for Fault {
    fn from(_: Evicted) -> Self {
        Self::new(SHMR_EVICTED)
    }
}

impl From<GeometryError> for Fault {
    fn from(error: GeometryError) -> Self {
        Self::with(SHMR_LENGTH, wide(error.len))
    }
}

impl From<ClaimError> for Fault {
    #[inline(never)]
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Claimed { holder } => Self::with(SHMR_CLAIMED, holder.word().into()),
            ClaimError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<PushError> for Fault {
    #[inline(never)]
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::new(SHMR_FULL),
            PushError::TooLong { max } => Self::with(SHMR_TOO_LONG, max.into()),
            PushError::Restarted => Self::new(SHMR_RESTARTED),
            PushError::Corrupt(corrupt) => corrupt.into(),
            PushError::Evicted => Self::new(SHMR_EVICTED),
        }
    }
}

impl From<PopError> for Fault {
    #[inline(never)]
    fn from(error: PopError) -> Self {
        match error {
            PopError::Empty => Self::new(SHMR_EMPTY),
            PopError::TooLong { len } => Self::with(SHMR_TOO_LONG, len.into()),
            PopError::Restarted => Self::new(SHMR_RESTARTED),
            PopError::Corrupt(corrupt) => corrupt.into(),
            PopError::Evicted => Self::new(SHMR_EVICTED),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Empty => Self::new(SHMR_EMPTY),
            ReadError::Busy => Self::new(SHMR_BUSY),
            ReadError::TooLong { len } | ReadError::WrongSize { len } => {
                Self::with(SHMR_TOO_LONG, wide(len))
            }
            ReadError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<TooLong> for Fault {
    fn from(error: TooLong) -> Self {
        Self::with(SHMR_TOO_LONG, wide(error.max))
    }
}

impl From<NotHeld> for Fault {
    fn from(error: NotHeld) -> Self {
        Self::with(
            SHMR_NOT_HELD,
            error
                .holder
                .map_or(0, |incarnation| incarnation.word().into()),
        )
    }
}

impl From<AcquireError> for Fault {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Busy => Self::new(SHMR_BUSY),
            AcquireError::TimedOut => Self::new(SHMR_TIMED_OUT),
            AcquireError::HolderSilent(incarnation) => {
                Self::with(SHMR_TIMED_OUT, incarnation.word().into())
            }
            AcquireError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<AddError> for Fault {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Overflow { room, .. } => Self::with(SHMR_OVERFLOW, wide(room)),
            AddError::Evicted => Self::new(SHMR_EVICTED),
        }
    }
}

impl From<LockAttachError> for Fault {
    #[inline(never)]
    fn from(error: LockAttachError) -> Self {
        match error {
            LockAttachError::Length { segment, .. } => Self::with(SHMR_TOO_SHORT, wide(segment)),
            LockAttachError::Shape { found, .. } => Self::with(SHMR_LENGTH, wide(found.size())),
            LockAttachError::Partition { limit, .. } => {
                Self::with(SHMR_NO_SUCH_PARTITION, limit.into())
            }
            LockAttachError::Evicted => Self::new(SHMR_EVICTED),
        }
    }
}

impl From<BarrierAttachError> for Fault {
    #[inline(never)]
    fn from(error: BarrierAttachError) -> Self {
        match error {
            BarrierAttachError::NoEntry { entries, .. } => {
                Self::with(SHMR_NO_SUCH_PARTITION, wide(entries))
            }
            BarrierAttachError::Parties { .. } => Self::invalid(Argument::Parties),
        }
    }
}

impl From<BarrierError> for Fault {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::TimedOut => Self::new(SHMR_TIMED_OUT),
            BarrierError::PartySilent(incarnation) => {
                Self::with(SHMR_TIMED_OUT, incarnation.word().into())
            }
            BarrierError::Evicted => Self::new(SHMR_EVICTED),
            BarrierError::PartyDied(incarnation) => {
                Self::with(SHMR_PARTY_DIED, incarnation.word().into())
            }
            BarrierError::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

/// shmr_abi_version() - the version of this library's interface
///
/// Return: the version. shmr_header_matches() compares it with SHMR_ABI_VERSION, the header's
/// version.
#[no_mangle]
pub extern "C" fn shmr_abi_version() -> u32 {
    SHMR_ABI_VERSION
}

/// shmr_layout_version() - the version of docs/layout.md that this library uses
///
/// Return: the version.
#[no_mangle]
pub extern "C" fn shmr_layout_version() -> u32 {
    shmem_core::layout::VERSION
}

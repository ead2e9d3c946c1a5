//! The common part of both ends of a channel in C: capacities, calls, and errors.

use shmem_channel::{ChannelOptions, Error};

use crate::handle::value;
use crate::status::shmr_status::{
    SHMR_ANSWER_LOST, SHMR_BAD_MESSAGE, SHMR_BUFFER_TOO_SHORT, SHMR_CALLER_RESTARTED, SHMR_CLAIMED,
    SHMR_EVICTED, SHMR_FULL, SHMR_MESSAGE_FIRST, SHMR_PEER_GONE, SHMR_REFORMATTED, SHMR_RESTARTED,
    SHMR_TIMED_OUT, SHMR_TOO_LONG,
};
use crate::status::{shmr_status, wide, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_channel_options - the capacities of a channel's rings
/// @command_capacity: bytes of the ring from the client to the server, a power of two from 64; the
///                    longest command is slightly shorter than half of it. 0 is 16 KiB
/// @result_capacity:  bytes of the ring from the server to the client; 0 is 16 KiB
///
/// Both ends must give the same capacities.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_channel_options {
    pub command_capacity: usize,
    pub result_capacity: usize,
}

/// struct shmr_call - a call to be finished, or to be answered
/// @number: its number, from 1; 0 is no call
/// @peer:   the epoch of the other end that it was sent to, or that it is from
///
/// A value, not a handle. shmr_client_finish_call() and shmr_server_answer() zero it. Using it
/// after that returns SHMR_EINVAL with the word "call".
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_call {
    pub number: u32,
    pub peer: u32,
}

impl shmr_call {
    pub(crate) const NONE: Self = Self { number: 0, peer: 0 };

    pub(crate) fn from_word(word: u64) -> Self {
        Self {
            number: word as u32,
            peer: (word >> 32) as u32,
        }
    }

    pub(crate) fn word(self) -> u64 {
        u64::from(self.peer) << 32 | u64::from(self.number)
    }
}

/// Converts options; null is the default.
///
/// # Safety
///
/// Null, or options.
pub(crate) unsafe fn options(options: *const shmr_channel_options) -> Outcome<ChannelOptions> {
    let mut own = ChannelOptions::default();
    if options.is_null() {
        return Ok(own);
    }
    // SAFETY: guaranteed by the caller.
    let given = unsafe { value(options, Argument::Options) }?;
    if given.command_capacity != 0 {
        own = own.command_capacity(given.command_capacity);
    }
    if given.result_capacity != 0 {
        own = own.result_capacity(given.result_capacity);
    }
    Ok(own)
}

impl From<Error> for Fault {
    #[inline(never)]
    fn from(error: Error) -> Self {
        match error {
            #[cfg(feature = "linux")]
            Error::Memory(reason) => reason.into(),
            Error::Region(reason) => reason.into(),
            Error::Registry(reason) => reason.into(),
            Error::Join(reason) => reason.into(),
            Error::Open { reason, .. } => reason.into(),
            Error::Name(_) => Self::invalid(Argument::Name),
            Error::Capacity { .. } => Self::invalid(Argument::Capacity),
            Error::EndTaken { holder } => Self::with(SHMR_CLAIMED, holder.word().into()),
            Error::Full => Self::new(SHMR_FULL),
            Error::TimedOut => Self::new(SHMR_TIMED_OUT),
            Error::MessageTooLong { max } => Self::with(SHMR_TOO_LONG, wide(max)),
            Error::BufferTooShort { len } => Self::with(SHMR_BUFFER_TOO_SHORT, wide(len)),
            Error::PeerRestarted => Self::new(SHMR_RESTARTED),
            Error::AnswerLost => Self::new(SHMR_ANSWER_LOST),
            Error::PeerGone => Self::new(SHMR_PEER_GONE),
            Error::MessageFirst => Self::new(SHMR_MESSAGE_FIRST),
            Error::CallerRestarted => Self::new(SHMR_CALLER_RESTARTED),
            Error::AnsweredTwice { call } => bad_message(Argument::AnsweredTwice, call.into()),
            Error::NeverCalled { call } => bad_message(Argument::NeverCalled, call.into()),
            Error::NotAMessage { len } => bad_message(Argument::NotAMessage, wide(len)),
            Error::Evicted => Self::new(SHMR_EVICTED),
            Error::Reformatted => Self::new(SHMR_REFORMATTED),
            Error::Corrupt(corrupt) => corrupt.into(),
            // An error that this version of the library does not know.
            _ => Self::new(shmr_status::SHMR_CORRUPT),
        }
    }
}

fn bad_message(how: Argument, value: u64) -> Fault {
    Fault::with_word(SHMR_BAD_MESSAGE, value, how.into())
}

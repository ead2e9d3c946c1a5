//! The sending end of one ring on a session.

use core::ffi::{c_char, c_void};

use shmem_channel::Sender;

use crate::handle::{bytes, c_string, close, handle};
use crate::on_session::{ask_open, open_on, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::{shmr_error, shmr_status};
use crate::word::Argument;

/// struct shmr_sender - the sending end of one ring
/// @error: why the last call on it failed
///
/// Every record that is sent wakes the receiver, if that sleeps.
#[repr(C, align(128))]
pub struct shmr_sender {
    pub error: shmr_error,
    opaque: [u64; 76],
}

handle!(shmr_sender, b"send", OnSession<Sender<'static>>);

/// shmr_sender_open() - open the sending end of a ring
/// @sender:   to be opened
/// @session:  the session, which stays where it is until @sender is closed
/// @name:     the ring's, 1 to 32 bytes
/// @capacity: bytes of its data, a power of two from 64 to 2^30; both ends say the same
///
/// Whoever comes first creates the ring.
///
/// Return: as shmr_client_open().
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_open(
    sender: *mut shmr_sender,
    session: *const shmr_session,
    name: *const c_char,
    capacity: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open_on(sender, session, |session| {
            Ok(session.sender(c_string(name, Argument::Name)?, capacity)?)
        })
    }
}

/// shmr_sender_max_len() - bytes of the longest record
/// @sender: a sender
///
/// Return: 0 if @sender is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_max_len(sender: *const shmr_sender) -> usize {
    // SAFETY: the caller's.
    unsafe { ask_open(sender, 0, Sender::max_len) }
}

/// shmr_sender_peer() - the partition that receives
/// @sender: a sender
///
/// Return: its incarnation; 0 if there is none now, or @sender is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_peer(sender: *const shmr_sender) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        ask_open(sender, 0, |own: &Sender<'_>| {
            own.peer().map_or(0, |peer| peer.word())
        })
    }
}

/// shmr_sender_send() - send a record
/// @sender:  a sender
/// @record:  its bytes, outside the region
/// @len:     how many, at most shmr_sender_max_len(); may be 0
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// Return: SHMR_OK; SHMR_TIMED_OUT, there was no room; SHMR_RESTARTED, the receiver was
///         restarted and nothing was sent: reported once, the next record is for its new
///         incarnation; SHMR_PEER_GONE, nobody is left to make room; SHMR_EINVAL;
///         SHMR_TOO_LONG; SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_send(
    sender: *mut shmr_sender,
    record: *const c_void,
    len: usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(sender, |own, _| {
            let record = bytes(record, len, Argument::Record)?;
            Ok(own.send(record, self::timeout(timeout))?)
        })
    }
}

/// shmr_sender_try_send() - send a record if there is room now
/// @sender: a sender
/// @record: its bytes, outside the region
/// @len:    how many, at most shmr_sender_max_len(); may be 0
///
/// Return: as shmr_sender_send(), but SHMR_FULL if there is no room.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_try_send(
    sender: *mut shmr_sender,
    record: *const c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(sender, |own, _| {
            Ok(own.try_send(bytes(record, len, Argument::Record)?)?)
        })
    }
}

/// shmr_sender_close() - give this end of the ring back
/// @sender: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_close(sender: *mut shmr_sender) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(sender) }
}

//! The sending end of one ring of a session.

use core::ffi::{c_char, c_void};

use shmem_channel::Sender;

use crate::handle::{bytes, c_string, close, handle};
use crate::on_session::{open_on, query, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::{shmr_error, shmr_status};
use crate::word::Argument;

/// struct shmr_sender - the sending end of one ring
/// @error: why the last call on it failed
///
/// Each sent record wakes the receiver, if the receiver sleeps.
#[repr(C, align(128))]
pub struct shmr_sender {
    pub error: shmr_error,
    opaque: [u64; 76],
}

handle!(shmr_sender, b"send", OnSession<Sender<'static>>);

/// shmr_sender_open() - open the sending end of a ring
/// @sender:   to be opened
/// @session:  a session, which must not move while @sender is open
/// @name:     the ring's name, 1 to 32 bytes
/// @capacity: bytes of its data, a power of two from 64 to 2^30; the same on both ends
///
/// The first end that opens the ring creates it.
///
/// Return: the statuses of shmr_client_open().
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_open(
    sender: *mut shmr_sender,
    session: *const shmr_session,
    name: *const c_char,
    capacity: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open_on(sender, session, |session, place| {
            session.sender_in(place, c_string(name, Argument::Name)?, capacity)?;
            Ok(())
        })
    }
}

/// shmr_sender_max_len() - the length of the longest record
/// @sender: a sender
///
/// Return: the number of bytes; 0 if @sender is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_max_len(sender: *const shmr_sender) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { query(sender, 0, Sender::max_len) }
}

/// shmr_sender_peer() - the partition that holds the receiving end
/// @sender: a sender
///
/// Return: its incarnation; 0 if no partition holds the end now, or @sender is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_peer(sender: *const shmr_sender) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        query(sender, 0, |own: &Sender<'_>| {
            own.peer().map_or(0, |peer| peer.word())
        })
    }
}

/// shmr_sender_send() - send a record
/// @sender:  a sender
/// @record:  the bytes to send, outside the region
/// @len:     number of bytes, at most shmr_sender_max_len(); may be 0
/// @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT: no room in time; nothing was sent. Try again later.
/// * SHMR_RESTARTED: the receiver was restarted; nothing was sent. Reported once. Send again if the
///   record suits the new receiver.
/// * SHMR_PEER_GONE: the ring is full, and no receiver is left to make room; nothing was sent. Try
///   again later: a new receiver makes room.
/// * SHMR_TOO_LONG: the record can never be sent. Use a larger capacity.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_send(
    sender: *mut shmr_sender,
    record: *const c_void,
    len: usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(sender, |own, _| {
            let record = bytes(record, len, Argument::Record)?;
            Ok(own.send(record, self::timeout(timeout))?)
        })
    }
}

/// shmr_sender_try_send() - send a record if there is room now
/// @sender: a sender
/// @record: the bytes to send, outside the region
/// @len:    number of bytes, at most shmr_sender_max_len(); may be 0
///
/// Return: the statuses of shmr_sender_send() without SHMR_TIMED_OUT and SHMR_PEER_GONE, and
/// * SHMR_FULL: no room now; nothing was sent. Try again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_try_send(
    sender: *mut shmr_sender,
    record: *const c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(sender, |own, _| {
            Ok(own.try_send(bytes(record, len, Argument::Record)?)?)
        })
    }
}

/// shmr_sender_close() - close this end of the ring
/// @sender: the sender to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_sender_close(sender: *mut shmr_sender) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(sender) }
}

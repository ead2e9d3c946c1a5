//! The receiving end of one ring on a session.

use core::ffi::{c_char, c_void};
use core::ptr;

use shmem_channel::{Received, Receiver};

use crate::consumer::unread;
use crate::handle::{bytes_mut, c_string, close, handle, place};
use crate::on_session::{ask_open, open_on, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::shmr_status::{SHMR_EMPTY, SHMR_RESTARTED, SHMR_TIMED_OUT};
use crate::status::{shmr_error, shmr_status, Fault};
use crate::word::Argument;

/// struct shmr_receiver - the receiving end of one ring
/// @error: why the last call on it failed
///
/// Every record that is received wakes the sender, if that waits for room.
#[repr(C, align(128))]
pub struct shmr_receiver {
    pub error: shmr_error,
    opaque: [u64; 76],
}

handle!(shmr_receiver, b"recv", OnSession<Receiver<'static>>);

/// shmr_receiver_open() - open the receiving end of a ring
/// @receiver: to be opened
/// @session:  the session, which stays where it is until @receiver is closed
/// @name:     the ring's, 1 to 32 bytes
/// @capacity: bytes of its data, a power of two from 64 to 2^30; both ends say the same
/// @unread:   what becomes of records from before a restart of either end: SHMR_KEEP or
///            SHMR_DISCARD
///
/// Whoever comes first creates the ring.
///
/// Return: as shmr_client_open().
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_open(
    receiver: *mut shmr_receiver,
    session: *const shmr_session,
    name: *const c_char,
    capacity: usize,
    unread: u32,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open_on(receiver, session, |session| {
            let unread = self::unread(unread)?;
            Ok(session.receiver(c_string(name, Argument::Name)?, capacity, unread)?)
        })
    }
}

/// shmr_receiver_peer() - the partition that sends
/// @receiver: a receiver
///
/// Return: its incarnation; 0 if there is none now, or @receiver is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_peer(receiver: *const shmr_receiver) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        ask_open(receiver, 0, |own: &Receiver<'_>| {
            own.peer().map_or(0, |peer| peer.word())
        })
    }
}

/// shmr_receiver_recv() - receive a record
/// @receiver: a receiver
/// @buffer:   where its bytes go
/// @size:     room there
/// @len:      bytes of the record
/// @timeout:  nanoseconds to wait; SHMR_FOREVER is no limit
///
/// Return: SHMR_OK; SHMR_TIMED_OUT; SHMR_RESTARTED, the sender was restarted, and what
///         follows is from its new incarnation: reported once; SHMR_EINVAL;
///         SHMR_BUFFER_TOO_SHORT, the record stays; SHMR_EVICTED, SHMR_REFORMATTED or
///         SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_recv(
    receiver: *mut shmr_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(receiver, |own, _| {
            let place = place(len, Argument::Len)?;
            let buffer = bytes_mut(buffer, size, Argument::Buffer)?;
            match own.recv(buffer, self::timeout(timeout))? {
                Received::Message(len) => place.write(len),
                Received::PeerRestarted => return Err(Fault::new(SHMR_RESTARTED)),
            };
            Ok(())
        })
    }
}

/// shmr_receiver_wait() - wait until there is a record, or something to report
/// @receiver: a receiver
/// @timeout:  nanoseconds to wait; SHMR_FOREVER is no limit
///
/// Return: SHMR_OK, the next call finds it; SHMR_TIMED_OUT; SHMR_EINVAL; SHMR_REFORMATTED.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_wait(
    receiver: *mut shmr_receiver,
    timeout: u64,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(receiver, |own, _| {
            match own.wait_for(self::timeout(timeout))? {
                true => Ok(()),
                false => Err(Fault::new(SHMR_TIMED_OUT)),
            }
        })
    }
}

/// shmr_receiver_peek() - find the next record in place
/// @receiver: a receiver
/// @at:       its first byte, in the region, a multiple of 8
/// @len:      its bytes
///
/// It stays the next until shmr_receiver_release(). A hostile sender may change it while it
/// is read: copy, then check the copy.
///
/// Return: SHMR_OK; SHMR_EMPTY, no record now; SHMR_RESTARTED, as shmr_receiver_recv();
///         SHMR_EINVAL; SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_peek(
    receiver: *mut shmr_receiver,
    at: *mut *const c_void,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with_open(receiver, |own, _| {
            let (at, len) = (place(at, Argument::At)?, place(len, Argument::Len)?);
            at.write(ptr::null());
            len.write(0);
            match own.peek()? {
                Some(Received::Message(record)) => {
                    at.write(record.as_ptr().cast());
                    len.write(record.len());
                    Ok(())
                }
                Some(Received::PeerRestarted) => Err(Fault::new(SHMR_RESTARTED)),
                None => Err(Fault::new(SHMR_EMPTY)),
            }
        })
    }
}

/// shmr_receiver_release() - give the record that was peeked last back to the sender
/// @receiver: a receiver
///
/// Does nothing if none was. It wakes the sender, if that waits for room.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over and gets the
///         record, too; SHMR_REFORMATTED: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_release(receiver: *mut shmr_receiver) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with_open(receiver, |own, _| Ok(own.release()?)) }
}

/// shmr_receiver_position() - where the next record is, or will be
/// @receiver: a receiver
///
/// Return: a number that counts on modulo 2^32 over all incarnations of both ends: one that
///         notes it knows again, after its own death, what it had not received. 0 if
///         @receiver is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_position(receiver: *const shmr_receiver) -> u32 {
    // SAFETY: the caller's.
    unsafe { ask_open(receiver, 0, Receiver::position) }
}

/// shmr_receiver_discarded() - records that were discarded at restarts
/// @receiver: a receiver
///
/// Return: by all incarnations of this end; counts on modulo 2^32. 0 if @receiver is not
///         open.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_discarded(receiver: *const shmr_receiver) -> u32 {
    // SAFETY: the caller's.
    unsafe { ask_open(receiver, 0, Receiver::discarded) }
}

/// shmr_receiver_close() - give this end of the ring back
/// @receiver: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_close(receiver: *mut shmr_receiver) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(receiver) }
}

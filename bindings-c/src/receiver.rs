//! The receiving end of one ring of a session.

use core::ffi::{c_char, c_void};
use core::ptr;

use shmem_channel::{Received, Receiver};

use crate::consumer::on_restart;
use crate::handle::{bytes_mut, c_string, close, handle, output};
use crate::on_session::{open_on, query, with_open, OnSession};
use crate::platform::timeout;
use crate::session::shmr_session;
use crate::status::shmr_status::{SHMR_EMPTY, SHMR_RESTARTED, SHMR_TIMED_OUT};
use crate::status::{shmr_error, shmr_status, Fault};
use crate::word::Argument;

/// struct shmr_receiver - the receiving end of one ring
/// @error: why the last call on it failed
///
/// Each received record wakes the sender, if the sender waits for room.
#[repr(C, align(128))]
pub struct shmr_receiver {
    pub error: shmr_error,
    opaque: [u64; 76],
}

handle!(shmr_receiver, b"recv", OnSession<Receiver<'static>>);

/// shmr_receiver_open() - open the receiving end of a ring
/// @receiver:   to be opened
/// @session:    a session, which must not move while @receiver is open
/// @name:       the ring's name, 1 to 32 bytes
/// @capacity:   bytes of its data, a power of two from 64 to 2^30; the same on both ends
/// @on_restart: SHMR_KEEP or SHMR_DISCARD: for records from before a restart of either end
///
/// The first end that opens the ring creates it.
///
/// Return: the statuses of shmr_client_open().
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_open(
    receiver: *mut shmr_receiver,
    session: *const shmr_session,
    name: *const c_char,
    capacity: usize,
    on_restart: u32,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open_on(receiver, session, |session, place| {
            let on_restart = self::on_restart(on_restart)?;
            session.receiver_in(place, c_string(name, Argument::Name)?, capacity, on_restart)?;
            Ok(())
        })
    }
}

/// shmr_receiver_peer() - the partition that holds the sending end
/// @receiver: a receiver
///
/// Return: its incarnation; 0 if no partition holds the end now, or @receiver is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_peer(receiver: *const shmr_receiver) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        query(receiver, 0, |own: &Receiver<'_>| {
            own.peer().map_or(0, |peer| peer.word())
        })
    }
}

/// shmr_receiver_recv() - receive a record
/// @receiver: a receiver
/// @buffer:   where the record goes
/// @size:     bytes of @buffer
/// @len:      set to the length of the record
/// @timeout:  nanoseconds to wait; SHMR_FOREVER is no limit
///
/// Return:
/// * SHMR_OK
/// * SHMR_TIMED_OUT: no record in time. Try again later.
/// * SHMR_RESTARTED: the sender was restarted; what follows is from the new sender. Reported once.
///   Receive again.
/// * SHMR_BUFFER_TOO_SHORT: the record stays, and the error's value is its length. Receive again
///   with a larger buffer.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_recv(
    receiver: *mut shmr_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(receiver, |own, _| {
            let out = output(len, Argument::Len)?;
            let buffer = bytes_mut(buffer, size, Argument::Buffer)?;
            match own.recv(buffer, self::timeout(timeout))? {
                Received::Message(len) => out.write(len),
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
/// Return:
/// * SHMR_OK: the next call on @receiver returns it
/// * SHMR_TIMED_OUT: nothing in time. Try again later.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_wait(
    receiver: *mut shmr_receiver,
    timeout: u64,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
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
/// @at:       set to its first byte, in the region, a multiple of 8
/// @len:      set to its length
///
/// The record stays the next one until shmr_receiver_release(). A hostile sender can change it
/// while it is read: copy it, then check the copy.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EMPTY: no record now. Wait, or try again later.
/// * SHMR_RESTARTED: the sender was restarted; what follows is from the new sender. Reported once.
///   Peek again.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_peek(
    receiver: *mut shmr_receiver,
    at: *mut *const c_void,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with_open(receiver, |own, _| {
            let (at, len) = (output(at, Argument::At)?, output(len, Argument::Len)?);
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

/// shmr_receiver_release() - give the space of the record that was peeked last back to the sender
/// @receiver: a receiver
///
/// Does nothing if no record was peeked. Wakes the sender, if the sender waits for room.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EVICTED: another incarnation has taken over this end, and receives the record, too. Close
///   the handle.
/// * SHMR_EINVAL, SHMR_REFORMATTED
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_release(receiver: *mut shmr_receiver) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with_open(receiver, |own, _| Ok(own.release()?)) }
}

/// shmr_receiver_position() - the position of the next record
/// @receiver: a receiver
///
/// Return: a number that increases modulo 2^32, over all incarnations of both ends. A receiver that
/// stores it elsewhere can tell, after it was restarted, which records it did not receive. 0 if
/// @receiver is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_position(receiver: *const shmr_receiver) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe { query(receiver, 0, Receiver::position) }
}

/// shmr_receiver_discarded() - the number of records that were discarded at restarts
/// @receiver: a receiver
///
/// Return: records that all incarnations of this end discarded, modulo 2^32; 0 if @receiver is not
/// open.
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_discarded(receiver: *const shmr_receiver) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe { query(receiver, 0, Receiver::discarded) }
}

/// shmr_receiver_close() - close this end of the ring
/// @receiver: the receiver to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_receiver_close(receiver: *mut shmr_receiver) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(receiver) }
}

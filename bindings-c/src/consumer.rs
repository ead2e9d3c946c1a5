//! The consuming end of a ring.

use core::ffi::{c_int, c_void};
use core::ptr;

use shmem_core::ring::{Consumer, OnRestart};

use crate::doorbell::{shmr_doorbell, Bell};
use crate::handle::{bytes_mut, close, get, handle, open_in_place, optional_output, output, with};
use crate::partition::incarnation;
use crate::producer::ring;
use crate::segment::shmr_segment;
use crate::status::shmr_status::SHMR_TIMED_OUT;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_consumer - the consuming end of a ring
/// @error: why the last call on it failed
///
/// Used by one thread at a time. Aligned, so that the two ends of a ring in one program do not
/// share a cache line.
#[repr(C, align(128))]
pub struct shmr_consumer {
    pub error: shmr_error,
    opaque: [u64; 58],
}

handle!(shmr_consumer, b"cons", Consumer<'static>);

/// Keep records from before a restart of either end: for results.
pub const SHMR_KEEP: u32 = 0;
/// Discard and count records from before a restart of either end: for commands, which a new
/// incarnation must not carry out.
pub const SHMR_DISCARD: u32 = 1;

pub(crate) fn on_restart(number: u32) -> Outcome<OnRestart> {
    match number {
        SHMR_KEEP => Ok(OnRestart::Keep),
        SHMR_DISCARD => Ok(OnRestart::Discard),
        _ => Err(Fault::invalid(Argument::OnRestart)),
    }
}

/// shmr_consumer_open() - claim the consuming end of a ring
/// @consumer:    to be opened
/// @ring:        the ring's segment; a zeroed segment is an empty ring
/// @incarnation: the caller's
/// @on_restart:  SHMR_KEEP or SHMR_DISCARD
///
/// Continues where the last consumer stopped.
///
/// Return:
/// * SHMR_OK
/// * SHMR_CLAIMED: an incarnation holds this end, perhaps the caller's own by another handle; it is
///   the error's value. If it is gone, use shmr_consumer_take_over().
/// * SHMR_LENGTH: the segment is not a ring, and the error's value is its length. Check the
///   segment.
/// * SHMR_EINVAL, SHMR_OPEN, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_open(
    consumer: *mut shmr_consumer,
    ring: *const shmr_segment,
    incarnation: u32,
    on_restart: u32,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { claim(consumer, ring, incarnation, on_restart, false) }
}

/// Claims the end, for shmr_consumer_open() and shmr_consumer_take_over(). In one function, because
/// its code is long.
///
/// # Safety
///
/// As [`shmr_consumer_open`].
#[inline(never)]
unsafe fn claim(
    consumer: *mut shmr_consumer,
    ring: *const shmr_segment,
    incarnation: u32,
    on_restart: u32,
    take_over: bool,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open_in_place(consumer, |own: *mut Consumer<'static>| {
            let incarnation = self::incarnation(incarnation)?;
            let on_restart = self::on_restart(on_restart)?;
            let ring = self::ring(ring)?;
            ring.claim_consumer_in(&mut *own.cast(), incarnation, on_restart, take_over)?;
            Ok(())
        })
    }
}

/// shmr_consumer_take_over() - claim the consuming end in place of an incarnation that is gone
/// @consumer:    to be opened
/// @ring:        the ring's segment
/// @incarnation: the caller's
/// @on_restart:  SHMR_KEEP or SHMR_DISCARD
///
/// If the other incarnation is alive, its next call returns SHMR_EVICTED. An earlier handle of
/// @incarnation itself does not notice: it must not be used any more.
///
/// Return: the statuses of shmr_consumer_open(). SHMR_CLAIMED: another incarnation claimed the end
/// at the same time.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_take_over(
    consumer: *mut shmr_consumer,
    ring: *const shmr_segment,
    incarnation: u32,
    on_restart: u32,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { claim(consumer, ring, incarnation, on_restart, true) }
}

/// shmr_consumer_pop() - copy the next record and release it
/// @consumer: a consumer
/// @record:   where the record goes
/// @size:     bytes of @record
/// @len:      set to the length of the record
///
/// Never waits, and never rings the doorbell (shmr_consumer_notify()). Discards at most 64 records
/// in one call. After that it returns SHMR_EMPTY although there may be more records;
/// shmr_consumer_wait() then returns at once.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EMPTY: no record now. Wait, or try again later.
/// * SHMR_RESTARTED: the producer was restarted; what follows is from the new producer. Reported
///   once. Pop again.
/// * SHMR_TOO_LONG: the record is longer than @size and stays; the error's value is its length. Pop
///   again with more room.
/// * SHMR_CORRUPT: the producer broke the protocol. Permanent: close the handle.
/// * SHMR_EVICTED: another incarnation has taken over this end, and receives the record that is in
///   @record. Permanent: close the handle.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_pop(
    consumer: *mut shmr_consumer,
    record: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(consumer, |own| {
            let len = output(len, Argument::Len)?;
            len.write(own.pop(bytes_mut(record, size, Argument::Record)?)?);
            Ok(())
        })
    }
}

/// shmr_consumer_peek() - find the next record in place
/// @consumer: a consumer
/// @at:       set to its first byte, in the region, a multiple of 8
/// @len:      set to its length
///
/// The record stays the next one until shmr_consumer_release(). A hostile producer can change it
/// while it is read: copy it, then check the copy.
///
/// Return: the statuses of shmr_consumer_pop() without SHMR_TOO_LONG.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_peek(
    consumer: *mut shmr_consumer,
    at: *mut *const c_void,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(consumer, |own| {
            let (at, len) = (output(at, Argument::At)?, output(len, Argument::Len)?);
            at.write(ptr::null());
            len.write(0);
            let record = own.peek()?;
            at.write(record.as_ptr().cast());
            len.write(record.len());
            Ok(())
        })
    }
}

/// shmr_consumer_release() - give the space of the record that was peeked last back to the producer
/// @consumer: a consumer
///
/// Does nothing if no record was peeked.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EVICTED: another incarnation has taken over this end, and receives the record, too.
///   Permanent: close the handle.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_release(consumer: *mut shmr_consumer) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(consumer, |own| Ok(own.release()?)) }
}

/// shmr_consumer_drain() - pass records to a function and release them together
/// @consumer: a consumer
/// @limit:    the most records
/// @handle:   called for each record, in place. If it returns 0, the record stays the next one and
///            the drain ends. It must not make calls on @consumer
/// @context:  passed to @handle
/// @count:    set to the number of released records, or NULL
///
/// Return:
/// * SHMR_OK: even if there was no record
/// * SHMR_RESTARTED, SHMR_CORRUPT: as for shmr_consumer_pop(); only if there is no record before
///   that
/// * SHMR_EVICTED: another incarnation has taken over this end, and receives all records of this
///   call. Permanent: close the handle.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_drain(
    consumer: *mut shmr_consumer,
    limit: usize,
    handle: Option<
        unsafe extern "C" fn(context: *mut c_void, at: *const c_void, len: usize) -> c_int,
    >,
    context: *mut c_void,
    count: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(consumer, |own| {
            let handle = handle.ok_or(Fault::invalid(Argument::Handle))?;
            let count = optional_output(count, Argument::Count)?;
            let call = |record: shmem_core::ring::Record<'_>| {
                handle(context, record.as_ptr().cast(), record.len()) != 0
            };
            let drained = own.drain(limit, call)?;
            if let Some(count) = count {
                count.write(drained);
            }
            Ok(())
        })
    }
}

/// shmr_consumer_wait() - wait until there is a record, or something to report
/// @consumer: a consumer
/// @wait:     how to wait, and for how long
///
/// Return:
/// * SHMR_OK: the next call on @consumer returns it
/// * SHMR_TIMED_OUT: nothing in time. Wait again.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_wait(
    consumer: *mut shmr_consumer,
    wait: *mut shmr_wait,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(consumer, |own| {
            match own.wait(&mut Waiting::from_ptr(wait)?) {
                true => Ok(()),
                false => Err(Fault::new(SHMR_TIMED_OUT)),
            }
        })
    }
}

/// shmr_consumer_notify() - publish the released space, and ring the producer if it sleeps
/// @consumer: a consumer
/// @doorbell: wakes the producer, or NULL
///
/// Call it after releasing records. Without it, the producer sees released space in steps of an
/// eighth of the ring, and all of it when a call finds no record. After SHMR_OK a later holder of
/// this end continues after the released records.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EVICTED: another incarnation has taken over this end. Permanent: close the handle.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_notify(
    consumer: *mut shmr_consumer,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(consumer, |own| {
            own.notify(&Bell::from_ptr(doorbell)?)?;
            Ok(())
        })
    }
}

/// shmr_consumer_position() - the position of the next record
/// @consumer: a consumer
///
/// Return: the position, which grows modulo 2^32; a later incarnation continues there. 0 if
/// @consumer is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_position(consumer: *const shmr_consumer) -> u32 {
    // SAFETY: guaranteed by the caller.
    let consumer: Outcome<&Consumer<'_>> = unsafe { get(consumer, Argument::Consumer) };
    consumer.map_or(0, Consumer::position)
}

/// shmr_consumer_discarded() - the number of records that consumers of this ring discarded
/// @consumer: a consumer
///
/// Return: records that this consumer and earlier ones discarded, modulo 2^32; 0 if @consumer is
/// not open. If a consumer died while it discarded a record, that record can be counted twice.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_discarded(consumer: *const shmr_consumer) -> u32 {
    // SAFETY: guaranteed by the caller.
    let consumer: Outcome<&Consumer<'_>> = unsafe { get(consumer, Argument::Consumer) };
    consumer.map_or(0, Consumer::discarded)
}

/// shmr_consumer_close() - close the consuming end
/// @consumer: the consumer to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_close(consumer: *mut shmr_consumer) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(consumer) }
}

//! The end of a ring that pops.

use core::ffi::{c_int, c_void};
use core::ptr;

use shmem_core::ring::{Consumer, OnRestart};

use crate::doorbell::{shmr_doorbell, Bell};
use crate::handle::{bytes_mut, close, get, handle, open, place, place_if_any, with};
use crate::partition::incarnation;
use crate::producer::ring;
use crate::segment::shmr_segment;
use crate::status::shmr_status::SHMR_TIMED_OUT;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_consumer - the end of a ring that pops
/// @error: why the last call on it failed
///
/// Used by one thread at a time. Aligned, so that the two ends of a ring in one program do
/// not share a cache line.
#[repr(C, align(128))]
pub struct shmr_consumer {
    pub error: shmr_error,
    opaque: [u64; 58],
}

handle!(shmr_consumer, b"cons", Consumer<'static>);

/// Records from before a restart of either end are kept: results.
pub const SHMR_KEEP: u32 = 0;
/// They are discarded, and counted: commands, which no new incarnation is to obey.
pub const SHMR_DISCARD: u32 = 1;

pub(crate) fn unread(number: u32) -> Outcome<OnRestart> {
    match number {
        SHMR_KEEP => Ok(OnRestart::Keep),
        SHMR_DISCARD => Ok(OnRestart::Discard),
        _ => Err(Fault::invalid(Argument::Unread)),
    }
}

/// shmr_consumer_open() - claim the consuming end of a ring
/// @consumer: to be opened
/// @ring:     the ring's segment; zeroed, it is an empty ring
/// @incarnation:     the caller's
/// @unread:   SHMR_KEEP or SHMR_DISCARD
///
/// Goes on where a consumer before it stopped.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_LENGTH, the segment is no ring; SHMR_CLAIMED, another
///         has this end: if that incarnation is gone, shmr_consumer_take_over(); SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_open(
    consumer: *mut shmr_consumer,
    ring: *const shmr_segment,
    incarnation: u32,
    unread: u32,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { claim(consumer, ring, incarnation, unread, false) }
}

/// Both ways to open: one copy of what is long.
///
/// # Safety
///
/// As [`shmr_consumer_open`].
#[inline(never)]
unsafe fn claim(
    consumer: *mut shmr_consumer,
    ring: *const shmr_segment,
    incarnation: u32,
    unread: u32,
    take_over: bool,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(consumer, || {
            let (incarnation, unread) = (self::incarnation(incarnation)?, self::unread(unread)?);
            let ring = self::ring(ring)?;
            Ok(match take_over {
                true => ring.take_over_consumer(incarnation, unread)?,
                false => ring.consumer(incarnation, unread)?,
            })
        })
    }
}

/// shmr_consumer_take_over() - claim the consuming end in place of an incarnation that is over
/// @consumer: to be opened
/// @ring:     the ring's segment
/// @incarnation:     the caller's
/// @unread:   SHMR_KEEP or SHMR_DISCARD
///
/// One that is not over is told SHMR_EVICTED at its next call, but not an earlier handle of
/// the same incarnation: that one must not be used again.
///
/// Return: as shmr_consumer_open(), without SHMR_CLAIMED.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_take_over(
    consumer: *mut shmr_consumer,
    ring: *const shmr_segment,
    incarnation: u32,
    unread: u32,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { claim(consumer, ring, incarnation, unread, true) }
}

/// shmr_consumer_pop() - copy the next record and release it
/// @consumer: a consumer
/// @record:   where its bytes go
/// @size:     room there
/// @len:      bytes of the record
///
/// Never waits, rings no bell (shmr_consumer_notify()). Discards 64 records at the most, then
/// says SHMR_EMPTY although there may be more: shmr_consumer_wait() does not sleep then.
///
/// Return: SHMR_OK; SHMR_EMPTY; SHMR_RESTARTED, what follows is from a new incarnation of the
///         producer: said once; SHMR_EINVAL; SHMR_TOO_LONG, it does not fit and stays,
///         and the error's value is its length; SHMR_CORRUPT, the producer broke the
///         protocol: for good; SHMR_EVICTED, another has taken this end over, and what is
///         in @record is that one's: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_pop(
    consumer: *mut shmr_consumer,
    record: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(consumer, |own| {
            let len = place(len, Argument::Len)?;
            len.write(own.pop(bytes_mut(record, size, Argument::Record)?)?);
            Ok(())
        })
    }
}

/// shmr_consumer_peek() - find the next record in place
/// @consumer: a consumer
/// @at:       its first byte, in the region, a multiple of 8
/// @len:      its bytes
///
/// It stays the next until shmr_consumer_release(). A hostile producer may change it while
/// it is read: copy, then check the copy.
///
/// Return: as shmr_consumer_pop(), without SHMR_TOO_LONG.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_peek(
    consumer: *mut shmr_consumer,
    at: *mut *const c_void,
    len: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(consumer, |own| {
            let (at, len) = (place(at, Argument::At)?, place(len, Argument::Len)?);
            at.write(ptr::null());
            len.write(0);
            let record = own.peek()?;
            at.write(record.as_ptr().cast());
            len.write(record.len());
            Ok(())
        })
    }
}

/// shmr_consumer_release() - give the record that was peeked last back to the producer
/// @consumer: a consumer
///
/// Does nothing if none was.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over and gets the
///         record, too: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_release(consumer: *mut shmr_consumer) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(consumer, |own| Ok(own.release()?)) }
}

/// shmr_consumer_drain() - hand records to a function and release them together
/// @consumer: a consumer
/// @limit:    the most records
/// @handle:   gets each, in place; one for which it returns 0 stays the next and ends it.
///            Calls nothing on @consumer
/// @context:  passed to it
/// @count:    how many were released, or NULL
///
/// Return: SHMR_OK, also for none; SHMR_EINVAL; SHMR_RESTARTED or SHMR_CORRUPT, by a call
///         that finds no record before it; SHMR_EVICTED, another has taken this end over and
///         gets all records of this call.
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
    // SAFETY: the caller's, here and below.
    unsafe {
        with(consumer, |own| {
            let handle = handle.ok_or(Fault::invalid(Argument::Handle))?;
            let count = place_if_any(count, Argument::Count)?;
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

/// shmr_consumer_wait() - wait until there is a record, or something to say
/// @consumer: a consumer
/// @wait:     how to wait, and for how long
///
/// Return: SHMR_OK, look; SHMR_TIMED_OUT; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_wait(
    consumer: *mut shmr_consumer,
    wait: *mut shmr_wait,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(consumer, |own| match own.wait(&mut Waiting::by(wait)?) {
            true => Ok(()),
            false => Err(Fault::new(SHMR_TIMED_OUT)),
        })
    }
}

/// shmr_consumer_notify() - give back what was released, and ring the producer if it sleeps
/// @consumer: a consumer
/// @doorbell: what wakes it, or NULL
///
/// After releasing records. Without it the producer learns of space when there is an eighth
/// of the ring, and of all of it when a call finds no record. With SHMR_OK the next holder of
/// this end starts after them.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_notify(
    consumer: *mut shmr_consumer,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(consumer, |own| {
            own.notify(&Bell::by(doorbell)?)?;
            Ok(())
        })
    }
}

/// shmr_consumer_position() - where the next record is, or will be
/// @consumer: a consumer
///
/// Return: a position that counts on modulo 2^32, and the one at which a later incarnation
///         goes on; 0 if @consumer is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_position(consumer: *const shmr_consumer) -> u32 {
    // SAFETY: the caller's.
    let consumer: Outcome<&Consumer<'_>> = unsafe { get(consumer, Argument::Consumer) };
    consumer.map_or(0, Consumer::position)
}

/// shmr_consumer_discarded() - records that consumers of this ring discarded
/// @consumer: a consumer
///
/// Return: of this one and those before it; counts on modulo 2^32. Never too few: a consumer
///         that dies at it leaves a record to be counted once more.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_discarded(consumer: *const shmr_consumer) -> u32 {
    // SAFETY: the caller's.
    let consumer: Outcome<&Consumer<'_>> = unsafe { get(consumer, Argument::Consumer) };
    consumer.map_or(0, Consumer::discarded)
}

/// shmr_consumer_close() - give the consuming end back
/// @consumer: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_consumer_close(consumer: *mut shmr_consumer) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(consumer) }
}

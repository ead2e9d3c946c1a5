//! The end of a ring that pushes.

use core::ffi::c_void;
use core::ptr;

use shmem_core::layout::{MAX_CAPACITY, MIN_CAPACITY};
use shmem_core::ring::{Producer, PushError, Ring};

use crate::doorbell::{shmr_doorbell, Bell};
use crate::handle::{bytes, close, get, handle, open, place, place_if_any, value, with};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment};
use crate::status::shmr_status::{SHMR_FULL, SHMR_TIMED_OUT};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_producer - the end of a ring that pushes
/// @error: why the last call on it failed
///
/// Used by one thread at a time. Aligned, so that the two ends of a ring in one program do
/// not share a cache line.
#[repr(C, align(128))]
pub struct shmr_producer {
    pub error: shmr_error,
    opaque: [u64; 58],
}

/// What is behind `opaque` of a producer.
pub(crate) struct Pushing {
    producer: Producer<'static>,
    /// Bytes that were reserved and not committed.
    reserved: Option<usize>,
}

handle!(shmr_producer, b"prod", Pushing);

/// struct shmr_slice - bytes to read
/// @base: the first one, outside the region
/// @len:  how many
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_slice {
    pub base: *const c_void,
    pub len: usize,
}

impl Pushing {
    fn of(producer: Producer<'static>) -> Self {
        Self {
            producer,
            reserved: None,
        }
    }
}

/// The ring in a segment.
///
/// # Safety
///
/// As [`segment_window`].
pub(crate) unsafe fn ring(segment: *const shmr_segment) -> Outcome<Ring<'static>> {
    // SAFETY: the caller's.
    let window = unsafe { segment_window(segment) }?;
    Ok(Ring::attach(window)?)
}

/// shmr_ring_len() - bytes of a segment for a ring
/// @capacity: bytes of its data, a power of two from 64 to 2^30
///
/// Return: the number for struct shmr_request; 0 if no ring has that capacity.
#[no_mangle]
pub extern "C" fn shmr_ring_len(capacity: usize) -> usize {
    let is_one = capacity.is_power_of_two() && (MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity);
    if is_one {
        Ring::segment_len(capacity)
    } else {
        0
    }
}

/// shmr_producer_open() - claim the producing end of a ring
/// @producer: to be opened
/// @ring:     the ring's segment; zeroed, it is an empty ring
/// @incarnation:     the caller's
///
/// Goes on where a producer before it stopped.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_LENGTH, the segment is no ring; SHMR_CLAIMED, another
///         has this end: if that incarnation is gone, shmr_producer_take_over(); SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_open(
    producer: *mut shmr_producer,
    ring: *const shmr_segment,
    incarnation: u32,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { claim(producer, ring, incarnation, false) }
}

/// Both ways to open: one copy of what is long.
///
/// # Safety
///
/// As [`shmr_producer_open`].
#[inline(never)]
unsafe fn claim(
    producer: *mut shmr_producer,
    ring: *const shmr_segment,
    incarnation: u32,
    take_over: bool,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(producer, || {
            let incarnation = self::incarnation(incarnation)?;
            let ring = self::ring(ring)?;
            Ok(Pushing::of(match take_over {
                true => ring.take_over_producer(incarnation)?,
                false => ring.producer(incarnation)?,
            }))
        })
    }
}

/// shmr_producer_take_over() - claim the producing end in place of an incarnation that is over
/// @producer: to be opened
/// @ring:     the ring's segment
/// @incarnation:     the caller's
///
/// One that is not over is told SHMR_EVICTED at its next call, but not an earlier handle of
/// the same incarnation: that one must not be used again.
///
/// Return: as shmr_producer_open(), without SHMR_CLAIMED.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_take_over(
    producer: *mut shmr_producer,
    ring: *const shmr_segment,
    incarnation: u32,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { claim(producer, ring, incarnation, true) }
}

/// shmr_producer_max_record() - bytes of the longest record
/// @producer: a producer
///
/// Return: 0 if @producer is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_max_record(producer: *const shmr_producer) -> usize {
    // SAFETY: the caller's.
    unsafe { get(producer, Argument::Producer) }.map_or(0, |own| own.producer.ring().max_record())
}

/// shmr_producer_push() - copy one record into the ring and publish it
/// @producer: a producer
/// @record:   bytes to copy, outside the region
/// @len:      how many, at most shmr_producer_max_record(); may be 0
///
/// Never waits, rings no bell (shmr_producer_notify()).
///
/// Return: SHMR_OK; SHMR_FULL, again later; SHMR_RESTARTED, the consumer was restarted and
///         nothing was pushed: said once, the next push is for its new incarnation; SHMR_EINVAL;
///         SHMR_TOO_LONG; SHMR_CORRUPT, the consumer broke the protocol: for good;
///         SHMR_EVICTED, another has taken this end over: for good. Everything answered
///         SHMR_OK before stays; the record of the call that says so first is there or not.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_push(
    producer: *mut shmr_producer,
    record: *const c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(producer, |own| {
            let record = bytes(record, len, Argument::Record)?;
            own.reserved = None;
            Ok(own.producer.push(record)?)
        })
    }
}

/// shmr_producer_push_all() - copy records into the ring and publish them by one store
/// @producer: a producer
/// @records:  the records
/// @count:    how many there are
/// @pushed:   how many of them, from the first on, were pushed; or NULL
///
/// Return: as shmr_producer_push(), of the first one that was not pushed.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_push_all(
    producer: *mut shmr_producer,
    records: *const shmr_slice,
    count: usize,
    pushed: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(producer, |own| {
            let pushed = place_if_any(pushed, Argument::Pushed)?;
            own.reserved = None;
            let mut batch = own.producer.batch();
            let mut done = 0;
            let mut outcome = Ok(());
            while outcome.is_ok() && done < count {
                outcome = value(records.wrapping_add(done), Argument::Records)
                    .and_then(|record| bytes(record.base, record.len, Argument::Records))
                    .and_then(|record| Ok(batch.push(record)?));
                done += usize::from(outcome.is_ok());
            }
            outcome = batch.publish().map_err(Fault::from).and(outcome);
            if let Some(pushed) = pushed {
                pushed.write(done);
            }
            outcome
        })
    }
}

/// shmr_producer_reserve() - make room for a record that is written in place
/// @producer: a producer
/// @len:      the most bytes that it will have
/// @at:       where its first byte goes, in the region, a multiple of 8
///
/// The bytes are the caller's until shmr_producer_commit(), if the consumer is honest. A
/// second call before that, or a push, forgets the first.
///
/// Return: as shmr_producer_push().
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_reserve(
    producer: *mut shmr_producer,
    len: usize,
    at: *mut *mut c_void,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(producer, |own| {
            own.reserved = None;
            let at = place(at, Argument::At)?;
            at.write(ptr::null_mut());
            let mut reservation = own.producer.reserve(len)?;
            at.write(reservation.as_mut_ptr().cast());
            own.reserved = Some(len);
            Ok(())
        })
    }
}

/// shmr_producer_commit() - publish the record that was written in place
/// @producer: a producer
/// @len:      its bytes, at most what was reserved
///
/// Return: as shmr_producer_push(); SHMR_EINVAL also if nothing is reserved, or less.
///         SHMR_RESTARTED ends the reservation.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_commit(
    producer: *mut shmr_producer,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe {
        with(producer, |own| {
            let reserved = own.reserved.ok_or(Fault::invalid(Argument::Reservation))?;
            if len > reserved {
                return Err(Fault::invalid(Argument::Len));
            }
            own.reserved = None;
            // The same place again: where it is depends on our own position alone.
            Ok(own.producer.reserve(reserved)?.commit(len)?)
        })
    }
}

/// shmr_producer_wait_for_space() - wait until a record fits
/// @producer: a producer
/// @len:      its bytes
/// @wait:     how to wait, and for how long
///
/// Return: SHMR_OK; SHMR_TIMED_OUT; otherwise as shmr_producer_push().
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_wait_for_space(
    producer: *mut shmr_producer,
    len: usize,
    wait: *mut shmr_wait,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(producer, |own| {
            let mut wait = Waiting::by(wait)?;
            match own.producer.wait_for_space(len, &mut wait) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Fault::new(SHMR_TIMED_OUT)),
                Err(PushError::Full) => Err(Fault::new(SHMR_FULL)),
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// shmr_producer_notify() - ring the consumer if it sleeps
/// @producer: a producer
/// @doorbell: what wakes it, or NULL
///
/// After a push, a commit or a batch. With SHMR_OK the next holder of this end finds every
/// record that was pushed before.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over: for good.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_notify(
    producer: *mut shmr_producer,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(producer, |own| {
            own.producer.notify(&Bell::by(doorbell)?)?;
            Ok(())
        })
    }
}

/// shmr_producer_close() - give the producing end back
/// @producer: closed by this
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_close(producer: *mut shmr_producer) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(producer) }
}

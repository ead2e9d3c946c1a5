//! The producing end of a ring.

use core::ffi::c_void;
use core::ptr::{self, addr_of_mut};

use shmem_core::layout::{MAX_CAPACITY, MIN_CAPACITY};
use shmem_core::ring::{Producer, PushError, Ring};

use crate::doorbell::{shmr_doorbell, Bell};
use crate::handle::{
    bytes, close, get, handle, open_in_place, optional_output, output, value, with,
};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment};
use crate::status::shmr_status::{SHMR_FULL, SHMR_TIMED_OUT};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_producer - the producing end of a ring
/// @error: why the last call on it failed
///
/// Used by one thread at a time. Aligned, so that the two ends of a ring in one program do not
/// share a cache line.
#[repr(C, align(128))]
pub struct shmr_producer {
    pub error: shmr_error,
    opaque: [u64; 58],
}

/// The value in `opaque` of a producer.
pub(crate) struct ProducerState {
    producer: Producer<'static>,
    /// Bytes that are reserved and not committed.
    reserved: Option<usize>,
}

handle!(shmr_producer, b"prod", ProducerState);

/// struct shmr_slice - bytes to read
/// @base: the first byte, outside the region
/// @len:  the number of bytes
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_slice {
    pub base: *const c_void,
    pub len: usize,
}

/// Returns the ring in a segment.
///
/// # Safety
///
/// As [`segment_window`].
pub(crate) unsafe fn ring(segment: *const shmr_segment) -> Outcome<Ring<'static>> {
    // SAFETY: guaranteed by the caller.
    let window = unsafe { segment_window(segment) }?;
    Ok(Ring::attach(window)?)
}

/// shmr_ring_len() - the length of a segment for a ring
/// @capacity: bytes of its data, a power of two from 64 to 2^30
///
/// Return: the len for struct shmr_request; 0 if no ring can have that capacity.
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
/// @producer:    to be opened
/// @ring:        the ring's segment; a zeroed segment is an empty ring
/// @incarnation: the caller's
///
/// Continues where the last producer stopped.
///
/// Return:
/// * SHMR_OK
/// * SHMR_CLAIMED: an incarnation holds this end, perhaps the caller's own by another handle; it is
///   the error's value. If it is gone, use shmr_producer_take_over().
/// * SHMR_LENGTH: the segment is not a ring, and the error's value is its length. Check the
///   segment.
/// * SHMR_EINVAL, SHMR_OPEN, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_open(
    producer: *mut shmr_producer,
    ring: *const shmr_segment,
    incarnation: u32,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { claim(producer, ring, incarnation, false) }
}

/// Claims the end, by either call. In one function, because its code is long.
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
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open_in_place(producer, |own: *mut ProducerState| {
            let incarnation = self::incarnation(incarnation)?;
            let ring = self::ring(ring)?;
            addr_of_mut!((*own).reserved).write(None);
            let producer = &mut *addr_of_mut!((*own).producer).cast();
            ring.claim_producer_in(producer, incarnation, take_over)?;
            Ok(())
        })
    }
}

/// shmr_producer_take_over() - claim the producing end in place of an incarnation that is gone
/// @producer:    to be opened
/// @ring:        the ring's segment
/// @incarnation: the caller's
///
/// If the other incarnation is alive, its next call returns SHMR_EVICTED. An earlier handle of
/// @incarnation itself does not notice: it must not be used any more.
///
/// Return: the statuses of shmr_producer_open(). SHMR_CLAIMED: another incarnation claimed the end
/// at the same time.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_take_over(
    producer: *mut shmr_producer,
    ring: *const shmr_segment,
    incarnation: u32,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { claim(producer, ring, incarnation, true) }
}

/// shmr_producer_max_record() - the length of the longest record
/// @producer: a producer
///
/// Return: the number of bytes; 0 if @producer is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_max_record(producer: *const shmr_producer) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { get(producer, Argument::Producer) }.map_or(0, |own| own.producer.ring().max_record())
}

/// shmr_producer_push() - copy one record into the ring and publish it
/// @producer: a producer
/// @record:   the bytes to copy, outside the region
/// @len:      number of bytes, at most shmr_producer_max_record(); may be 0
///
/// Never waits, and never rings the doorbell (shmr_producer_notify()).
///
/// Return:
/// * SHMR_OK
/// * SHMR_FULL: no room now; nothing was pushed. Try again later.
/// * SHMR_RESTARTED: the consumer was restarted; nothing was pushed. Reported once. Push again if
///   the record suits the new consumer.
/// * SHMR_TOO_LONG: the record can never be pushed, and the error's value is the limit. Use a
///   larger ring.
/// * SHMR_CORRUPT: the consumer broke the protocol. Permanent: close the handle.
/// * SHMR_EVICTED: another incarnation has taken over this end. Permanent: close the handle.
///   Records that were pushed before a shmr_producer_notify() that returned SHMR_OK remain in the
///   ring; later ones may be there or not.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_push(
    producer: *mut shmr_producer,
    record: *const c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
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
/// @count:    their number
/// @pushed:   set to how many of them, from the first one, were pushed; or NULL
///
/// Return: SHMR_OK if all were pushed, else the status of shmr_producer_push() for the first one
/// that was not.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_push_all(
    producer: *mut shmr_producer,
    records: *const shmr_slice,
    count: usize,
    pushed: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(producer, |own| {
            let pushed = optional_output(pushed, Argument::Pushed)?;
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

/// shmr_producer_reserve() - reserve room for a record, to write the record in place
/// @producer: a producer
/// @len:      the most bytes that the record will have
/// @at:       set to the place of its first byte, in the region, a multiple of 8
///
/// Only the caller writes there until shmr_producer_commit(), if the consumer is honest. Another
/// reservation or a push cancels this one.
///
/// Return: the statuses of shmr_producer_push().
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_reserve(
    producer: *mut shmr_producer,
    len: usize,
    at: *mut *mut c_void,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(producer, |own| {
            own.reserved = None;
            let at = output(at, Argument::At)?;
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
/// @len:      its bytes, at most the number that was reserved
///
/// Return: the statuses of shmr_producer_push(). SHMR_EINVAL also if nothing is reserved, or less
/// than @len. SHMR_RESTARTED cancels the reservation: reserve and write again.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_commit(
    producer: *mut shmr_producer,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe {
        with(producer, |own| {
            let reserved = own.reserved.ok_or(Fault::invalid(Argument::Reservation))?;
            if len > reserved {
                return Err(Fault::invalid(Argument::Len));
            }
            own.reserved = None;
            // The same place again: it depends only on our own position.
            Ok(own.producer.reserve(reserved)?.commit(len)?)
        })
    }
}

/// shmr_producer_wait_for_space() - wait until a record fits
/// @producer: a producer
/// @len:      the record's bytes
/// @wait:     how to wait, and for how long
///
/// Return: the statuses of shmr_producer_push(), and
/// * SHMR_TIMED_OUT: no room in time. Wait again.
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_wait_for_space(
    producer: *mut shmr_producer,
    len: usize,
    wait: *mut shmr_wait,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(producer, |own| {
            let mut wait = Waiting::from_ptr(wait)?;
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
/// @doorbell: wakes the consumer, or NULL
///
/// Call it after a push, a commit or a batch. After SHMR_OK a later holder of this end continues
/// after every record that was pushed before.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EVICTED: another incarnation has taken over this end. Permanent: close the handle.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_notify(
    producer: *mut shmr_producer,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(producer, |own| {
            own.producer.notify(&Bell::from_ptr(doorbell)?)?;
            Ok(())
        })
    }
}

/// shmr_producer_close() - close the producing end
/// @producer: the producer to close
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_producer_close(producer: *mut shmr_producer) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(producer) }
}

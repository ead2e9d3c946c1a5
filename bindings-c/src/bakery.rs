//! A mutex for memory on which read-modify-write does not work.

use core::ffi::c_void;

use shmem_sync::raw::RawBakeryMutex;

use crate::handle::{get, handle, open, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::mutex::{data, lock_status, word};
use crate::partition::incarnation;
use crate::segment::{bounded_len, segment_window, shmr_segment};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_bakery - a mutex that needs only loads, stores and fences
/// @error: why the last call on it failed
///
/// An incarnation holds it, not a thread: the threads of a partition exclude each other by other
/// means. For up to 64 partitions. Survives its owner. Needs no closing.
#[repr(C)]
pub struct shmr_bakery {
    pub error: shmr_error,
    opaque: [u64; 16],
}

handle!(shmr_bakery, b"bakr", RawBakeryMutex<'static>);

/// shmr_bakery_len() - the length of a segment for a bakery mutex
/// @data: bytes that it protects
///
/// Return: the len for struct shmr_request; 0 if @data is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_bakery_len(data: usize) -> usize {
    bounded_len(data, RawBakeryMutex::segment_len)
}

/// shmr_bakery_open() - open the bakery mutex in a segment
/// @bakery:      to be opened
/// @segment:     its segment; a zeroed segment is a free mutex
/// @incarnation: the caller's
/// @limit:       partitions 1 to @limit use the mutex; at most 64. All must give the same number; a
///               small one makes locking faster
///
/// No other handle of @incarnation on this mutex may be used any more: two handles would not
/// exclude each other.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
///   shmr_bakery_len().
/// * SHMR_NO_SUCH_PARTITION: the caller's number is larger than @limit. Use a larger limit in all
///   partitions.
/// * SHMR_EINVAL, SHMR_EVICTED
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_open(
    bakery: *mut shmr_bakery,
    segment: *const shmr_segment,
    incarnation: u32,
    limit: u8,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(bakery, || {
            if limit == 0 {
                return Err(Fault::invalid(Argument::Limit));
            }
            let window = segment_window(segment)?;
            Ok(RawBakeryMutex::attach(
                window,
                self::incarnation(incarnation)?,
                limit,
            )?)
        })
    }
}

/// shmr_bakery_data() - the bytes that a bakery mutex protects
/// @segment: a bakery mutex's segment
///
/// Return: the bytes, which only the holder of the mutex may use; NULL if @segment is too short.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_data(segment: *const shmr_segment) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    unsafe { data(segment, shmr_bakery_len(0)) }
}

/// shmr_bakery_try_lock() - take the mutex if it is free or its owner is gone
/// @bakery:   a bakery mutex
/// @liveness: knows which partitions are gone, or NULL
///
/// Return: the statuses of shmr_bakery_lock() without SHMR_TIMED_OUT, and
/// * SHMR_BUSY: an incarnation holds it, perhaps the caller's own. Try again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_try_lock(
    bakery: *mut shmr_bakery,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(bakery, |own| {
            lock_status(own.try_lock(&mut CLiveness::from_ptr(liveness)?))
        })
    }
}

/// shmr_bakery_lock() - take the mutex, and wait for it
/// @bakery:   a bakery mutex
/// @wait:     how to wait, and for how long
/// @liveness: knows which partitions are gone, or NULL
///
/// Return:
/// * SHMR_OK: the caller holds the mutex
/// * SHMR_OWNER_DIED: the caller holds the mutex, but its last owner died while it held it, and the
///   protected bytes may be half-changed. Repair them and call shmr_bakery_make_consistent(); an
///   unlock without that poisons the mutex permanently.
/// * SHMR_TIMED_OUT: the mutex was not free in time. The error's value is the incarnation that the
///   caller waits for if that one is silent, else 0. Try again, or find out what happened to it.
/// * SHMR_POISONED: an owner died and the bytes were not repaired. Permanent: create another
///   segment.
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_lock(
    bakery: *mut shmr_bakery,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(bakery, |own| {
            let (mut wait, mut liveness) =
                (Waiting::from_ptr(wait)?, CLiveness::from_ptr(liveness)?);
            lock_status(own.lock(&mut wait, &mut liveness))
        })
    }
}

/// shmr_bakery_make_consistent() - declare that the bytes which a dead owner left are repaired
/// @bakery: a bakery mutex that the caller holds
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller does not hold it, and the error's value is the incarnation that
///   does, or 0. Do not use the protected bytes.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_make_consistent(bakery: *mut shmr_bakery) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(bakery, |own| Ok(own.make_consistent()?)) }
}

/// shmr_bakery_unlock() - release the mutex
/// @bakery: a bakery mutex that the caller holds
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Do not trust
///   what was read from the protected bytes.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_unlock(bakery: *mut shmr_bakery) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(bakery, |own| Ok(own.unlock()?)) }
}

/// shmr_bakery_owner() - the incarnation that holds the mutex
/// @bakery: a bakery mutex
///
/// Return: the incarnation, for inspection: it may have changed since. 0 if the mutex is free or
/// damaged, or @bakery is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_owner(bakery: *const shmr_bakery) -> u32 {
    // SAFETY: guaranteed by the caller.
    let own: Outcome<&RawBakeryMutex<'_>> = unsafe { get(bakery, Argument::Bakery) };
    own.map_or(0, |own| word(own.owner().ok().flatten()))
}

//! A mutex for memory on which read-modify-write does not work.

use core::ffi::c_void;

use shmem_sync::raw::RawBakeryMutex;

use crate::handle::{get, handle, open, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::mutex::{data, lock_status, word};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment, sized};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_bakery - a mutex that needs only loads, stores and fences
/// @error: why the last call on it failed
///
/// It is held by an incarnation, not by a thread: threads of one partition exclude each other by
/// other means. Up to 64 partitions; survives its owner. Needs no closing.
#[repr(C)]
pub struct shmr_bakery {
    pub error: shmr_error,
    opaque: [u64; 16],
}

handle!(shmr_bakery, b"bakr", RawBakeryMutex<'static>);

/// shmr_bakery_len() - bytes of a segment for a mutex
/// @data: bytes that it protects
///
/// Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_bakery_len(data: usize) -> usize {
    sized(data, RawBakeryMutex::segment_len)
}

/// shmr_bakery_open() - a mutex in a segment
/// @bakery:   to be opened
/// @segment:  its segment; zeroed, it is free
/// @incarnation:     the caller's
/// @limit:    partitions 1 to @limit take part, 64 at the most. All must say the same; the
///            fewer, the sooner it is had
///
/// No other handle of @incarnation on this mutex is used from now on, as two let each other in.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_NO_SUCH_PARTITION, this one's number
///         is larger than @limit.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_open(
    bakery: *mut shmr_bakery,
    segment: *const shmr_segment,
    incarnation: u32,
    limit: u8,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
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

/// shmr_bakery_data() - the protected bytes
/// @segment: a mutex's segment
///
/// Return: the caller's alone while it has the mutex; NULL if @segment is too short.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_data(segment: *const shmr_segment) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { data(segment, shmr_bakery_len(0)) }
}

/// shmr_bakery_try_lock() - take the mutex if nobody alive is inside, or its owner is dead
/// @bakery:   a mutex
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: as shmr_bakery_lock(), but SHMR_BUSY instead of waiting.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_try_lock(
    bakery: *mut shmr_bakery,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(bakery, |own| {
            lock_status(own.try_lock(&mut CLiveness::by(liveness)?))
        })
    }
}

/// shmr_bakery_lock() - take the mutex, and wait for it
/// @bakery:   a mutex
/// @wait:     how to wait, and for how long
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: SHMR_OK; SHMR_OWNER_DIED, it is had, but what it protects may be half-changed:
///         repair it, then shmr_bakery_make_consistent(), or unlocking poisons it for
///         good; SHMR_TIMED_OUT, and the error's value is the incarnation that is waited for if
///         that is silent; SHMR_EVICTED, a later incarnation of this partition has attached;
///         SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_lock(
    bakery: *mut shmr_bakery,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(bakery, |own| {
            let (mut wait, mut told) = (Waiting::by(wait)?, CLiveness::by(liveness)?);
            lock_status(own.lock(&mut wait, &mut told))
        })
    }
}

/// shmr_bakery_make_consistent() - say that what a dead owner left is repaired
/// @bakery: a mutex that the caller has
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_make_consistent(bakery: *mut shmr_bakery) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(bakery, |own| Ok(own.make_consistent()?)) }
}

/// shmr_bakery_unlock() - give the mutex back
/// @bakery: a mutex that the caller has
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD, this incarnation was said to be gone, or never had
///         it.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_unlock(bakery: *mut shmr_bakery) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(bakery, |own| Ok(own.unlock()?)) }
}

/// shmr_bakery_owner() - which incarnation has the mutex now
/// @bakery: a mutex
///
/// Return: for inspection, as it may have changed since; 0 is nobody, or not known.
#[no_mangle]
pub unsafe extern "C" fn shmr_bakery_owner(bakery: *const shmr_bakery) -> u32 {
    // SAFETY: the caller's.
    let own: Outcome<&RawBakeryMutex<'_>> = unsafe { get(bakery, Argument::Bakery) };
    own.map_or(0, |own| word(own.owner().ok().flatten()))
}

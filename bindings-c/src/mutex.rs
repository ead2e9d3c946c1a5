//! A mutex that survives its owner.

use core::ffi::c_void;

use shmem_core::Incarnation;
use shmem_sync::raw::RawMutex;
use shmem_sync::{Acquired, LockFailure};

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{get, handle, open, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::partition::incarnation;
use crate::segment::{bounded_len, segment_window, shmr_segment};
use crate::status::shmr_status::{
    SHMR_BUSY, SHMR_EVICTED, SHMR_OWNER_DIED, SHMR_POISONED, SHMR_TIMED_OUT,
};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_mutex - a mutex that survives its owner
/// @error: why the last call on it failed
///
/// An incarnation holds it, not a thread: the threads of a partition exclude each other by other
/// means. Needs compare-and-swap on this memory. Needs no closing.
#[repr(C)]
pub struct shmr_mutex {
    pub error: shmr_error,
    opaque: [u64; 12],
}

handle!(shmr_mutex, b"mutx", WithBell<RawMutex<'static>>);

/// Converts the result of a call that locks.
pub(crate) fn lock_status(result: Result<Acquired, LockFailure>) -> Outcome {
    Err(match result {
        Ok(Acquired::Clean) => return Ok(()),
        Ok(Acquired::OwnerDied) => Fault::new(SHMR_OWNER_DIED),
        Err(LockFailure::Poisoned) => Fault::new(SHMR_POISONED),
        Err(LockFailure::Busy) => Fault::new(SHMR_BUSY),
        Err(LockFailure::TimedOut) => Fault::new(SHMR_TIMED_OUT),
        Err(LockFailure::HolderSilent(incarnation)) => {
            Fault::with(SHMR_TIMED_OUT, incarnation.word().into())
        }
        Err(LockFailure::Evicted) => Fault::new(SHMR_EVICTED),
        Err(LockFailure::Corrupt(corrupt)) => corrupt.into(),
    })
}

/// Converts an incarnation; 0 is none.
pub(crate) fn word(incarnation: Option<Incarnation>) -> u32 {
    incarnation.map_or(0, Incarnation::word)
}

/// shmr_mutex_len() - the length of a segment for a mutex
/// @data: bytes that it protects
///
/// Return: the len for struct shmr_request; 0 if @data is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_mutex_len(data: usize) -> usize {
    bounded_len(data, RawMutex::segment_len)
}

/// shmr_mutex_open() - open the mutex in a segment
/// @mutex:       to be opened
/// @segment:     its segment; a zeroed segment is a free mutex
/// @incarnation: the caller's
/// @doorbell:    wakes partitions that wait, copied; or NULL
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short for a mutex, and the error's value is its length. Use
///   shmr_mutex_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_open(
    mutex: *mut shmr_mutex,
    segment: *const shmr_segment,
    incarnation: u32,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(mutex, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::from_ptr(doorbell)?);
            let mutex = RawMutex::attach(segment_window(segment)?, incarnation, NO_BELL)?;
            Ok(WithBell::new(mutex, bell))
        })
    }
}

/// shmr_mutex_data() - the bytes that a mutex protects
/// @segment: a mutex's segment
///
/// Return: the bytes, which only the holder of the mutex may use; NULL if @segment is too short.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_data(segment: *const shmr_segment) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    unsafe { data(segment, shmr_mutex_len(0)) }
}

/// Returns the bytes after the control block of a lock.
///
/// # Safety
///
/// As [`segment_window`].
pub(crate) unsafe fn data(segment: *const shmr_segment, control: usize) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    let window = unsafe { segment_window(segment) }.ok();
    let inside = window.filter(|window| window.len() >= control);
    inside.map_or(core::ptr::null_mut(), |window| {
        window.address().as_ptr().wrapping_add(control).cast()
    })
}

/// shmr_mutex_try_lock() - take the mutex if it is free or its owner is gone
/// @mutex:    a mutex
/// @liveness: knows which partitions are gone, or NULL
///
/// Return: the statuses of shmr_mutex_lock() without SHMR_TIMED_OUT, and
/// * SHMR_BUSY: an incarnation holds it, perhaps the caller's own. Try again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_try_lock(
    mutex: *mut shmr_mutex,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(mutex, |own| {
            lock_status(own.lock().try_lock(&mut CLiveness::from_ptr(liveness)?))
        })
    }
}

/// shmr_mutex_lock() - take the mutex, and wait for it
/// @mutex:    a mutex
/// @wait:     how to wait, and for how long
/// @liveness: knows which partitions are gone, or NULL
///
/// Return:
/// * SHMR_OK: the caller holds the mutex
/// * SHMR_OWNER_DIED: the caller holds the mutex, but its last owner died while it held it, and the
///   protected bytes may be half-changed. Repair them and call shmr_mutex_make_consistent(); an
///   unlock without that poisons the mutex permanently.
/// * SHMR_TIMED_OUT: the mutex was not free in time. The error's value is the owner's incarnation
///   if the owner is silent, else 0. Try again, or find out what happened to the owner.
/// * SHMR_POISONED: an owner died and the bytes were not repaired. Permanent: create another
///   segment.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_lock(
    mutex: *mut shmr_mutex,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(mutex, |own| {
            let (mut wait, mut liveness) =
                (Waiting::from_ptr(wait)?, CLiveness::from_ptr(liveness)?);
            lock_status(own.lock().lock(&mut wait, &mut liveness))
        })
    }
}

/// shmr_mutex_make_consistent() - declare that the bytes which a dead owner left are repaired
/// @mutex: a mutex that the caller holds
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller does not hold it, and the error's value is the incarnation that
///   does, or 0. Do not use the protected bytes.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_make_consistent(mutex: *mut shmr_mutex) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(mutex, |own| Ok(own.lock().make_consistent()?)) }
}

/// shmr_mutex_unlock() - release the mutex
/// @mutex: a mutex that the caller holds
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Do not trust
///   what was read from the protected bytes.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_unlock(mutex: *mut shmr_mutex) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(mutex, |own| Ok(own.lock().unlock()?)) }
}

/// shmr_mutex_owner() - the incarnation that holds the mutex
/// @mutex: a mutex
///
/// Return: the incarnation, for inspection: it may have changed since. 0 if it is free, damaged or
/// @mutex is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_owner(mutex: *const shmr_mutex) -> u32 {
    // SAFETY: guaranteed by the caller.
    let own: Outcome<&WithBell<RawMutex<'_>>> = unsafe { get(mutex, Argument::Mutex) };
    own.map_or(0, |own| word(own.silent().owner().ok().flatten()))
}

//! A mutex that survives its owner.

use core::ffi::c_void;

use shmem_core::Incarnation;
use shmem_sync::raw::RawMutex;
use shmem_sync::{Acquired, LockFailure};

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{get, handle, open, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment, sized};
use crate::status::shmr_status::{
    SHMR_BUSY, SHMR_EVICTED, SHMR_OWNER_DIED, SHMR_POISONED, SHMR_TIMED_OUT,
};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_mutex - a mutex that survives its owner
/// @error: why the last call on it failed
///
/// It is held by an incarnation, not by a thread: threads of one partition exclude each other by
/// other means. Needs compare-and-swap on this memory, and no closing.
#[repr(C)]
pub struct shmr_mutex {
    pub error: shmr_error,
    opaque: [u64; 12],
}

handle!(shmr_mutex, b"mutx", WithBell<RawMutex<'static>>);

/// What C is told of a call that locks.
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

/// An incarnation or none, as C has it.
pub(crate) fn word(incarnation: Option<Incarnation>) -> u32 {
    incarnation.map_or(0, Incarnation::word)
}

/// shmr_mutex_len() - bytes of a segment for a mutex
/// @data: bytes that it protects
///
/// Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_mutex_len(data: usize) -> usize {
    sized(data, RawMutex::segment_len)
}

/// shmr_mutex_open() - a mutex in a segment
/// @mutex:    to be opened
/// @segment:  its segment; zeroed, it is free
/// @incarnation:     the caller's
/// @doorbell: what wakes those that wait, copied; or NULL
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_open(
    mutex: *mut shmr_mutex,
    segment: *const shmr_segment,
    incarnation: u32,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(mutex, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::by(doorbell)?);
            let mutex = RawMutex::attach(segment_window(segment)?, incarnation, NO_BELL)?;
            Ok(WithBell::new(mutex, bell))
        })
    }
}

/// shmr_mutex_data() - the protected bytes
/// @segment: a mutex's segment
///
/// Return: the caller's alone while it has the mutex; NULL if @segment is too short.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_data(segment: *const shmr_segment) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { data(segment, shmr_mutex_len(0)) }
}

/// What is behind the control block of a lock.
///
/// # Safety
///
/// As [`segment_window`].
pub(crate) unsafe fn data(segment: *const shmr_segment, control: usize) -> *mut c_void {
    // SAFETY: the caller's.
    let window = unsafe { segment_window(segment) }.ok();
    let inside = window.filter(|window| window.len() >= control);
    inside.map_or(core::ptr::null_mut(), |window| {
        window.address().as_ptr().wrapping_add(control).cast()
    })
}

/// shmr_mutex_try_lock() - take the mutex if it is free, or its owner is dead
/// @mutex:    a mutex
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: as shmr_mutex_lock(), but SHMR_BUSY instead of waiting.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_try_lock(
    mutex: *mut shmr_mutex,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(mutex, |own| {
            lock_status(own.lock().try_lock(&mut CLiveness::by(liveness)?))
        })
    }
}

/// shmr_mutex_lock() - take the mutex, and wait for it
/// @mutex:    a mutex
/// @wait:     how to wait, and for how long
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: SHMR_OK; SHMR_OWNER_DIED, it is had, but what it protects may be half-changed:
///         repair it, then shmr_mutex_make_consistent(), or unlocking poisons it for
///         good; SHMR_TIMED_OUT, and the error's value is its owner's incarnation if that is
///         silent; SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_lock(
    mutex: *mut shmr_mutex,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(mutex, |own| {
            let (mut wait, mut told) = (Waiting::by(wait)?, CLiveness::by(liveness)?);
            lock_status(own.lock().lock(&mut wait, &mut told))
        })
    }
}

/// shmr_mutex_make_consistent() - say that what a dead owner left is repaired
/// @mutex: a mutex that the caller has
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_make_consistent(mutex: *mut shmr_mutex) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(mutex, |own| Ok(own.lock().make_consistent()?)) }
}

/// shmr_mutex_unlock() - give the mutex back
/// @mutex: a mutex that the caller has
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD, this incarnation was said to be gone, or never had
///         it.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_unlock(mutex: *mut shmr_mutex) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(mutex, |own| Ok(own.lock().unlock()?)) }
}

/// shmr_mutex_owner() - which incarnation has the mutex now
/// @mutex: a mutex
///
/// Return: for inspection, as it may have changed since; 0 is nobody, or not known.
#[no_mangle]
pub unsafe extern "C" fn shmr_mutex_owner(mutex: *const shmr_mutex) -> u32 {
    // SAFETY: the caller's.
    let own: Outcome<&WithBell<RawMutex<'_>>> = unsafe { get(mutex, Argument::Mutex) };
    own.map_or(0, |own| word(own.silent().owner().ok().flatten()))
}

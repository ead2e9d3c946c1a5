//! A counting semaphore whose permits come back from the dead.

use shmem_sync::raw::RawSemaphore;
use shmem_sync::NotHeld;

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{get, handle, open, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment};
use crate::status::{shmr_error, shmr_status, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_semaphore - a counting semaphore whose permits come back from the dead
/// @error: why the last call on it failed
///
/// Needs compare-and-swap on this memory, and no closing.
#[repr(C)]
pub struct shmr_semaphore {
    pub error: shmr_error,
    opaque: [u64; 10],
}

handle!(shmr_semaphore, b"sema", WithBell<RawSemaphore<'static>>);

/// Ends one of the permits that the caller's incarnation holds by `end`.
fn end_one(
    semaphore: &RawSemaphore<'_>,
    end: impl Fn(usize) -> Result<(), NotHeld>,
) -> Result<(), NotHeld> {
    match semaphore.held().any(|place| end(place).is_ok()) {
        true => Ok(()),
        false => Err(NotHeld { holder: None }),
    }
}

/// shmr_semaphore_len() - bytes of a segment for a semaphore
/// @capacity: permits that there is room for, at most 1024
///
/// Return: the number for struct shmr_request.
#[no_mangle]
pub extern "C" fn shmr_semaphore_len(capacity: usize) -> usize {
    // More would say the same as the most, and overflow.
    RawSemaphore::segment_len(capacity.min(shmem_sync::layout::PERMITS))
}

/// shmr_semaphore_open() - a semaphore in a segment
/// @semaphore: to be opened
/// @segment:   its segment; zeroed, it has no permits
/// @incarnation:      the caller's
/// @doorbell:  what wakes those that wait, copied; or NULL
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_open(
    semaphore: *mut shmr_semaphore,
    segment: *const shmr_segment,
    incarnation: u32,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(semaphore, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::by(doorbell)?);
            let semaphore = RawSemaphore::attach(segment_window(segment)?, incarnation, NO_BELL)?;
            Ok(WithBell::new(semaphore, bell))
        })
    }
}

/// shmr_semaphore_add() - add permits that nobody holds yet
/// @semaphore: a semaphore
/// @permits:   how many: all of them, or none
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_OVERFLOW.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_add(
    semaphore: *mut shmr_semaphore,
    permits: usize,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(semaphore, |own| Ok(own.lock().add(permits)?)) }
}

/// shmr_semaphore_try_acquire() - take a permit that nobody alive holds
/// @semaphore: a semaphore
/// @liveness:  who knows which partitions are gone, or NULL
///
/// Return: SHMR_OK; SHMR_BUSY; SHMR_EINVAL; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_try_acquire(
    semaphore: *mut shmr_semaphore,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(semaphore, |own| {
            own.lock().try_acquire(&mut CLiveness::by(liveness)?)?;
            Ok(())
        })
    }
}

/// shmr_semaphore_acquire() - take a permit, and wait for one
/// @semaphore: a semaphore
/// @wait:      how to wait, and for how long
/// @liveness:  who knows which partitions are gone, or NULL
///
/// Return: SHMR_OK; SHMR_TIMED_OUT, and the error's value is the incarnation of a holder if one is
///         silent; SHMR_EINVAL; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_acquire(
    semaphore: *mut shmr_semaphore,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(semaphore, |own| {
            let (mut wait, mut told) = (Waiting::by(wait)?, CLiveness::by(liveness)?);
            own.lock().acquire(&mut wait, &mut told)?;
            Ok(())
        })
    }
}

/// shmr_semaphore_release() - give back a permit that the caller's incarnation holds
/// @semaphore: a semaphore
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_release(semaphore: *mut shmr_semaphore) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(semaphore, |own| {
            let own = own.lock();
            Ok(end_one(own, |place| own.release(place))?)
        })
    }
}

/// shmr_semaphore_consume() - end a permit that the caller's incarnation holds: there is one less
/// @semaphore: a semaphore
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_consume(semaphore: *mut shmr_semaphore) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(semaphore, |own| {
            let own = own.lock();
            Ok(end_one(own, |place| own.consume(place))?)
        })
    }
}

/// shmr_semaphore_available() - permits that nobody holds
/// @semaphore: a semaphore
///
/// Return: an indication, as they may change meanwhile; 0 if @semaphore is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_available(semaphore: *const shmr_semaphore) -> usize {
    // SAFETY: the caller's.
    let own: Outcome<&WithBell<RawSemaphore<'_>>> = unsafe { get(semaphore, Argument::Semaphore) };
    own.map_or(0, |own| own.silent().available())
}

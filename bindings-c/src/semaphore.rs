//! A counting semaphore whose permits are recovered from dead partitions.

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

/// struct shmr_semaphore - a counting semaphore whose permits are recovered from dead partitions
/// @error: why the last call on it failed
///
/// Permits belong to an incarnation, not to a thread. Needs compare-and-swap on this memory. Needs
/// no closing.
#[repr(C)]
pub struct shmr_semaphore {
    pub error: shmr_error,
    opaque: [u64; 10],
}

handle!(shmr_semaphore, b"sema", WithBell<RawSemaphore<'static>>);

/// Calls `end` for one of the permits that the caller's incarnation holds.
fn end_one(
    semaphore: &RawSemaphore<'_>,
    end: impl Fn(usize) -> Result<(), NotHeld>,
) -> Result<(), NotHeld> {
    match semaphore.held().any(|place| end(place).is_ok()) {
        true => Ok(()),
        false => Err(NotHeld { holder: None }),
    }
}

/// shmr_semaphore_len() - the length of a segment for a semaphore
/// @capacity: the number of permits that it has room for, at most 1024
///
/// Return: the len for struct shmr_request.
#[no_mangle]
pub extern "C" fn shmr_semaphore_len(capacity: usize) -> usize {
    // A larger capacity returns the same as the maximum, and could overflow.
    RawSemaphore::segment_len(capacity.min(shmem_sync::layout::PERMITS))
}

/// shmr_semaphore_open() - open the semaphore in a segment
/// @semaphore:   to be opened
/// @segment:     its segment; a zeroed segment is a semaphore without permits
/// @incarnation: the caller's
/// @doorbell:    wakes partitions that wait, copied; or NULL
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
///   shmr_semaphore_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_open(
    semaphore: *mut shmr_semaphore,
    segment: *const shmr_segment,
    incarnation: u32,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(semaphore, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::from_ptr(doorbell)?);
            let semaphore = RawSemaphore::attach(segment_window(segment)?, incarnation, NO_BELL)?;
            Ok(WithBell::new(semaphore, bell))
        })
    }
}

/// shmr_semaphore_add() - add permits
/// @semaphore: a semaphore
/// @permits:   their number; all are added, or none
///
/// Return:
/// * SHMR_OK
/// * SHMR_OVERFLOW: there is no room for them, and the error's value is the number that fits. Add
///   fewer.
/// * SHMR_EINVAL, SHMR_EVICTED
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_add(
    semaphore: *mut shmr_semaphore,
    permits: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(semaphore, |own| Ok(own.lock().add(permits)?)) }
}

/// shmr_semaphore_try_acquire() - take a permit if one is free or its holder is gone
/// @semaphore: a semaphore
/// @liveness:  knows which partitions are gone, or NULL
///
/// Return: the statuses of shmr_semaphore_acquire() without SHMR_TIMED_OUT, and
/// * SHMR_BUSY: no permit is free. Try again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_try_acquire(
    semaphore: *mut shmr_semaphore,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(semaphore, |own| {
            own.lock()
                .try_acquire(&mut CLiveness::from_ptr(liveness)?)?;
            Ok(())
        })
    }
}

/// shmr_semaphore_acquire() - take a permit, and wait for one
/// @semaphore: a semaphore
/// @wait:      how to wait, and for how long
/// @liveness:  knows which partitions are gone, or NULL
///
/// Return:
/// * SHMR_OK: the caller's incarnation holds one more permit
/// * SHMR_TIMED_OUT: no permit was free in time. The error's value is the incarnation of a silent
///   holder, if there is one, else 0. Try again, or find out what happened to it.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_acquire(
    semaphore: *mut shmr_semaphore,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(semaphore, |own| {
            let (mut wait, mut liveness) =
                (Waiting::from_ptr(wait)?, CLiveness::from_ptr(liveness)?);
            own.lock().acquire(&mut wait, &mut liveness)?;
            Ok(())
        })
    }
}

/// shmr_semaphore_release() - release a permit that the caller's incarnation holds
/// @semaphore: a semaphore
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the incarnation holds no permit, or was reported as gone and lost it. Do not
///   use what the permit allowed.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_release(semaphore: *mut shmr_semaphore) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(semaphore, |own| {
            let own = own.lock();
            Ok(end_one(own, |place| own.release(place))?)
        })
    }
}

/// shmr_semaphore_consume() - destroy a permit that the caller's incarnation holds
/// @semaphore: a semaphore
///
/// Return:
/// * SHMR_OK: the semaphore has one permit less
/// * SHMR_NOT_HELD: the incarnation holds no permit, or was reported as gone and lost it. Do not
///   use what the permit allowed.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_consume(semaphore: *mut shmr_semaphore) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(semaphore, |own| {
            let own = own.lock();
            Ok(end_one(own, |place| own.consume(place))?)
        })
    }
}

/// shmr_semaphore_available() - the number of free permits
/// @semaphore: a semaphore
///
/// Return: the number, for inspection: it may have changed since. 0 if @semaphore is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_semaphore_available(semaphore: *const shmr_semaphore) -> usize {
    // SAFETY: guaranteed by the caller.
    let own: Outcome<&WithBell<RawSemaphore<'_>>> = unsafe { get(semaphore, Argument::Semaphore) };
    own.map_or(0, |own| own.silent().available())
}

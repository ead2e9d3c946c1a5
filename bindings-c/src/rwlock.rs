//! A reader-writer lock that survives its holders.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use shmem_sync::raw::RawRwLock;
use shmem_sync::{Acquired, LockFailure};

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{get, handle, open, place, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::mutex::{data, lock_status, word};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment, sized};
use crate::status::{shmr_error, shmr_status, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_rwlock - a reader-writer lock that survives its holders
/// @error: why the last call on it failed
///
/// Writers go first. Needs compare-and-swap on this memory, and no closing.
#[repr(C)]
pub struct shmr_rwlock {
    pub error: shmr_error,
    opaque: [u64; 18],
}

handle!(shmr_rwlock, b"rwlk", WithBell<RawRwLock<'static>>);

/// shmr_rwlock_len() - bytes of a segment for a reader-writer lock
/// @data: bytes that it protects
///
/// Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_rwlock_len(data: usize) -> usize {
    sized(data, RawRwLock::segment_len)
}

/// shmr_rwlock_open() - a reader-writer lock in a segment
/// @rwlock:   to be opened
/// @segment:  its segment; zeroed, it is free
/// @incarnation:     the caller's
/// @doorbell: what wakes those that wait, copied; or NULL
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_open(
    rwlock: *mut shmr_rwlock,
    segment: *const shmr_segment,
    incarnation: u32,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(rwlock, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::by(doorbell)?);
            let lock = RawRwLock::attach(segment_window(segment)?, incarnation, NO_BELL)?;
            Ok(WithBell::new(lock, bell))
        })
    }
}

/// shmr_rwlock_data() - the protected bytes
/// @segment: a reader-writer lock's segment
///
/// Return: nobody changes them while the caller reads, they are its alone while it writes;
///         NULL if @segment is too short.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_data(segment: *const shmr_segment) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { data(segment, shmr_rwlock_len(0)) }
}

/// What C is told of a call that locks for reading; its place goes to `out`.
fn read_status(
    result: Result<(Acquired, usize), LockFailure>,
    out: &mut MaybeUninit<u32>,
) -> Outcome {
    lock_status(result.map(|(acquired, place)| {
        out.write(place as u32);
        acquired
    }))
}

/// shmr_rwlock_try_read() - read if no writer is alive
/// @rwlock:   a reader-writer lock
/// @place:    for shmr_rwlock_end_read()
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: as shmr_rwlock_read(), but SHMR_BUSY instead of waiting.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_try_read(
    rwlock: *mut shmr_rwlock,
    place: *mut u32,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(rwlock, |own| {
            let place = self::place(place, Argument::Place)?;
            read_status(own.lock().try_read(&mut CLiveness::by(liveness)?), place)
        })
    }
}

/// shmr_rwlock_read() - read, and wait for writers to leave
/// @rwlock:   a reader-writer lock
/// @place:    for shmr_rwlock_end_read()
/// @wait:     how to wait, and for how long
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: SHMR_OK; SHMR_OWNER_DIED, the caller reads, but a writer died inside and nobody
///         has repaired it yet; SHMR_TIMED_OUT, and the error's value is the writer's incarnation
///         if that is silent; SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_read(
    rwlock: *mut shmr_rwlock,
    place: *mut u32,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(rwlock, |own| {
            let place = self::place(place, Argument::Place)?;
            let (mut wait, mut told) = (Waiting::by(wait)?, CLiveness::by(liveness)?);
            read_status(own.lock().read(&mut wait, &mut told), place)
        })
    }
}

/// shmr_rwlock_end_read() - end a reading
/// @rwlock: a reader-writer lock that the caller reads
/// @place:  what the call that began it said
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_end_read(rwlock: *mut shmr_rwlock, place: u32) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(rwlock, |own| Ok(own.lock().unlock_read(place as usize)?)) }
}

/// shmr_rwlock_try_write() - write if nobody else alive reads or writes
/// @rwlock:   a reader-writer lock
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: as shmr_rwlock_write(), but SHMR_BUSY instead of waiting.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_try_write(
    rwlock: *mut shmr_rwlock,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(rwlock, |own| {
            lock_status(own.lock().try_write(&mut CLiveness::by(liveness)?))
        })
    }
}

/// shmr_rwlock_write() - write, and wait for all others to leave
/// @rwlock:   a reader-writer lock
/// @wait:     how to wait, and for how long
/// @liveness: who knows which partitions are gone, or NULL
///
/// Return: SHMR_OK; SHMR_OWNER_DIED, the caller writes, but what is protected may be
///         half-changed: repair it, then shmr_rwlock_make_consistent(), or ending poisons it
///         for good; SHMR_TIMED_OUT, and the error's value is the incarnation that is waited for
///         if that is silent; SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_write(
    rwlock: *mut shmr_rwlock,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(rwlock, |own| {
            let (mut wait, mut told) = (Waiting::by(wait)?, CLiveness::by(liveness)?);
            lock_status(own.lock().write(&mut wait, &mut told))
        })
    }
}

/// shmr_rwlock_make_consistent() - say that what a dead writer left is repaired
/// @rwlock: a reader-writer lock that the caller writes
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_make_consistent(rwlock: *mut shmr_rwlock) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(rwlock, |own| Ok(own.lock().make_consistent()?)) }
}

/// shmr_rwlock_end_write() - end a writing
/// @rwlock: a reader-writer lock that the caller writes
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD, this incarnation was said to be gone, or never
///         wrote.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_end_write(rwlock: *mut shmr_rwlock) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(rwlock, |own| Ok(own.lock().unlock_write()?)) }
}

/// shmr_rwlock_writer() - which incarnation writes now, or waits to
/// @rwlock: a reader-writer lock
///
/// Return: for inspection, as it may have changed since; 0 is nobody, or not known.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_writer(rwlock: *const shmr_rwlock) -> u32 {
    // SAFETY: the caller's.
    let own: Outcome<&WithBell<RawRwLock<'_>>> = unsafe { get(rwlock, Argument::Rwlock) };
    own.map_or(0, |own| word(own.silent().writer().ok().flatten()))
}

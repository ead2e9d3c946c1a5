//! A reader-writer lock that survives its holders.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use shmem_sync::raw::RawRwLock;
use shmem_sync::{Acquired, LockFailure};

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{get, handle, open, output, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::mutex::{data, lock_status, word};
use crate::partition::incarnation;
use crate::segment::{bounded_len, segment_window, shmr_segment};
use crate::status::{shmr_error, shmr_status, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_rwlock - a reader-writer lock that survives its holders
/// @error: why the last call on it failed
///
/// A waiting writer goes before new readers. Needs compare-and-swap on this memory. Needs no
/// closing.
#[repr(C)]
pub struct shmr_rwlock {
    pub error: shmr_error,
    opaque: [u64; 18],
}

handle!(shmr_rwlock, b"rwlk", WithBell<RawRwLock<'static>>);

/// shmr_rwlock_len() - the length of a segment for a reader-writer lock
/// @data: bytes that it protects
///
/// Return: the len for struct shmr_request; 0 if @data is more than 1 GiB.
#[no_mangle]
pub extern "C" fn shmr_rwlock_len(data: usize) -> usize {
    bounded_len(data, RawRwLock::segment_len)
}

/// shmr_rwlock_open() - open the reader-writer lock in a segment
/// @rwlock:      to be opened
/// @segment:     its segment; a zeroed segment is a free lock
/// @incarnation: the caller's
/// @doorbell:    wakes partitions that wait, copied; or NULL
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
///   shmr_rwlock_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_open(
    rwlock: *mut shmr_rwlock,
    segment: *const shmr_segment,
    incarnation: u32,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(rwlock, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::from_ptr(doorbell)?);
            let lock = RawRwLock::attach(segment_window(segment)?, incarnation, NO_BELL)?;
            Ok(WithBell::new(lock, bell))
        })
    }
}

/// shmr_rwlock_data() - the bytes that a reader-writer lock protects
/// @segment: a reader-writer lock's segment
///
/// Return: the bytes, which a reader may read, and only the writer may change; NULL if @segment is
/// too short.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_data(segment: *const shmr_segment) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    unsafe { data(segment, shmr_rwlock_len(0)) }
}

/// Converts the result of a call that locks for reading; stores its place in `out`.
fn read_status(
    result: Result<(Acquired, usize), LockFailure>,
    out: &mut MaybeUninit<u32>,
) -> Outcome {
    lock_status(result.map(|(acquired, place)| {
        out.write(place as u32);
        acquired
    }))
}

/// shmr_rwlock_try_read() - lock for reading if no writer holds the lock or waits for it
/// @rwlock:   a reader-writer lock
/// @place:    set to the reader's place, for shmr_rwlock_unlock_read()
/// @liveness: knows which partitions are gone, or NULL
///
/// Return: the statuses of shmr_rwlock_read() without SHMR_TIMED_OUT, and
/// * SHMR_BUSY: a writer holds the lock or waits for it. Try again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_try_read(
    rwlock: *mut shmr_rwlock,
    place: *mut u32,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(rwlock, |own| {
            let place = output(place, Argument::Place)?;
            read_status(
                own.lock().try_read(&mut CLiveness::from_ptr(liveness)?),
                place,
            )
        })
    }
}

/// shmr_rwlock_read() - lock for reading, and wait until no writer holds the lock
/// @rwlock:   a reader-writer lock
/// @place:    set to the reader's place, for shmr_rwlock_unlock_read()
/// @wait:     how to wait, and for how long
/// @liveness: knows which partitions are gone, or NULL
///
/// Return:
/// * SHMR_OK: the caller holds the lock for reading
/// * SHMR_OWNER_DIED: the caller holds the lock for reading, but a writer died while it held it,
///   and the protected bytes are not repaired yet. Do not trust them.
/// * SHMR_TIMED_OUT: the lock was not free in time. The error's value is the writer's incarnation
///   if the writer is silent, else 0. Try again, or find out what happened to the writer.
/// * SHMR_POISONED: a writer died and the bytes were not repaired. Permanent: create another
///   segment.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_read(
    rwlock: *mut shmr_rwlock,
    place: *mut u32,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(rwlock, |own| {
            let place = output(place, Argument::Place)?;
            let (mut wait, mut liveness) =
                (Waiting::from_ptr(wait)?, CLiveness::from_ptr(liveness)?);
            read_status(own.lock().read(&mut wait, &mut liveness), place)
        })
    }
}

/// shmr_rwlock_unlock_read() - release the lock after reading
/// @rwlock: a reader-writer lock that the caller holds for reading
/// @place:  the place that the call which locked it returned
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Do not trust
///   what was read.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_unlock_read(
    rwlock: *mut shmr_rwlock,
    place: u32,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(rwlock, |own| Ok(own.lock().unlock_read(place as usize)?)) }
}

/// shmr_rwlock_try_write() - lock for writing unless an incarnation that is not gone holds it
/// @rwlock:   a reader-writer lock
/// @liveness: knows which partitions are gone, or NULL
///
/// Return: the statuses of shmr_rwlock_write() without SHMR_TIMED_OUT, and
/// * SHMR_BUSY: an incarnation holds the lock, perhaps the caller's own. Try again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_try_write(
    rwlock: *mut shmr_rwlock,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(rwlock, |own| {
            lock_status(own.lock().try_write(&mut CLiveness::from_ptr(liveness)?))
        })
    }
}

/// shmr_rwlock_write() - lock for writing, and wait until no other partition holds the lock
/// @rwlock:   a reader-writer lock
/// @wait:     how to wait, and for how long
/// @liveness: knows which partitions are gone, or NULL
///
/// Return:
/// * SHMR_OK: the caller holds the lock for writing
/// * SHMR_OWNER_DIED: the caller holds the lock for writing, but a writer died while it held it,
///   and the protected bytes may be half-changed. Repair them and call
///   shmr_rwlock_make_consistent(); an unlock without that poisons the lock permanently.
/// * SHMR_TIMED_OUT: the lock was not free in time. If the caller waits for an incarnation that is
///   silent, the error's value is that incarnation; else 0. Try again, or find out what happened to
///   it.
/// * SHMR_POISONED: a writer died and the bytes were not repaired. Permanent: create another
///   segment.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_write(
    rwlock: *mut shmr_rwlock,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(rwlock, |own| {
            let (mut wait, mut liveness) =
                (Waiting::from_ptr(wait)?, CLiveness::from_ptr(liveness)?);
            lock_status(own.lock().write(&mut wait, &mut liveness))
        })
    }
}

/// shmr_rwlock_make_consistent() - declare that the bytes which a dead writer left are repaired
/// @rwlock: a reader-writer lock that the caller holds for writing
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller does not hold it for writing, and the error's value is the
///   incarnation that does, or 0. Do not use the protected bytes.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_make_consistent(rwlock: *mut shmr_rwlock) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(rwlock, |own| Ok(own.lock().make_consistent()?)) }
}

/// shmr_rwlock_unlock_write() - release the lock after writing
/// @rwlock: a reader-writer lock that the caller holds for writing
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Others may
///   have changed the protected bytes meanwhile.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_unlock_write(rwlock: *mut shmr_rwlock) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(rwlock, |own| Ok(own.lock().unlock_write()?)) }
}

/// shmr_rwlock_writer() - the incarnation that holds the lock for writing, or waits for that
/// @rwlock: a reader-writer lock
///
/// Return: the incarnation, for inspection: it may have changed since. 0 if there is none, the lock
/// is damaged or @rwlock is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_rwlock_writer(rwlock: *const shmr_rwlock) -> u32 {
    // SAFETY: guaranteed by the caller.
    let own: Outcome<&WithBell<RawRwLock<'_>>> = unsafe { get(rwlock, Argument::Rwlock) };
    own.map_or(0, |own| word(own.silent().writer().ok().flatten()))
}

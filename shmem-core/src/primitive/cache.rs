//! Cache maintenance, for partitions whose data caches are not coherent.
//!
//! If no hardware keeps the caches of two partitions coherent and the memory
//! cannot be mapped uncached, the program supplies two functions, and every access
//! to shared memory calls them. A load invalidates first; a store invalidates before
//! and cleans after.
//!
//! A cache writes whole lines back, so this works for objects that have one writer per line
//! (128 bytes) at a time: rings, snapshots, partition slots, lookup. The limits are:
//!
//! - an end of a [`crate::ring`] (not of a [`crate::typed_ring`]) may be claimed only while the
//!   other end is not in use, because each stores its epoch into the other's line;
//! - a record that is built in place ([`crate::ring::Reservation::as_mut_ptr`]) must not also
//!   use `write`, which discards bytes that are not cleaned;
//! - waits must poll, because a doorbell has two writers ([`crate::wait::Spin`]);
//! - one partition formats a region, and creates and removes segments, while no other is
//!   attached: a compare-and-swap works between the threads of that
//!   partition, not between two caches. Hence there are no locks.

use core::ffi::c_void;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

/// The program's functions for lines of its data cache.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance {
    /// Writes the lines that contain any of these bytes back to memory. Returns when this is
    /// complete.
    pub clean: unsafe extern "C" fn(at: *const c_void, len: usize),
    /// Invalidates the lines that contain any of these bytes. If several threads of the
    /// partition use shared memory, it must write dirty lines back first (arm64: `dc civac`),
    /// because another thread may not have cleaned its store yet.
    pub invalidate: unsafe extern "C" fn(at: *const c_void, len: usize),
}

static MAINTENANCE: AtomicPtr<Maintenance> = AtomicPtr::new(core::ptr::null_mut());

/// Makes every access to shared memory call `maintenance` from now on. Call it before the
/// first region is attached.
///
/// # Safety
///
/// Both functions are safe to call with any bytes of any window, from any thread that
/// uses shared memory, until the program ends.
pub unsafe fn maintain(maintenance: &'static Maintenance) {
    let pointer: *const Maintenance = maintenance;
    // Pairs with the load in `maintenance`: both pointers are initialized.
    // loom: none (a private static, which no model builds)
    MAINTENANCE.store(pointer.cast_mut(), Release);
}

fn maintenance() -> Option<&'static Maintenance> {
    // Pairs with the store in `maintain`.
    // loom: none (as in `maintain`)
    let pointer = MAINTENANCE.load(Acquire);
    // SAFETY: null, or the argument of `maintain`.
    unsafe { pointer.as_ref() }
}

/// Called after a store.
pub(super) fn clean<T>(at: *const T, len: usize) {
    if let Some(maintenance) = maintenance() {
        // SAFETY: bytes of a window; the caller of `maintain` guarantees the rest.
        unsafe { (maintenance.clean)(at.cast(), len) }
    }
}

/// Called before a load.
pub(super) fn invalidate<T>(at: *const T, len: usize) {
    if let Some(maintenance) = maintenance() {
        // SAFETY: as in `clean`.
        unsafe { (maintenance.invalidate)(at.cast(), len) }
    }
}

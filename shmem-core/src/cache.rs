//! Memory that a peer's stores reach behind this processor's data cache.
//!
//! Where no hardware keeps the caches of two partitions coherent and the memory
//! cannot be mapped uncached, the program gives two functions, and every access
//! to shared memory calls them: a load invalidates first, a store invalidates first
//! and cleans behind.
//!
//! A cache writes whole lines back, so this serves what has one writer to a line
//! (128 bytes): rings, snapshots, partition slots, lookup. Beyond that:
//!
//! - an end of a ring is claimed while the other end rests, since each leaves its
//!   epoch in the other's line;
//! - waits poll, since a bell has two writers ([`crate::wait::Spin`]);
//! - segments are created by one partition, before the others attach; locks are not
//!   to be had, except that there is no memory they could work on.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// What a program does to lines of its data cache.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance {
    /// Writes lines that hold any of these bytes back to memory, and returns when
    /// they are there.
    pub clean: unsafe extern "C" fn(at: *const c_void, len: usize),
    /// Forgets lines that hold any of these bytes, none of them dirty.
    pub invalidate: unsafe extern "C" fn(at: *const c_void, len: usize),
}

static MAINTENANCE: AtomicPtr<Maintenance> = AtomicPtr::new(core::ptr::null_mut());

/// Makes every access to shared memory call `maintenance` from now on; before the
/// first region is attached.
pub fn maintain(maintenance: &'static Maintenance) {
    // Relaxed: whoever uses shared memory is started later.
    let pointer: *const Maintenance = maintenance;
    MAINTENANCE.store(pointer.cast_mut(), Relaxed);
}

fn maintenance() -> Option<&'static Maintenance> {
    // SAFETY: null, or what `maintain` was given.
    unsafe { MAINTENANCE.load(Relaxed).as_ref() }
}

/// Behind a store.
pub(crate) fn clean<T>(at: *const T, len: usize) {
    if let Some(maintenance) = maintenance() {
        // SAFETY: the program's own function, on bytes of a window.
        unsafe { (maintenance.clean)(at.cast(), len) }
    }
}

/// Before a load.
pub(crate) fn invalidate<T>(at: *const T, len: usize) {
    if let Some(maintenance) = maintenance() {
        // SAFETY: as in `clean`.
        unsafe { (maintenance.invalidate)(at.cast(), len) }
    }
}

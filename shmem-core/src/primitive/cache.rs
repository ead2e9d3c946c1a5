//! Memory that a peer's stores reach behind this processor's data cache.
//!
//! Where no hardware keeps the caches of two partitions coherent and the memory
//! cannot be mapped uncached, the program gives two functions, and every access
//! to shared memory calls them: a load invalidates first, a store invalidates first
//! and cleans behind.
//!
//! A cache writes whole lines back, so this serves what has one writer to a line
//! (128 bytes) at a time: rings, snapshots, partition slots, lookup. Beyond that:
//!
//! - an end of a [`crate::ring`] (not of a [`crate::typed_ring`]) is claimed while the other end
//!   rests, since each leaves its epoch in the other's line;
//! - a record that is built in place ([`crate::ring::Reservation::as_mut_ptr`]) is built
//!   there alone, not by `write` too, which forgets what is not cleaned;
//! - waits poll, since a bell has two writers ([`crate::wait::Spin`]);
//! - a region is formatted, and segments are created and removed, by one partition
//!   while no other is attached: a compare-and-swap works between the threads of that
//!   partition, not between two caches. Hence there are no locks.

use core::ffi::c_void;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

/// What a program does to lines of its data cache.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance {
    /// Writes lines that hold any of these bytes back to memory, and returns when
    /// they are there.
    pub clean: unsafe extern "C" fn(at: *const c_void, len: usize),
    /// Forgets lines that hold any of these bytes. Where several threads of the
    /// partition use shared memory, one may find what another stored and has not
    /// cleaned yet: there it writes dirty lines back first (arm64: `dc civac`).
    pub invalidate: unsafe extern "C" fn(at: *const c_void, len: usize),
}

static MAINTENANCE: AtomicPtr<Maintenance> = AtomicPtr::new(core::ptr::null_mut());

/// Makes every access to shared memory call `maintenance` from now on; before the
/// first region is attached.
///
/// # Safety
///
/// Both functions may be called with any bytes of any window, from any thread that
/// uses shared memory, for as long as the program runs.
pub unsafe fn maintain(maintenance: &'static Maintenance) {
    let pointer: *const Maintenance = maintenance;
    // Pairs with the load in `maintenance`: the two functions are there.
    // loom: none (a static of the program's own, which no model builds)
    MAINTENANCE.store(pointer.cast_mut(), Release);
}

fn maintenance() -> Option<&'static Maintenance> {
    // Pairs with the store in `maintain`.
    // loom: none (as in `maintain`)
    let pointer = MAINTENANCE.load(Acquire);
    // SAFETY: null, or what `maintain` was given.
    unsafe { pointer.as_ref() }
}

/// Behind a store.
pub(super) fn clean<T>(at: *const T, len: usize) {
    if let Some(maintenance) = maintenance() {
        // SAFETY: as `maintain` was promised, on bytes of a window.
        unsafe { (maintenance.clean)(at.cast(), len) }
    }
}

/// Before a load.
pub(super) fn invalidate<T>(at: *const T, len: usize) {
    if let Some(maintenance) = maintenance() {
        // SAFETY: as in `clean`.
        unsafe { (maintenance.invalidate)(at.cast(), len) }
    }
}

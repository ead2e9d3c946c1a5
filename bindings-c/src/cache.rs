//! Cache maintenance by the program's functions.

use core::ffi::c_void;
use core::ptr::addr_of_mut;

use shmem_core::cache::{maintain, Maintenance};

use crate::status::shmr_status::{self, SHMR_EINVAL, SHMR_OK};

/// shmr_cache_maintain() - maintain the data cache at every access to shared memory
/// @clean:      writes cache lines that contain any of these bytes back to memory; returns after
///              that is complete
/// @invalidate: invalidates cache lines that contain any of these bytes. If several threads use
///              shared memory, it must write dirty lines back first (arm64: dc civac)
///
/// For memory that no hardware keeps coherent and that cannot be mapped uncached. The library must
/// be built with the feature `noncoherent`. Call this once, before the first region is attached.
///
/// Supported are rings, snapshots, attaching and lookup, with waits that poll, and creating
/// segments on one side before the other side attaches; docs/memory-model.md has the conditions.
/// Locks do not work on such memory.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_cache_maintain(
    clean: Option<unsafe extern "C" fn(at: *const c_void, len: usize)>,
    invalidate: Option<unsafe extern "C" fn(at: *const c_void, len: usize)>,
) -> shmr_status {
    static mut MAINTENANCE: Option<Maintenance> = None;
    let (Some(clean), Some(invalidate)) = (clean, invalidate) else {
        return SHMR_EINVAL;
    };
    // SAFETY: called once, before any other use (the caller's).
    let place = unsafe { &mut *addr_of_mut!(MAINTENANCE) };
    let maintenance = place.insert(Maintenance { clean, invalidate });
    // SAFETY: functions that can be called with any bytes of shared memory (the caller's).
    unsafe { maintain(maintenance) };
    SHMR_OK
}

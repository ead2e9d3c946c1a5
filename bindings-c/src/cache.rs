//! Cache maintenance by functions of the program's.

use core::ffi::c_void;
use core::ptr::addr_of_mut;

use shmem_core::cache::{maintain, Maintenance};

use crate::status::shmr_status::{self, SHMR_EINVAL, SHMR_OK};

/// shmr_cache_maintain() - make every access to shared memory maintain the data cache
/// @clean:      writes lines that hold any of these bytes back to memory, and returns when
///              they are there
/// @invalidate: forgets lines that hold any of these bytes; with several threads that use
///              shared memory, it writes dirty ones back first (arm64: dc civac)
///
/// For memory that nothing keeps coherent and that cannot be mapped uncached, in a library
/// that was built for it (feature `noncoherent`). Once, before the first region is attached.
/// Serves rings, snapshots, partitions and lookup, with waits that poll, and the creation of
/// segments by one side before the other attaches; docs/memory-model.md says under which
/// conditions. Locks do not work on such memory.
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_cache_maintain(
    clean: Option<unsafe extern "C" fn(at: *const c_void, len: usize)>,
    invalidate: Option<unsafe extern "C" fn(at: *const c_void, len: usize)>,
) -> shmr_status {
    static mut MAINTENANCE: Option<Maintenance> = None;
    let (Some(clean), Some(invalidate)) = (clean, invalidate) else {
        return SHMR_EINVAL;
    };
    // SAFETY: once, before anybody else uses it (the caller's).
    let place = unsafe { &mut *addr_of_mut!(MAINTENANCE) };
    let maintenance = place.insert(Maintenance { clean, invalidate });
    // SAFETY: functions that can be called with any bytes of shared memory (the caller's).
    unsafe { maintain(maintenance) };
    SHMR_OK
}

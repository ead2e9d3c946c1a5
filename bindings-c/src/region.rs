//! Memory that is a region.

use core::ffi::c_void;
use core::ptr::NonNull;

use shmem_core::{Region, Window};
use shmem_registry::OpenError;

use crate::handle::{get, handle, open, with};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_region - memory with a header that identifies it as a region
/// @error: why the last call on it failed
///
/// Needs no closing. The memory must stay mapped while anything in it is used.
#[repr(C)]
pub struct shmr_region {
    pub error: shmr_error,
    opaque: [u64; 8],
}

handle!(shmr_region, b"regn", Region<'static>);

/// Returns a window on the caller's memory.
///
/// # Safety
///
/// `len` bytes are mapped while anything in them is used (C4).
pub(crate) unsafe fn window(base: *mut c_void, len: usize) -> Outcome<Window<'static>> {
    let invalid = Fault::invalid(Argument::Base);
    let base = NonNull::new(base.cast()).ok_or(invalid)?;
    let end = (base.as_ptr() as usize).checked_add(len);
    if end.is_none() || len > isize::MAX as usize {
        return Err(Fault::invalid(Argument::Len));
    }
    // SAFETY: guaranteed by the caller.
    unsafe { Window::from_raw(base, len) }.map_err(|_| invalid)
}

/// shmr_region_format() - make memory a region
/// @region: to be opened
/// @base:   first byte, a multiple of 8
/// @len:    number of bytes
///
/// Zeroes the memory, then writes the region's header. No partition may still use an earlier region
/// in this memory.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the memory is too short for a region, and the error's value is its length
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_region_format(
    region: *mut shmr_region,
    base: *mut c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe { open(region, || Ok(Region::format(window(base, len)?)?)) }
}

/// shmr_region_attach() - attach to a region that another partition formatted
/// @region: to be opened
/// @base:   first byte of the whole region, a multiple of 8
/// @len:    number of bytes that are mapped; the region may be shorter
///
/// Stores nothing in the memory.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_A_REGION: the memory was not formatted yet, or the address is wrong; the error's
///   value is the first word. Try again later, or check the address.
/// * SHMR_CONTENDED: the region is being formatted. Try again.
/// * SHMR_TOO_SHORT: the memory is too short for a region, and the error's value is its length. Map
///   more.
/// * SHMR_LENGTH: not all of the region is mapped, and the error's value is its length. Map more.
/// * SHMR_OTHER_LAYOUT_VERSION: the region has another layout version, which is the error's value.
///   Use the same version of the library in all partitions.
/// * SHMR_FEATURES: the region needs features that this library does not have; the error's value is
///   their bits. Use a newer library.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_region_attach(
    region: *mut shmr_region,
    base: *mut c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe { open(region, || Ok(Region::attach(window(base, len)?)?)) }
}

/// shmr_region_generation() - a number that changes each time the memory is formatted
/// @region: a region
///
/// Return: the number, which is not 0; 0 if @region is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_region_generation(region: *const shmr_region) -> u32 {
    // SAFETY: guaranteed by the caller.
    unsafe { get(region, Argument::Region) }.map_or(0, Region::generation)
}

/// shmr_region_check() - check that a region was not formatted again
/// @region: a region
///
/// After SHMR_OK, everything that was read before this call came from this region, not from a later
/// one. Rings, snapshots and locks do not report a new format themselves. If a region may be
/// formatted again while a partition is attached, the partition calls this after each wait and
/// before each store.
///
/// Return:
/// * SHMR_OK: it was not formatted again
/// * SHMR_EINVAL, SHMR_REFORMATTED
#[no_mangle]
pub unsafe extern "C" fn shmr_region_check(region: *mut shmr_region) -> shmr_status {
    let ask = |region: &mut Region<'static>| match region.is_stale() {
        true => Err(OpenError::Reformatted.into()),
        false => Ok(()),
    };
    // SAFETY: guaranteed by the caller.
    unsafe { with(region, ask) }
}

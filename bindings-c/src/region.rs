//! Memory that is a region.

use core::ffi::c_void;
use core::ptr::NonNull;

use shmem_core::{Region, Window};
use shmem_registry::OpenError;

use crate::handle::{get, handle, open, with};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_region - memory with a header that says what it is
/// @error: why the last call on it failed
///
/// Needs no closing; the memory stays mapped for as long as anything in it is used.
#[repr(C)]
pub struct shmr_region {
    pub error: shmr_error,
    opaque: [u64; 8],
}

handle!(shmr_region, b"regn", Region<'static>);

/// A window on memory of the caller's.
///
/// # Safety
///
/// `len` mapped bytes, for as long as anything in them is used (C4).
pub(crate) unsafe fn window(base: *mut c_void, len: usize) -> Outcome<Window<'static>> {
    let invalid = Fault::invalid(Argument::Base);
    let base = NonNull::new(base.cast()).ok_or(invalid)?;
    let end = (base.as_ptr() as usize).checked_add(len);
    if end.is_none() || len > isize::MAX as usize {
        return Err(Fault::invalid(Argument::Len));
    }
    // SAFETY: the caller's.
    unsafe { Window::from_raw(base, len) }.map_err(|_| invalid)
}

/// shmr_region_format() - make memory a region
/// @region: to be opened
/// @base:   first byte, a multiple of 8
/// @len:    bytes
///
/// Zeroes the memory, then writes its header. Nobody may be using it as the region
/// that it was before.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_region_format(
    region: *mut shmr_region,
    base: *mut c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { open(region, || Ok(Region::format(window(base, len)?)?)) }
}

/// shmr_region_attach() - attach to a region that another partition formatted
/// @region: to be opened
/// @base:   first byte of the whole of it, a multiple of 8
/// @len:    bytes that are mapped; the region may be shorter
///
/// Stores nothing in the memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_NOT_A_REGION, nobody formatted it
///         yet, or it is another address; SHMR_VERSION; SHMR_FEATURES; SHMR_LENGTH, not
///         all of it is mapped; SHMR_CONTENDED, it was being formatted.
#[no_mangle]
pub unsafe extern "C" fn shmr_region_attach(
    region: *mut shmr_region,
    base: *mut c_void,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { open(region, || Ok(Region::attach(window(base, len)?)?)) }
}

/// shmr_region_generation() - how often this memory was formatted
/// @region: a region
///
/// Return: from 1; 0 if @region is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_region_generation(region: *const shmr_region) -> u32 {
    // SAFETY: the caller's.
    unsafe { get(region, Argument::Region) }.map_or(0, Region::generation)
}

/// shmr_region_is_stale() - whether a region was formatted again
/// @region: a region
///
/// Everything that was read from the region before the call is from before any later
/// format if this says no. Nothing else tells rings, snapshots and locks in it: whoever
/// stays attached while a region may be formatted again asks after each wait, and before
/// it stores.
///
/// Return: SHMR_OK if it was not; SHMR_REFORMATTED; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_region_is_stale(region: *mut shmr_region) -> shmr_status {
    let ask = |region: &mut Region<'static>| match region.is_stale() {
        true => Err(OpenError::Reformatted.into()),
        false => Ok(()),
    };
    // SAFETY: the caller's.
    unsafe { with(region, ask) }
}

//! The registry of a region.

use core::mem::MaybeUninit;

use shmem_registry::{Geometry, Registry};

use crate::handle::{get, handle, open, output, value, with};
use crate::region::shmr_region;
use crate::status::{shmr_error, shmr_status, status};
use crate::word::Argument;

/// struct shmr_registry - the table in a region that finds a segment by its identifier
/// @error: why the last call on it failed
///
/// Needs no closing. Several handles on one registry may be open.
#[repr(C)]
pub struct shmr_registry {
    pub error: shmr_error,
    opaque: [u64; 18],
}

handle!(shmr_registry, b"regy", Registry<'static>);

/// struct shmr_geometry - the sizes of a registry
/// @segments:   the number of rows, a power of two from 2 to 2^16
/// @partitions: the number of slots, 1 to 128; the largest partition number
/// @block_size: bytes of the unit of allocation, a power of two from 128 to 2^20
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_geometry {
    pub segments: usize,
    pub partitions: usize,
    pub block_size: usize,
}

impl From<shmr_geometry> for Geometry {
    fn from(given: shmr_geometry) -> Self {
        Self {
            segments: given.segments,
            partitions: given.partitions,
            block_size: given.block_size,
        }
    }
}

/// shmr_registry_format() - make an empty registry in a region that was just formatted
/// @registry: to be opened
/// @region:   the region
/// @geometry: the sizes, or NULL for 64 segments, 64 partitions and blocks of 128 bytes
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the registry does not fit, and the error's value is the region's length. Use a
///   larger region, or a smaller geometry.
/// * SHMR_EXISTS: the region has a registry. Format the region first.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_format(
    registry: *mut shmr_registry,
    region: *const shmr_region,
    geometry: *const shmr_geometry,
) -> shmr_status {
    let make = || {
        let mut sizes = Geometry::default();
        if !geometry.is_null() {
            // SAFETY: guaranteed by the caller.
            sizes = Geometry::from(*unsafe { value(geometry, Argument::Geometry) }?);
        }
        // SAFETY: guaranteed by the caller.
        let region = unsafe { get(region, Argument::Region) }?;
        Ok(Registry::format(*region, sizes)?)
    };
    // SAFETY: guaranteed by the caller.
    unsafe { open(registry, make) }
}

/// shmr_registry_attach() - attach to the registry of a region
/// @registry: to be opened
/// @region:   the region
///
/// Stores nothing in the region.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_FORMATTED: the region has no registry yet. Try again later.
/// * SHMR_TOO_SHORT: the registry does not fit into the region, and the error's value is the
///   region's length
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_attach(
    registry: *mut shmr_registry,
    region: *const shmr_region,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(registry, || {
            Ok(Registry::attach(*get(region, Argument::Region)?)?)
        })
    }
}

/// shmr_registry_without_rmw() - disable creating, removing and reaping by this handle
/// @registry: the registry
///
/// For memory without compare-and-swap: shmr_litmus_ask() tests that. Calls that need it then
/// return SHMR_NO_RMW.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_without_rmw(registry: *mut shmr_registry) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            *registry = registry.without_read_modify_write();
            Ok(())
        })
    }
}

/// shmr_registry_geometry() - the sizes that a registry was formatted with
/// @registry: the registry
/// @geometry: set to the sizes
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_geometry(
    registry: *const shmr_registry,
    geometry: *mut shmr_geometry,
) -> shmr_status {
    let read = || {
        // SAFETY: guaranteed by the caller.
        let sizes = unsafe { get(registry, Argument::Registry) }?.geometry();
        // SAFETY: guaranteed by the caller.
        let out: &mut MaybeUninit<shmr_geometry> = unsafe { output(geometry, Argument::Geometry) }?;
        out.write(shmr_geometry {
            segments: sizes.segments,
            partitions: sizes.partitions,
            block_size: sizes.block_size,
        });
        Ok(())
    };
    status(read())
}

/// shmr_registry_free_bytes() - the number of free bytes
/// @registry: the registry
///
/// Return: the bytes of all free blocks, which may not be adjacent; 0 if @registry is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_free_bytes(registry: *const shmr_registry) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { get(registry, Argument::Registry) }.map_or(0, Registry::free_bytes)
}

//! Identifier to segment.

use core::mem::MaybeUninit;

use shmem_registry::{Geometry, Id, OpenError, Registry, Segment};

use crate::handle::{get, handle, open, place, place_if_any, value, with};
use crate::liveness::{shmr_liveness, Told};
use crate::partition::{claim, shmr_presence};
use crate::region::shmr_region;
use crate::segment::{give, shmr_request, shmr_segment};
use crate::status::shmr_status::SHMR_EMPTY;
use crate::status::{shmr_error, shmr_status, status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_registry - the table from identifier to segment in a region
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
/// @segments:   rows, a power of two from 2 to 2^16
/// @partitions: slots, 1 to 128: the numbers that partitions may have
/// @block:      bytes of the unit of allocation, a power of two from 128 to 2^20
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_geometry {
    pub segments: usize,
    pub partitions: usize,
    pub block: usize,
}

impl From<shmr_geometry> for Geometry {
    fn from(asked: shmr_geometry) -> Self {
        Self {
            segments: asked.segments,
            partitions: asked.partitions,
            block: asked.block,
        }
    }
}

/// shmr_registry_format() - make an empty registry in a region that was just formatted
/// @registry: to be opened
/// @region:   the region
/// @geometry: sizes, or NULL for 64 segments, 64 partitions and blocks of 128 bytes
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_EXISTS.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_format(
    registry: *mut shmr_registry,
    region: *const shmr_region,
    geometry: *const shmr_geometry,
) -> shmr_status {
    let make = || {
        let mut sizes = Geometry::default();
        if !geometry.is_null() {
            // SAFETY: the caller's.
            sizes = Geometry::from(*unsafe { value(geometry, Argument::Geometry) }?);
        }
        // SAFETY: the caller's.
        let region = unsafe { get(region, Argument::Region) }?;
        Ok(Registry::format(*region, sizes)?)
    };
    // SAFETY: the caller's.
    unsafe { open(registry, make) }
}

/// shmr_registry_attach() - attach to the registry of a region
/// @registry: to be opened
/// @region:   the region
///
/// Stores nothing in the region.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_FORMATTED; SHMR_TOO_SHORT; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_attach(
    registry: *mut shmr_registry,
    region: *const shmr_region,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(registry, || {
            Ok(Registry::attach(*get(region, Argument::Region)?)?)
        })
    }
}

/// shmr_registry_without_rmw() - create, remove and reap nothing by this handle
/// @registry: the registry
///
/// For memory on which compare-and-swap does not work, which shmr_litmus_ask() finds out.
/// Calls that need it say SHMR_NO_RMW from now on.
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_without_rmw(registry: *mut shmr_registry) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            *registry = registry.without_read_modify_write();
            Ok(())
        })
    }
}

/// shmr_registry_open_or_create() - find a segment, or create it, zeroed
/// @registry: the registry
/// @presence: the caller's; it beats while this takes long
/// @request:  what is wanted
/// @segment:  where it goes
///
/// All partitions that ask for one identifier get one segment. Needs compare-and-swap
/// on this memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_KIND, SHMR_LENGTH or SHMR_COLLISION, there is
///         another; SHMR_TABLE_FULL; SHMR_OUT_OF_SPACE; SHMR_CONTENDED; SHMR_EVICTED;
///         SHMR_REFORMATTED;
///         SHMR_NO_RMW; SHMR_CORRUPT. The region is as it was unless it is SHMR_OK.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_open_or_create(
    registry: *mut shmr_registry,
    presence: *mut shmr_presence,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            place(segment, Argument::Segment)?;
            let request = crate::segment::request(request)?;
            give(
                segment,
                registry.open_or_create(claim(presence)?, &request)?,
            )
        })
    }
}

/// shmr_registry_open() - find a segment of its kind and length
/// @registry: the registry
/// @request:  what is wanted
/// @segment:  where it goes
///
/// Only loads.
///
/// Return: as shmr_registry_open_or_create(), and SHMR_NOT_FOUND.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_open(
    registry: *mut shmr_registry,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            place(segment, Argument::Segment)?;
            give(segment, registry.open(&crate::segment::request(request)?)?)
        })
    }
}

/// shmr_registry_lookup() - find a segment, whatever it holds
/// @registry: the registry
/// @id:       its identifier
/// @segment:  where it goes
///
/// Only loads.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_FOUND; SHMR_CONTENDED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_lookup(
    registry: *mut shmr_registry,
    id: u64,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            place(segment, Argument::Segment)?;
            let id = Id::new(id).ok_or(Fault::invalid(Argument::Id))?;
            give(segment, registry.lookup(id)?)
        })
    }
}

/// shmr_registry_next() - list the segments
/// @registry: the registry
/// @cursor:   0 for the first; moved on by each call
/// @segment:  where it goes
///
/// Only loads. Segments that are created or removed meanwhile may be missing.
///
/// Return: SHMR_OK; SHMR_EMPTY, that was all; SHMR_EINVAL; SHMR_CONTENDED or
///         SHMR_CORRUPT, of one row: the next call goes on after it.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_next(
    registry: *mut shmr_registry,
    cursor: *mut usize,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let first = *value(cursor, Argument::Cursor)?;
            place(segment, Argument::Segment)?;
            let rows = registry.geometry().segments;
            let found = (first..rows).find_map(|row| Some((row + 1, listed(registry, row)?)));
            let (next, found) = found.unwrap_or((rows, Err(Fault::new(SHMR_EMPTY))));
            place(cursor, Argument::Cursor)?.write(next);
            give(segment, found?)
        })
    }
}

/// The segment that a row names, if a lookup finds it there, or fails.
fn listed(registry: &Registry<'static>, row: usize) -> Option<Outcome<Segment<'static>>> {
    let words = registry.row_words(row)?;
    let id = Id::new(words.id).filter(|_| words.is_named())?;
    match registry.lookup(id) {
        Ok(found) => (found.row() == row).then_some(Ok(found)),
        Err(OpenError::NotFound) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// shmr_registry_remove() - remove a segment
/// @registry: the registry
/// @presence: the caller's; it beats while this takes long
/// @segment:  what is removed
///
/// Whoever still uses it must have let go, as its bytes go to others. Needs
/// compare-and-swap on this memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_STALE; SHMR_CONTENDED; SHMR_EVICTED;
///         SHMR_REFORMATTED; SHMR_NO_RMW;
///         SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_remove(
    registry: *mut shmr_registry,
    presence: *mut shmr_presence,
    segment: *const shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let found = value(segment, Argument::Segment)?.found()?;
            let segment = found.ok_or(Fault::invalid(Argument::Segment))?;
            Ok(registry.remove(claim(presence)?, &segment)?)
        })
    }
}

/// shmr_registry_is_current() - whether a segment is still what its identifier names
/// @registry: the registry
/// @segment:  the segment
///
/// Return: also false for arguments that cannot be used.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_is_current(
    registry: *const shmr_registry,
    segment: *const shmr_segment,
) -> bool {
    // SAFETY: the caller's, here and below.
    let (registry, segment) = unsafe {
        (
            get(registry, Argument::Registry),
            value(segment, Argument::Segment),
        )
    };
    match (registry, segment.and_then(shmr_segment::found)) {
        (Ok(registry), Ok(Some(segment))) => registry.is_current(&segment),
        _ => false,
    }
}

/// shmr_registry_reap() - take back what partitions that are gone left half-made
/// @registry: the registry
/// @presence: the caller's; it beats while this takes long
/// @liveness: who knows which partitions are gone
/// @rows:     how many rows that were, or NULL
///
/// Nobody needs to wait for it: it gives back space. Needs compare-and-swap on this memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_CONTENDED or SHMR_CORRUPT, the rest is left for
///         the next time; SHMR_EVICTED; SHMR_REFORMATTED; SHMR_NO_RMW.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_reap(
    registry: *mut shmr_registry,
    presence: *mut shmr_presence,
    liveness: *const shmr_liveness,
    rows: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let (mut told, rows) = (Told::by(liveness)?, place_if_any(rows, Argument::Rows)?);
            let count = registry.reap(claim(presence)?, &mut told)?;
            if let Some(rows) = rows {
                rows.write(count);
            }
            Ok(())
        })
    }
}

/// shmr_registry_geometry() - the sizes that a registry was formatted with
/// @registry: the registry
/// @geometry: where they go
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_geometry(
    registry: *const shmr_registry,
    geometry: *mut shmr_geometry,
) -> shmr_status {
    let look = || {
        // SAFETY: the caller's.
        let sizes = unsafe { get(registry, Argument::Registry) }?.geometry();
        // SAFETY: the caller's.
        let out: &mut MaybeUninit<shmr_geometry> = unsafe { place(geometry, Argument::Geometry) }?;
        out.write(shmr_geometry {
            segments: sizes.segments,
            partitions: sizes.partitions,
            block: sizes.block,
        });
        Ok(())
    };
    status(look())
}

/// shmr_registry_free_len() - bytes that are free
/// @registry: the registry
///
/// Return: in whole blocks, not necessarily in one piece; 0 if @registry is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_free_len(registry: *const shmr_registry) -> usize {
    // SAFETY: the caller's.
    unsafe { get(registry, Argument::Registry) }.map_or(0, Registry::free_len)
}

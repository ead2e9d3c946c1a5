//! Identifier to segment: how segments are found, created and removed.

use shmem_registry::{Id, OpenError, Registry, Segment};

use crate::handle::{get, place, place_if_any, value, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::partition::{claim, shmr_attachment};
use crate::registry::shmr_registry;
use crate::segment::{give, shmr_request, shmr_segment};
use crate::status::shmr_status::SHMR_EMPTY;
use crate::status::{shmr_status, Fault, Outcome};
use crate::word::Argument;

/// shmr_registry_open_or_create() - find a segment, or create it, zeroed
/// @registry: the registry
/// @attachment: the caller's; it beats while this takes long
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
    attachment: *mut shmr_attachment,
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
                registry.open_or_create(claim(attachment)?, &request)?,
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
/// @attachment: the caller's; it beats while this takes long
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
    attachment: *mut shmr_attachment,
    segment: *const shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let found = value(segment, Argument::Segment)?.found()?;
            let segment = found.ok_or(Fault::invalid(Argument::Segment))?;
            Ok(registry.remove(claim(attachment)?, &segment)?)
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
/// @attachment: the caller's; it beats while this takes long
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
    attachment: *mut shmr_attachment,
    liveness: *const shmr_liveness,
    rows: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let (mut told, rows) = (
                CLiveness::by(liveness)?,
                place_if_any(rows, Argument::Rows)?,
            );
            let count = registry.reap(claim(attachment)?, &mut told)?;
            if let Some(rows) = rows {
                rows.write(count);
            }
            Ok(())
        })
    }
}

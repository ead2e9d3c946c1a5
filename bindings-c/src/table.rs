//! Finding, creating and removing segments by their identifiers.

use shmem_registry::{Id, OpenError, Registry, Segment};

use crate::handle::{get, optional_output, output, value, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::partition::{checked_attachment, shmr_attachment};
use crate::registry::shmr_registry;
use crate::segment::{shmr_request, shmr_segment, write_segment};
use crate::status::shmr_status::SHMR_EMPTY;
use crate::status::{shmr_status, Fault, Outcome};
use crate::word::Argument;

/// shmr_registry_open_or_create() - find a segment, or create it, zeroed
/// @registry:   the registry
/// @attachment: the caller's attachment; a long call also moves its heartbeat
/// @request:    which segment
/// @segment:    set to the segment
///
/// All partitions that request one identifier get the same segment. Needs compare-and-swap on this
/// memory. If the call fails, the region is unchanged; after SHMR_EVICTED, other partitions remove
/// what was created.
///
/// Return:
/// * SHMR_OK
/// * SHMR_KIND, SHMR_LENGTH: the segment exists with another kind or length, which is the error's
///   value. Request the same in all partitions.
/// * SHMR_COLLISION: another name has this identifier. Use another name.
/// * SHMR_TABLE_FULL: no row is free, and the error's value is the number of rows. Remove or reap
///   segments, or use a larger geometry.
/// * SHMR_OUT_OF_SPACE: no run of free blocks is long enough. Remove or reap segments, or use a
///   larger region.
/// * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
///   does not help, call shmr_registry_reap().
/// * SHMR_NO_RMW: the segment does not exist, and this handle creates nothing
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_open_or_create(
    registry: *mut shmr_registry,
    attachment: *mut shmr_attachment,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            output(segment, Argument::Segment)?;
            let request = crate::segment::request(request)?;
            write_segment(
                segment,
                registry.open_or_create(checked_attachment(attachment)?, &request)?,
            )
        })
    }
}

/// shmr_registry_open() - find a segment of the requested kind and length
/// @registry: the registry
/// @request:  which segment
/// @segment:  set to the segment
///
/// Only loads.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_FOUND: no segment has this identifier. Create it, or try again later.
/// * SHMR_KIND, SHMR_LENGTH: the segment has another kind or length, which is the error's value.
///   Request the same in all partitions.
/// * SHMR_COLLISION: another name has this identifier. Use another name.
/// * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
///   does not help, call shmr_registry_reap().
/// * SHMR_EINVAL, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_open(
    registry: *mut shmr_registry,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            output(segment, Argument::Segment)?;
            write_segment(segment, registry.open(&crate::segment::request(request)?)?)
        })
    }
}

/// shmr_registry_lookup() - find a segment of any kind and length
/// @registry: the registry
/// @id:       its identifier
/// @segment:  set to the segment
///
/// Only loads.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_FOUND: no segment has this identifier. Try again later.
/// * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
///   does not help, call shmr_registry_reap().
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_lookup(
    registry: *mut shmr_registry,
    id: u64,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            output(segment, Argument::Segment)?;
            let id = Id::new(id).ok_or(Fault::invalid(Argument::Id))?;
            write_segment(segment, registry.lookup(id)?)
        })
    }
}

/// shmr_registry_next() - list the segments
/// @registry: the registry
/// @cursor:   0 for the first segment; each call advances it
/// @segment:  set to the segment
///
/// Only loads. The list may lack segments that are created or removed meanwhile.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EMPTY: there are no more segments
/// * SHMR_CONTENDED, SHMR_CORRUPT: for one row only; the next call continues after it
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_next(
    registry: *mut shmr_registry,
    cursor: *mut usize,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            let first = *value(cursor, Argument::Cursor)?;
            output(segment, Argument::Segment)?;
            let rows = registry.geometry().segments;
            let found =
                (first..rows).find_map(|row| Some((row + 1, segment_in_row(registry, row)?)));
            let (next, found) = found.unwrap_or((rows, Err(Fault::new(SHMR_EMPTY))));
            output(cursor, Argument::Cursor)?.write(next);
            write_segment(segment, found?)
        })
    }
}

/// Returns the segment in a row, if a lookup finds it there, or the lookup's error.
fn segment_in_row(registry: &Registry<'static>, row: usize) -> Option<Outcome<Segment<'static>>> {
    let words = registry.row_words(row)?;
    let id = Id::new(words.id).filter(|_| words.is_named())?;
    match registry.lookup(id) {
        Ok(found) => (found.row() == row).then_some(Ok(found)),
        Err(OpenError::NotFound) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// shmr_registry_remove() - remove a segment
/// @registry:   the registry
/// @attachment: the caller's attachment; a long call also moves its heartbeat
/// @segment:    the segment
///
/// No partition may use the segment any more: its bytes are reused. Needs compare-and-swap on this
/// memory.
///
/// Return:
/// * SHMR_OK
/// * SHMR_STALE: the segment was already removed
/// * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
///   does not help, call shmr_registry_reap().
/// * SHMR_NO_RMW: this handle removes nothing
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_remove(
    registry: *mut shmr_registry,
    attachment: *mut shmr_attachment,
    segment: *const shmr_segment,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            let found = value(segment, Argument::Segment)?.registered()?;
            let segment = found.ok_or(Fault::invalid(Argument::Segment))?;
            Ok(registry.remove(checked_attachment(attachment)?, &segment)?)
        })
    }
}

/// shmr_registry_is_current() - whether a segment is still the one that its identifier names
/// @registry: the registry
/// @segment:  the segment
///
/// Return: true if it is; false if it is not, or an argument is unusable.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_is_current(
    registry: *const shmr_registry,
    segment: *const shmr_segment,
) -> bool {
    // SAFETY: guaranteed by the caller, here and below.
    let (registry, segment) = unsafe {
        (
            get(registry, Argument::Registry),
            value(segment, Argument::Segment),
        )
    };
    match (registry, segment.and_then(shmr_segment::registered)) {
        (Ok(registry), Ok(Some(segment))) => registry.is_current(&segment),
        _ => false,
    }
}

/// shmr_registry_reap() - free rows and blocks that dead partitions left half-created or
/// half-removed
/// @registry:   the registry
/// @attachment: the caller's attachment; a long call also moves its heartbeat
/// @liveness:   knows which partitions are gone
/// @rows:       set to the number of rows that were freed; or NULL
///
/// No other partition waits for this call. Needs compare-and-swap on this memory.
///
/// Return:
/// * SHMR_OK
/// * SHMR_CONTENDED, SHMR_CORRUPT: not everything was freed. Call again later.
/// * SHMR_NO_RMW: this handle reaps nothing
/// * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_reap(
    registry: *mut shmr_registry,
    attachment: *mut shmr_attachment,
    liveness: *const shmr_liveness,
    rows: *mut usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(registry, |registry| {
            let (mut liveness, rows) = (
                CLiveness::from_ptr(liveness)?,
                optional_output(rows, Argument::Rows)?,
            );
            let count = registry.reap(checked_attachment(attachment)?, &mut liveness)?;
            if let Some(rows) = rows {
                rows.write(count);
            }
            Ok(())
        })
    }
}

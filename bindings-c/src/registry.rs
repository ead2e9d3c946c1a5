//! Identifier to segment.

use core::ffi::{c_char, c_void};
use core::mem::{align_of, size_of, MaybeUninit};

use shmem_core::{Life, Window};
use shmem_registry::{Geometry, Id, Kind, Registry, Request, Segment};

use crate::handle::{c_string, get, handle, open, place, place_if_any, value, with};
use crate::liveness::{shmr_liveness, Told};
use crate::region::{shmr_region, window};
use crate::status::shmr_status::SHMR_EMPTY;
use crate::status::{shmr_error, shmr_status, status, Fault, Outcome};

/// struct shmr_registry - the table from identifier to segment in a region
/// @error: why the last call on it failed
///
/// Needs no closing. Several handles on one registry may be open.
#[repr(C)]
pub struct shmr_registry {
    pub error: shmr_error,
    opaque: [u64; 14],
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

/// struct shmr_request - what is asked of a registry
/// @name:  1 to 32 bytes, or NULL; its identifier is shmr_id_from_name()
/// @id:    the identifier if there is no name, not 0
/// @kind:  SHMR_KIND_RING and so on
/// @len:   bytes, as shmr_ring_len() and the like say
/// @align: a power of two, or 0 for the least there is, which is 128
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_request {
    pub name: *const c_char,
    pub id: u64,
    pub kind: u32,
    pub len: usize,
    pub align: usize,
}

/// struct shmr_segment - a segment that was found or created
/// @base:   its first byte
/// @len:    bytes
/// @offset: where it starts, from the region's start
/// @id:     its identifier; 0 if it is in no registry
/// @kind:   what it holds
/// @name:   its name, whatever its creator stored; empty if it has none
///
/// A copy, not a handle. The bytes are there as long as nobody removes the segment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_segment {
    pub base: *mut c_void,
    pub len: usize,
    pub offset: u64,
    pub id: u64,
    pub kind: u32,
    pub name: [c_char; 36],
    opaque: [u64; 20],
}

/// Bytes of the application's own making.
pub const SHMR_KIND_RAW: u32 = 0;
/// A ring.
pub const SHMR_KIND_RING: u32 = 1;
/// A snapshot.
pub const SHMR_KIND_SNAPSHOT: u32 = 2;
/// A mutex.
pub const SHMR_KIND_MUTEX: u32 = 3;
/// A mutex that needs no read-modify-write.
pub const SHMR_KIND_BAKERY: u32 = 4;
/// A semaphore.
pub const SHMR_KIND_SEMAPHORE: u32 = 5;
/// A reader-writer lock.
pub const SHMR_KIND_RWLOCK: u32 = 6;
/// A barrier.
pub const SHMR_KIND_BARRIER: u32 = 7;
/// The first number that applications may give meaning to.
pub const SHMR_KIND_APPLICATION: u32 = 0x1_0000;

const _: () = assert!(
    SHMR_KIND_RAW == Kind::RAW.0
        && SHMR_KIND_RING == Kind::RING.0
        && SHMR_KIND_SNAPSHOT == Kind::SNAPSHOT.0
        && SHMR_KIND_MUTEX == Kind::MUTEX.0
        && SHMR_KIND_BAKERY == Kind::BAKERY.0
        && SHMR_KIND_SEMAPHORE == Kind::SEMAPHORE.0
        && SHMR_KIND_RWLOCK == Kind::RWLOCK.0
        && SHMR_KIND_BARRIER == Kind::BARRIER.0
        && SHMR_KIND_APPLICATION == Kind::APPLICATION.0
);

/// What is behind the first word of `opaque`.
#[derive(Clone, Copy)]
struct Found {
    window: Window<'static>,
    segment: Option<Segment<'static>>,
}

/// Words of `opaque`, whose first one is [`SEGMENT`].
const WORDS: usize = 20;
const SEGMENT: u64 = u64::from_le_bytes(*b"segment\0");

const _: () = assert!(
    size_of::<Found>() <= size_of::<[u64; WORDS - 1]>() && align_of::<Found>() <= align_of::<u64>()
);

impl shmr_segment {
    fn of(window: Window<'static>, segment: Option<Segment<'static>>) -> Self {
        let mut own = Self {
            base: window.address().as_ptr().cast(),
            len: segment.map_or(window.len(), |segment| segment.len()),
            offset: segment.map_or(0, |segment| segment.offset() as u64),
            id: segment.map_or(0, |segment| segment.id().get()),
            kind: segment.map_or(SHMR_KIND_RAW, |segment| segment.kind().0),
            name: [0; 36],
            opaque: [0; WORDS],
        };
        if let Some(segment) = segment {
            for (to, &from) in own.name.iter_mut().zip(segment.name().bytes()) {
                *to = from as c_char;
            }
        }
        let found = Found { window, segment };
        own.opaque[0] = SEGMENT;
        // SAFETY: room for it, as asserted above.
        unsafe { own.opaque[1..].as_mut_ptr().cast::<Found>().write(found) };
        own
    }

    fn found(&self) -> Outcome<Found> {
        if self.opaque[0] != SEGMENT {
            return Err(Fault::invalid("segment"));
        }
        // SAFETY: written by `of`, which alone writes the first word.
        Ok(unsafe { *self.opaque[1..].as_ptr().cast::<Found>() })
    }
}

/// The bytes of a segment that the caller has.
///
/// # Safety
///
/// Null, or a segment that a call made.
pub(crate) unsafe fn segment_window(segment: *const shmr_segment) -> Outcome<Window<'static>> {
    // SAFETY: the caller's.
    Ok(unsafe { value(segment, "segment") }?.found()?.window)
}

/// The length of a segment that has `len` bytes of something, if those are few enough
/// to be counted.
pub(crate) fn sized(len: usize, of: impl FnOnce(usize) -> usize) -> usize {
    const MOST: usize = 1 << 30;
    if len <= MOST {
        of(len)
    } else {
        0
    }
}

/// A life that the caller named.
pub(crate) fn life(word: u32) -> Outcome<Life> {
    Life::from_word(word).ok_or(Fault::invalid("life"))
}

/// A request in Rust's form.
///
/// # Safety
///
/// Null, or a request whose name is null or a string.
unsafe fn request(request: *const shmr_request) -> Outcome<Request> {
    // SAFETY: the caller's.
    let asked = unsafe { value(request, "request") }?;
    let kind = Kind(asked.kind);
    let request = if asked.name.is_null() {
        let id = Id::new(asked.id).ok_or(Fault::invalid("request id"))?;
        Request::new(id, kind, asked.len)?
    } else {
        // SAFETY: the caller's.
        let name = unsafe { c_string(asked.name, "request name") }?;
        Request::named(name, kind, asked.len)?
    };
    match asked.align {
        0 => Ok(request),
        align => Ok(request.aligned(align)?),
    }
}

/// Stores a segment that was found.
///
/// # Safety
///
/// Null, or room for a segment.
unsafe fn give(out: *mut shmr_segment, segment: Segment<'static>) -> Outcome {
    // SAFETY: the caller's.
    let out = unsafe { place(out, "segment") }?;
    out.write(shmr_segment::of(segment.window(), Some(segment)));
    Ok(())
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
            let asked = unsafe { value(geometry, "geometry") }?;
            sizes.segments = asked.segments;
            sizes.partitions = asked.partitions;
            sizes.block = asked.block;
        }
        // SAFETY: the caller's.
        let region = unsafe { get(region, "region") }?;
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
    unsafe { open(registry, || Ok(Registry::attach(*get(region, "region")?)?)) }
}

/// shmr_registry_open_or_create() - find a segment, or create it, zeroed
/// @registry: the registry
/// @life:     the caller's, from shmr_presence_life()
/// @request:  what is wanted
/// @segment:  where it goes
///
/// All partitions that ask for one identifier get one segment. Needs compare-and-swap
/// on this memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_KIND, SHMR_LENGTH or SHMR_COLLISION, there is
///         another; SHMR_TABLE_FULL; SHMR_OUT_OF_SPACE; SHMR_CONTENDED; SHMR_REPLACED;
///         SHMR_CORRUPT. The region is as it was unless it is SHMR_OK.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_open_or_create(
    registry: *mut shmr_registry,
    life: u32,
    request: *const shmr_request,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            place(segment, "segment")?;
            let found = registry.open_or_create(self::life(life)?, &self::request(request)?)?;
            give(segment, found)
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
            place(segment, "segment")?;
            give(segment, registry.open(&self::request(request)?)?)
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
            place(segment, "segment")?;
            let id = Id::new(id).ok_or(Fault::invalid("id"))?;
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
///         SHMR_CORRUPT, of this one: the next call goes on behind it.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_next(
    registry: *mut shmr_registry,
    cursor: *mut usize,
    segment: *mut shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let first = *value(cursor, "cursor")?;
            place(segment, "segment")?;
            let found = registry.segments_from(first).next();
            let next = match &found {
                Some(Ok(found)) => found.row() + 1,
                // Which row it is is not known; the search began there.
                Some(Err(_)) => first + 1,
                None => registry.geometry().segments,
            };
            place(cursor, "cursor")?.write(next);
            match found {
                Some(found) => give(segment, found?),
                None => Err(Fault::new(SHMR_EMPTY)),
            }
        })
    }
}

/// shmr_registry_remove() - remove a segment
/// @registry: the registry
/// @life:     the caller's
/// @segment:  what is removed
///
/// Whoever still uses it must have let go, as its bytes go to others. Needs
/// compare-and-swap on this memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_STALE; SHMR_CONTENDED; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_remove(
    registry: *mut shmr_registry,
    life: u32,
    segment: *const shmr_segment,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let found = value(segment, "segment")?.found()?.segment;
            let segment = found.ok_or(Fault::invalid("segment"))?;
            Ok(registry.remove(self::life(life)?, &segment)?)
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
    let (registry, segment) = unsafe { (get(registry, "registry"), value(segment, "segment")) };
    match (registry, segment.and_then(shmr_segment::found)) {
        (
            Ok(registry),
            Ok(Found {
                segment: Some(segment),
                ..
            }),
        ) => registry.is_current(&segment),
        _ => false,
    }
}

/// shmr_registry_reap() - take back what partitions that died left half-made
/// @registry: the registry
/// @life:     the caller's
/// @liveness: who knows which lives are over
/// @rows:     how many rows that were, or NULL
///
/// Nobody needs to wait for it: it gives back space. Needs compare-and-swap on this memory.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_CONTENDED or SHMR_CORRUPT, the rest is left for
///         the next time.
#[no_mangle]
pub unsafe extern "C" fn shmr_registry_reap(
    registry: *mut shmr_registry,
    life: u32,
    liveness: *const shmr_liveness,
    rows: *mut usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(registry, |registry| {
            let (mut told, rows) = (Told::by(liveness)?, place_if_any(rows, "rows")?);
            let count = registry.reap(self::life(life)?, &mut told)?;
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
        let sizes = unsafe { get(registry, "registry") }?.geometry();
        // SAFETY: the caller's.
        let out: &mut MaybeUninit<shmr_geometry> = unsafe { place(geometry, "geometry") }?;
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
    unsafe { get(registry, "registry") }.map_or(0, Registry::free_len)
}

/// shmr_segment_at() - take memory for a segment, where there is no registry
/// @segment: where it goes
/// @base:    first byte, a multiple of 128; zeroed before its first use
/// @len:     bytes, as shmr_ring_len() and the like say
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_segment_at(
    segment: *mut shmr_segment,
    base: *mut c_void,
    len: usize,
) -> shmr_status {
    let make = || {
        // SAFETY: the caller's.
        let window = unsafe { window(base, len) }?;
        // SAFETY: the caller's.
        let out: &mut MaybeUninit<shmr_segment> = unsafe { place(segment, "segment") }?;
        out.write(shmr_segment::of(window, None));
        Ok(())
    };
    status(make())
}

/// shmr_id_from_name() - the identifier of a name
/// @name: a string
///
/// Return: its 64-bit FNV-1a hash (1 for the name whose hash is 0); 0 if @name is NULL.
#[no_mangle]
pub unsafe extern "C" fn shmr_id_from_name(name: *const c_char) -> u64 {
    // SAFETY: the caller's.
    unsafe { c_string(name, "name") }.map_or(0, |name| Id::from_name(name).get())
}

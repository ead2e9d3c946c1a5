//! A segment, and what is asked for to get one.

use core::ffi::{c_char, c_void};
use core::mem::{align_of, size_of, MaybeUninit};

use shmem_core::Window;
use shmem_registry::{Id, Kind, Request, Segment};

use crate::handle::{c_string, place, value};
use crate::region::window;
use crate::status::{shmr_status, status, Fault, Outcome};
use crate::word::Argument;

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
    // Not numbers: a copy of numbers would not be a copy of the pointers among them.
    opaque: [MaybeUninit<u64>; 20],
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
/// Where two partitions find out what works across the memory.
pub const SHMR_KIND_LITMUS: u32 = 8;
/// The segment's kind: a channel's call line.
pub const SHMR_KIND_CALL_LINE: u32 = 10;
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
        && SHMR_KIND_LITMUS == Kind::LITMUS.0
        && SHMR_KIND_CALL_LINE == Kind::CALL_LINE.0
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
            opaque: [MaybeUninit::new(0); WORDS],
        };
        if let Some(segment) = segment {
            for (to, &from) in own.name.iter_mut().zip(segment.name().bytes()) {
                *to = from as c_char;
            }
        }
        let found = Found { window, segment };
        own.opaque[0].write(SEGMENT);
        // SAFETY: room for it, as asserted above.
        unsafe { own.opaque[1..].as_mut_ptr().cast::<Found>().write(found) };
        own
    }

    /// What a registry calls it, if it is in one.
    pub(crate) fn found(&self) -> Outcome<Option<Segment<'static>>> {
        Ok(self.inside()?.segment)
    }

    fn inside(&self) -> Outcome<Found> {
        // SAFETY: a number, whatever was there.
        if unsafe { self.opaque[0].assume_init() } != SEGMENT {
            return Err(Fault::invalid(Argument::Segment));
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
    Ok(unsafe { value(segment, Argument::Segment) }?
        .inside()?
        .window)
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

/// A request in Rust's form.
///
/// # Safety
///
/// Null, or a request whose name is null or a string.
pub(crate) unsafe fn request(request: *const shmr_request) -> Outcome<Request> {
    // SAFETY: the caller's.
    let asked = unsafe { value(request, Argument::Request) }?;
    let kind = Kind(asked.kind);
    let request = if asked.name.is_null() {
        let id = Id::new(asked.id).ok_or(Fault::invalid(Argument::RequestId))?;
        Request::new(id, kind, asked.len)?
    } else {
        // SAFETY: the caller's.
        let name = unsafe { c_string(asked.name, Argument::RequestName) }?;
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
pub(crate) unsafe fn give(out: *mut shmr_segment, segment: Segment<'static>) -> Outcome {
    // SAFETY: the caller's.
    let out = unsafe { place(out, Argument::Segment) }?;
    out.write(shmr_segment::of(segment.window(), Some(segment)));
    Ok(())
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
        let out: &mut MaybeUninit<shmr_segment> = unsafe { place(segment, Argument::Segment) }?;
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
    unsafe { c_string(name, Argument::Name) }.map_or(0, |name| Id::from_name(name).get())
}

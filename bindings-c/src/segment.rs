//! Segments, and requests for them.

use core::ffi::{c_char, c_void};
use core::mem::{align_of, size_of, MaybeUninit};

use shmem_core::Window;
use shmem_registry::{Id, Kind, Request, Segment};

use crate::handle::{c_string, output, value};
use crate::region::window;
use crate::status::{shmr_status, status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_request - which segment a registry has to find or create
/// @name:  1 to 32 bytes, or NULL; its identifier is shmr_id_from_name()
/// @id:    the identifier if there is no name; not 0
/// @kind:  SHMR_KIND_RING and so on
/// @len:   bytes, as shmr_ring_len() and the like return
/// @align: a power of two, or 0 for the minimum, which is 128
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
/// @len:    its bytes
/// @offset: its offset from the start of the region
/// @id:     its identifier; 0 if it is not in a registry
/// @kind:   what it contains
/// @name:   its name, as its creator stored it; empty if it has none
///
/// A value, not a handle: it can be copied. The bytes stay valid until the segment is removed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_segment {
    pub base: *mut c_void,
    pub len: usize,
    pub offset: u64,
    pub id: u64,
    pub kind: u32,
    pub name: [c_char; 36],
    // Not plain numbers: copying numbers would not copy the pointers that are stored in them.
    opaque: [MaybeUninit<u64>; 20],
}

/// The application's own bytes.
pub const SHMR_KIND_RAW: u32 = 0;
/// A ring.
pub const SHMR_KIND_RING: u32 = 1;
/// A snapshot.
pub const SHMR_KIND_SNAPSHOT: u32 = 2;
/// A mutex.
pub const SHMR_KIND_MUTEX: u32 = 3;
/// A bakery mutex, which needs no read-modify-write.
pub const SHMR_KIND_BAKERY: u32 = 4;
/// A semaphore.
pub const SHMR_KIND_SEMAPHORE: u32 = 5;
/// A reader-writer lock.
pub const SHMR_KIND_RWLOCK: u32 = 6;
/// A barrier.
pub const SHMR_KIND_BARRIER: u32 = 7;
/// The words of a test of the memory (shmr_litmus_ask()).
pub const SHMR_KIND_LITMUS: u32 = 8;
/// A channel's call line. (9 is a typed ring, which has no calls in C.)
pub const SHMR_KIND_CALL_LINE: u32 = 10;
/// The first number that applications may use for their own kinds.
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

/// The value in `opaque`, after its first word.
#[derive(Clone, Copy)]
struct Contents {
    window: Window<'static>,
    segment: Option<Segment<'static>>,
}

/// The number of words of `opaque`. The first one is [`SEGMENT`].
const WORDS: usize = 20;
const SEGMENT: u64 = u64::from_le_bytes(*b"segment\0");

const _: () = assert!(
    size_of::<Contents>() <= size_of::<[u64; WORDS - 1]>()
        && align_of::<Contents>() <= align_of::<u64>()
);

impl shmr_segment {
    /// Makes a segment of `window` in its place: a returned one would be copied.
    ///
    /// # Safety
    ///
    /// As [`output`].
    unsafe fn make<'s>(to: *mut Self, window: Window<'static>) -> Outcome<&'s mut Self> {
        // SAFETY: guaranteed by the caller.
        let to = unsafe { output(to, Argument::Segment) }?;
        let own = to.write(Self {
            base: window.address().as_ptr().cast(),
            len: window.len(),
            offset: 0,
            id: 0,
            kind: SHMR_KIND_RAW,
            name: [0; 36],
            opaque: [MaybeUninit::new(0); WORDS],
        });
        own.opaque[0].write(SEGMENT);
        own.set_contents(window, None);
        Ok(own)
    }

    fn set_contents(&mut self, window: Window<'static>, segment: Option<Segment<'static>>) {
        let contents = self.opaque[1..].as_mut_ptr().cast::<Contents>();
        // SAFETY: room for it, as asserted above.
        unsafe { contents.write(Contents { window, segment }) };
    }

    /// Returns the registry's segment, if it is in a registry.
    pub(crate) fn registered(&self) -> Outcome<Option<Segment<'static>>> {
        Ok(self.contents()?.segment)
    }

    fn contents(&self) -> Outcome<Contents> {
        // SAFETY: a number, whatever was there.
        if unsafe { self.opaque[0].assume_init() } != SEGMENT {
            return Err(Fault::invalid(Argument::Segment));
        }
        // SAFETY: written by `make`, which alone writes the first word.
        Ok(unsafe { *self.opaque[1..].as_ptr().cast::<Contents>() })
    }
}

/// Returns the bytes of a segment.
///
/// # Safety
///
/// Null, or a segment that a call set.
pub(crate) unsafe fn segment_window(segment: *const shmr_segment) -> Outcome<Window<'static>> {
    // SAFETY: guaranteed by the caller.
    Ok(unsafe { value(segment, Argument::Segment) }?
        .contents()?
        .window)
}

/// Returns the length of a segment for `len` bytes; 0 if they are more than 1 GiB.
pub(crate) fn bounded_len(len: usize, len_of: impl FnOnce(usize) -> usize) -> usize {
    const MOST: usize = 1 << 30;
    if len <= MOST {
        len_of(len)
    } else {
        0
    }
}

/// Converts a request.
///
/// # Safety
///
/// Null, or a request whose name is null or a string.
pub(crate) unsafe fn request(request: *const shmr_request) -> Outcome<Request> {
    // SAFETY: guaranteed by the caller.
    let given = unsafe { value(request, Argument::Request) }?;
    let kind = Kind(given.kind);
    let request = if given.name.is_null() {
        let id = Id::new(given.id).ok_or(Fault::invalid(Argument::RequestId))?;
        Request::new(id, kind, given.len)?
    } else {
        // SAFETY: guaranteed by the caller.
        let name = unsafe { c_string(given.name, Argument::RequestName) }?;
        Request::named(name, kind, given.len)?
    };
    match given.align {
        0 => Ok(request),
        align => Ok(request.aligned(align)?),
    }
}

/// Stores a segment that was found.
///
/// # Safety
///
/// Null, or room for a segment.
pub(crate) unsafe fn write_segment(out: *mut shmr_segment, segment: Segment<'static>) -> Outcome {
    // SAFETY: guaranteed by the caller.
    let out = unsafe { shmr_segment::make(out, segment.window()) }?;
    out.offset = segment.offset() as u64;
    out.id = segment.id().get();
    out.kind = segment.kind().0;
    for (to, &from) in out.name.iter_mut().zip(segment.name().bytes()) {
        *to = from as c_char;
    }
    out.set_contents(segment.window(), Some(segment));
    Ok(())
}

/// shmr_segment_from_memory() - describe the caller's memory as a segment, without a registry
/// @segment: set to the segment
/// @base:    first byte, a multiple of 128; the memory must be zeroed before its first use
/// @len:     number of bytes, as shmr_ring_len() and the like return
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_segment_from_memory(
    segment: *mut shmr_segment,
    base: *mut c_void,
    len: usize,
) -> shmr_status {
    let make = || {
        // SAFETY: guaranteed by the caller.
        let window = unsafe { window(base, len) }?;
        // SAFETY: guaranteed by the caller.
        unsafe { shmr_segment::make(segment, window) }.map(drop)
    };
    status(make())
}

/// shmr_id_from_name() - the identifier of a name
/// @name: a string
///
/// Return: its 64-bit FNV-1a hash (1 if the hash is 0); 0 if @name is NULL.
#[no_mangle]
pub unsafe extern "C" fn shmr_id_from_name(name: *const c_char) -> u64 {
    // SAFETY: guaranteed by the caller.
    unsafe { c_string(name, Argument::Name) }.map_or(0, |name| Id::from_name(name).get())
}

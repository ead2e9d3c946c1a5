//! Rust values in memory of a C program.
//!
//! An open handle contains a tag, which depends on its type and its address. So a handle is not
//! open if it was closed, if it is a copy of an open one, or if no handle was opened at its
//! address. One case cannot be detected: memory in which a handle of the same type was open at the
//! same address, and which was neither closed nor overwritten, seems to be open.
//!
//! Other handles point to the state in a session's handle. Calls on it use [`with_shared`] and
//! [`close_if`]: there is never a `&mut` to the state while other threads read it.

use core::ffi::c_char;
use core::mem::{needs_drop, MaybeUninit};
use core::ptr::addr_of;
use core::ptr::addr_of_mut;
use core::slice;

use crate::status::shmr_status::SHMR_OPEN;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// A C struct that contains a Rust value.
///
/// # Safety
///
/// It is `repr(C)`, and large and aligned enough for `Storage<Self::Inner>`, which [`fits`] checks.
/// Its first field is a [`shmr_error`].
pub(crate) unsafe trait Handle {
    type Inner;
    /// Distinguishes open handles of this type from those of other types.
    const TAG: u32;
}

/// The contents of a handle.
#[repr(C)]
pub(crate) struct Storage<T> {
    /// Uninitialised in a handle that was never opened.
    error: MaybeUninit<shmr_error>,
    /// [`tag`] while the handle is open.
    tag: usize,
    inner: MaybeUninit<T>,
}

/// Returns the tag of an open handle of this type at this address.
fn tag<T>(handle: *const T, kind: u32) -> usize {
    // Into the half in which the addresses of one program hardly differ.
    (kind as usize).rotate_left(usize::BITS / 2) ^ handle as usize
}

/// Returns true if a handle has room for its contents.
pub(crate) const fn fits<H: Handle>() -> bool {
    core::mem::size_of::<Storage<H::Inner>>() <= core::mem::size_of::<H>()
        && core::mem::align_of::<Storage<H::Inner>>() <= core::mem::align_of::<H>()
}

/// Declares the Rust value that a C struct contains.
macro_rules! handle {
    ($name:ty, $tag:literal, $inner:ty) => {
        // SAFETY: `repr(C)`, begins with an error; the rest is checked below.
        unsafe impl crate::handle::Handle for $name {
            type Inner = $inner;
            const TAG: u32 = u32::from_le_bytes(*$tag);
        }
        const _: () = assert!(crate::handle::fits::<$name>());
    };
}
pub(crate) use handle;

/// Returns the contents of an open handle.
///
/// # Safety
///
/// Null, or memory of an `H` that has no other user now (C2, C3).
#[inline(always)]
unsafe fn storage<'h, H: Handle>(handle: *mut H) -> Option<&'h mut Storage<H::Inner>> {
    // SAFETY: guaranteed by the caller.
    let open = unsafe { is_open(handle.cast(), core::mem::align_of::<H>(), H::TAG) };
    // SAFETY: neither null nor misaligned, and large enough by `Handle`; the caller guarantees
    // for the rest. Uninitialised bytes are read as numbers only.
    open.then(|| unsafe { &mut *handle.cast::<Storage<H::Inner>>() })
}

/// Returns true if there is an aligned handle with its tag.
///
/// # Safety
///
/// Null, or memory of a handle.
// One copy for all types in the library for bootloaders, where code must be small.
#[cfg_attr(not(feature = "linux"), inline(never))]
unsafe fn is_open(handle: *const Storage<()>, align: usize, kind: u32) -> bool {
    // SAFETY: neither null nor misaligned; the tag has the same place in all handles.
    is_aligned(handle, align) && unsafe { (*handle).tag } == tag(handle, kind)
}

fn is_aligned<T>(pointer: *const T, align: usize) -> bool {
    !pointer.is_null() && pointer as usize % align == 0
}

/// Returns true if a pointer is neither null nor misaligned: `is_aligned` came with Rust 1.79.
fn is_sound<T>(pointer: *const T) -> bool {
    is_aligned(pointer, core::mem::align_of::<T>())
}

/// Opens a handle with the value that `make` returns, or stores in the handle why that failed.
///
/// A handle that is open and needs closing stays unchanged.
///
/// # Safety
///
/// As [`storage`].
pub(crate) unsafe fn open<H: Handle>(
    handle: *mut H,
    make: impl FnOnce() -> Outcome<H::Inner>,
) -> shmr_status {
    // SAFETY: guaranteed by the caller; a whole value is written.
    unsafe {
        open_in_place(handle, |inner: *mut H::Inner| {
            inner.write(make()?);
            Ok(())
        })
    }
}

/// Opens a handle as [`open`]: `init` writes the value in its final place. If `init` fails, nothing
/// of it is dropped.
///
/// # Safety
///
/// As [`storage`]; `init` writes a whole value, or fails.
pub(crate) unsafe fn open_in_place<H: Handle>(
    handle: *mut H,
    init: impl FnOnce(*mut H::Inner) -> Outcome,
) -> shmr_status {
    let storage = handle.cast::<Storage<H::Inner>>();
    let align = core::mem::align_of::<H>();
    // SAFETY: guaranteed by the caller; after `begin_open` neither null nor misaligned, and large
    // enough by `Handle`. What is there is overwritten, not dropped.
    unsafe {
        match begin_open(storage.cast(), align, H::TAG, needs_drop::<H::Inner>()) {
            shmr_status::SHMR_OK => {
                let made = init(addr_of_mut!((*storage).inner).cast());
                finish_open(storage.cast(), H::TAG, made)
            }
            refused => refused,
        }
    }
}

/// Marks a handle as not open, unless it is open and `keeps` its value.
///
/// # Safety
///
/// As [`storage`].
// Here and below one copy for all types, as of `is_open`.
#[cfg_attr(not(feature = "linux"), inline(never))]
unsafe fn begin_open(
    storage: *mut Storage<()>,
    align: usize,
    kind: u32,
    keeps: bool,
) -> shmr_status {
    if !is_aligned(storage, align) {
        return shmr_status::SHMR_EINVAL;
    }
    // SAFETY: neither null nor misaligned; the error and the tag have the same place in all
    // handles. The caller guarantees the rest.
    unsafe {
        if keeps && is_open(storage, align, kind) {
            return fail(&mut *addr_of_mut!((*storage).error), Fault::new(SHMR_OPEN));
        }
        addr_of_mut!((*storage).tag).write(0);
    }
    shmr_status::SHMR_OK
}

/// Marks a handle as open if its value was made, or stores in it why that failed.
///
/// # Safety
///
/// After [`begin_open`]; the handle contains a value if it was made.
#[cfg_attr(not(feature = "linux"), inline(never))]
unsafe fn finish_open(storage: *mut Storage<()>, kind: u32, made: Outcome) -> shmr_status {
    // SAFETY: as in `begin_open`.
    unsafe {
        let error = &mut *addr_of_mut!((*storage).error);
        if let Err(fault) = made {
            return fail(error, fault);
        }
        error.write(shmr_error::NONE);
        addr_of_mut!((*storage).tag).write(tag(storage, kind));
    }
    shmr_status::SHMR_OK
}

/// Calls `work` with the value of an open handle, and stores in the handle why that failed.
///
/// # Safety
///
/// As [`storage`].
#[inline(always)]
pub(crate) unsafe fn with<H: Handle>(
    handle: *mut H,
    work: impl FnOnce(&mut H::Inner) -> Outcome,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    if !unsafe { is_open(handle.cast(), core::mem::align_of::<H>(), H::TAG) } {
        return shmr_status::SHMR_EINVAL;
    }
    // SAFETY: as in `storage`.
    let storage = unsafe { &mut *handle.cast::<Storage<H::Inner>>() };
    // SAFETY: a handle with the tag is open, hence initialised (C1).
    let inner = unsafe { storage.inner.assume_init_mut() };
    match work(inner) {
        Ok(()) => shmr_status::SHMR_OK,
        Err(fault) => fail(&mut storage.error, fault),
    }
}

/// Calls `work` with the value of an open handle that other threads read at the same time. Only
/// this call writes its error.
///
/// # Safety
///
/// As [`get`]; one thread at a time calls this for a handle.
pub(crate) unsafe fn with_shared<'h, H: Handle>(
    handle: *mut H,
    work: impl FnOnce(&'h H::Inner) -> Outcome,
) -> shmr_status
where
    H::Inner: 'h,
{
    // SAFETY: guaranteed by the caller.
    let Ok(inner) = (unsafe { get(handle, Argument::Handle) }) else {
        return shmr_status::SHMR_EINVAL;
    };
    match work(inner) {
        Ok(()) => shmr_status::SHMR_OK,
        Err(fault) => {
            let storage = handle.cast::<Storage<H::Inner>>();
            // SAFETY: an open handle; no other call uses its error now.
            fail(unsafe { &mut *addr_of_mut!((*storage).error) }, fault)
        }
    }
}

#[cold]
#[inline(never)]
fn fail(error: &mut MaybeUninit<shmr_error>, fault: Fault) -> shmr_status {
    error.write(shmr_error::NONE).set(fault);
    fault.status()
}

/// Returns the value of an open handle, for calls that do not write its error.
///
/// # Safety
///
/// As [`storage`], and the value does not change during `'h`.
pub(crate) unsafe fn get<'h, H: Handle>(
    handle: *const H,
    argument: Argument,
) -> Outcome<&'h H::Inner> {
    // SAFETY: guaranteed by the caller.
    let open = unsafe { is_open(handle.cast(), core::mem::align_of::<H>(), H::TAG) };
    if !open {
        return Err(Fault::invalid(argument));
    }
    let storage = handle.cast::<Storage<H::Inner>>();
    // SAFETY: as in `storage`, and initialised as in `with`; nothing is stored through it,
    // and the error, which may be written meanwhile, is no part of it.
    Ok(unsafe { &*addr_of!((*storage).inner).cast::<H::Inner>() })
}

/// Closes a handle, and drops its value.
///
/// # Safety
///
/// As [`storage`].
pub(crate) unsafe fn close<H: Handle>(handle: *mut H) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    let storage = unsafe { storage(handle) };
    let Some(storage) = storage else {
        return shmr_status::SHMR_EINVAL;
    };
    storage.tag = 0;
    // SAFETY: it was open; without its tag it is not dropped again.
    unsafe { storage.inner.assume_init_drop() };
    shmr_status::SHMR_OK
}

/// Closes a handle if `may` returns no error; otherwise the handle stays open.
///
/// # Safety
///
/// As [`storage`].
pub(crate) unsafe fn close_if<H: Handle>(
    handle: *mut H,
    may: impl FnOnce(&H::Inner) -> Outcome,
) -> shmr_status {
    let storage = handle.cast::<Storage<H::Inner>>();
    // SAFETY: guaranteed by the caller. It was open, and without its tag it is not dropped again.
    unsafe {
        let refused = with_shared(handle, may);
        if refused == shmr_status::SHMR_OK {
            addr_of_mut!((*storage).tag).write(0);
            addr_of_mut!((*storage).inner)
                .cast::<H::Inner>()
                .drop_in_place();
        }
        refused
    }
}

/// Returns the value that a pointer points to.
///
/// # Safety
///
/// Null, or a `T` that is valid and does not change during `'a`.
pub(crate) unsafe fn value<'a, T>(pointer: *const T, argument: Argument) -> Outcome<&'a T> {
    if !is_sound(pointer) {
        return Err(Fault::invalid(argument));
    }
    // SAFETY: neither null nor misaligned; the caller guarantees the rest.
    Ok(unsafe { &*pointer })
}

/// Returns the memory for a result.
///
/// # Safety
///
/// Null, or room for a `T` that has no other user during `'a`.
pub(crate) unsafe fn output<'a, T>(
    pointer: *mut T,
    argument: Argument,
) -> Outcome<&'a mut MaybeUninit<T>> {
    if !is_sound(pointer) {
        return Err(Fault::invalid(argument));
    }
    // SAFETY: neither null nor misaligned; the caller guarantees the rest.
    Ok(unsafe { &mut *pointer.cast() })
}

/// Returns the memory for a result; null if the caller does not want the result.
///
/// # Safety
///
/// As [`output`].
pub(crate) unsafe fn optional_output<'a, T>(
    pointer: *mut T,
    argument: Argument,
) -> Outcome<Option<&'a mut MaybeUninit<T>>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: guaranteed by the caller.
    unsafe { output(pointer, argument) }.map(Some)
}

/// Returns bytes to read. The pointer may be null if there are none.
///
/// # Safety
///
/// `len` readable bytes outside the region that do not change during `'a`.
pub(crate) unsafe fn bytes<'a>(
    pointer: *const core::ffi::c_void,
    len: usize,
    argument: Argument,
) -> Outcome<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || len > isize::MAX as usize {
        return Err(Fault::invalid(argument));
    }
    // SAFETY: not null; the caller guarantees the rest.
    Ok(unsafe { slice::from_raw_parts(pointer.cast(), len) })
}

/// Returns bytes to write. The pointer may be null if there are none.
///
/// # Safety
///
/// `len` writable initialised bytes outside the region that have no other user during `'a`.
pub(crate) unsafe fn bytes_mut<'a>(
    pointer: *mut core::ffi::c_void,
    len: usize,
    argument: Argument,
) -> Outcome<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() || len > isize::MAX as usize {
        return Err(Fault::invalid(argument));
    }
    // SAFETY: not null; the caller guarantees the rest.
    Ok(unsafe { slice::from_raw_parts_mut(pointer.cast(), len) })
}

/// The longest string that is read: paths and names are shorter.
const LONGEST: usize = 4096;

/// Returns the bytes of a C string.
///
/// # Safety
///
/// Null, or a terminated string that does not change during `'a`.
pub(crate) unsafe fn c_string<'a>(pointer: *const c_char, argument: Argument) -> Outcome<&'a [u8]> {
    let invalid = Fault::invalid(argument);
    if pointer.is_null() {
        return Err(invalid);
    }
    // Not by `CStr`, which needs C's `strlen`.
    // SAFETY: no byte after the string's end is read.
    let ends = |&len: &usize| unsafe { *pointer.wrapping_add(len) } == 0;
    let len = (0..LONGEST).find(ends).ok_or(invalid)?;
    // SAFETY: these bytes were just read; the caller guarantees the rest.
    Ok(unsafe { slice::from_raw_parts(pointer.cast(), len) })
}

/// Returns a C string of UTF-8.
///
/// # Safety
///
/// As [`c_string`].
#[cfg(feature = "linux")]
pub(crate) unsafe fn string<'a>(pointer: *const c_char, argument: Argument) -> Outcome<&'a str> {
    // SAFETY: guaranteed by the caller.
    let bytes = unsafe { c_string(pointer, argument) }?;
    core::str::from_utf8(bytes).map_err(|_| Fault::invalid(argument))
}

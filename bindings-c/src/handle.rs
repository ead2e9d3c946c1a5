//! Rust values in memory of a C program.
//!
//! An open handle has a tag of its type and its own address: one that was closed, that
//! is a copy of an open one, or whose memory never held an open one here is not open.
//! Memory in which a handle of the same type was open at the same address looks as
//! that handle does until it is closed or overwritten.
//!
//! A handle that others point to, a session's, is worked on by [`with_shared`] and closed by
//! [`close_if`]: there is never a `&mut` to what is in it while they read it.

use core::ffi::c_char;
use core::mem::{needs_drop, MaybeUninit};
use core::ptr::addr_of;
use core::ptr::addr_of_mut;
use core::slice;

use crate::status::shmr_status::SHMR_OPEN;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// A struct of C's that holds a Rust value.
///
/// # Safety
///
/// It is `repr(C)` and large and aligned enough for `Storage<Self::Inner>`, which
/// [`fits`] says; its first field is a [`shmr_error`].
pub(crate) unsafe trait Handle {
    type Inner;
    /// Tells open handles of this type from those of others.
    const TAG: u32;
}

/// What is in a handle.
#[repr(C)]
pub(crate) struct Storage<T> {
    /// In a handle that was never opened, whatever was there.
    error: MaybeUninit<shmr_error>,
    /// [`tag`] while it is open.
    tag: usize,
    inner: MaybeUninit<T>,
}

/// What is in an open handle of this type at this address, and nowhere else.
fn tag<T>(handle: *const T, kind: u32) -> usize {
    // Into the half in which addresses of one program hardly differ.
    (kind as usize).rotate_left(usize::BITS / 2) ^ handle as usize
}

/// Whether a handle has room for what it holds.
pub(crate) const fn fits<H: Handle>() -> bool {
    core::mem::size_of::<Storage<H::Inner>>() <= core::mem::size_of::<H>()
        && core::mem::align_of::<Storage<H::Inner>>() <= core::mem::align_of::<H>()
}

/// Says what a struct of C's holds.
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

/// What is in an open handle.
///
/// # Safety
///
/// Null, or memory of an `H` that nobody else uses now (C2, C3).
#[inline(always)]
unsafe fn storage<'h, H: Handle>(handle: *mut H) -> Option<&'h mut Storage<H::Inner>> {
    // SAFETY: the caller's.
    let open = unsafe { is_open(handle.cast(), core::mem::align_of::<H>(), H::TAG) };
    // SAFETY: neither null nor misaligned, large enough by `Handle`; the caller
    // answers for the rest. Uninitialised bytes are read as numbers only.
    open.then(|| unsafe { &mut *handle.cast::<Storage<H::Inner>>() })
}

/// Whether there is a handle, aligned, with its tag.
///
/// # Safety
///
/// Null, or memory of a handle.
// One for all where code is to be small.
#[cfg_attr(not(feature = "linux"), inline(never))]
unsafe fn is_open(handle: *const Storage<()>, align: usize, kind: u32) -> bool {
    // SAFETY: neither null nor misaligned; the tag lies where it lies in all handles.
    is_aligned(handle, align) && unsafe { (*handle).tag } == tag(handle, kind)
}

fn is_aligned<T>(pointer: *const T, align: usize) -> bool {
    !pointer.is_null() && pointer as usize % align == 0
}

/// Whether a pointer can be followed: `is_aligned` came with Rust 1.79.
fn is_sound<T>(pointer: *const T) -> bool {
    is_aligned(pointer, core::mem::align_of::<T>())
}

/// Opens a handle by what `make` makes; says in the handle why it could not.
///
/// One that is open and has something to close stays as it is.
///
/// # Safety
///
/// As [`storage`].
pub(crate) unsafe fn open<H: Handle>(
    handle: *mut H,
    make: impl FnOnce() -> Outcome<H::Inner>,
) -> shmr_status {
    if !is_sound(handle) {
        return shmr_status::SHMR_EINVAL;
    }
    if needs_drop::<H::Inner>() {
        // SAFETY: the caller's.
        if let Some(storage) = unsafe { storage(handle) } {
            return fail(&mut storage.error, Fault::new(SHMR_OPEN));
        }
    }
    // SAFETY: as in `storage`; what is there is overwritten, not dropped.
    let storage = unsafe { &mut *handle.cast::<Storage<H::Inner>>() };
    storage.tag = 0;
    match make() {
        Ok(inner) => {
            storage.error.write(shmr_error::NONE);
            storage.inner.write(inner);
            storage.tag = tag(handle, H::TAG);
            shmr_status::SHMR_OK
        }
        Err(fault) => fail(&mut storage.error, fault),
    }
}

/// The same of a value that points to itself: `init` writes it where it stays. If `init`
/// fails, nothing of it is dropped.
///
/// # Safety
///
/// As [`storage`]; `init` writes a whole value, or fails.
pub(crate) unsafe fn open_in_place<H: Handle>(
    handle: *mut H,
    init: impl FnOnce(*mut H::Inner) -> Outcome,
) -> shmr_status {
    if !is_sound(handle) {
        return shmr_status::SHMR_EINVAL;
    }
    let storage = handle.cast::<Storage<H::Inner>>();
    // SAFETY: neither null nor misaligned, large enough by `Handle`; the caller answers for
    // the rest. What is there is overwritten, not dropped.
    unsafe {
        let error = &mut *addr_of_mut!((*storage).error);
        if is_open(storage.cast(), core::mem::align_of::<H>(), H::TAG) {
            return fail(error, Fault::new(SHMR_OPEN));
        }
        addr_of_mut!((*storage).tag).write(0);
        if let Err(fault) = init(addr_of_mut!((*storage).inner).cast()) {
            return fail(error, fault);
        }
        error.write(shmr_error::NONE);
        addr_of_mut!((*storage).tag).write(tag(handle, H::TAG));
    }
    shmr_status::SHMR_OK
}

/// Works on what is in an open handle; says in the handle why it could not.
///
/// # Safety
///
/// As [`storage`].
#[inline(always)]
pub(crate) unsafe fn with<H: Handle>(
    handle: *mut H,
    work: impl FnOnce(&mut H::Inner) -> Outcome,
) -> shmr_status {
    // SAFETY: the caller's.
    let storage = unsafe { storage(handle) };
    let Some(storage) = storage else {
        return shmr_status::SHMR_EINVAL;
    };
    // SAFETY: a handle with the tag is open, hence initialised (C1).
    let inner = unsafe { storage.inner.assume_init_mut() };
    match work(inner) {
        Ok(()) => shmr_status::SHMR_OK,
        Err(fault) => fail(&mut storage.error, fault),
    }
}

/// Works on what is in an open handle that others read at the same time. Its error is
/// written by this call alone.
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
    // SAFETY: the caller's.
    let Ok(inner) = (unsafe { get(handle, Argument::Handle) }) else {
        return shmr_status::SHMR_EINVAL;
    };
    match work(inner) {
        Ok(()) => shmr_status::SHMR_OK,
        Err(fault) => {
            let storage = handle.cast::<Storage<H::Inner>>();
            // SAFETY: an open handle; nobody else looks at its error now.
            fail(unsafe { &mut *addr_of_mut!((*storage).error) }, fault)
        }
    }
}

#[cold]
#[inline(never)]
fn fail(error: &mut MaybeUninit<shmr_error>, fault: Fault) -> shmr_status {
    error.write(fault.into());
    fault.status
}

/// What is in an open handle, for calls that say nothing in it.
///
/// # Safety
///
/// As [`storage`], and nobody changes it during `'h`.
pub(crate) unsafe fn get<'h, H: Handle>(
    handle: *const H,
    argument: Argument,
) -> Outcome<&'h H::Inner> {
    // SAFETY: the caller's.
    let open = unsafe { is_open(handle.cast(), core::mem::align_of::<H>(), H::TAG) };
    if !open {
        return Err(Fault::invalid(argument));
    }
    let storage = handle.cast::<Storage<H::Inner>>();
    // SAFETY: as in `storage`, and initialised as in `with`; nothing is stored through it,
    // and the error, which may be written meanwhile, is no part of it.
    Ok(unsafe { &*addr_of!((*storage).inner).cast::<H::Inner>() })
}

/// Closes a handle, which drops what is in it.
///
/// # Safety
///
/// As [`storage`].
pub(crate) unsafe fn close<H: Handle>(handle: *mut H) -> shmr_status {
    // SAFETY: the caller's.
    let storage = unsafe { storage(handle) };
    let Some(storage) = storage else {
        return shmr_status::SHMR_EINVAL;
    };
    storage.tag = 0;
    // SAFETY: it was open; without its tag it is not dropped again.
    unsafe { storage.inner.assume_init_drop() };
    shmr_status::SHMR_OK
}

/// Closes a handle if `may` does not refuse; else it stays open.
///
/// # Safety
///
/// As [`storage`].
pub(crate) unsafe fn close_if<H: Handle>(
    handle: *mut H,
    may: impl FnOnce(&H::Inner) -> Outcome,
) -> shmr_status {
    let storage = handle.cast::<Storage<H::Inner>>();
    // SAFETY: the caller's. It was open, and without its tag it is not dropped again.
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

/// A plain value behind a pointer.
///
/// # Safety
///
/// Null, or a `T` that lives for `'a` and nobody changes.
pub(crate) unsafe fn value<'a, T>(pointer: *const T, argument: Argument) -> Outcome<&'a T> {
    if !is_sound(pointer) {
        return Err(Fault::invalid(argument));
    }
    // SAFETY: neither null nor misaligned; the caller answers for the rest.
    Ok(unsafe { &*pointer })
}

/// A place for a result.
///
/// # Safety
///
/// Null, or room for a `T` that is the caller's alone for `'a`.
pub(crate) unsafe fn place<'a, T>(
    pointer: *mut T,
    argument: Argument,
) -> Outcome<&'a mut MaybeUninit<T>> {
    if !is_sound(pointer) {
        return Err(Fault::invalid(argument));
    }
    // SAFETY: neither null nor misaligned; the caller answers for the rest.
    Ok(unsafe { &mut *pointer.cast() })
}

/// A place for a result that the caller need not want.
///
/// # Safety
///
/// As [`place`].
pub(crate) unsafe fn place_if_any<'a, T>(
    pointer: *mut T,
    argument: Argument,
) -> Outcome<Option<&'a mut MaybeUninit<T>>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's.
    unsafe { place(pointer, argument) }.map(Some)
}

/// Bytes to read; null is good for none.
///
/// # Safety
///
/// `len` readable bytes outside the region that nobody changes during `'a`.
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
    // SAFETY: not null; the caller answers for the rest.
    Ok(unsafe { slice::from_raw_parts(pointer.cast(), len) })
}

/// Bytes to write; null is good for none.
///
/// # Safety
///
/// `len` writable initialised bytes outside the region, the caller's alone during `'a`.
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
    // SAFETY: not null; the caller answers for the rest.
    Ok(unsafe { slice::from_raw_parts_mut(pointer.cast(), len) })
}

/// The longest string that is read: no path or name is longer.
const LONGEST: usize = 4096;

/// The bytes of a C string.
///
/// # Safety
///
/// Null, or a string that ends and nobody changes during `'a`.
pub(crate) unsafe fn c_string<'a>(pointer: *const c_char, argument: Argument) -> Outcome<&'a [u8]> {
    let invalid = Fault::invalid(argument);
    if pointer.is_null() {
        return Err(invalid);
    }
    // Not by `CStr`, which needs C's `strlen`.
    // SAFETY: no byte behind the string's end is looked at.
    let ends = |&len: &usize| unsafe { *pointer.wrapping_add(len) } == 0;
    let len = (0..LONGEST).find(ends).ok_or(invalid)?;
    // SAFETY: these bytes were just looked at; the caller answers for the rest.
    Ok(unsafe { slice::from_raw_parts(pointer.cast(), len) })
}

/// A C string of UTF-8.
///
/// # Safety
///
/// As [`c_string`].
#[cfg(feature = "linux")]
pub(crate) unsafe fn string<'a>(pointer: *const c_char, argument: Argument) -> Outcome<&'a str> {
    // SAFETY: the caller's.
    let bytes = unsafe { c_string(pointer, argument) }?;
    core::str::from_utf8(bytes).map_err(|_| Fault::invalid(argument))
}

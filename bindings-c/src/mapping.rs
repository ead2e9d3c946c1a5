//! Memory that the Linux kernel maps.

use core::ffi::{c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr;

use shmem_core::region::{Displaced, MapError};
use shmem_core::Mapping;

use crate::handle::{close, get, handle, open, string, with};
use crate::status::{shmr_error, shmr_status, status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_mapping - shared memory that this process has mapped
/// @error: why the last call on it failed
///
/// Children that it forks do not have it: their access to it faults (SIGSEGV). They map the
/// memory themselves, or shmr_mapping_inherit() was called before.
#[repr(C)]
pub struct shmr_mapping {
    pub error: shmr_error,
    opaque: [u64; 14],
}

handle!(shmr_mapping, b"mapp", Mapping);

impl From<MapError> for Fault {
    fn from(error: MapError) -> Self {
        Self::with(
            shmr_status::SHMR_SYSTEM,
            error.raw_os_error().unsigned_abs().into(),
        )
    }
}

impl From<Displaced> for Fault {
    fn from(displaced: Displaced) -> Self {
        match displaced {
            Displaced::Removed => Self::new(shmr_status::SHMR_NOT_FOUND),
            Displaced::Replaced => Self::new(shmr_status::SHMR_STALE),
            Displaced::Truncated { len } => Self::with(shmr_status::SHMR_TOO_SHORT, len),
        }
    }
}

/// 0 is no length: what is there already.
fn wanted(len: usize) -> Option<usize> {
    Some(len).filter(|&len| len != 0)
}

/// shmr_map_memfd() - map new zeroed memory without a name
/// @mapping: to be opened
/// @name:    for /proc alone
/// @len:     bytes
///
/// Peers get it by its descriptor, shmr_mapping_fd(). Nobody can shrink it.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_memfd(
    mapping: *mut shmr_mapping,
    name: *const c_char,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::memfd(string(name, Argument::Name)?, len)?)
        })
    }
}

/// shmr_map_fd() - map all of the memory behind a descriptor
/// @mapping: to be opened
/// @fd:      stays the caller's
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_fd(mapping: *mut shmr_mapping, fd: c_int) -> shmr_status {
    let map = || {
        if fd < 0 {
            return Err(Fault::invalid(Argument::Fd));
        }
        // SAFETY: borrowed only to be duplicated; a closed one is the kernel's to refuse.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let own = borrowed.try_clone_to_owned().map_err(|error| {
            let errno = error.raw_os_error().unwrap_or_default();
            Fault::with(shmr_status::SHMR_SYSTEM, errno.unsigned_abs().into())
        });
        Ok(Mapping::from_fd(own?)?)
    };
    // SAFETY: the caller's.
    unsafe { open(mapping, map) }
}

/// shmr_map_shm() - map POSIX shared memory
/// @mapping: to be opened
/// @name:    as in "/name"
/// @len:     bytes to make it with if it does not exist; 0 is not to make it
///
/// Bytes that it is made with are reserved. Another length than @len is an error (EEXIST).
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_shm(
    mapping: *mut shmr_mapping,
    name: *const c_char,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::posix_shm(
                string(name, Argument::Name)?,
                wanted(len),
            )?)
        })
    }
}

/// shmr_unlink_shm() - remove the name of POSIX shared memory
/// @name: as in "/name"; mappings stay
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_unlink_shm(name: *const c_char) -> shmr_status {
    // SAFETY: the caller's.
    let name = unsafe { string(name, Argument::Name) };
    status(name.and_then(|name| Ok(Mapping::unlink_posix_shm(name)?)))
}

/// shmr_map_file() - map a file
/// @mapping: to be opened
/// @path:    of QEMU's memory-backend-file, for example
/// @len:     bytes to make it with if it does not exist; 0 is not to make it
///
/// Bytes that it is made with are reserved. Another length than @len is an error (EEXIST).
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_file(
    mapping: *mut shmr_mapping,
    path: *const c_char,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::file(
                Path::new(string(path, Argument::Path)?),
                wanted(len),
            )?)
        })
    }
}

/// shmr_map_physical() - map reserved physical memory through /dev/mem
/// @mapping: to be opened
/// @base:    physical address, a multiple of the page size
/// @len:     bytes
///
/// As root; the kernel must have /dev/mem and leave that memory alone (memmap=, mem=,
/// or reserved-memory in the device tree).
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_physical(
    mapping: *mut shmr_mapping,
    base: u64,
    len: usize,
) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { open(mapping, || Ok(Mapping::physical(base, len)?)) }
}

/// shmr_map_pci() - map a PCI device's memory
/// @mapping: to be opened
/// @path:    its resource file, as in /sys/bus/pci/devices/0000:00:04.0/resource2
///
/// The device must be enabled.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_pci(
    mapping: *mut shmr_mapping,
    path: *const c_char,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::pci(Path::new(string(path, Argument::Path)?))?)
        })
    }
}

/// shmr_map_fixed() - map the same memory once more, at a fixed address
/// @mapping: to be opened
/// @of:      a mapping
/// @address: where; nothing may be mapped there
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_map_fixed(
    mapping: *mut shmr_mapping,
    of: *const shmr_mapping,
    address: usize,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { open(mapping, || Ok(get(of, Argument::Of)?.fixed(address)?)) }
}

/// shmr_mapping_base() - the first byte
/// @mapping: a mapping
///
/// Return: page-aligned; NULL if @mapping is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_base(mapping: *const shmr_mapping) -> *mut c_void {
    // SAFETY: the caller's.
    let mapping: Outcome<&Mapping> = unsafe { get(mapping, Argument::Mapping) };
    mapping.map_or(ptr::null_mut(), |mapping| {
        mapping.window().address().as_ptr().cast()
    })
}

/// shmr_mapping_len() - bytes that are mapped
/// @mapping: a mapping
///
/// Return: their number, rounded down to a multiple of 8; 0 if @mapping is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_len(mapping: *const shmr_mapping) -> usize {
    // SAFETY: the caller's.
    let mapping: Outcome<&Mapping> = unsafe { get(mapping, Argument::Mapping) };
    mapping.map_or(0, |mapping| mapping.window().len())
}

/// shmr_mapping_fd() - the descriptor behind a mapping
/// @mapping: a mapping
///
/// Return: the mapping's own, not to be closed; -1 if @mapping is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_fd(mapping: *const shmr_mapping) -> c_int {
    // SAFETY: the caller's.
    let mapping: Outcome<&Mapping> = unsafe { get(mapping, Argument::Mapping) };
    mapping.map_or(-1, |mapping| mapping.as_fd().as_raw_fd())
}

/// shmr_mapping_check() - whether others still get this memory by its name
/// @mapping: a mapping
///
/// A file that is removed, or made again, is other memory, of which nothing shows in this one.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_FOUND, the file was removed; SHMR_STALE, the name is
///         another file's; SHMR_TOO_SHORT, it was cut: accesses beyond its end fault (SIGBUS).
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_check(mapping: *mut shmr_mapping) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(mapping, |mapping| Ok(mapping.check()?)) }
}

/// shmr_mapping_inherit() - let children that are forked from now on have a mapping
/// @mapping: a mapping
///
/// For a child that goes on in its parent's place. Handles are there twice then, and the
/// memory cannot tell them apart: where both processes push or lock, records are lost and
/// locks are held twice. One of them uses none any more.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_inherit(mapping: *mut shmr_mapping) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { with(mapping, |mapping| Ok(mapping.inherit_on_fork()?)) }
}

/// shmr_unmap() - end a mapping
/// @mapping: nothing in its memory is used any more, and no handle over it is open
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_unmap(mapping: *mut shmr_mapping) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(mapping) }
}

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
/// A forked child does not have the mapping: its accesses fault (SIGSEGV). The child maps the
/// memory itself, or the parent calls shmr_mapping_inherit() before the fork.
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

/// Returns the length to create memory with; 0 means not to create it.
fn optional_len(len: usize) -> Option<usize> {
    Some(len).filter(|&len| len != 0)
}

/// shmr_map_memfd() - create and map anonymous zeroed memory
/// @mapping: to be opened
/// @name:    shown in /proc only
/// @len:     number of bytes
///
/// Peers get the memory by its descriptor, shmr_mapping_fd(). No process can shrink it.
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_memfd(
    mapping: *mut shmr_mapping,
    name: *const c_char,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::memfd(string(name, Argument::Name)?, len)?)
        })
    }
}

/// shmr_map_fd() - map all of the memory of a descriptor
/// @mapping: to be opened
/// @fd:      the descriptor; duplicated, so the caller may close it
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_fd(mapping: *mut shmr_mapping, fd: c_int) -> shmr_status {
    let map = || {
        if fd < 0 {
            return Err(Fault::invalid(Argument::Fd));
        }
        // SAFETY: borrowed only to be duplicated; the kernel refuses a closed descriptor.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let own = borrowed.try_clone_to_owned().map_err(|error| {
            let errno = error.raw_os_error().unwrap_or_default();
            Fault::with(shmr_status::SHMR_SYSTEM, errno.unsigned_abs().into())
        });
        Ok(Mapping::from_fd(own?)?)
    };
    // SAFETY: guaranteed by the caller.
    unsafe { open(mapping, map) }
}

/// shmr_map_shm() - map POSIX shared memory
/// @mapping: to be opened
/// @name:    such as "/name"
/// @len:     bytes to create it with if it does not exist; 0: do not create it
///
/// New memory is allocated at once, so that later accesses cannot fail. If the memory exists with
/// another length, the errno is EEXIST.
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_shm(
    mapping: *mut shmr_mapping,
    name: *const c_char,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::posix_shm(
                string(name, Argument::Name)?,
                optional_len(len),
            )?)
        })
    }
}

/// shmr_unlink_shm() - remove the name of POSIX shared memory
/// @name: such as "/name"; existing mappings stay valid
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_unlink_shm(name: *const c_char) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    let name = unsafe { string(name, Argument::Name) };
    status(name.and_then(|name| Ok(Mapping::unlink_posix_shm(name)?)))
}

/// shmr_map_file() - map a file
/// @mapping: to be opened
/// @path:    the file, for example that of QEMU's memory-backend-file
/// @len:     bytes to create it with if it does not exist; 0: do not create it
///
/// A new file is allocated at once, so that later accesses cannot fail. If the file exists with
/// another length, the errno is EEXIST.
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_file(
    mapping: *mut shmr_mapping,
    path: *const c_char,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::file(
                Path::new(string(path, Argument::Path)?),
                optional_len(len),
            )?)
        })
    }
}

/// shmr_map_physical() - map reserved physical memory through /dev/mem
/// @mapping: to be opened
/// @base:    physical address, a multiple of the page size
/// @len:     number of bytes
///
/// Needs root. The kernel must have /dev/mem and must not use that memory itself (memmap=, mem=, or
/// reserved-memory in the device tree).
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_physical(
    mapping: *mut shmr_mapping,
    base: u64,
    len: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { open(mapping, || Ok(Mapping::physical(base, len)?)) }
}

/// shmr_map_pci() - map a PCI device's memory
/// @mapping: to be opened
/// @path:    its resource file, such as /sys/bus/pci/devices/0000:00:04.0/resource2
///
/// The device must be enabled.
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_pci(
    mapping: *mut shmr_mapping,
    path: *const c_char,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(mapping, || {
            Ok(Mapping::pci(Path::new(string(path, Argument::Path)?))?)
        })
    }
}

/// shmr_map_at() - map the memory of a mapping again, at a fixed address
/// @mapping: to be opened
/// @source:  the existing mapping
/// @address: the address; nothing may be mapped there
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL, SHMR_OPEN
#[no_mangle]
pub unsafe extern "C" fn shmr_map_at(
    mapping: *mut shmr_mapping,
    source: *const shmr_mapping,
    address: usize,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(mapping, || {
            Ok(get(source, Argument::Source)?.map_at(address)?)
        })
    }
}

/// shmr_mapping_base() - the first byte of a mapping
/// @mapping: a mapping
///
/// Return: its address, a multiple of the page size; NULL if @mapping is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_base(mapping: *const shmr_mapping) -> *mut c_void {
    // SAFETY: guaranteed by the caller.
    let mapping: Outcome<&Mapping> = unsafe { get(mapping, Argument::Mapping) };
    mapping.map_or(ptr::null_mut(), |mapping| {
        mapping.window().address().as_ptr().cast()
    })
}

/// shmr_mapping_len() - the length of a mapping
/// @mapping: a mapping
///
/// Return: the number of bytes, rounded down to a multiple of 8; 0 if @mapping is not open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_len(mapping: *const shmr_mapping) -> usize {
    // SAFETY: guaranteed by the caller.
    let mapping: Outcome<&Mapping> = unsafe { get(mapping, Argument::Mapping) };
    mapping.map_or(0, |mapping| mapping.window().len())
}

/// shmr_mapping_fd() - the descriptor of a mapping's memory
/// @mapping: a mapping
///
/// Return: the mapping's own descriptor, which the caller must not close; -1 if @mapping is not
/// open.
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_fd(mapping: *const shmr_mapping) -> c_int {
    // SAFETY: guaranteed by the caller.
    let mapping: Outcome<&Mapping> = unsafe { get(mapping, Argument::Mapping) };
    mapping.map_or(-1, |mapping| mapping.as_fd().as_raw_fd())
}

/// shmr_mapping_check() - check that the mapping's name still names this memory
/// @mapping: a mapping
///
/// If a file was removed or created again, other processes get other memory by its name. Nothing in
/// this memory shows that.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NOT_FOUND: the file was removed. Unmap, and map the new file when it exists.
/// * SHMR_STALE: the name belongs to another file now. Unmap, and map it again.
/// * SHMR_TOO_SHORT: the file was truncated, and the error's value is its length. Accesses past its
///   end fault (SIGBUS): unmap.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_check(mapping: *mut shmr_mapping) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(mapping, |mapping| Ok(mapping.check()?)) }
}

/// shmr_mapping_inherit() - let children that are forked from now on inherit a mapping
/// @mapping: a mapping
///
/// For a child that continues in place of its parent. Both processes then have the same handles,
/// and the library cannot distinguish them: if both push or lock, records are lost and locks are
/// held twice. One of the two must not use the handles any more.
///
/// Return:
/// * SHMR_OK
/// * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_mapping_inherit(mapping: *mut shmr_mapping) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { with(mapping, |mapping| Ok(mapping.inherit_on_fork()?)) }
}

/// shmr_unmap() - unmap the memory of a mapping
/// @mapping: the mapping to close; no handle over its memory is open, and nothing in it is used any
///           more
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_unmap(mapping: *mut shmr_mapping) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(mapping) }
}

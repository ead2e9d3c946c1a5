//! Memory that the Linux kernel maps: memfd, POSIX shm, files, `/dev/mem`, PCI.

use core::ptr::NonNull;
use std::borrow::ToOwned;
use std::ffi::c_void;
use std::format;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::string::{String, ToString};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{madvise, Advice, MapFlags, ProtFlags};
use rustix::shm;

use super::backing::{Backing, Displaced};
use super::fork;
use super::map_error::MapError;
use super::sized::{allocate, give_length, is_unfinished, length};
use crate::mem::Window;

/// A mapping of shared memory, unmapped when it is dropped.
///
/// A child that this process forks does not have it: an access faults there (SIGSEGV), and
/// dropping it there does nothing. So a child cannot push what nobody receives, nor leave in
/// its parent's name. It maps the memory itself, by name or descriptor, as a partition of its
/// own; a program that forks to go on as the child alone calls [`Mapping::inherit_on_fork`].
///
/// - **L1** `base` is what `mmap` gave for `len` bytes, page-aligned; only `drop` unmaps it,
///   in processes that have it.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    backing: Backing,
    /// Where in the descriptor the mapping starts.
    offset: u64,
    /// The process that mapped it.
    process: u32,
    /// Whether its children have it too.
    is_inherited: AtomicBool,
}

// SAFETY: the bytes are only reached through `Window`, whose accesses are atomic.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New zeroed memory without a name; peers get it by its descriptor. All of it is
    /// reserved, and it is sealed against shrinking, so that no access can fault.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn memfd(name: &str, len: usize) -> Result<Self, MapError> {
        let what = || format!("a memfd of {len} bytes");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(name, flags).map_err(|e| MapError::new(what(), e))?;
        // The kernel would look for memory among the other processes first.
        if len as u64 > machine_memory() {
            return Err(MapError::new(what(), Errno::NOMEM));
        }
        // In this order: the first refuses what no machine has.
        rustix::fs::ftruncate(&fd, len as u64)
            .and_then(|()| allocate(&fd, len))
            .map_err(|e| MapError::new(what(), e))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(|e| MapError::new(what(), e))?;
        Self::map(what(), fd, None, 0, len, None)
    }

    /// All of the memory behind a descriptor that a peer passed.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, MapError> {
        let len = length(&fd).map_err(|e| MapError::new("a descriptor", e))?;
        Self::map("a descriptor".to_owned(), fd, None, 0, len, None)
    }

    /// POSIX shared memory `name` (`/name`), made with `len` bytes if `len` is
    /// given and it does not exist; as [`Mapping::file`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`Mapping::file`].
    pub fn posix_shm(name: &str, len: Option<usize>) -> Result<Self, MapError> {
        let what = format!("shared memory {name}");
        let mut flags = shm::OFlags::RDWR;
        if len.is_some() {
            flags |= shm::OFlags::CREATE;
        }
        let fd = shm::open(name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| MapError::new(&*what, e))?;
        // Where the C library keeps it, too.
        let path = PathBuf::from("/dev/shm").join(name.trim_start_matches('/'));
        Self::map_sized(what, fd, &path, len)
    }

    /// Removes the name of POSIX shared memory; mappings stay.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn unlink_posix_shm(name: &str) -> Result<(), MapError> {
        shm::unlink(name).map_err(|e| MapError::new(format!("shared memory {name}"), e))
    }

    /// A file, made with `len` bytes if `len` is given and it does not exist or is empty:
    /// QEMU's `memory-backend-file`, a dump, a test.
    ///
    /// If `len` is given its blocks are reserved before it has that length (by zeroes where
    /// the file system cannot reserve), and of several processes that make it, one
    /// does; the others wait for it, ten seconds at most. An
    /// access can then fault only if somebody cuts the file ([`Mapping::check`]), or made it
    /// without its blocks on a file system that cannot reserve. Without `len` its blocks are
    /// the affair of who made it.
    ///
    /// # Errors
    ///
    /// [`MapError`] if it has another length than `len`, with both; or the kernel's reason,
    /// as that there is no space: then it is empty.
    pub fn file(path: &Path, len: Option<usize>) -> Result<Self, MapError> {
        let what = path.display().to_string();
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
        if len.is_some() {
            flags |= OFlags::CREATE;
        }
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| MapError::new(&*what, e))?;
        Self::map_sized(what, fd, path, len)
    }

    /// `len` bytes of a file from `offset` on, a multiple of the page size: one of
    /// the regions in a virtual machine's main memory.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the file has not all of them, or the kernel's reason.
    pub fn file_part(path: &Path, offset: u64, len: usize) -> Result<Self, MapError> {
        let what = format!("{len} bytes of {} at {offset:#x}", path.display());
        let error = |errno| MapError::new(&*what, errno);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(error)?;
        let size = length(&fd).map_err(error)? as u64;
        // Pages behind the end would fault at the first access.
        let end = offset.checked_add(len as u64);
        if end.map_or(true, |end| end > size) {
            return Err(MapError {
                why: format!("the file ends at {size:#x}"),
                hint: "; give an offset and a length within it",
                ..error(Errno::INVAL)
            });
        }
        if offset % rustix::param::page_size() as u64 != 0 {
            return Err(MapError {
                hint: "; give an offset that is a multiple of the page size",
                ..error(Errno::INVAL)
            });
        }
        Self::map(what.clone(), fd, Some(path), offset, len, None)
    }

    /// `len` bytes of reserved physical memory at `base`, through `/dev/mem`.
    ///
    /// # Errors
    ///
    /// [`MapError`]; where the kernel refuses memory that it uses itself, it
    /// says how to reserve some.
    pub fn physical(base: u64, len: usize) -> Result<Self, MapError> {
        let what = format!("{len} bytes of physical memory at {base:#x}");
        let error = |errno| {
            let mut error = MapError::new(&*what, errno);
            error.hint = match errno {
                Errno::NOENT | Errno::NXIO => "; this kernel has no /dev/mem (CONFIG_DEVMEM)",
                Errno::ACCESS => "; /dev/mem is for root",
                Errno::PERM => {
                    "; the kernel guards its own memory (STRICT_DEVMEM, lockdown): \
                     reserve the range with memmap= or in the device tree"
                }
                _ => error.hint,
            };
            error
        };
        // O_SYNC is not passed: on arm64 it would make normal memory uncached.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/mem")
            .map_err(|e| error(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        Self::map_raw(file.into(), None, base, len, None).map_err(error)
    }

    /// A PCI device's memory, from its `resourceN` file in sysfs (ivshmem: `resource2`).
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn pci(resource: &Path) -> Result<Self, MapError> {
        let mut mapping = Self::file(resource, None);
        if let Err(error) = &mut mapping {
            error.hint = "; enable the device first (write 1 to its `enable`), as root";
        }
        mapping
    }

    /// `len` bytes that a device's descriptor maps at `offset`, a multiple of the page
    /// size: a PCI device's memory through vfio. What the device has is known to the
    /// driver alone, which refuses the rest.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the driver's reason.
    pub fn device(fd: OwnedFd, offset: u64, len: usize) -> Result<Self, MapError> {
        let what = format!("{len} bytes of a device at {offset:#x}");
        Self::map(what, fd, None, offset, len, None)
    }

    /// The same memory once more, at a fixed address, so that one identifier
    /// gives one virtual address everywhere, as the 2012 paper has it.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the range is taken already, or the kernel's reason.
    pub fn fixed(&self, address: usize) -> Result<Self, MapError> {
        let what = format!("{} bytes at the address {address:#x}", self.len);
        let fd = self.backing.fd.try_clone();
        let fd =
            fd.map_err(|e| MapError::new(&*what, Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        Self::map(
            what,
            fd,
            self.backing.path(),
            self.offset,
            self.len,
            Some(address),
        )
    }

    /// Whether the file behind the mapping is still the one that others get by its name,
    /// and as long as it was. What [`crate::Region::is_stale`] cannot know: a partition that
    /// waits long asks both. A few system calls.
    ///
    /// # Errors
    ///
    /// [`Displaced`].
    pub fn check(&self) -> Result<(), Displaced> {
        self.backing
            .check(self.offset.saturating_add(self.len as u64))
    }

    /// Lets children that this process forks from now on have the mapping, for those that go
    /// on in its place: a daemon whose parent only exits.
    ///
    /// Every handle is there twice then, and the memory cannot tell parent from child: of
    /// two that push or lock, records are lost and locks are held by both; the first that
    /// drops its presence leaves in the other's name. One of them must use none any more.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn inherit_on_fork(&self) -> Result<(), MapError> {
        let error = |errno| MapError::new("memory for children too", errno);
        // relaxed: private; a child sees what was stored before the fork.
        if process::id() != self.process && !self.is_inherited.load(Relaxed) {
            return Err(error(Errno::FAULT));
        }
        // SAFETY: L1; what a fork does later changes nothing here.
        let done = unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxDoFork) };
        match done {
            // Of a device's memory the kernel refuses it, but maps it anew.
            Err(Errno::INVAL) => self.map_again().map_err(error)?,
            done => done.map_err(error)?,
        }
        fork::let_on(self.base);
        self.is_inherited.store(true, Relaxed); // relaxed: as above
        Ok(())
    }

    /// The whole of the memory.
    pub fn window(&self) -> Window<'_> {
        // SAFETY: L1, and `Window` forms no reference to the bytes.
        let window = unsafe { Window::from_raw(self.base, self.len) };
        window.expect("a mapping is page-aligned")
    }

    /// The whole of the memory, mapped from now on until this process ends.
    pub fn leak(self) -> Window<'static> {
        let base = self.base;
        let len = self.len;
        core::mem::forget(self);
        // SAFETY: L1, and nobody is left who could unmap it.
        let window = unsafe { Window::from_raw(base, len) };
        window.expect("a mapping is page-aligned")
    }

    /// The descriptor behind the mapping, to pass to a peer.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.backing.fd.as_fd()
    }

    fn map_sized(
        what: String,
        fd: OwnedFd,
        path: &Path,
        len: Option<usize>,
    ) -> Result<Self, MapError> {
        let error = |errno| MapError::new(&*what, errno);
        if let Some(len) = len {
            give_length(&fd, len, &what)?;
        }
        if is_unfinished(&fd) {
            return Err(MapError {
                why: "another process is making it, or died at that".to_owned(),
                hint: "; wait, or make it with the region's length",
                ..error(Errno::AGAIN)
            });
        }
        let size = length(&fd).map_err(error)?;
        Self::map(what.clone(), fd, Some(path), 0, size, None)
    }

    fn map(
        what: String,
        fd: OwnedFd,
        path: Option<&Path>,
        offset: u64,
        len: usize,
        at: Option<usize>,
    ) -> Result<Self, MapError> {
        if len == 0 {
            return Err(MapError {
                why: "it is empty".to_owned(),
                hint: "; give it the region's length first",
                ..MapError::new(what, Errno::NODATA)
            });
        }
        Self::map_raw(fd, path, offset, len, at).map_err(|e| MapError::new(what, e))
    }

    fn map_raw(
        fd: OwnedFd,
        path: Option<&Path>,
        offset: u64,
        len: usize,
        at: Option<usize>,
    ) -> Result<Self, Errno> {
        let backing = Backing::new(fd, path)?;
        let hint = at.unwrap_or(0) as *mut c_void;
        let flags = match at {
            Some(_) => MapFlags::SHARED | MapFlags::FIXED_NOREPLACE,
            None => MapFlags::SHARED,
        };
        // SAFETY: a new mapping; `FIXED_NOREPLACE` never replaces one.
        let base = unsafe { rustix::mm::mmap(hint, len, PROTECTION, flags, &backing.fd, offset) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::FAULT)?;
        let mapping = Self {
            base,
            len,
            backing,
            offset,
            process: process::id(),
            is_inherited: AtomicBool::new(false),
        };
        // Kernels before 4.17 take `FIXED_NOREPLACE` for a wish.
        if at.is_some_and(|at| at != mapping.base.as_ptr() as usize) {
            return Err(Errno::EXIST);
        }
        fork::keep_off(base, len)?;
        Ok(mapping)
    }

    /// The same memory at the same address, as the kernel maps it for the first time.
    fn map_again(&self) -> Result<(), Errno> {
        let (at, flags) = (
            self.base.as_ptr().cast(),
            MapFlags::SHARED | MapFlags::FIXED,
        );
        let fd = &self.backing.fd;
        // SAFETY: it replaces this mapping alone (L1), by the same memory; who accesses it
        // meanwhile waits.
        let base = unsafe { rustix::mm::mmap(at, self.len, PROTECTION, flags, fd, self.offset) }?;
        debug_assert_eq!(base, at);
        Ok(())
    }
}

/// Bytes of memory and swap space that this machine has.
fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion)] // 32 bits wide on 32-bit machines.
    let units = u64::from(info.totalram).saturating_add(u64::from(info.totalswap));
    units.saturating_mul(u64::from(info.mem_unit))
}

const PROTECTION: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a forked child the addresses stay reserved.
        if process::id() != self.process && !*self.is_inherited.get_mut() {
            return;
        }
        fork::let_on(self.base);
        // SAFETY: L1, and no window outlives the borrow it was made from.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

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
use super::sized::{allocate, is_unfinished, length, set_length};
use crate::mem::Window;

/// A mapping of shared memory, unmapped when it is dropped.
///
/// A child that this process forks does not have the mapping: an access faults there (SIGSEGV), and
/// dropping it there does nothing. So a child cannot use its parent's rings or end its parent's
/// attachment. The child must map the memory itself, by name or descriptor, as another partition.
/// If only the child continues after a fork, the program calls [`Mapping::inherit_on_fork`] before
/// the fork.
///
/// - **L1** `base` is the page-aligned result of `mmap` for `len` bytes; only `drop` unmaps it,
///   in processes that have it.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    backing: Backing,
    /// Offset of the mapping in the file.
    offset: u64,
    /// The process that mapped it.
    process: u32,
    /// True if forked children have it too.
    is_inherited: AtomicBool,
}

// SAFETY: the bytes are only reached through `Window`, whose accesses are atomic.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Creates zeroed memory without a name; peers receive its descriptor. All of it is
    /// reserved, and it is sealed against shrinking, so that no access can fault.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn memfd(name: &str, len: usize) -> Result<Self, MapError> {
        let what = || format!("a memfd of {len} bytes");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(name, flags).map_err(|e| MapError::new(what(), e))?;
        // The kernel would take memory from other processes first.
        if len as u64 > machine_memory() {
            return Err(MapError::new(what(), Errno::NOMEM));
        }
        // In this order: the first call rejects lengths that no machine has.
        rustix::fs::ftruncate(&fd, len as u64)
            .and_then(|()| allocate(&fd, len))
            .map_err(|e| MapError::new(what(), e))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(|e| MapError::new(what(), e))?;
        Self::map(what(), fd, None, 0, len, None)
    }

    /// Maps all of the memory of a descriptor that a peer passed.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, MapError> {
        let len = length(&fd).map_err(|e| MapError::new("a descriptor", e))?;
        Self::map("a descriptor".to_owned(), fd, None, 0, len, None)
    }

    /// Maps POSIX shared memory `name` (`/name`). Creates it with `len` bytes if `len` is
    /// given and it does not exist. Otherwise as [`Mapping::file`].
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
        // The C library uses the same path.
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

    /// Maps a file, for example QEMU's `memory-backend-file` or a dump. Creates it with `len`
    /// bytes if `len` is given and it does not exist or is empty.
    ///
    /// If `len` is given, the blocks are reserved before the length is set (by writing zeroes if
    /// the file system cannot reserve). If several processes create the file, one does, and the
    /// others wait at most ten seconds. An access can then fault only in two cases: a process
    /// truncates the file ([`Mapping::check`]), or another program created it without blocks on a
    /// file system that cannot reserve. Without `len`, the creator of the file must reserve its
    /// blocks.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the file has another length than `len`, with both lengths, or with the
    /// kernel's reason. If there is no space, the file is empty afterwards.
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

    /// Maps `len` bytes of a file from `offset` on, a multiple of the page size: for example a
    /// region in a virtual machine's main memory.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the file is too short, or with the kernel's reason.
    pub fn file_part(path: &Path, offset: u64, len: usize) -> Result<Self, MapError> {
        let what = format!("{len} bytes of {} at {offset:#x}", path.display());
        let error = |errno| MapError::new(&*what, errno);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(error)?;
        let size = length(&fd).map_err(error)? as u64;
        // Pages past the end would fault at the first access.
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

    /// Maps `len` bytes of reserved physical memory at `base`, through `/dev/mem`.
    ///
    /// # Errors
    ///
    /// [`MapError`]. If the kernel refuses because it uses that memory itself, the text says how to
    /// reserve some.
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

    /// Maps a PCI device's memory, from its `resourceN` file in sysfs (ivshmem: `resource2`).
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

    /// Maps `len` bytes of a device's descriptor at `offset`, a multiple of the page
    /// size: for example a PCI device's memory through vfio. Only the driver knows the size of
    /// that memory, and refuses a range outside it.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the driver's reason.
    pub fn device(fd: OwnedFd, offset: u64, len: usize) -> Result<Self, MapError> {
        let what = format!("{len} bytes of a device at {offset:#x}");
        Self::map(what, fd, None, offset, len, None)
    }

    /// Maps the same memory again at a fixed address, so that it has one virtual address in every
    /// process.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the range is already in use, or with the kernel's reason.
    pub fn map_at(&self, address: usize) -> Result<Self, MapError> {
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

    /// Returns `Ok` if the file's name still refers to the mapped file, and the file is at least as
    /// long as the mapping. [`crate::Region::is_stale`] cannot detect this: a partition that waits
    /// for a long time must call both. Makes a few system calls.
    ///
    /// # Errors
    ///
    /// [`Displaced`] with the change of the file.
    pub fn check(&self) -> Result<(), Displaced> {
        self.backing
            .check(self.offset.saturating_add(self.len as u64))
    }

    /// Lets children that this process forks from now on inherit the mapping, for a child that
    /// continues in place of its parent: a daemon whose parent only exits.
    ///
    /// Then every handle exists twice, and the memory cannot distinguish parent and child. If
    /// both push, records are lost; if both lock, both hold the lock; the first one that drops
    /// its attachment ends that of the other. Only one of the two may use the handles.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn inherit_on_fork(&self) -> Result<(), MapError> {
        let error = |errno| MapError::new("the memory into future children", errno);
        // relaxed: private; a child sees what was stored before the fork.
        if process::id() != self.process && !self.is_inherited.load(Relaxed) {
            return Err(error(Errno::FAULT));
        }
        // SAFETY: L1; a later fork does not change the mapping in this process.
        let done = unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxDoFork) };
        match done {
            // For device memory the kernel refuses this advice, but a new mapping is inherited.
            Err(Errno::INVAL) => self.map_again().map_err(error)?,
            done => done.map_err(error)?,
        }
        fork::stop_excluding(self.base);
        self.is_inherited.store(true, Relaxed); // relaxed: as above
        Ok(())
    }

    /// Returns all of the memory.
    pub fn window(&self) -> Window<'_> {
        // SAFETY: L1, and `Window` forms no reference to the bytes.
        let window = unsafe { Window::from_raw(self.base, self.len) };
        window.expect("a mapping is page-aligned")
    }

    /// Returns all of the memory, which then stays mapped until this process ends.
    pub fn leak(self) -> Window<'static> {
        let base = self.base;
        let len = self.len;
        core::mem::forget(self);
        // SAFETY: L1, and `drop` never runs.
        let window = unsafe { Window::from_raw(base, len) };
        window.expect("a mapping is page-aligned")
    }

    /// Returns the descriptor of the memory, to pass to a peer.
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
            set_length(&fd, len, &what)?;
        }
        if is_unfinished(&fd) {
            return Err(MapError {
                why: "another process is creating it, or died while creating it".to_owned(),
                hint: "; wait, or create it with the region's length",
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
        // A 32-bit kernel takes the offset in units of 4096 bytes, and would map another place
        // without an error. Every kernel checks that the offset is a multiple of its page size.
        if offset % MMAP_UNIT != 0 {
            return Err(Errno::INVAL);
        }
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
        // Kernels before 4.17 treat the address with `FIXED_NOREPLACE` as a hint.
        if at.is_some_and(|at| at != mapping.base.as_ptr() as usize) {
            return Err(Errno::EXIST);
        }
        fork::exclude(base, len)?;
        Ok(mapping)
    }

    /// Maps the same memory again at the same address, without any advice.
    fn map_again(&self) -> Result<(), Errno> {
        let (at, flags) = (
            self.base.as_ptr().cast(),
            MapFlags::SHARED | MapFlags::FIXED,
        );
        let fd = &self.backing.fd;
        // SAFETY: it replaces only this mapping (L1), with the same memory; an access meanwhile
        // waits.
        let base = unsafe { rustix::mm::mmap(at, self.len, PROTECTION, flags, fd, self.offset) }?;
        debug_assert_eq!(base, at);
        Ok(())
    }
}

/// Returns the size in bytes of the memory and swap space of this machine.
fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion)] // 32 bits wide on 32-bit machines.
    let units = u64::from(info.totalram).saturating_add(u64::from(info.totalswap));
    units.saturating_mul(u64::from(info.mem_unit))
}

/// The unit of `mmap2`'s offset, on every machine.
const MMAP_UNIT: u64 = 4096;

const PROTECTION: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a forked child the addresses stay reserved.
        if process::id() != self.process && !*self.is_inherited.get_mut() {
            return;
        }
        fork::stop_excluding(self.base);
        // SAFETY: L1, and no window outlives its borrow of the mapping.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

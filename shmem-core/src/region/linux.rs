//! Memory that the Linux kernel maps: memfd, POSIX shm, files, `/dev/mem`, PCI.

use core::fmt;
use core::ptr::NonNull;
use std::borrow::ToOwned;
use std::ffi::c_void;
use std::format;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::string::{String, ToString};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::shm;

use crate::mem::Window;

/// Why memory could not be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapError {
    what: String,
    why: String,
    hint: &'static str,
    errno: i32,
}

impl MapError {
    /// The kernel's number of the error.
    pub fn raw_os_error(&self) -> i32 {
        self.errno
    }

    fn new(what: impl Into<String>, errno: Errno) -> Self {
        let why = std::io::Error::from(errno).to_string();
        Self {
            what: what.into(),
            // The text alone: its number says nothing more.
            why: why
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned(),
            hint: match errno {
                Errno::ACCESS => "; run with the right to it",
                Errno::NOENT => "; check the name",
                Errno::NOMEM => "; ask for less",
                _ => "",
            },
            errno: errno.raw_os_error(),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map {}: {}{}", self.what, self.why, self.hint)
    }
}

impl std::error::Error for MapError {}

/// A mapping of shared memory, unmapped when it is dropped.
///
/// - **L1** `base` is what `mmap` gave for `len` bytes, page-aligned; only `drop` unmaps it.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
    /// Where in `fd` the mapping starts.
    offset: u64,
}

// SAFETY: the bytes are only reached through `Window`, whose accesses are atomic.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New zeroed memory without a name; peers get it by its descriptor. It is
    /// sealed against shrinking, so that no peer can make an access fault.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn memfd(name: &str, len: usize) -> Result<Self, MapError> {
        let what = || format!("a memfd of {len} bytes");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(name, flags).map_err(|e| MapError::new(what(), e))?;
        rustix::fs::ftruncate(&fd, len as u64).map_err(|e| MapError::new(what(), e))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(|e| MapError::new(what(), e))?;
        Self::map(what(), fd, 0, len, None)
    }

    /// All of the memory behind a descriptor that a peer passed.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, MapError> {
        let len = length(&fd).map_err(|e| MapError::new("a descriptor", e))?;
        Self::map("a descriptor".to_owned(), fd, 0, len, None)
    }

    /// POSIX shared memory `name` (`/name`), made with `len` bytes if `len` is
    /// given and it does not exist.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn posix_shm(name: &str, len: Option<usize>) -> Result<Self, MapError> {
        let what = format!("shared memory {name}");
        let mut flags = shm::OFlags::RDWR;
        if len.is_some() {
            flags |= shm::OFlags::CREATE;
        }
        let fd = shm::open(name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| MapError::new(&*what, e))?;
        Self::map_sized(what, fd, len)
    }

    /// Removes the name of POSIX shared memory; mappings stay.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn unlink_posix_shm(name: &str) -> Result<(), MapError> {
        shm::unlink(name).map_err(|e| MapError::new(format!("shared memory {name}"), e))
    }

    /// A file, made with `len` bytes if `len` is given and it does not exist:
    /// QEMU's `memory-backend-file`, a dump, a test.
    ///
    /// # Errors
    ///
    /// [`MapError`] with the kernel's reason.
    pub fn file(path: &Path, len: Option<usize>) -> Result<Self, MapError> {
        let what = path.display().to_string();
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
        if len.is_some() {
            flags |= OFlags::CREATE;
        }
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| MapError::new(&*what, e))?;
        Self::map_sized(what, fd, len)
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
        Self::map(what.clone(), fd, offset, len, None)
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
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        Self::map_raw(file.into(), base, len, None, protection, flags).map_err(error)
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
        Self::map(what, fd, offset, len, None)
    }

    /// The same memory once more, at a fixed address, so that one identifier
    /// gives one virtual address everywhere, as the 2012 paper has it.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the range is taken already, or the kernel's reason.
    pub fn fixed(&self, address: usize) -> Result<Self, MapError> {
        let what = format!("{} bytes at the address {address:#x}", self.len);
        let fd = self
            .fd
            .try_clone()
            .map_err(|e| MapError::new(&*what, Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        Self::map(what, fd, self.offset, self.len, Some(address))
    }

    /// The whole of the memory.
    pub fn window(&self) -> Window<'_> {
        // SAFETY: L1, and `Window` forms no reference to the bytes.
        let window = unsafe { Window::from_raw(self.base, self.len) };
        window.expect("a mapping is page-aligned")
    }

    /// The descriptor behind the mapping, to pass to a peer.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn map_sized(what: String, fd: OwnedFd, len: Option<usize>) -> Result<Self, MapError> {
        let error = |errno| MapError::new(&*what, errno);
        let mut size = length(&fd).map_err(error)?;
        if let (Some(len), 0) = (len, size) {
            rustix::fs::ftruncate(&fd, len as u64).map_err(error)?;
            size = len;
        }
        Self::map(what.clone(), fd, 0, size, None)
    }

    fn map(
        what: String,
        fd: OwnedFd,
        offset: u64,
        len: usize,
        at: Option<usize>,
    ) -> Result<Self, MapError> {
        if len == 0 {
            return Err(MapError {
                what,
                why: "it is empty".to_owned(),
                hint: "; give it the region's length first",
                errno: Errno::NODATA.raw_os_error(),
            });
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        Self::map_raw(fd, offset, len, at, protection, flags).map_err(|e| MapError::new(what, e))
    }

    fn map_raw(
        fd: OwnedFd,
        offset: u64,
        len: usize,
        at: Option<usize>,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        let hint = at.unwrap_or(0) as *mut c_void;
        let flags = match at {
            Some(_) => flags | MapFlags::FIXED_NOREPLACE,
            None => flags,
        };
        // SAFETY: a new mapping; `FIXED_NOREPLACE` never replaces one.
        let base = unsafe { rustix::mm::mmap(hint, len, protection, flags, &fd, offset) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::FAULT)?;
        let mapping = Self {
            base,
            len,
            fd,
            offset,
        };
        // Kernels before 4.17 take `FIXED_NOREPLACE` for a wish.
        if at.is_some_and(|at| at != mapping.base.as_ptr() as usize) {
            return Err(Errno::EXIST);
        }
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: L1, and no window outlives the borrow it was made from.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

fn length(fd: &OwnedFd) -> Result<usize, Errno> {
    let size = rustix::fs::fstat(fd)?.st_size;
    usize::try_from(size).map_err(|_| Errno::OVERFLOW)
}

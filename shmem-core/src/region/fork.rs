//! Prevents forked children from using the mappings of their parent.
//!
//! The kernel does not copy such a mapping into a child (`MADV_DONTFORK`). But the next mapping of
//! the child would often get the same addresses, and the parent's handles would then access
//! it. So the addresses are reserved in the child before other code runs there: an access faults.

use core::cell::RefCell;
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread_local;
use std::vec::Vec;

use rustix::io::Errno;
use rustix::mm::{madvise, mmap_anonymous, Advice, MapFlags, ProtFlags};

extern "C" {
    /// From the C library. Registers functions that each `fork` calls before it, and after it in
    /// the parent and in the child.
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

/// Base and length of each range that children must not use: a mapping of this process, or a
/// range that is reserved because it was a mapping of the parent.
type Ranges = Vec<(usize, usize)>;

static RANGES: Mutex<Ranges> = Mutex::new(Vec::new());

thread_local! {
    /// Held during a fork, so that a child never finds the list partly changed.
    static HELD: RefCell<Option<MutexGuard<'static, Ranges>>> = const { RefCell::new(None) };
}

fn ranges() -> MutexGuard<'static, Ranges> {
    RANGES.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn before_fork() {
    let _ = HELD.try_with(|held| held.replace(Some(ranges())));
}

extern "C" fn in_parent() {
    let _ = HELD.try_with(RefCell::take);
}

extern "C" fn in_child() {
    let held = HELD.try_with(RefCell::take).ok().flatten();
    for &(base, len) in held.iter().flat_map(|ranges| ranges.iter()) {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the parent's mapping had these addresses, and nothing was mapped since.
        let _ = unsafe { mmap_anonymous(base as *mut c_void, len, ProtFlags::empty(), flags) };
    }
}

/// Excludes a mapping from children that are forked from now on.
pub(super) fn exclude(base: NonNull<u8>, len: usize) -> Result<(), Errno> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    // SAFETY: the three functions are never unloaded, and may run in any thread that forks.
    let register = || unsafe { pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
    match *REGISTERED.get_or_init(register) {
        0 => {}
        errno => return Err(Errno::from_raw_os_error(errno)),
    }
    // Before the advice: a child that is forked in between reserves the range too.
    ranges().push((base.as_ptr() as usize, len));
    // SAFETY: a mapping of the caller; a later fork does not change it in this process.
    unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxDontFork) }
}

/// Stops excluding a mapping from children. Call it before the mapping is unmapped or inherited.
pub(super) fn stop_excluding(base: NonNull<u8>) {
    ranges().retain(|&(other, _)| other != base.as_ptr() as usize);
}

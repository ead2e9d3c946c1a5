//! Keeping forked children off memory that is their parent's.
//!
//! A mapping is not copied into a child (`MADV_DONTFORK`). But what the child maps next
//! would often get the same addresses, and the parent's handles would then work on it. So the
//! addresses are reserved in the child, before anything else runs there: an access faults.

use core::cell::RefCell;
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread_local;
use std::vec::Vec;

use rustix::io::Errno;
use rustix::mm::{madvise, mmap_anonymous, Advice, MapFlags, ProtFlags};

extern "C" {
    /// Of the C library: what each `fork` calls before it, and after it in parent and child.
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

/// Base and length of what children are kept off: mappings of this process, or what is
/// reserved in it because they were its parent's.
type Ranges = Vec<(usize, usize)>;

static RANGES: Mutex<Ranges> = Mutex::new(Vec::new());

thread_local! {
    /// Kept during a fork, so that a child never finds the list half changed.
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
        // SAFETY: the parent's mapping was there, and nothing was mapped since.
        let _ = unsafe { mmap_anonymous(base as *mut c_void, len, ProtFlags::empty(), flags) };
    }
}

/// Keeps children that are forked from now on off a mapping.
pub(super) fn keep_off(base: NonNull<u8>, len: usize) -> Result<(), Errno> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    // SAFETY: the three functions stay where they are, and may run in any thread that forks.
    let register = || unsafe { pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
    match *REGISTERED.get_or_init(register) {
        0 => {}
        errno => return Err(Errno::from_raw_os_error(errno)),
    }
    // Before the advice: a child that is forked in between has it replaced.
    ranges().push((base.as_ptr() as usize, len));
    // SAFETY: a mapping of the caller's; what a fork does later changes nothing here.
    unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxDontFork) }
}

/// Reserves nothing in children any more: before the mapping ends, or is to be inherited.
pub(super) fn let_on(base: NonNull<u8>) {
    ranges().retain(|&(other, _)| other != base.as_ptr() as usize);
}

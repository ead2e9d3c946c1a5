//! How a call waits: by the caller's functions, or by the library's.

use core::ffi::{c_int, c_void};
use core::mem::{align_of, size_of};
#[cfg(feature = "linux")]
use core::time::Duration;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Spin, Wait};
#[cfg(feature = "linux")]
use shmem_sync::{Futex, SleepPoll, SpinYield};

use crate::handle::{optional_output, output};
use crate::status::{shmr_status, status, Outcome};
use crate::word::Argument;

/// From `pause`: it waited a moment without sleeping; check again.
pub const SHMR_AGAIN: c_int = 0;
/// From `pause`: call `sleep` after one more check.
pub const SHMR_SLEEP: c_int = 1;
/// From `pause`: stop; the call returns SHMR_TIMED_OUT after one more check.
pub const SHMR_GIVE_UP: c_int = 2;

/// No deadline, or no limit.
pub const SHMR_FOREVER: u64 = 0xffff_ffff_ffff_ffff;

/// struct shmr_wait - how a call waits, and for how long
/// @pause:   called between two checks; returns SHMR_AGAIN, SHMR_SLEEP or SHMR_GIVE_UP. Any other
///           number is SHMR_GIVE_UP. A bootloader checks for Ctrl-C here
/// @sleep:   sleeps until the word *@ring_count differs from @seen (compare the words as they are,
///           without changing the byte order), until a peer rings in another way, or for a limited
///           time; may return at any time. May be NULL if @pause never returns SHMR_SLEEP
/// @context: for the caller's functions
///
/// Fill it in, or let shmr_wait_spin_checks(), shmr_wait_spin_yield(), shmr_wait_poll(),
/// shmr_wait_futex() or shmr_wait_session() do that. Fill in a new struct for each wait. A NULL
/// pointer to this struct means: check once.
#[repr(C)]
pub struct shmr_wait {
    pub pause: Option<unsafe extern "C" fn(wait: *mut shmr_wait) -> c_int>,
    pub sleep:
        Option<unsafe extern "C" fn(wait: *mut shmr_wait, ring_count: *const u32, seen: u32)>,
    pub context: *mut c_void,
    opaque: [u64; 10],
}

/// A wait of the caller.
pub(crate) struct Waiting(*mut shmr_wait);

impl Waiting {
    /// # Safety
    ///
    /// Null, or a wait that has no other user meanwhile, and whose functions can be called.
    pub(crate) unsafe fn from_ptr(wait: *mut shmr_wait) -> Outcome<Self> {
        // SAFETY: guaranteed by the caller.
        unsafe { optional_output(wait, Argument::Wait) }?;
        Ok(Self(wait))
    }
}

impl Wait for Waiting {
    fn pause(&mut self) -> Pause {
        // SAFETY: null, or as `from_ptr` demands.
        let pause = unsafe { self.0.as_ref() }.and_then(|wait| wait.pause);
        let Some(pause) = pause else {
            return Pause::TimedOut;
        };
        // SAFETY: as `from_ptr` demands.
        match unsafe { pause(self.0) } {
            SHMR_AGAIN => Pause::Again,
            SHMR_SLEEP => Pause::Sleep,
            _ => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        // SAFETY: null, or as `from_ptr` demands.
        let sleep = unsafe { self.0.as_ref() }.and_then(|wait| wait.sleep);
        if let Some(sleep) = sleep {
            // SAFETY: as `from_ptr` demands.
            unsafe { sleep(self.0, ring_count.as_ptr(), seen) }
        }
    }
}

/// Fills in a wait with one of the library's.
///
/// # Safety
///
/// Null, or room for a wait.
pub(crate) unsafe fn fill<W: Wait>(wait: *mut shmr_wait, own: W) -> shmr_status {
    const {
        assert!(size_of::<W>() <= size_of::<[u64; 10]>() && align_of::<W>() <= align_of::<u64>());
    }
    let fill = || {
        // SAFETY: guaranteed by the caller.
        let wait = unsafe { output(wait, Argument::Wait) }?;
        let wait = wait.write(shmr_wait {
            pause: Some(pause::<W>),
            sleep: Some(sleep::<W>),
            context: core::ptr::null_mut(),
            opaque: [0; 10],
        });
        // SAFETY: room for it, as asserted above.
        unsafe { wait.opaque.as_mut_ptr().cast::<W>().write(own) };
        Outcome::Ok(())
    };
    status(fill())
}

/// Returns the wait that `fill` stored.
///
/// # Safety
///
/// `fill` stored it, and it has no other user.
unsafe fn inner<'w, W>(wait: *mut shmr_wait) -> &'w mut W {
    // SAFETY: guaranteed by the caller.
    let opaque = unsafe { core::ptr::addr_of_mut!((*wait).opaque) };
    // SAFETY: guaranteed by the caller.
    unsafe { &mut *opaque.cast::<W>() }
}

unsafe extern "C" fn pause<W: Wait>(wait: *mut shmr_wait) -> c_int {
    // SAFETY: called through a wait that `fill` filled in.
    match unsafe { inner::<W>(wait) }.pause() {
        Pause::Again => SHMR_AGAIN,
        Pause::Sleep => SHMR_SLEEP,
        Pause::TimedOut => SHMR_GIVE_UP,
    }
}

unsafe extern "C" fn sleep<W: Wait>(wait: *mut shmr_wait, ring_count: *const u32, seen: u32) {
    // SAFETY: a word of the region, which `Waiting::sleep` passed on.
    let ring_count = unsafe { AtomicU32::from_ptr(ring_count.cast_mut()) };
    // SAFETY: called through a wait that `fill` filled in.
    unsafe { inner::<W>(wait) }.sleep(ring_count, seen);
}

/// shmr_wait_spin_checks() - wait without sleeping, for a number of checks
/// @wait:   to be filled in
/// @checks: the number; SHMR_FOREVER is no limit
///
/// Needs neither a clock nor an operating system.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_spin_checks(wait: *mut shmr_wait, checks: u64) -> shmr_status {
    // More than 2^32 checks take longer than any caller waits.
    let spin = u32::try_from(checks).map_or_else(|_| Spin::forever(), Spin::checks);
    // SAFETY: guaranteed by the caller.
    unsafe { fill(wait, spin) }
}

#[cfg(feature = "linux")]
fn milliseconds(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms)
}

/// shmr_wait_futex() - wait by sleeping, for peers on the same kernel
/// @wait:       to be filled in
/// @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
///
/// The peer rings shmr_doorbell_futex(). If the peer does not ring, the waiter still checks every
/// 20 ms. On memory that has no futex (/dev/mem, a PCI device's) it checks at growing intervals,
/// from 50 us to 20 ms.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_futex(wait: *mut shmr_wait, timeout_ms: u64) -> shmr_status {
    let futex = match timeout_ms {
        SHMR_FOREVER => Futex::forever(),
        timeout_ms => Futex::timeout(milliseconds(timeout_ms)),
    };
    // SAFETY: guaranteed by the caller.
    unsafe { fill(wait, futex) }
}

/// shmr_wait_spin_yield() - wait without sleeping, and yield the processor between two checks
/// @wait:       to be filled in
/// @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_spin_yield(
    wait: *mut shmr_wait,
    timeout_ms: u64,
) -> shmr_status {
    let spin = match timeout_ms {
        SHMR_FOREVER => SpinYield::forever(),
        timeout_ms => SpinYield::timeout(milliseconds(timeout_ms)),
    };
    // SAFETY: guaranteed by the caller.
    unsafe { fill(wait, spin) }
}

/// shmr_wait_poll() - wait by checking at growing intervals, for peers that cannot ring
/// @wait:       to be filled in
/// @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
/// @limit_ms:   the longest sleep between two checks, at most 20
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_poll(
    wait: *mut shmr_wait,
    timeout_ms: u64,
    limit_ms: u64,
) -> shmr_status {
    let poll = SleepPoll::timeout(milliseconds(timeout_ms), milliseconds(limit_ms));
    // SAFETY: guaranteed by the caller.
    unsafe { fill(wait, poll) }
}

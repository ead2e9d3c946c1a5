//! How a call waits: the caller's functions, and ours.

use core::ffi::{c_int, c_void};
use core::mem::{align_of, size_of};
#[cfg(feature = "linux")]
use core::time::Duration;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Spin, Wait};
#[cfg(feature = "linux")]
use shmem_sync::{Futex, SleepPoll, SpinYield};

use crate::handle::{place, place_if_any};
use crate::status::{shmr_status, status, Outcome};
use crate::word::Argument;

/// From `pause`: it spent a moment awake; check again.
pub const SHMR_AGAIN: c_int = 0;
/// From `pause`: it would rather sleep; `sleep` is called after one more check.
pub const SHMR_SLEEP: c_int = 1;
/// From `pause`: give up; the call says SHMR_TIMED_OUT after one more check.
pub const SHMR_GIVE_UP: c_int = 2;

/// No deadline, and no limit.
pub const SHMR_FOREVER: u64 = 0xffff_ffff_ffff_ffff;

/// struct shmr_wait - how a call waits, and for how long
/// @pause:   called between two checks; returns SHMR_AGAIN, SHMR_SLEEP or SHMR_GIVE_UP
///           (anything else gives up). This is where a bootloader looks for Ctrl-C
/// @sleep:   sleeps until *@rings, as the memory has it, is no longer @seen, until rung in
///           some other way, or for a while; may return at any time. May be NULL if @pause
///           never says SHMR_SLEEP
/// @context: the caller's
///
/// Fill it in, or let shmr_wait_checks(), shmr_wait_futex() or shmr_wait_poll() do it. One
/// value serves one wait. A NULL in its place is one check.
#[repr(C)]
pub struct shmr_wait {
    pub pause: Option<unsafe extern "C" fn(wait: *mut shmr_wait) -> c_int>,
    pub sleep: Option<unsafe extern "C" fn(wait: *mut shmr_wait, rings: *const u32, seen: u32)>,
    pub context: *mut c_void,
    opaque: [u64; 10],
}

/// A wait of the caller's.
pub(crate) struct Waiting(*mut shmr_wait);

impl Waiting {
    /// # Safety
    ///
    /// Null, or a wait that nobody else uses meanwhile, whose functions can be called.
    pub(crate) unsafe fn by(wait: *mut shmr_wait) -> Outcome<Self> {
        // SAFETY: the caller's.
        unsafe { place_if_any(wait, Argument::Wait) }?;
        Ok(Self(wait))
    }
}

impl Wait for Waiting {
    fn pause(&mut self) -> Pause {
        // SAFETY: null, or as `by` demands.
        let pause = unsafe { self.0.as_ref() }.and_then(|wait| wait.pause);
        let Some(pause) = pause else {
            return Pause::TimedOut;
        };
        // SAFETY: as `by` demands.
        match unsafe { pause(self.0) } {
            SHMR_AGAIN => Pause::Again,
            SHMR_SLEEP => Pause::Sleep,
            _ => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        // SAFETY: null, or as `by` demands.
        let sleep = unsafe { self.0.as_ref() }.and_then(|wait| wait.sleep);
        if let Some(sleep) = sleep {
            // SAFETY: as `by` demands.
            unsafe { sleep(self.0, rings.as_ptr(), seen) }
        }
    }
}

/// Fills in a wait with one of ours.
///
/// # Safety
///
/// Null, or room for a wait.
pub(crate) unsafe fn fill<W: Wait>(wait: *mut shmr_wait, own: W) -> shmr_status {
    const {
        assert!(size_of::<W>() <= size_of::<[u64; 10]>() && align_of::<W>() <= align_of::<u64>());
    }
    let fill = || {
        // SAFETY: the caller's.
        let wait = unsafe { place(wait, Argument::Wait) }?;
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

/// The wait that `fill` put there.
///
/// # Safety
///
/// `fill` put it there, and nobody else uses it.
unsafe fn inner<'w, W>(wait: *mut shmr_wait) -> &'w mut W {
    // SAFETY: the caller's.
    let opaque = unsafe { core::ptr::addr_of_mut!((*wait).opaque) };
    // SAFETY: the caller's.
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

unsafe extern "C" fn sleep<W: Wait>(wait: *mut shmr_wait, rings: *const u32, seen: u32) {
    // SAFETY: a word of the region, which `Waiting::sleep` passed on.
    let rings = unsafe { AtomicU32::from_ptr(rings.cast_mut()) };
    // SAFETY: called through a wait that `fill` filled in.
    unsafe { inner::<W>(wait) }.sleep(rings, seen);
}

/// shmr_wait_checks() - wait on the processor, for a number of checks
/// @wait:   to be filled in
/// @checks: how many; SHMR_FOREVER is no limit
///
/// Needs neither a clock nor an operating system.
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_checks(wait: *mut shmr_wait, checks: u64) -> shmr_status {
    // More than 2^32 take longer than anybody waits.
    let spin = u32::try_from(checks).map_or_else(|_| Spin::forever(), Spin::checks);
    // SAFETY: the caller's.
    unsafe { fill(wait, spin) }
}

#[cfg(feature = "linux")]
fn milliseconds(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms)
}

/// shmr_wait_futex() - wait asleep, for peers on the same kernel
/// @wait:       to be filled in
/// @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
///
/// The peer rings shmr_doorbell_futex(). One that does not is noticed within 20 ms. On memory
/// that has no futex (/dev/mem, a PCI device's) it polls, as often.
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_futex(wait: *mut shmr_wait, timeout_ms: u64) -> shmr_status {
    let futex = match timeout_ms {
        SHMR_FOREVER => Futex::forever(),
        timeout_ms => Futex::timeout(milliseconds(timeout_ms)),
    };
    // SAFETY: the caller's.
    unsafe { fill(wait, futex) }
}

/// shmr_wait_spin() - wait awake, and let others run between two checks
/// @wait:       to be filled in
/// @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_spin(wait: *mut shmr_wait, timeout_ms: u64) -> shmr_status {
    let spin = match timeout_ms {
        SHMR_FOREVER => SpinYield::forever(),
        timeout_ms => SpinYield::timeout(milliseconds(timeout_ms)),
    };
    // SAFETY: the caller's.
    unsafe { fill(wait, spin) }
}

/// shmr_wait_poll() - look again and again, less and less often, for peers that cannot ring
/// @wait:       to be filled in
/// @timeout_ms: milliseconds from now
/// @limit_ms:   the longest sleep between two checks
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_wait_poll(
    wait: *mut shmr_wait,
    timeout_ms: u64,
    limit_ms: u64,
) -> shmr_status {
    let poll = SleepPoll::timeout(milliseconds(timeout_ms), milliseconds(limit_ms));
    // SAFETY: the caller's.
    unsafe { fill(wait, poll) }
}

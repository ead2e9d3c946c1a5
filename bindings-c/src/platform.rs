//! The platform of a session: the caller's functions, or the library's.

use core::ffi::{c_int, c_void};
use core::time::Duration;

#[cfg(feature = "linux")]
use shmem_channel::SameKernel;
use shmem_channel::{Platform, WakeReason, FOREVER};
use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::{Incarnation, PartitionState};
use shmem_registry::{Process, Registry};

use crate::handle::value;
#[cfg(feature = "linux")]
use crate::liveness::shmr_partition_state;
use crate::liveness::state_from_number;
use crate::partition::shmr_process;
use crate::status::{Fault, Outcome};
use crate::wait::SHMR_FOREVER;
use crate::word::Argument;

/// For `wake`: there are records for the peer.
pub const SHMR_RECORDS: c_int = 0;
/// For `wake`: there is space for the peer's records.
pub const SHMR_SPACE: c_int = 1;
/// For `wake`: a lock that the peer waits for was released.
pub const SHMR_LOCK: c_int = 2;

/// struct shmr_platform - the services that a session needs from its platform
/// @now:         returns nanoseconds since a fixed moment; never goes back. Required
/// @sleep:       sleeps until a peer wakes this partition, at most @longest nanoseconds; may return
///               at any time. A sleep by futex or WFE must begin only if the word *@ring_count is
///               still @seen (compare the words as they are, without changing the byte order).
///               NULL: the processor polls
/// @wake:        wakes the peer that sleeps on @ring_count, by an interrupt, a hypercall or a
///               futex; the peer must then see everything that was stored before. @reason is
///               SHMR_RECORDS, SHMR_SPACE or SHMR_LOCK. NULL: peers poll
/// @state:       returns an enum shmr_partition_state: what is known about @incarnation, which is
///               attached according to its slot; @process identifies its process. SHMR_GONE is a
///               promise: others then take over what @incarnation holds. Any number that is not a
///               state counts as SHMR_ALIVE. NULL: the slot decides, so that a partition that was
///               killed counts as alive until its next incarnation attaches
/// @interrupted: returns true to end every wait now, as if its deadline had passed: on Ctrl-C, or
///               at a shutdown. Called before each sleep. NULL: never
/// @context:     passed to all functions
/// @process:     how peers on the same kernel identify this partition: shmr_process_this(), or
///               zeroes
///
/// Any thread that makes a call on a session, or on a handle that was opened through it, may call
/// these functions. They must not make such calls themselves.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_platform {
    pub now: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    pub sleep: Option<
        unsafe extern "C" fn(context: *mut c_void, ring_count: *const u32, seen: u32, longest: u64),
    >,
    pub wake:
        Option<unsafe extern "C" fn(context: *mut c_void, ring_count: *const u32, reason: c_int)>,
    pub state: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            incarnation: u32,
            process: *const shmr_process,
        ) -> c_int,
    >,
    pub interrupted: Option<unsafe extern "C" fn(context: *mut c_void) -> bool>,
    pub context: *mut c_void,
    pub process: shmr_process,
}

/// A platform of the caller.
pub(crate) struct CPlatform {
    functions: shmr_platform,
    now: unsafe extern "C" fn(context: *mut c_void) -> u64,
}

// SAFETY: its functions may be called by any thread, as the header says.
unsafe impl Sync for CPlatform {}

impl CPlatform {
    /// # Safety
    ///
    /// Null, or a platform whose functions can be called while this is used.
    pub(crate) unsafe fn from_ptr(platform: *const shmr_platform) -> Outcome<Self> {
        // SAFETY: guaranteed by the caller.
        let functions = *unsafe { value(platform, Argument::Platform) }?;
        let now = functions.now.ok_or(Fault::invalid(Argument::Platform))?;
        Ok(Self { functions, now })
    }
}

impl Platform for CPlatform {
    fn now(&self) -> Duration {
        // SAFETY: as `from_ptr` demands.
        Duration::from_nanos(unsafe { (self.now)(self.functions.context) })
    }

    fn sleep(&self, ring_count: &AtomicU32, seen: u32, longest: Duration) {
        let context = self.functions.context;
        match self.functions.sleep {
            // SAFETY: as `from_ptr` demands.
            Some(sleep) => unsafe {
                sleep(context, ring_count.as_ptr(), seen, nanoseconds(longest))
            },
            None => spin_loop(),
        }
    }

    fn wake(&self, ring_count: &AtomicU32, reason: WakeReason) {
        let reason = match reason {
            WakeReason::Records => SHMR_RECORDS,
            WakeReason::Space => SHMR_SPACE,
            WakeReason::Lock => SHMR_LOCK,
        };
        if let Some(wake) = self.functions.wake {
            // SAFETY: as `from_ptr` demands.
            unsafe { wake(self.functions.context, ring_count.as_ptr(), reason) }
        }
    }

    fn state(&self, registry: &Registry<'_>, partition: Incarnation) -> PartitionState {
        let known = registry.state_in_slot(partition);
        let slot = registry.partition(partition.partition()).ok();
        let attached = slot.filter(|slot| slot.incarnation == Some(partition) && slot.attached);
        match (self.functions.state, attached) {
            (Some(state), Some(slot)) if known != PartitionState::Gone => {
                let process = slot.process.into();
                // SAFETY: as `from_ptr` demands.
                state_from_number(unsafe {
                    state(self.functions.context, partition.word(), &process)
                })
            }
            _ => known,
        }
    }

    fn is_interrupted(&self) -> bool {
        let (context, interrupted) = (self.functions.context, self.functions.interrupted);
        // SAFETY: as `from_ptr` demands.
        interrupted.is_some_and(|interrupted| unsafe { interrupted(context) })
    }

    fn process(&self) -> Process {
        self.functions.process.into()
    }
}

/// Converts a timeout of a C call.
pub(crate) fn timeout(nanoseconds: u64) -> Duration {
    match nanoseconds {
        SHMR_FOREVER => FOREVER,
        nanoseconds => Duration::from_nanos(nanoseconds),
    }
}

/// Returns the nanoseconds of a sleep. Sleeps are short.
fn nanoseconds(sleep: Duration) -> u64 {
    let whole = sleep.as_secs().wrapping_mul(1_000_000_000);
    whole.wrapping_add(sleep.subsec_nanos().into())
}

/// shmr_platform_same_kernel() - the platform of processes on one kernel
///
/// The processes sleep on a futex, and the kernel (5.3 or later) reports which of them have ended.
/// A process in another PID or time namespace counts as alive until its next incarnation attaches.
/// Call this in the process that joins, not before a fork.
///
/// Return: the platform.
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_platform_same_kernel() -> shmr_platform {
    shmr_platform {
        now: Some(now),
        sleep: Some(sleep),
        wake: Some(wake),
        state: Some(state),
        interrupted: None,
        context: core::ptr::null_mut(),
        process: Process::this().into(),
    }
}

#[cfg(feature = "linux")]
unsafe extern "C" fn now(_: *mut c_void) -> u64 {
    nanoseconds(SameKernel.now())
}

#[cfg(feature = "linux")]
unsafe extern "C" fn sleep(_: *mut c_void, ring_count: *const u32, seen: u32, longest: u64) {
    // SAFETY: a word of the region, which `CPlatform::sleep` passed on.
    let ring_count = unsafe { AtomicU32::from_ptr(ring_count.cast_mut()) };
    SameKernel.sleep(ring_count, seen, timeout(longest));
}

#[cfg(feature = "linux")]
unsafe extern "C" fn wake(_: *mut c_void, ring_count: *const u32, _: c_int) {
    // SAFETY: a word of the region, which `CPlatform::wake` passed on.
    let ring_count = unsafe { AtomicU32::from_ptr(ring_count.cast_mut()) };
    SameKernel.wake(ring_count, WakeReason::Records);
}

#[cfg(feature = "linux")]
unsafe extern "C" fn state(_: *mut c_void, _: u32, process: *const shmr_process) -> c_int {
    // SAFETY: of the slot, which `CPlatform::state` passed on.
    let process: Process = unsafe { *process }.into();
    let state = PartitionState::from_is_gone(process.has_ended());
    shmr_partition_state::from(state) as c_int
}

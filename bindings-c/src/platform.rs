//! What a session needs from where it runs: the caller's functions, and ours.

use core::ffi::{c_int, c_void};
use core::time::Duration;

#[cfg(feature = "linux")]
use shmem_channel::SameKernel;
use shmem_channel::{Platform, Reason, FOREVER};
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

/// To `wake`: there are records for the peer.
pub const SHMR_RECORDS: c_int = 0;
/// To `wake`: there is room for the peer's records.
pub const SHMR_ROOM: c_int = 1;
/// To `wake`: a lock that the peer waits for was released.
pub const SHMR_LOCK: c_int = 2;

/// struct shmr_platform - the clock, the sleep, the doorbell and the knowledge of ends
/// @now:     nanoseconds since some fixed moment; never goes back. Not NULL
/// @sleep:   sleeps until a peer wakes this partition, @longest nanoseconds at most; may
///           return at any time. A sleep by futex or WFE begins only while *@rings, as the
///           memory has it, is @seen. NULL: the processor looks again and again
/// @wake:    wakes the peer that sleeps on @rings, after everything that was stored before:
///           an interrupt, a hypercall, a futex. @reason is SHMR_RECORDS, SHMR_ROOM or
///           SHMR_LOCK. NULL: peers poll
/// @state:   an enum shmr_partition_state: what is known of the incarnation @incarnation, whose
///           slot says that it is attached, and what @process it is. SHMR_GONE is a
///           promise: what @incarnation held is given to others. Any other number than the three
///           counts as SHMR_ALIVE. NULL: what its slot says, so that a partition that was
///           killed counts as alive until its next incarnation attaches
/// @interrupted: whether every wait is to end now, as if its time were over: an operator's
///           Ctrl-C, a shutdown; asked before each sleep. NULL: never
/// @context: passed to all of them
/// @process: how peers on the same kernel can know this partition: shmr_process_this(), or
///           zeroes
///
/// The functions are called by whatever thread calls on a session or on what was opened
/// through it. They call nothing on those.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_platform {
    pub now: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    pub sleep: Option<
        unsafe extern "C" fn(context: *mut c_void, rings: *const u32, seen: u32, longest: u64),
    >,
    pub wake: Option<unsafe extern "C" fn(context: *mut c_void, rings: *const u32, reason: c_int)>,
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

/// A platform of the caller's.
pub(crate) struct CPlatform {
    functions: shmr_platform,
    now: unsafe extern "C" fn(context: *mut c_void) -> u64,
}

// SAFETY: its functions may be called by any thread, as the header says.
unsafe impl Sync for CPlatform {}

impl CPlatform {
    /// # Safety
    ///
    /// Null, or a platform whose functions can be called for as long as this is used.
    pub(crate) unsafe fn by(platform: *const shmr_platform) -> Outcome<Self> {
        // SAFETY: the caller's.
        let functions = *unsafe { value(platform, Argument::Platform) }?;
        let now = functions.now.ok_or(Fault::invalid(Argument::Platform))?;
        Ok(Self { functions, now })
    }
}

impl Platform for CPlatform {
    fn now(&self) -> Duration {
        // SAFETY: as `by` demands.
        Duration::from_nanos(unsafe { (self.now)(self.functions.context) })
    }

    fn sleep(&self, rings: &AtomicU32, seen: u32, longest: Duration) {
        let context = self.functions.context;
        match self.functions.sleep {
            // SAFETY: as `by` demands.
            Some(sleep) => unsafe { sleep(context, rings.as_ptr(), seen, nanoseconds(longest)) },
            None => spin_loop(),
        }
    }

    fn wake(&self, rings: &AtomicU32, reason: Reason) {
        let reason = match reason {
            Reason::Records => SHMR_RECORDS,
            Reason::Room => SHMR_ROOM,
            Reason::Lock => SHMR_LOCK,
        };
        if let Some(wake) = self.functions.wake {
            // SAFETY: as `by` demands.
            unsafe { wake(self.functions.context, rings.as_ptr(), reason) }
        }
    }

    fn state(&self, registry: &Registry<'_>, partition: Incarnation) -> PartitionState {
        let known = registry.state_in_slot(partition);
        let slot = registry.partition(partition.partition()).ok();
        let attached = slot.filter(|slot| slot.incarnation == Some(partition) && slot.attached);
        match (self.functions.state, attached) {
            (Some(state), Some(slot)) if known != PartitionState::Gone => {
                let process = slot.process.into();
                // SAFETY: as `by` demands.
                state_from_number(unsafe {
                    state(self.functions.context, partition.word(), &process)
                })
            }
            _ => known,
        }
    }

    fn is_interrupted(&self) -> bool {
        let context = self.functions.context;
        // SAFETY: as `by` demands.
        let asked = self
            .functions
            .interrupted
            .map(|asked| unsafe { asked(context) });
        asked.unwrap_or(false)
    }

    fn process(&self) -> Process {
        self.functions.process.into()
    }
}

/// How long a call of C's is to wait.
pub(crate) fn timeout(nanoseconds: u64) -> Duration {
    match nanoseconds {
        SHMR_FOREVER => FOREVER,
        nanoseconds => Duration::from_nanos(nanoseconds),
    }
}

/// The nanoseconds of a sleep, which is short.
fn nanoseconds(sleep: Duration) -> u64 {
    let whole = sleep.as_secs().wrapping_mul(1_000_000_000);
    whole.wrapping_add(sleep.subsec_nanos().into())
}

/// shmr_platform_same_kernel() - the platform of processes of one kernel
///
/// They sleep on a futex, and the kernel (5.3 or later) says which of them have ended. A
/// process in another PID or time namespace counts as alive until its next incarnation
/// attaches. Call it in the process that joins, not before a fork.
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
unsafe extern "C" fn sleep(_: *mut c_void, rings: *const u32, seen: u32, longest: u64) {
    // SAFETY: a word of the region, which `CPlatform::sleep` passed on.
    let rings = unsafe { AtomicU32::from_ptr(rings.cast_mut()) };
    SameKernel.sleep(rings, seen, timeout(longest));
}

#[cfg(feature = "linux")]
unsafe extern "C" fn wake(_: *mut c_void, rings: *const u32, _: c_int) {
    // SAFETY: a word of the region, which `CPlatform::wake` passed on.
    let rings = unsafe { AtomicU32::from_ptr(rings.cast_mut()) };
    SameKernel.wake(rings, Reason::Records);
}

#[cfg(feature = "linux")]
unsafe extern "C" fn state(_: *mut c_void, _: u32, process: *const shmr_process) -> c_int {
    // SAFETY: of the slot, which `CPlatform::state` passed on.
    let process: Process = unsafe { *process }.into();
    let state = PartitionState::gone_if(process.has_ended());
    shmr_partition_state::from(state) as c_int
}

//! Which partitions are alive, silent or gone: the caller's function, or the library's.

use core::ffi::{c_int, c_void};
use core::time::Duration;

use shmem_core::{AssumeAlive, Incarnation, Liveness, PartitionState};
#[cfg(feature = "linux")]
use shmem_registry::Processes;
use shmem_registry::{liveness, Clock, Heartbeats};

#[cfg(feature = "linux")]
use crate::handle::close;
use crate::handle::{get, handle, open, value, with};
use crate::registry::shmr_registry;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// enum shmr_partition_state - what is known about an incarnation of a partition
/// @SHMR_ALIVE:  it is not known to be silent or gone
/// @SHMR_SILENT: its heartbeat has stood still for longer than a limit; it may come back
/// @SHMR_GONE:   it has ended, or is presumed to have ended: others take over what it holds
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum shmr_partition_state {
    SHMR_ALIVE = 0,
    SHMR_SILENT = 1,
    SHMR_GONE = 2,
}

impl From<PartitionState> for shmr_partition_state {
    fn from(state: PartitionState) -> Self {
        match state {
            PartitionState::Alive => Self::SHMR_ALIVE,
            PartitionState::Silent => Self::SHMR_SILENT,
            PartitionState::Gone => Self::SHMR_GONE,
        }
    }
}

/// struct shmr_liveness - knows which partitions are alive, silent or gone
/// @state:   returns an enum shmr_partition_state: what is known about @incarnation now. SHMR_GONE
///           is a promise: others then take over what @incarnation holds. Any number that is not a
///           state counts as SHMR_ALIVE
/// @context: passed to @state
///
/// A NULL pointer to this struct means: every partition counts as alive.
/// shmr_heartbeats_liveness(), shmr_processes_liveness() and shmr_session_liveness() return one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_liveness {
    pub state: Option<unsafe extern "C" fn(context: *mut c_void, incarnation: u32) -> c_int>,
    pub context: *mut c_void,
}

/// A liveness of the caller.
pub(crate) struct CLiveness(Option<shmr_liveness>);

impl CLiveness {
    /// # Safety
    ///
    /// Null, or a liveness whose function can be called while this is used.
    pub(crate) unsafe fn from_ptr(liveness: *const shmr_liveness) -> Outcome<Self> {
        if liveness.is_null() {
            return Ok(Self(None));
        }
        // SAFETY: guaranteed by the caller.
        unsafe { value(liveness, Argument::Liveness) }.map(|liveness| Self(Some(*liveness)))
    }
}

impl Liveness for CLiveness {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let function = self.0.and_then(|own| Some((own.state?, own.context)));
        let Some((state, context)) = function else {
            return AssumeAlive.state(incarnation);
        };
        // SAFETY: as `from_ptr` demands.
        state_from_number(unsafe { state(context, incarnation.word()) })
    }
}

/// Converts the state that a function of the caller returned.
pub(crate) fn state_from_number(state: c_int) -> PartitionState {
    match state {
        1 => PartitionState::Silent,
        2 => PartitionState::Gone,
        _ => PartitionState::Alive,
    }
}

/// struct shmr_clock - a clock
/// @now_us:  returns microseconds since a fixed moment, in all 64 bits. If it goes back, for
///           example because a shorter counter wraps, the whole limit starts again for every
///           partition
/// @context: passed to @now_us
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_clock {
    pub now_us: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    pub context: *mut c_void,
}

impl Clock for shmr_clock {
    fn now(&mut self) -> Duration {
        // SAFETY: a clock that `shmr_heartbeats_watch` was given.
        let now = self.now_us.map_or(0, |now| unsafe { now(self.context) });
        Duration::from_micros(now)
    }
}

/// struct shmr_heartbeats - reports partitions whose heartbeats stand still as silent
/// @error: why the last call on it failed
///
/// For partitions on different kernels. An incarnation is gone if it left, or if a later
/// incarnation of its partition has attached. Silence alone does not mean that it is gone, unless
/// shmr_heartbeats_presume_gone_after() is called. Needs no closing.
#[repr(C)]
pub struct shmr_heartbeats {
    pub error: shmr_error,
    opaque: [u64; 550],
}

handle!(shmr_heartbeats, b"hbts", Heartbeats<'static, shmr_clock>);

/// A limit that reports silence within 100 ms, if partitions beat every 10 ms.
pub const SHMR_HEARTBEAT_LIMIT_MS: u32 = 60;
/// The longest time between two beats that is safe with SHMR_HEARTBEAT_LIMIT_MS.
pub const SHMR_BEAT_MS: u32 = 10;

const _: () = assert!(
    SHMR_HEARTBEAT_LIMIT_MS as u128 == liveness::SILENCE_LIMIT.as_millis()
        && SHMR_BEAT_MS as u128 == liveness::BEAT_INTERVAL.as_millis()
);

/// shmr_heartbeats_watch() - watch the heartbeats of a registry's partitions
/// @heartbeats: to be opened
/// @registry:   the registry
/// @limit_ms:   milliseconds that a heartbeat stands still before its partition is silent; 0 is
///              SHMR_HEARTBEAT_LIMIT_MS
/// @clock:      the caller's clock; copied
///
/// The limit of every partition starts when a state is asked for the first time, of whichever
/// partition. Ask several times within a limit. After a pause of more than half a limit between two
/// questions, the whole limit starts again for every partition.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_heartbeats_watch(
    heartbeats: *mut shmr_heartbeats,
    registry: *const shmr_registry,
    limit_ms: u32,
    clock: *const shmr_clock,
) -> shmr_status {
    let watch = || {
        // SAFETY: guaranteed by the caller.
        let registry = unsafe { get(registry, Argument::Registry) }?;
        // SAFETY: guaranteed by the caller.
        let clock = unsafe { value(clock, Argument::Clock) }?;
        clock.now_us.ok_or(Fault::invalid(Argument::Clock))?;
        let limit = match limit_ms {
            0 => liveness::SILENCE_LIMIT,
            limit_ms => Duration::from_millis(limit_ms.into()),
        };
        Ok(Heartbeats::with_clock(*registry, limit, *clock))
    };
    // SAFETY: guaranteed by the caller.
    unsafe { open(heartbeats, watch) }
}

/// shmr_heartbeats_presume_gone_after() - presume that partitions are gone after a long silence
/// @heartbeats: open heartbeats
/// @limit_ms:   milliseconds that a heartbeat stands still before its partition is presumed gone;
///              at least the limit of shmr_heartbeats_watch()
///
/// For platforms that have no other way to know. A partition that was only slow loses its locks,
/// permits and ends of rings by this. When it continues, the step that it was in can still change
/// memory that others use by then; after that its calls return SHMR_EVICTED or SHMR_NOT_HELD.
/// Choose a limit longer than any pause of a partition that comes back: in a debugger, during a
/// snapshot of its machine, while its machine is suspended.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL: also for a limit of 0
#[no_mangle]
pub unsafe extern "C" fn shmr_heartbeats_presume_gone_after(
    heartbeats: *mut shmr_heartbeats,
    limit_ms: u32,
) -> shmr_status {
    let presume = |own: &mut Heartbeats<'static, shmr_clock>| {
        if limit_ms == 0 {
            return Err(Fault::invalid(Argument::Limit));
        }
        let limit = Duration::from_millis(limit_ms.into());
        // SAFETY: taken out and put back; nothing in between can fail.
        unsafe { core::ptr::write(own, core::ptr::read(own).presume_gone_after(limit)) };
        Ok(())
    };
    // SAFETY: guaranteed by the caller.
    unsafe { with(heartbeats, presume) }
}

/// shmr_heartbeats_liveness() - what heartbeats know about partitions, for calls that take a
/// liveness
/// @heartbeats: used by one thread at a time; must not move while the result is used
///
/// Return: a liveness that refers to @heartbeats.
#[no_mangle]
pub extern "C" fn shmr_heartbeats_liveness(heartbeats: *mut shmr_heartbeats) -> shmr_liveness {
    shmr_liveness {
        state: Some(heartbeats_state),
        context: heartbeats.cast(),
    }
}

unsafe extern "C" fn heartbeats_state(context: *mut c_void, incarnation: u32) -> c_int {
    // SAFETY: the heartbeats that `shmr_heartbeats_liveness` was given.
    unsafe { state_by_handle(context.cast::<shmr_heartbeats>(), incarnation) }
}

/// Returns the state that a handle knows; alive if the handle is not open.
///
/// # Safety
///
/// As [`with`].
unsafe fn state_by_handle<H>(handle: *mut H, incarnation: u32) -> c_int
where
    H: crate::handle::Handle,
    H::Inner: Liveness,
{
    let mut state = PartitionState::Alive;
    // SAFETY: guaranteed by the caller.
    let _ = unsafe {
        with(handle, |inner| {
            if let Some(incarnation) = Incarnation::from_word(incarnation) {
                state = inner.state(incarnation);
            }
            Ok(())
        })
    };
    shmr_partition_state::from(state) as c_int
}

/// struct shmr_processes - reports partitions whose processes have ended as gone
/// @error: why the last call on it failed
///
/// For partitions that are processes on one kernel, and that attached with shmr_process_this().
#[cfg(feature = "linux")]
#[repr(C)]
pub struct shmr_processes {
    pub error: shmr_error,
    opaque: [u64; 530],
}

#[cfg(feature = "linux")]
handle!(shmr_processes, b"proc", Processes<'static>);

/// shmr_processes_watch() - watch the processes that attached to a registry
/// @processes: to be opened
/// @registry:  the registry
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL, SHMR_OPEN
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_processes_watch(
    processes: *mut shmr_processes,
    registry: *const shmr_registry,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(processes, || {
            Ok(Processes::new(*get(registry, Argument::Registry)?))
        })
    }
}

/// shmr_processes_liveness() - what the kernel knows about partitions, for calls that take a
/// liveness
/// @processes: used by one thread at a time; must not move while the result is used
///
/// Return: a liveness that refers to @processes.
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_processes_liveness(processes: *mut shmr_processes) -> shmr_liveness {
    shmr_liveness {
        state: Some(processes_state),
        context: processes.cast(),
    }
}

#[cfg(feature = "linux")]
unsafe extern "C" fn processes_state(context: *mut c_void, incarnation: u32) -> c_int {
    // SAFETY: the processes that `shmr_processes_liveness` was given.
    unsafe { state_by_handle(context.cast::<shmr_processes>(), incarnation) }
}

/// shmr_processes_close() - stop watching, and close the descriptors
/// @processes: the handle to close; no liveness of it is used any more
///
/// Return:
/// * SHMR_OK
/// * SHMR_EINVAL
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_processes_close(processes: *mut shmr_processes) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    unsafe { close(processes) }
}

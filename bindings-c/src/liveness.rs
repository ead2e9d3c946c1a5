//! Who knows which lives are over: the caller's function, or ours.

use core::ffi::{c_int, c_void};
use core::time::Duration;

use shmem_core::Life;
#[cfg(feature = "linux")]
use shmem_registry::Processes;
use shmem_registry::{liveness, Clock, Heartbeats};
use shmem_sync::{Immortal, Liveness};

#[cfg(feature = "linux")]
use crate::handle::close;
use crate::handle::{get, handle, open, value, with};
use crate::registry::shmr_registry;
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_liveness - knows which lives are over
/// @is_over: not 0 if @life is over for certain: what it held may be taken
/// @context: passed to it
///
/// A NULL in its place knows of no death. shmr_heartbeats_liveness() and
/// shmr_processes_liveness() make one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_liveness {
    pub is_over: Option<unsafe extern "C" fn(context: *mut c_void, life: u32) -> c_int>,
    pub context: *mut c_void,
}

/// A liveness of the caller's.
pub(crate) struct Told(Option<shmr_liveness>);

impl Told {
    /// # Safety
    ///
    /// Null, or a liveness whose function can be called for as long as this is used.
    pub(crate) unsafe fn by(liveness: *const shmr_liveness) -> Outcome<Self> {
        if liveness.is_null() {
            return Ok(Self(None));
        }
        // SAFETY: the caller's.
        unsafe { value(liveness, Argument::Liveness) }.map(|liveness| Self(Some(*liveness)))
    }
}

impl Liveness for Told {
    fn is_over(&mut self, life: Life) -> bool {
        let told = self.0.and_then(|told| Some((told.is_over?, told.context)));
        match told {
            // SAFETY: as `by` demands.
            Some((is_over, context)) => unsafe { is_over(context, life.word()) != 0 },
            None => Immortal.is_over(life),
        }
    }
}

/// struct shmr_clock - the time
/// @now_us:  microseconds since some fixed moment
/// @context: passed to it
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

/// struct shmr_heartbeats - takes a life for over whose heartbeat stands still
/// @error: why the last call on it failed
///
/// For partitions on different kernels. Needs no closing.
#[repr(C)]
pub struct shmr_heartbeats {
    pub error: shmr_error,
    opaque: [u64; 540],
}

handle!(shmr_heartbeats, b"hbts", Heartbeats<'static, shmr_clock>);

/// The limit that notices a death within 100 ms, of partitions that beat every 10 ms.
pub const SHMR_HEARTBEAT_LIMIT_MS: u32 = 60;
/// How often partitions beat to be safe with that limit.
pub const SHMR_BEAT_MS: u32 = 10;

const _: () = assert!(
    SHMR_HEARTBEAT_LIMIT_MS as u128 == liveness::LIMIT.as_millis()
        && SHMR_BEAT_MS as u128 == liveness::BEAT.as_millis()
);

/// shmr_heartbeats_watch() - watch the heartbeats of a registry's partitions
/// @heartbeats: to be opened
/// @registry:   the registry
/// @limit_ms:   how long a heartbeat stands still before its life is over: longer than
///              any pause of a partition that lives; 0 is SHMR_HEARTBEAT_LIMIT_MS
/// @clock:      the caller's clock, copied
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[no_mangle]
pub unsafe extern "C" fn shmr_heartbeats_watch(
    heartbeats: *mut shmr_heartbeats,
    registry: *const shmr_registry,
    limit_ms: u32,
    clock: *const shmr_clock,
) -> shmr_status {
    let watch = || {
        // SAFETY: the caller's.
        let registry = unsafe { get(registry, Argument::Registry) }?;
        // SAFETY: the caller's.
        let clock = unsafe { value(clock, Argument::Clock) }?;
        clock.now_us.ok_or(Fault::invalid(Argument::Clock))?;
        let limit = match limit_ms {
            0 => liveness::LIMIT,
            limit_ms => Duration::from_millis(limit_ms.into()),
        };
        Ok(Heartbeats::by_clock(*registry, limit, *clock))
    };
    // SAFETY: the caller's.
    unsafe { open(heartbeats, watch) }
}

/// shmr_heartbeats_liveness() - what heartbeats know, for calls that ask
/// @heartbeats: used by one thread at a time, and in place for as long as this is used
#[no_mangle]
pub extern "C" fn shmr_heartbeats_liveness(heartbeats: *mut shmr_heartbeats) -> shmr_liveness {
    shmr_liveness {
        is_over: Some(is_silent),
        context: heartbeats.cast(),
    }
}

unsafe extern "C" fn is_silent(context: *mut c_void, life: u32) -> c_int {
    // SAFETY: the heartbeats that `shmr_heartbeats_liveness` was given.
    unsafe { ask(context.cast::<shmr_heartbeats>(), life) }
}

/// Asks a handle; one that is not open knows of no death.
///
/// # Safety
///
/// As [`with`].
unsafe fn ask<H>(handle: *mut H, life: u32) -> c_int
where
    H: crate::handle::Handle,
    H::Inner: Liveness,
{
    let mut over = false;
    // SAFETY: the caller's.
    let _ = unsafe {
        with(handle, |inner| {
            over = Life::from_word(life).is_some_and(|life| inner.is_over(life));
            Ok(())
        })
    };
    over.into()
}

/// struct shmr_processes - takes a life for over whose process has ended
/// @error: why the last call on it failed
///
/// For partitions that are processes of one kernel and attached with shmr_process_this().
#[cfg(feature = "linux")]
#[repr(C)]
pub struct shmr_processes {
    pub error: shmr_error,
    opaque: [u64; 160],
}

#[cfg(feature = "linux")]
handle!(shmr_processes, b"proc", Processes<'static>);

/// shmr_processes_watch() - watch the processes that attached to a registry
/// @processes: to be opened
/// @registry:  the registry
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_processes_watch(
    processes: *mut shmr_processes,
    registry: *const shmr_registry,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(processes, || {
            Ok(Processes::new(*get(registry, Argument::Registry)?))
        })
    }
}

/// shmr_processes_liveness() - what the kernel knows, for calls that ask
/// @processes: used by one thread at a time, and in place for as long as this is used
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_processes_liveness(processes: *mut shmr_processes) -> shmr_liveness {
    shmr_liveness {
        is_over: Some(is_gone),
        context: processes.cast(),
    }
}

#[cfg(feature = "linux")]
unsafe extern "C" fn is_gone(context: *mut c_void, life: u32) -> c_int {
    // SAFETY: the processes that `shmr_processes_liveness` was given.
    unsafe { ask(context.cast::<shmr_processes>(), life) }
}

/// shmr_processes_close() - give back what watching takes
/// @processes: nothing asks it any more
///
/// Return: SHMR_OK; SHMR_EINVAL.
#[cfg(feature = "linux")]
#[no_mangle]
pub unsafe extern "C" fn shmr_processes_close(processes: *mut shmr_processes) -> shmr_status {
    // SAFETY: the caller's.
    unsafe { close(processes) }
}

//! A barrier that reports a party that died.

use shmem_sync::{Arrival, Barrier};

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{handle, open, output, with};
use crate::liveness::{shmr_liveness, CLiveness};
use crate::partition::incarnation;
use crate::segment::{segment_window, shmr_segment};
use crate::status::shmr_status::SHMR_BUSY;
use crate::status::{shmr_error, shmr_status, Fault};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// struct shmr_barrier - where partitions wait for each other
/// @error: why the last call on it failed
///
/// Needs no closing.
#[repr(C)]
pub struct shmr_barrier {
    pub error: shmr_error,
    opaque: [u64; 12],
}

handle!(shmr_barrier, b"barr", WithBell<Barrier<'static>>);

/// struct shmr_arrival - all parties have arrived
/// @phase:  the number of the phase, from 1; 1 follows 2^32 - 1
/// @leader: true for exactly one of the parties
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_arrival {
    pub phase: u32,
    pub leader: bool,
}

impl From<Arrival> for shmr_arrival {
    fn from(arrival: Arrival) -> Self {
        Self {
            phase: arrival.phase,
            leader: arrival.leader,
        }
    }
}

/// shmr_barrier_len() - the length of a segment for a barrier
/// @partitions: the largest partition number of a party
///
/// Return: the len for struct shmr_request.
#[no_mangle]
pub extern "C" fn shmr_barrier_len(partitions: u8) -> usize {
    Barrier::segment_len(partitions)
}

/// shmr_barrier_open() - open the barrier in a segment
/// @barrier:     to be opened
/// @segment:     its segment; a zeroed segment is a barrier in its first phase
/// @incarnation: the caller's
/// @parties:     the number of parties
/// @doorbell:    wakes partitions that wait, copied; or NULL
///
/// No other handle of @incarnation on this barrier may be used any more: two handles would let the
/// other parties pass early.
///
/// Return:
/// * SHMR_OK
/// * SHMR_NO_SUCH_PARTITION: the segment has no entry for the caller's number, and the error's
///   value is the number of entries. Use shmr_barrier_len() with a larger number.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_barrier_open(
    barrier: *mut shmr_barrier,
    segment: *const shmr_segment,
    incarnation: u32,
    parties: usize,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        open(barrier, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::from_ptr(doorbell)?);
            let window = segment_window(segment)?;
            let barrier = Barrier::attach(window, incarnation, parties, NO_BELL)?;
            Ok(WithBell::new(barrier, bell))
        })
    }
}

/// shmr_barrier_try_wait() - arrive, if the caller has not yet, and check for the other parties
/// @barrier:  a barrier
/// @liveness: knows which partitions are gone, or NULL
/// @arrival:  set when all parties have arrived
///
/// Return: the statuses of shmr_barrier_wait() without SHMR_TIMED_OUT, and
/// * SHMR_BUSY: a party is missing; the caller has arrived. Call again later.
#[no_mangle]
pub unsafe extern "C" fn shmr_barrier_try_wait(
    barrier: *mut shmr_barrier,
    liveness: *const shmr_liveness,
    arrival: *mut shmr_arrival,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(barrier, |own| {
            let (out, mut liveness) = (
                output(arrival, Argument::Arrival)?,
                CLiveness::from_ptr(liveness)?,
            );
            let arrival = own.lock().try_wait(&mut liveness)?;
            out.write(arrival.ok_or(Fault::new(SHMR_BUSY))?.into());
            Ok(())
        })
    }
}

/// shmr_barrier_wait() - arrive, and wait for the other parties
/// @barrier:  a barrier
/// @wait:     how to wait, and for how long
/// @liveness: knows which partitions are gone, or NULL
/// @arrival:  set when all parties have arrived
///
/// The caller has arrived even if the call fails: the next call continues to wait.
///
/// Return:
/// * SHMR_OK: all parties have arrived
/// * SHMR_PARTY_DIED: a party is gone, and the error's value is its incarnation. If it will
///   restart, wait again without @liveness.
/// * SHMR_TIMED_OUT: a party is missing. The error's value is its incarnation if it is silent, else
///   0. Wait again.
/// * SHMR_EVICTED: a later incarnation of this partition uses the barrier. Permanent.
/// * SHMR_EINVAL, SHMR_CORRUPT
#[no_mangle]
pub unsafe extern "C" fn shmr_barrier_wait(
    barrier: *mut shmr_barrier,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
    arrival: *mut shmr_arrival,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe {
        with(barrier, |own| {
            let (out, mut liveness) = (
                output(arrival, Argument::Arrival)?,
                CLiveness::from_ptr(liveness)?,
            );
            out.write(
                own.lock()
                    .wait(&mut Waiting::from_ptr(wait)?, &mut liveness)?
                    .into(),
            );
            Ok(())
        })
    }
}

//! A barrier that says who died before it.

use shmem_sync::{Arrival, Barrier};

use crate::doorbell::{shmr_doorbell, Bell, WithBell, NO_BELL};
use crate::handle::{handle, open, place, with};
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

/// struct shmr_arrival - that all parties have arrived
/// @phase:  how often that was, modulo 2^32
/// @leader: so for one of them
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

/// shmr_barrier_len() - bytes of a segment for a barrier
/// @partitions: the largest number of a party
///
/// Return: the number for struct shmr_request.
#[no_mangle]
pub extern "C" fn shmr_barrier_len(partitions: u8) -> usize {
    Barrier::segment_len(partitions)
}

/// shmr_barrier_open() - a barrier in a segment
/// @barrier:  to be opened
/// @segment:  its segment; zeroed, nobody has passed it
/// @incarnation:     the caller's
/// @parties:  how many meet
/// @doorbell: what wakes those that wait, copied; or NULL
///
/// No other handle of @incarnation on this barrier is used from now on, as two let the others pass
/// early.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_NO_SUCH_PARTITION, the segment has no entry for this
///         one's number.
#[no_mangle]
pub unsafe extern "C" fn shmr_barrier_open(
    barrier: *mut shmr_barrier,
    segment: *const shmr_segment,
    incarnation: u32,
    parties: usize,
    doorbell: *const shmr_doorbell,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        open(barrier, || {
            let (incarnation, bell) = (self::incarnation(incarnation)?, Bell::by(doorbell)?);
            let window = segment_window(segment)?;
            let barrier = Barrier::attach(window, incarnation, parties, NO_BELL)?;
            Ok(WithBell::new(barrier, bell))
        })
    }
}

/// shmr_barrier_try_wait() - arrive, if that is still to be done, and see who is there
/// @barrier:  a barrier
/// @liveness: who knows which partitions are gone, or NULL
/// @arrival:  what became of it
///
/// Return: as shmr_barrier_wait(), but SHMR_BUSY instead of waiting: call again.
#[no_mangle]
pub unsafe extern "C" fn shmr_barrier_try_wait(
    barrier: *mut shmr_barrier,
    liveness: *const shmr_liveness,
    arrival: *mut shmr_arrival,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(barrier, |own| {
            let (out, mut told) = (place(arrival, Argument::Arrival)?, CLiveness::by(liveness)?);
            let arrival = own.lock().try_wait(&mut told)?;
            out.write(arrival.ok_or(Fault::new(SHMR_BUSY))?.into());
            Ok(())
        })
    }
}

/// shmr_barrier_wait() - arrive, and wait for the others
/// @barrier:  a barrier
/// @wait:     how to wait, and for how long
/// @liveness: who knows which partitions are gone, or NULL
/// @arrival:  what became of it
///
/// Whatever it says, the caller has arrived: the next call waits on.
///
/// Return: SHMR_OK; SHMR_PARTY_DIED, and the error's value is its incarnation: wait again if it
///         restarts, without @liveness; SHMR_TIMED_OUT, and the value is the incarnation of a party
///         that is missing if one is silent; SHMR_EVICTED, a later incarnation of this partition
///         takes part; SHMR_EINVAL; SHMR_CORRUPT.
#[no_mangle]
pub unsafe extern "C" fn shmr_barrier_wait(
    barrier: *mut shmr_barrier,
    wait: *mut shmr_wait,
    liveness: *const shmr_liveness,
    arrival: *mut shmr_arrival,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe {
        with(barrier, |own| {
            let (out, mut told) = (place(arrival, Argument::Arrival)?, CLiveness::by(liveness)?);
            out.write(own.lock().wait(&mut Waiting::by(wait)?, &mut told)?.into());
            Ok(())
        })
    }
}

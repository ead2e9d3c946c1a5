//! Tests whether read-modify-write and fences work across the memory.

use shmem_sync::litmus::{Finding, Litmus, Verdict};

use crate::handle::output;
use crate::segment::{segment_window, shmr_segment};
use crate::status::shmr_status::SHMR_EMPTY;
use crate::status::{shmr_status, status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// Unknown: the other party did not answer, or the two rarely ran at the same time. Test again.
pub const SHMR_UNKNOWN: u32 = 0;
/// Both parties tried the feature often at the same time, and it never failed.
pub const SHMR_WORKS: u32 = 1;
/// The feature failed: do not use it, or change the machine (docs/memory-model.md).
pub const SHMR_BROKEN: u32 = 2;

/// struct shmr_finding - whether one feature works across the memory
/// @state:    SHMR_UNKNOWN, SHMR_WORKS or SHMR_BROKEN
/// @wrong:    the number of attempts that failed, if it is broken; else 0
/// @attempts: the number of attempts, if it is broken; else 0
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_finding {
    pub state: u32,
    pub wrong: u32,
    pub attempts: u32,
}

/// struct shmr_verdict - the results of a test of the memory by two partitions
/// @read_modify_write: needed to create and remove segments, and by mutexes, semaphores and
///                     reader-writer locks
/// @fences:            needed by locks, by barriers, and to sleep until a peer rings
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_verdict {
    pub read_modify_write: shmr_finding,
    pub fences: shmr_finding,
}

impl From<Finding> for shmr_finding {
    fn from(finding: Finding) -> Self {
        let (state, wrong, attempts) = match finding {
            Finding::Unknown => (SHMR_UNKNOWN, 0, 0),
            Finding::Works => (SHMR_WORKS, 0, 0),
            Finding::Broken { wrong, attempts } => (SHMR_BROKEN, wrong, attempts),
        };
        Self {
            state,
            wrong,
            attempts,
        }
    }
}

impl From<Verdict> for shmr_verdict {
    fn from(verdict: Verdict) -> Self {
        Self {
            read_modify_write: verdict.read_modify_write.into(),
            fences: verdict.fences.into(),
        }
    }
}

/// shmr_litmus_len() - the length of a segment for the test
///
/// Return: the len for struct shmr_request.
#[no_mangle]
pub extern "C" fn shmr_litmus_len() -> usize {
    Litmus::segment_len()
}

/// shmr_litmus_ask() - test with another partition what works across the memory
/// @segment: the test's segment; zeroed, or as an earlier test left it
/// @wait:    how long the other partition has to answer and to finish; a wait that polls gives
///           better results than one that sleeps
/// @verdict: set to the results
///
/// One partition asks, another one answers. The test takes some milliseconds if both run. The
/// results are meaningless if the other partition is hostile.
///
/// Return:
/// * SHMR_OK
/// * SHMR_TOO_SHORT: the segment is too short. Use shmr_litmus_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_litmus_ask(
    segment: *const shmr_segment,
    wait: *mut shmr_wait,
    verdict: *mut shmr_verdict,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe { take_part(segment, wait, verdict, |own, wait| Some(own.ask(wait))) }
}

/// shmr_litmus_answer() - take part in a test, if a partition asks for one
/// @segment: the test's segment
/// @wait:    how long the asking partition has to finish
/// @verdict: set to the results
///
/// Call it repeatedly, at shorter intervals than the asking partition waits. Each test is answered
/// once.
///
/// Return:
/// * SHMR_OK
/// * SHMR_EMPTY: no partition asks. Try again later.
/// * SHMR_TOO_SHORT: the segment is too short. Use shmr_litmus_len().
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_litmus_answer(
    segment: *const shmr_segment,
    wait: *mut shmr_wait,
    verdict: *mut shmr_verdict,
) -> shmr_status {
    // SAFETY: guaranteed by the caller, here and below.
    unsafe { take_part(segment, wait, verdict, |own, wait| own.answer(wait)) }
}

/// # Safety
///
/// Each pointer is null, or what its name says.
unsafe fn take_part(
    segment: *const shmr_segment,
    wait: *mut shmr_wait,
    verdict: *mut shmr_verdict,
    part: impl FnOnce(Litmus<'static>, &mut Waiting) -> Option<Verdict>,
) -> shmr_status {
    let found = || {
        // SAFETY: guaranteed by the caller.
        let (out, mut wait) = unsafe {
            (
                output(verdict, Argument::Verdict)?,
                Waiting::from_ptr(wait)?,
            )
        };
        // SAFETY: guaranteed by the caller.
        let own = Litmus::attach(unsafe { segment_window(segment) }?)?;
        let verdict = part(own, &mut wait).ok_or(Fault::new(SHMR_EMPTY))?;
        out.write(verdict.into());
        Outcome::Ok(())
    };
    status(found())
}

//! Whether read-modify-write and fences work across the memory.

use shmem_sync::litmus::{Finding, Litmus, Verdict};

use crate::handle::place;
use crate::segment::{segment_window, shmr_segment};
use crate::status::shmr_status::SHMR_EMPTY;
use crate::status::{shmr_status, status, Fault, Outcome};
use crate::wait::{shmr_wait, Waiting};
use crate::word::Argument;

/// The other party did not answer, or the two hardly ran at the same time: ask again.
pub const SHMR_UNKNOWN: u32 = 0;
/// Both parties did it at the same time, often, and nothing went wrong.
pub const SHMR_WORKS: u32 = 1;
/// It went wrong: do without, or change the machine (docs/memory-model.md).
pub const SHMR_BROKEN: u32 = 2;

/// struct shmr_finding - whether something works across the memory
/// @state: SHMR_UNKNOWN, SHMR_WORKS or SHMR_BROKEN
/// @wrong: how often it went wrong, if it is broken; else 0
/// @of:    of how many; else 0
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_finding {
    pub state: u32,
    pub wrong: u32,
    pub of: u32,
}

/// struct shmr_verdict - what two parties have found out about their memory
/// @read_modify_write: creating and removing segments, mutexes, semaphores and
///                     reader-writer locks need it
/// @fences:            locks, barriers, and sleeping until rung need them
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_verdict {
    pub read_modify_write: shmr_finding,
    pub fences: shmr_finding,
}

impl From<Finding> for shmr_finding {
    fn from(finding: Finding) -> Self {
        let (state, wrong, of) = match finding {
            Finding::Unknown => (SHMR_UNKNOWN, 0, 0),
            Finding::Works => (SHMR_WORKS, 0, 0),
            Finding::Broken { wrong, of } => (SHMR_BROKEN, wrong, of),
        };
        Self { state, wrong, of }
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

/// shmr_litmus_len() - bytes of a segment for a litmus
///
/// Return: the number for struct shmr_request.
#[no_mangle]
pub extern "C" fn shmr_litmus_len() -> usize {
    Litmus::segment_len()
}

/// shmr_litmus_ask() - find out with another partition what works across the memory
/// @segment: where; zeroed is ready, and what earlier sessions left is no obstacle
/// @wait:    how long the other one has, to answer and to come to the end; better one that
///           looks than one that sleeps
/// @verdict: what came of it
///
/// One partition asks, one answers. It takes some milliseconds if both run. A hostile other
/// one can make it say anything.
///
/// Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_litmus_ask(
    segment: *const shmr_segment,
    wait: *mut shmr_wait,
    verdict: *mut shmr_verdict,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { take_part(segment, wait, verdict, |own, wait| Some(own.ask(wait))) }
}

/// shmr_litmus_answer() - answer one that asks, if there is one
/// @segment: where
/// @wait:    how long the other one has to come to the end
/// @verdict: what came of it
///
/// Call it now and then, more often than the other one's wait takes. Each asking is
/// answered once.
///
/// Return: SHMR_OK; SHMR_EMPTY, nobody asks; SHMR_EINVAL; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_litmus_answer(
    segment: *const shmr_segment,
    wait: *mut shmr_wait,
    verdict: *mut shmr_verdict,
) -> shmr_status {
    // SAFETY: the caller's, here and below.
    unsafe { take_part(segment, wait, verdict, |own, wait| own.answer(wait)) }
}

/// # Safety
///
/// Null, or what the names say.
unsafe fn take_part(
    segment: *const shmr_segment,
    wait: *mut shmr_wait,
    verdict: *mut shmr_verdict,
    part: impl FnOnce(Litmus<'static>, &mut Waiting) -> Option<Verdict>,
) -> shmr_status {
    let found = || {
        // SAFETY: the caller's.
        let (out, mut wait) = unsafe { (place(verdict, Argument::Verdict)?, Waiting::by(wait)?) };
        // SAFETY: the caller's.
        let own = Litmus::attach(unsafe { segment_window(segment) }?)?;
        let verdict = part(own, &mut wait).ok_or(Fault::new(SHMR_EMPTY))?;
        out.write(verdict.into());
        Outcome::Ok(())
    };
    status(found())
}

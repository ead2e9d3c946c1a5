//! Inspecting the words of a segment, by loads alone.

use core::mem::MaybeUninit;

use shmem_core::ring::inspect::Claim;
use shmem_core::{ControlWord, Corrupt};
use shmem_sync::inspect::{BakeryWords, Health, Holder, MutexWords, RwLockWords};

use crate::handle::{output, value};
use crate::producer::ring;
use crate::segment::{
    segment_window, shmr_segment, SHMR_KIND_BAKERY, SHMR_KIND_MUTEX, SHMR_KIND_RWLOCK,
};
use crate::status::shmr_status::{SHMR_KIND, SHMR_OK};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_ring_view - the words of a ring
/// @error:     the first invalid word; its status is SHMR_OK if there is none
/// @capacity:  bytes of the ring's data
/// @records:   unreleased records, counted up to the limit
/// @bytes:     bytes that they occupy
/// @producer:  the incarnation that holds the producing end, or held it last; 0 if there was none
///             yet
/// @producing: false if that incarnation has closed the end
/// @consumer:  the incarnation that holds the consuming end, or held it last; 0 if there was none
///             yet
/// @consuming: false if that incarnation has closed the end
/// @discarded: records that consumers discarded, modulo 2^32
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_ring_view {
    pub error: shmr_error,
    pub capacity: usize,
    pub records: usize,
    pub bytes: u32,
    pub producer: u32,
    pub producing: bool,
    pub consumer: u32,
    pub consuming: bool,
    pub discarded: u32,
}

/// struct shmr_lock_view - the words of a lock
/// @error:   the first invalid word; its status is SHMR_OK if there is none
/// @owner:   the incarnation that holds the lock, or for a reader-writer lock the writer; 0 if
///           there is none
/// @health:  SHMR_HEALTH_WHOLE, SHMR_HEALTH_SUSPECT or SHMR_HEALTH_POISONED
/// @waiting: true if a partition may be sleeping until the lock is free
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_lock_view {
    pub error: shmr_error,
    pub owner: u32,
    pub health: u32,
    pub waiting: bool,
}

/// No owner died while it held the lock, or the protected bytes were repaired.
pub const SHMR_HEALTH_WHOLE: u32 = 0;
/// An owner died while it held the lock, and the protected bytes are not repaired yet.
pub const SHMR_HEALTH_SUSPECT: u32 = 1;
/// The bytes that a dead owner left were not repaired: the lock is poisoned.
pub const SHMR_HEALTH_POISONED: u32 = 2;

/// Stores the result of `view` in `out`.
///
/// # Safety
///
/// `out` is null, or room for a `T`.
unsafe fn write_view<T>(out: *mut T, view: impl FnOnce() -> Outcome<T>) -> shmr_status {
    // SAFETY: guaranteed by the caller.
    let place: Outcome<&mut MaybeUninit<T>> = unsafe { output(out, Argument::View) };
    match place.and_then(|place| view().map(|view| place.write(view))) {
        Ok(_) => SHMR_OK,
        Err(fault) => fault.status(),
    }
}

fn word(claim: Claim) -> u32 {
    claim
        .incarnation()
        .map_or(0, |incarnation| incarnation.word())
}

/// shmr_ring_inspect() - inspect a ring in any state
/// @segment: the ring's segment
/// @limit:   the most records to count
/// @view:    set to what was found
///
/// Only loads. A ring in use changes meanwhile.
///
/// Return:
/// * SHMR_OK: even for a damaged ring; then view.error names the word
/// * SHMR_LENGTH: the segment is not a ring. Check the segment's kind.
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_ring_inspect(
    segment: *const shmr_segment,
    limit: usize,
    view: *mut shmr_ring_view,
) -> shmr_status {
    let inspect = || {
        // SAFETY: guaranteed by the caller.
        let ring = unsafe { ring(segment) }?;
        let found = ring.inspect(limit);
        let fault = found.corrupt().map(Fault::from);
        Ok(shmr_ring_view {
            error: fault.into(),
            capacity: ring.capacity(),
            records: found.backlog.records,
            bytes: found.backlog.bytes,
            producer: word(found.producer),
            producing: found.producer.is_held(),
            consumer: word(found.consumer),
            consuming: found.consumer.is_held(),
            discarded: found.discarded,
        })
    };
    // SAFETY: guaranteed by the caller.
    unsafe { write_view(view, inspect) }
}

/// shmr_lock_inspect() - inspect a mutex, a bakery mutex or a reader-writer lock in any state
/// @segment: its segment, from a registry, because the segment's kind chooses the lock
/// @view:    set to what was found
///
/// Only loads.
///
/// Return:
/// * SHMR_OK: even for a damaged lock; then view.error names the word
/// * SHMR_KIND: the segment is none of these locks
/// * SHMR_TOO_SHORT: the segment is too short for its kind
/// * SHMR_EINVAL
#[no_mangle]
pub unsafe extern "C" fn shmr_lock_inspect(
    segment: *const shmr_segment,
    view: *mut shmr_lock_view,
) -> shmr_status {
    let inspect = || {
        // SAFETY: guaranteed by the caller.
        let (kind, window) = unsafe {
            (
                value(segment, Argument::Segment)?.kind,
                segment_window(segment)?,
            )
        };
        let (names, holder, health, waiting) = match kind {
            SHMR_KIND_MUTEX => {
                let words = MutexWords::attach(window)?;
                let owner = words.owner();
                (MUTEX, owner.holder, words.health(), owner.contended)
            }
            SHMR_KIND_RWLOCK => {
                let words = RwLockWords::attach(window)?;
                let writer = words.writer();
                (RWLOCK, writer.holder, words.health(), writer.contended)
            }
            SHMR_KIND_BAKERY => {
                let words = BakeryWords::attach(window)?;
                (BAKERY, words.holder(), words.health(), false)
            }
            _ => return Err(Fault::new(SHMR_KIND)),
        };
        Ok(view_of(names, holder, health, waiting))
    };
    // SAFETY: guaranteed by the caller.
    unsafe { write_view(view, inspect) }
}

/// The words of each lock: the holder, and the health.
const MUTEX: [ControlWord; 2] = [ControlWord::MutexOwner, ControlWord::MutexHealth];
const RWLOCK: [ControlWord; 2] = [ControlWord::RwlockWriter, ControlWord::RwlockHealth];
const BAKERY: [ControlWord; 2] = [ControlWord::BakeryHolder, ControlWord::BakeryHealth];

fn view_of(
    names: [ControlWord; 2],
    holder: Holder,
    health: Health,
    waiting: bool,
) -> shmr_lock_view {
    let broken = |word, value| Fault::from(Corrupt { word, value });
    let mut fault = None;
    let health = match health {
        Health::Whole => SHMR_HEALTH_WHOLE,
        Health::Suspect => SHMR_HEALTH_SUSPECT,
        Health::Poisoned => SHMR_HEALTH_POISONED,
        Health::Corrupt(value) => {
            fault = Some(broken(names[1], value));
            SHMR_HEALTH_POISONED
        }
    };
    let owner = match holder {
        Holder::Nobody => 0,
        Holder::Incarnation(incarnation) => incarnation.word(),
        Holder::Corrupt(value) => {
            fault = Some(broken(names[0], value));
            0
        }
    };
    shmr_lock_view {
        error: fault.into(),
        owner,
        health,
        waiting,
    }
}

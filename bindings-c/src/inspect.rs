//! Looking at what is in a segment, by loads alone.

use core::mem::MaybeUninit;

use shmem_core::ring::inspect::Claim;
use shmem_core::{ControlWord, Corrupt};
use shmem_sync::inspect::{BakeryWords, Health, Holder, MutexWords, RwLockWords};

use crate::handle::{place, value};
use crate::producer::ring;
use crate::segment::{
    segment_window, shmr_segment, SHMR_KIND_BAKERY, SHMR_KIND_MUTEX, SHMR_KIND_RWLOCK,
};
use crate::status::shmr_status::{SHMR_KIND, SHMR_OK};
use crate::status::{shmr_error, shmr_status, Fault, Outcome};
use crate::word::Argument;

/// struct shmr_ring_view - what a ring's words say
/// @error:     the first thing wrong with it; SHMR_OK if nothing is
/// @capacity:  bytes of its data
/// @records:   records that are not released, counted up to the limit
/// @bytes:     bytes that they take
/// @producer:  the incarnation that has the producing end, or had it last; 0 is nobody yet
/// @producing: whether it did not give it back
/// @consumer:  the same of the consuming end
/// @consuming: the same of the consuming end
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

/// struct shmr_lock_view - what a lock's words say
/// @error:   the first thing wrong with it; SHMR_OK if nothing is
/// @owner:   the incarnation that has it (of a reader-writer lock, the writer's); 0 is nobody
/// @health:  SHMR_WHOLE, SHMR_SUSPECT or SHMR_SPOILT
/// @waiting: whether somebody may sleep for it
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_lock_view {
    pub error: shmr_error,
    pub owner: u32,
    pub health: u32,
    pub waiting: bool,
}

/// No owner died inside, or what it left was repaired.
pub const SHMR_WHOLE: u32 = 0;
/// An owner died inside.
pub const SHMR_SUSPECT: u32 = 1;
/// Nobody repaired what a dead owner left: the lock is poisoned.
pub const SHMR_SPOILT: u32 = 2;

/// What a look found, and where it goes.
///
/// # Safety
///
/// `out` is null, or room for a `T`.
unsafe fn show<T>(out: *mut T, view: impl FnOnce() -> Outcome<T>) -> shmr_status {
    // SAFETY: the caller's.
    let place: Outcome<&mut MaybeUninit<T>> = unsafe { place(out, Argument::View) };
    match place.and_then(|place| view().map(|view| place.write(view))) {
        Ok(_) => SHMR_OK,
        Err(fault) => fault.status,
    }
}

fn word(claim: Claim) -> u32 {
    claim
        .incarnation()
        .map_or(0, |incarnation| incarnation.word())
}

/// shmr_ring_inspect() - look at a ring, whatever is in it
/// @segment: the ring's segment
/// @limit:   the most records to count
/// @view:    where it goes
///
/// Only loads. A ring in use moves meanwhile.
///
/// Return: SHMR_OK, also for a damaged one, of which @view says what is wrong;
///         SHMR_EINVAL; SHMR_LENGTH.
#[no_mangle]
pub unsafe extern "C" fn shmr_ring_inspect(
    segment: *const shmr_segment,
    limit: usize,
    view: *mut shmr_ring_view,
) -> shmr_status {
    let look = || {
        // SAFETY: the caller's.
        let ring = unsafe { ring(segment) }?;
        let found = ring.inspect(limit);
        let fault = found
            .corrupt()
            .map_or(Fault::new(SHMR_OK), |corrupt| corrupt.into());
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
    // SAFETY: the caller's.
    unsafe { show(view, look) }
}

/// shmr_lock_inspect() - look at a mutex, a bakery mutex or a reader-writer lock
/// @segment: its segment, from a registry: its kind says which it is
/// @view:    where it goes
///
/// Only loads.
///
/// Return: SHMR_OK, also for a damaged one, of which @view says what is wrong;
///         SHMR_EINVAL; SHMR_KIND, the segment is none of these; SHMR_TOO_SHORT.
#[no_mangle]
pub unsafe extern "C" fn shmr_lock_inspect(
    segment: *const shmr_segment,
    view: *mut shmr_lock_view,
) -> shmr_status {
    let look = || {
        // SAFETY: the caller's.
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
    // SAFETY: the caller's.
    unsafe { show(view, look) }
}

/// The words of each lock: who has it, and its health.
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
    let mut fault = Fault::new(SHMR_OK);
    let health = match health {
        Health::Whole => SHMR_WHOLE,
        Health::Suspect => SHMR_SUSPECT,
        Health::Poisoned => SHMR_SPOILT,
        Health::Corrupt(value) => {
            fault = broken(names[1], value);
            SHMR_SPOILT
        }
    };
    let owner = match holder {
        Holder::Nobody => 0,
        Holder::Incarnation(incarnation) => incarnation.word(),
        Holder::Corrupt(value) => {
            fault = broken(names[0], value);
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

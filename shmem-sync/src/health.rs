//! Whether the bytes that a lock protects are whole: a word that only the lock's owner writes.
//!
//! - 0, *whole*: no owner died while it held the lock, or the bytes were repaired. Becomes *l* when
//!   incarnation *l* takes over.
//! - *l*, *suspect*: an owner died while it held the lock, and incarnation *l* took over. Becomes
//!   0, 2 or *m*: see below.
//! - 2, *poisoned*: no owner repaired the bytes. Never changes.
//!
//! *Suspect* becomes 0 by `make_consistent` of *l*; 2 if *l* unlocks without that; *m* if *l* dies
//! and incarnation *m* takes over.
//!
//! The word names the incarnation that is responsible for the bytes. That incarnation changes the
//! word only by a compare-and-swap that expects its own incarnation there. So an incarnation that
//! ran but was treated as gone, and repairs or poisons late, changes nothing once the next owner
//! has stored its own incarnation there. It may still mark whole bytes as *suspect* late: the next
//! owner is warned unnecessarily. (A [`BakeryMutex`](crate::BakeryMutex) has no compare-and-swap;
//! its module states what holds there.)

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::{ControlWord, Corrupt, Incarnation};

use crate::error::LockFailure;
use crate::owner::{incarnation_without_flag, Owner};

/// No owner died while it held the lock, or the bytes were repaired since.
pub const WHOLE: u32 = 0;
/// The bytes that a dead owner left were not repaired. Permanent.
pub const POISONED: u32 = 2;

/// The most exchanges that may fail before an owner gives up. Each incarnation that runs but was
/// treated as gone can make one fail.
const ATTEMPTS: u32 = 128;

/// Checks `value`, the health word `name` of a lock that the caller has just acquired; `died` is
/// true if its last owner died while it held the lock. Returns true if the bytes are suspect.
#[inline]
pub(crate) fn check_after_acquire(
    value: u32,
    name: ControlWord,
    died: bool,
) -> Result<bool, LockFailure> {
    match value {
        WHOLE => Ok(died),
        POISONED => Err(LockFailure::Poisoned),
        _ => match incarnation_without_flag(value) {
            Some(_) => Ok(true),
            None => Err(LockFailure::Corrupt(Corrupt { word: name, value })),
        },
    }
}

/// As [`check_after_acquire`], for the `word` itself. The caller has the lock of `owner`. If the
/// bytes are suspect, stores its incarnation: from then on it is responsible for them.
#[inline]
pub(crate) fn claim_if_suspect(
    word: Word<'_>,
    name: ControlWord,
    owner: &Owner<'_>,
    died: bool,
) -> Result<bool, LockFailure> {
    // relaxed: the word goes from owner to owner with the lock.
    let found = word.load(Relaxed);
    if !check_after_acquire(found, name, died)? {
        return Ok(false);
    }
    put_incarnation(word, found, owner, |value| {
        check_after_acquire(value, name, true).map(drop)
    })?;
    Ok(true)
}

/// Stores the incarnation that has the lock of `owner` into `word`, which contained `found`.
/// `check` decides whether a value may be replaced. A late caller changes nothing of the next
/// owner's.
pub(crate) fn put_incarnation(
    word: Word<'_>,
    mut found: u32,
    owner: &Owner<'_>,
    check: impl Fn(u32) -> Result<(), LockFailure>,
) -> Result<(), LockFailure> {
    for _ in 0..ATTEMPTS {
        if found != 0 {
            // Pairs with the exchange below, in an incarnation that took over from us: if we found
            // its incarnation here, we also find it in `owner`, and leave the word unchanged.
            // loom: loom_mutex::a_late_owner_leaves_suspect_bytes_to_the_next_owner
            fence(Acquire);
            if owner.check().is_err() {
                return Ok(()); // The unlock reports it.
            }
            check(found)?;
        }
        // Release: pairs with the fence above; our takeover of the lock is seen.
        // loom: loom_mutex::a_late_owner_leaves_suspect_bytes_to_the_next_owner
        // relaxed: on failure, the fence above comes next.
        let put = word.compare_exchange(found, owner.incarnation().word(), Release, Relaxed);
        match put {
            Ok(_) => return Ok(()),
            Err(other) => found = other,
        }
    }
    Ok(()) // A hostile peer changes the word; it could break the lock anyway.
}

/// Returns true if `incarnation` is responsible for suspect bytes.
#[inline]
pub(crate) fn is_suspect(word: Word<'_>, incarnation: Incarnation) -> bool {
    // relaxed: only this incarnation stores this value, and another only replaces it.
    word.load(Relaxed) == incarnation.word()
}

/// Marks the bytes that `incarnation` is responsible for as whole.
pub(crate) fn repair(word: Word<'_>, incarnation: Incarnation) {
    // relaxed: goes to the next owner with the lock; if it fails, another has taken over.
    let _ = word.compare_exchange(incarnation.word(), WHOLE, Relaxed, Relaxed);
}

/// Marks the bytes that `incarnation` is responsible for as poisoned.
pub(crate) fn poison(word: Word<'_>, incarnation: Incarnation) {
    // relaxed: goes to the next owner with the lock; if it fails, another has taken over.
    let _ = word.compare_exchange(incarnation.word(), POISONED, Relaxed, Relaxed);
}

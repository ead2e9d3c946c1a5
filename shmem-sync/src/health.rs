//! Whether what a lock protects is whole: a word that only the lock's owner writes.
//!
//! | value  | meaning                                          | becomes                     |
//! |--------|--------------------------------------------------|-----------------------------|
//! | 0 whole | no owner died inside, or one repaired it        | *l*, by incarnation *l* that takes over |
//! | *l* suspect | an owner died inside, and incarnation *l* took over | 0 by `make_consistent` of *l*, 2 if *l* gives it back without; *m*, by the next owner *m* |
//! | 2 poisoned | nobody repaired it                            | nothing else                |
//!
//! The word carries the incarnation that answers for it, and that incarnation changes it by an
//! exchange of its own value. So one that was said to be gone while it lived, and repairs or
//! poisons late, changes nothing once the next owner has put its own incarnation there. What it may
//! do late is to say *suspect* of bytes that are whole: the next owner is warned without need. (A
//! [`BakeryMutex`](crate::BakeryMutex) has no exchange; its module says what holds there.)

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::{ControlWord, Corrupt, Incarnation};

use crate::error::LockFailure;
use crate::owner::{plain, Owner};

/// No owner died inside, or what it left was repaired.
pub const WHOLE: u32 = 0;
/// What a dead owner left was not repaired; for good.
pub const POISONED: u32 = 2;

/// Exchanges that others may spoil before an owner gives up: each incarnation that was said to
/// be gone while it lived has one under way.
const ATTEMPTS: u32 = 128;

/// What `value`, the `name`d health of a lock, says to one who has the lock; `died` if
/// it was had of an owner that died inside. Whether the bytes are suspect.
#[inline]
pub(crate) fn examine(value: u32, name: ControlWord, died: bool) -> Result<bool, LockFailure> {
    match value {
        WHOLE => Ok(died),
        POISONED => Err(LockFailure::Poisoned),
        _ => match plain(value) {
            Some(_) => Ok(true),
            None => Err(LockFailure::Corrupt(Corrupt { word: name, value })),
        },
    }
}

/// As [`examine`], of the `word` itself, for one who has the lock of `owner` now and
/// answers for suspect bytes from here on.
#[inline]
pub(crate) fn take_on(
    word: Word<'_>,
    name: ControlWord,
    owner: &Owner<'_>,
    died: bool,
) -> Result<bool, LockFailure> {
    // relaxed: the word goes from owner to owner with the lock.
    let found = word.load(Relaxed);
    if !examine(found, name, died)? {
        return Ok(false);
    }
    put_incarnation(word, found, owner, |value| {
        examine(value, name, true).map(drop)
    })?;
    Ok(true)
}

/// Puts the incarnation that has the lock of `owner` into `word`, which was `found`, if `check`
/// says so of what is there. One that is late changes nothing of the next owner's.
pub(crate) fn put_incarnation(
    word: Word<'_>,
    mut found: u32,
    owner: &Owner<'_>,
    check: impl Fn(u32) -> Result<(), LockFailure>,
) -> Result<(), LockFailure> {
    for _ in 0..ATTEMPTS {
        if found != 0 {
            // Pairs with the exchange below, in one that took over from us: if we found its
            // incarnation, we find it in `owner` as well, and leave it alone.
            // loom: loom_mutex::one_that_is_late_leaves_the_suspicion_to_the_next_owner
            fence(Acquire);
            if owner.check().is_err() {
                return Ok(()); // We are told when we give the lock back.
            }
            check(found)?;
        }
        // Release: pairs with the fence above; that we took over is seen.
        // loom: loom_mutex::one_that_is_late_leaves_the_suspicion_to_the_next_owner
        // relaxed: on failure, the fence above comes next.
        let put = word.compare_exchange(found, owner.incarnation().word(), Release, Relaxed);
        match put {
            Ok(_) => return Ok(()),
            Err(other) => found = other,
        }
    }
    Ok(()) // A peer scribbles; the lock is its own to break.
}

/// Whether `incarnation` has taken on suspect bytes and not repaired them.
#[inline]
pub(crate) fn is_suspect(word: Word<'_>, incarnation: Incarnation) -> bool {
    // relaxed: only this incarnation stores this value, and another only takes it away.
    word.load(Relaxed) == incarnation.word()
}

/// Says that the bytes that `incarnation` has taken on are whole.
pub(crate) fn repair(word: Word<'_>, incarnation: Incarnation) {
    // relaxed: goes to the next owner with the lock; failed, another has taken over.
    let _ = word.compare_exchange(incarnation.word(), WHOLE, Relaxed, Relaxed);
}

/// Says that `incarnation` gives the bytes that it has taken on back unrepaired.
pub(crate) fn poison(word: Word<'_>, incarnation: Incarnation) {
    // relaxed: goes to the next owner with the lock; failed, another has taken over.
    let _ = word.compare_exchange(incarnation.word(), POISONED, Relaxed, Relaxed);
}

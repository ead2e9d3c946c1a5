//! Whether what a lock protects is whole: a word that only the lock's owner writes.
//!
//! | value   | meaning                                    | becomes                     |
//! |---------|--------------------------------------------|-----------------------------|
//! | 0 whole | no owner died inside, or one repaired it   | 1, by who takes over        |
//! | 1 suspect | an owner died inside                     | 0 by `make_consistent`, 2 if it is given back without |
//! | 2 poisoned | nobody repaired it                      | nothing else                |

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{ControlWord, Corrupt};

use crate::error::{LockError, Refusal};

/// No owner died inside, or what it left was repaired.
pub const WHOLE: u32 = 0;
/// An owner died inside.
pub const SUSPECT: u32 = 1;
/// What a dead owner left was not repaired; for good.
pub const POISONED: u32 = 2;

/// What `word`, the `name`d health of a lock, says to one who has the lock now;
/// `died` if it was had of an owner that died inside. Whether the bytes are suspect.
#[inline]
pub(crate) fn examine(word: Word<'_>, name: ControlWord, died: bool) -> Result<bool, Refusal> {
    // Relaxed here and below: the word goes from owner to owner with the lock.
    match word.load(Relaxed) {
        WHOLE if !died => Ok(false),
        WHOLE => {
            word.store(SUSPECT, Relaxed);
            Ok(true)
        }
        SUSPECT => Ok(true),
        POISONED => Err(LockError::Poisoned),
        value => Err(LockError::Corrupt(Corrupt { word: name, value })),
    }
}

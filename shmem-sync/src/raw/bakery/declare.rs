//! How those that attach to a bakery agree on what it protects, by loads, stores and
//! fences alone.
//!
//! - **A1** Each partition has a word `protects` of its own, and only it stores that word.
//! - **A2** Whoever attaches to a shape stores it before it looks at the others' words,
//!   and goes on only where it finds no other shape.
//!
//! ```text
//!   one who attaches              another
//!   protects = its shape          protects = its shape
//!   fence(SeqCst)                 fence(SeqCst)
//!   the other's protects?         the other's protects?
//! ```
//!
//! The fences are ordered one before the other, so of two shapes at the same time at least
//! one finds the other; both may. Whoever finds another one takes its own word back. A word
//! stays when its partition leaves: what the lock protects stays, too.

use memoffset::offset_of;
use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Relaxed, SeqCst},
};
use shmem_core::Window;

use super::CONTROL;
use crate::error::AttachError;
use crate::layout::BakeryControl;
use crate::protected::control;
use crate::shape::Shape;

/// Declares that the bakery in `segment` protects `shape`, for `partition`, one of so many
/// `partitions`.
///
/// # Errors
///
/// [`AttachError::Shape`] if another one is declared.
pub(crate) fn declare(
    segment: Window<'_>,
    partition: u8,
    partitions: u8,
    shape: Shape,
) -> Result<(), AttachError> {
    let control = control(segment, CONTROL)?;
    let check = || {
        // relaxed: the second time after the fence; the first time, what is there from long
        // ago is found before anything is stored.
        let found = |partition| word(control, partition).load(Relaxed);
        (1..=partitions).try_for_each(|partition| shape.check(found(partition)))
    };
    if shape == Shape::UNDECLARED {
        return Ok(());
    }
    check()?;
    let own = word(control, partition);
    // relaxed: an earlier incarnation's, or 0.
    let before = own.load(Relaxed);
    // relaxed: the fence orders it before the look at the others' words.
    own.store(shape.word(), Relaxed);
    // Pairs with itself in another partition: each stores its shape, then looks at the
    // other's, and one at least finds the other (A2).
    // loom: loom_bakery::of_two_types_at_the_same_time_at_most_one_attaches
    fence(SeqCst);
    let agreed = check();
    if agreed.is_err() {
        // relaxed: whoever still finds the failed attempt fails as well.
        own.store(before, Relaxed);
    }
    agreed
}

fn word(control: Window<'_>, partition: u8) -> Word<'_> {
    let index = usize::from(partition) - 1;
    control.word(offset_of!(BakeryControl, protects) + index * 4)
}

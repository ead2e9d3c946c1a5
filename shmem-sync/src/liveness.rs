//! Asking whether a partition still lives.

use shmem_core::Life;

/// Knows which lives are over.
///
/// Whoever waits for a partition asks before each sleep and after it, so an
/// answer is to be cheap, and one that needs a system call is better repeated
/// than asked for again at once.
///
/// A life that was said to be over may be robbed of everything it held. To say
/// so of one that lives, because it was only slow, breaks what the lock
/// protects: the limit is longer than any pause of a partition that comes back.
pub trait Liveness {
    /// Whether `life` is over: what it held may be taken. `false` as long as
    /// that is not certain.
    fn is_over(&mut self, life: Life) -> bool;
}

/// Knows of no death: for locks between partitions that only fail together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Immortal;

impl Liveness for Immortal {
    fn is_over(&mut self, _: Life) -> bool {
        false
    }
}

impl<L: Liveness + ?Sized> Liveness for &mut L {
    fn is_over(&mut self, life: Life) -> bool {
        (**self).is_over(life)
    }
}

/// Over for either is over.
impl<A: Liveness, B: Liveness> Liveness for (A, B) {
    fn is_over(&mut self, life: Life) -> bool {
        self.0.is_over(life) || self.1.is_over(life)
    }
}

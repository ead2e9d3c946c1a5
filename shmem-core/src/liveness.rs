//! Whether a partition is alive, silent or gone, and what its peers may do then.
//!
//! | state  | evidence                                         | peers may                     |
//! |--------|--------------------------------------------------|-------------------------------|
//! | alive  | its heartbeat moves, or nothing is known         | wait                          |
//! | silent | its heartbeat stands still                       | wait, or do without it        |
//! | gone   | its process ended, a later incarnation attached, | take over what it holds       |
//! |        | or the platform reports it as gone               |                               |
//!
//! Shared memory has no protection against a store that arrives late, so silence alone
//! does not allow a takeover. `docs/threat-model.md` lists for each operation the state that
//! it requires.

use crate::Incarnation;

/// The state of an incarnation as far as it is known. A later variant is stronger evidence of
/// its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionState {
    /// There is no evidence that it has stopped.
    Alive,
    /// It has shown no sign of life for longer than a limit, and may come back.
    Silent,
    /// It has ended, or is presumed to have ended: others take over what it holds.
    Gone,
}

impl PartitionState {
    /// Returns `Gone` if `is_gone`, otherwise `Alive`.
    pub const fn from_is_gone(is_gone: bool) -> Self {
        match is_gone {
            true => Self::Gone,
            false => Self::Alive,
        }
    }
}

/// Reports which partitions are alive, silent or gone.
///
/// A waiter asks before and after each sleep, so the answer must be cheap. An implementation
/// that needs a system call should cache its answer for a short time.
pub trait Liveness {
    /// Returns the state of `incarnation`.
    ///
    /// [`PartitionState::Gone`] is a guarantee: others take over what the incarnation held. A later
    /// store of that incarnation would damage their memory.
    /// All its stores must be visible to the caller by then: load the evidence from shared
    /// memory with acquire ordering.
    fn state(&mut self, incarnation: Incarnation) -> PartitionState;

    /// Returns true if `incarnation` is gone.
    fn is_gone(&mut self, incarnation: Incarnation) -> bool {
        self.state(incarnation) == PartitionState::Gone
    }
}

/// Reports every partition as alive: for partitions that only fail together.
#[derive(Clone, Copy, Debug, Default)]
pub struct AssumeAlive;

impl Liveness for AssumeAlive {
    fn state(&mut self, _: Incarnation) -> PartitionState {
        PartitionState::Alive
    }
}

impl<L: Liveness + ?Sized> Liveness for &mut L {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        (**self).state(incarnation)
    }
}

/// Combines two sources: the stronger evidence of an end counts.
impl<A: Liveness, B: Liveness> Liveness for (A, B) {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        match self.0.state(incarnation) {
            PartitionState::Gone => PartitionState::Gone,
            state => state.max(self.1.state(incarnation)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Fixed(PartitionState);

    impl Liveness for Fixed {
        fn state(&mut self, _: Incarnation) -> PartitionState {
            self.0
        }
    }

    #[test]
    fn a_pair_returns_the_stronger_evidence_of_an_end() {
        use PartitionState::{Alive, Gone, Silent};
        for (one, other, both) in [
            (Alive, Alive, Alive),
            (Alive, Silent, Silent),
            (Silent, Gone, Gone),
            (Gone, Alive, Gone),
        ] {
            assert_eq!(
                (Fixed(one), Fixed(other)).state(Incarnation::first(1)),
                both
            );
            assert_eq!(
                (Fixed(other), Fixed(one)).state(Incarnation::first(1)),
                both
            );
        }
        assert!(!(Fixed(Silent), AssumeAlive).is_gone(Incarnation::first(1)));
    }
}

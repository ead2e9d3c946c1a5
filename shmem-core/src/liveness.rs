//! Whether a partition is alive: what those that wait for it may do about it.
//!
//! | state  | known from                                              | others may                                  |
//! |--------|---------------------------------------------------------|---------------------------------------------|
//! | alive  | its heartbeat moves, or nothing is known                | wait                                        |
//! | silent | its heartbeat stands still                              | wait, and go on without what it holds       |
//! | gone   | its process ended, a later incarnation attached, or the platform says so | take what it held          |
//!
//! Shared memory has no fence against a store that arrives late, so silence alone
//! gives nobody the right to what a partition holds. `docs/threat-model.md` says for
//! each operation which state it asks for.

use crate::Incarnation;

/// What is known of a partition's incarnation, from the least certain end to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartitionState {
    /// Nothing says otherwise.
    Alive,
    /// It has shown no sign of life for longer than a limit, and may come back.
    Silent,
    /// It is over for certain: no store of it can arrive any more.
    Gone,
}

impl PartitionState {
    /// Gone if that is certain; alive otherwise.
    pub const fn gone_if(certain: bool) -> Self {
        match certain {
            true => Self::Gone,
            false => Self::Alive,
        }
    }
}

/// Knows which partitions are alive, silent or gone.
///
/// Whoever waits for a partition asks before each sleep and after it, so an
/// answer is to be cheap, and one that needs a system call is better repeated
/// than asked for again at once.
pub trait Liveness {
    /// What is known of `incarnation` now.
    ///
    /// [`PartitionState::Gone`] is a promise: what the partition held is given to
    /// others, and a store that it makes after that changes memory of theirs.
    /// Every store that it made must be visible to the caller by then: an answer
    /// that is read from shared memory is read with acquire ordering.
    fn state(&mut self, incarnation: Incarnation) -> PartitionState;

    /// Whether `incarnation` is over for certain.
    fn is_gone(&mut self, incarnation: Incarnation) -> bool {
        self.state(incarnation) == PartitionState::Gone
    }
}

/// Takes everybody for alive: for partitions that only fail together.
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

/// Two that know different things: the more certain answer counts.
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

    struct Says(PartitionState);

    impl Liveness for Says {
        fn state(&mut self, _: Incarnation) -> PartitionState {
            self.0
        }
    }

    #[test]
    fn of_two_answers_the_more_certain_one_counts() {
        use PartitionState::{Alive, Gone, Silent};
        for (one, other, both) in [
            (Alive, Alive, Alive),
            (Alive, Silent, Silent),
            (Silent, Gone, Gone),
            (Gone, Alive, Gone),
        ] {
            assert_eq!((Says(one), Says(other)).state(Incarnation::first(1)), both);
            assert_eq!((Says(other), Says(one)).state(Incarnation::first(1)), both);
        }
        assert!(!(Says(Silent), AssumeAlive).is_gone(Incarnation::first(1)));
    }
}

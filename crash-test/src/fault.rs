//! The fault: what happens to a party, and the state in which its peers see it.

use shmem_sync::PartitionState;

/// The kind of fault that a run applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FaultKind {
    #[default]
    Death,
    Stall,
}

/// A fault of a party before one of its stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Death,
    /// It is stopped, others see it in this state, and it goes on.
    Stall(PartitionState),
}

impl FaultKind {
    /// The faults that are tried at every store.
    pub(crate) fn faults(self) -> &'static [Fault] {
        match self {
            Self::Death => &[Fault::Death],
            Self::Stall => &[
                Fault::Stall(PartitionState::Silent),
                Fault::Stall(PartitionState::Gone),
            ],
        }
    }
}

//! The fault: what happens to a party, and what its peers believe of it meanwhile.

use shmem_sync::PartitionState;

/// What a run does to parties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FaultKind {
    #[default]
    Death,
    Stall,
}

/// What happens to a party before one of its stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Death,
    /// It is stopped, is in this state to all others, and goes on.
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

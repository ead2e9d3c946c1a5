//! Which incarnations are over, as far as a region tells.

use shmem_core::Incarnation;

use crate::report::IncarnationView;

/// What the slots say, and where they are asked for, the processes.
pub(super) struct Incarnations {
    /// By number of the partition, from 1.
    slots: Vec<Option<Slot>>,
}

/// The last incarnation of a partition.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) incarnation: Incarnation,
    /// It left, or its process has ended.
    pub(super) over: bool,
}

impl Incarnations {
    pub(super) fn new(slots: Vec<Option<Slot>>) -> Self {
        Self { slots }
    }

    /// Whether `incarnation` is over; `None` of a partition that never attached: its
    /// incarnation may come from elsewhere.
    pub(super) fn is_over(&self, incarnation: Incarnation) -> Option<bool> {
        let slot = self
            .slots
            .get(usize::from(incarnation.partition()) - 1)?
            .as_ref()?;
        Some(slot.incarnation != incarnation || slot.over)
    }

    pub(super) fn view(&self, incarnation: Incarnation) -> IncarnationView {
        IncarnationView::new(incarnation, self.is_over(incarnation))
    }
}

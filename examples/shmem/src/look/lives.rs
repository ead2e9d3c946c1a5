//! Which lives are over, as far as a region tells.

use shmem_core::Life;

use crate::report::LifeView;

/// What the slots say, and where they are asked for, the processes.
pub(super) struct Lives {
    /// By number of the partition, from 1.
    slots: Vec<Option<Slot>>,
}

/// The last life of a partition.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) life: Life,
    /// It left, or its process has ended.
    pub(super) over: bool,
}

impl Lives {
    pub(super) fn new(slots: Vec<Option<Slot>>) -> Self {
        Self { slots }
    }

    /// Whether `life` is over; `None` of a partition that never attached: its
    /// life may come from elsewhere.
    pub(super) fn is_over(&self, life: Life) -> Option<bool> {
        let slot = self
            .slots
            .get(usize::from(life.partition()) - 1)?
            .as_ref()?;
        Some(slot.life != life || slot.over)
    }

    pub(super) fn view(&self, life: Life) -> LifeView {
        LifeView::new(life, self.is_over(life))
    }
}

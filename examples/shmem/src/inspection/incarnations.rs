//! Decides which incarnations are gone, as far as a region shows.

use shmem_core::Incarnation;

use crate::report::IncarnationView;

/// The state of each partition's slot and process.
pub(super) struct Incarnations {
    /// Indexed by partition number, from 1.
    slots: Vec<Option<Slot>>,
}

/// The last incarnation of a partition.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) incarnation: Incarnation,
    /// Whether it left, or its process has ended.
    pub(super) gone: bool,
}

impl Incarnations {
    pub(super) fn new(slots: Vec<Option<Slot>>) -> Self {
        Self { slots }
    }

    /// Returns true if `incarnation` is gone. Returns `None` if nothing is known about it: its
    /// partition never attached, or not yet in this incarnation, which then has another origin.
    pub(super) fn is_gone(&self, incarnation: Incarnation) -> Option<bool> {
        let slot = self
            .slots
            .get(usize::from(incarnation.partition()) - 1)?
            .as_ref()?;
        match slot.incarnation == incarnation {
            true => Some(slot.gone),
            false => slot.incarnation.follows(incarnation).then_some(true),
        }
    }

    pub(super) fn view(&self, incarnation: Incarnation) -> IncarnationView {
        IncarnationView::new(incarnation, self.is_gone(incarnation))
    }
}

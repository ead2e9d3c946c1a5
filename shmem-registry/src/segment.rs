//! A segment, once it is found.

use shmem_core::Window;

use crate::id::{Id, Kind, Name};

/// A segment that was found or created.
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    pub(crate) window: Window<'m>,
    pub(crate) row: usize,
    pub(crate) offset: usize,
    pub(crate) id: Id,
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) generation: u32,
}

impl<'m> Segment<'m> {
    /// Its bytes.
    pub fn window(&self) -> Window<'m> {
        self.window
    }

    /// Where it starts, from the region's start.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes it has: what was asked for, rounded up to a multiple of 8.
    #[allow(clippy::len_without_is_empty)] // No segment is empty.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Its identifier.
    pub fn id(&self) -> Id {
        self.id
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name; empty if it was made without one.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Its row in the registry.
    pub fn row(&self) -> usize {
        self.row
    }

    /// How often its row was used before.
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

//! A segment of a registry.

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
    /// Returns its bytes.
    pub fn window(&self) -> Window<'m> {
        self.window
    }

    /// Returns its offset from the region's start.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns its length in bytes: the length that was requested, rounded up to a multiple of 8.
    #[allow(clippy::len_without_is_empty)] // No segment is empty.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Returns its identifier.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Returns what it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its name, which is empty if it was created without one.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Returns the number of its row in the registry.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Returns how often its row was used before.
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

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
    /// Returns a window on the segment's bytes.
    pub fn window(&self) -> Window<'m> {
        self.window
    }

    /// Returns the segment's offset from the region's start.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the segment's length in bytes: the requested length, rounded up to a multiple of 8.
    #[allow(clippy::len_without_is_empty)] // No segment is empty.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Returns the segment's identifier.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Returns the kind of the segment's content.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the segment's name, which is empty if it was created without one.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Returns the number of the segment's row in the registry.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Returns the generation of the segment's row: how many times the row was used before.
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

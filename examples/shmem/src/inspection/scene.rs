//! A region with a readable registry.

use shmem_registry::Registry;

use super::incarnations::Incarnations;

/// A registry in its region, and what is known of its partitions.
pub(super) struct Scene<'m> {
    pub(super) registry: Registry<'m>,
    pub(super) incarnations: Incarnations,
    pub(super) available: usize,
    pub(super) records: usize,
}

//! A region that is sound enough to look around in.

use shmem_registry::Registry;

use super::incarnations::Incarnations;

/// A registry in its region, and what is known of those who use it.
pub(super) struct Scene<'m> {
    pub(super) registry: Registry<'m>,
    pub(super) incarnations: Incarnations,
    pub(super) there: usize,
    pub(super) records: usize,
}

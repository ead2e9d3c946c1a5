//! The identifiers of a registry's users.
//!
//! Each partition has identifiers that only it creates and removes. All partitions use the
//! shared identifiers.

use std::sync::{LazyLock, OnceLock};

use shmem_registry::Id;

/// The number of identifiers of each partition, and of the shared ones.
pub(super) const IDS: u64 = 3;

/// The partition number of the shared identifiers.
pub(super) const ALL: u8 = 0;

/// All identifiers.
#[derive(Clone, Copy)]
pub(super) struct Ids(&'static [Id]);

impl Ids {
    /// Partitions with identifiers of their own, and [`ALL`].
    pub(super) const PARTITIONS: u8 = 17;

    /// Identifiers in any buckets.
    pub(super) fn spread() -> Self {
        static IDS: LazyLock<Vec<Id>> = LazyLock::new(|| Ids::choose(|_| true));
        Self(&IDS)
    }

    /// Identifiers that are all in one bucket, for any number of buckets up to 2^8.
    pub(super) fn crowded() -> Self {
        // `docs/layout.md`, Index.
        let hash = |id: u64| id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        static IDS: OnceLock<Vec<Id>> = OnceLock::new();
        Self(IDS.get_or_init(|| Ids::choose(|id| hash(id) >> 56 == 0)))
    }

    fn choose(fits: impl Fn(u64) -> bool) -> Vec<Id> {
        let fronts = (0..u64::from(Self::PARTITIONS) * IDS).map(|at| {
            let (partition, at) = (at / IDS, at % IDS);
            partition << 40 | at << 32
        });
        let first = |front: u64| (front + 1..).find(|&id| fits(id)).and_then(Id::new);
        fronts.filter_map(first).collect()
    }

    /// Identifier number `at` of a partition.
    pub(super) fn id(self, partition: u8, at: u64) -> Id {
        self.0[(u64::from(partition) * IDS + at) as usize]
    }

    /// The partition of an identifier.
    pub(super) fn partition(id: Id) -> u8 {
        (id.get() >> 40) as u8
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identifiers_differ_and_name_their_partition() {
        for ids in [Ids::spread(), Ids::crowded()] {
            let mut seen = HashSet::new();
            for partition in 0..Ids::PARTITIONS {
                for at in 0..IDS {
                    let id = ids.id(partition, at);
                    assert_eq!(Ids::partition(id), partition);
                    assert!(seen.insert(id));
                }
            }
        }
    }
}

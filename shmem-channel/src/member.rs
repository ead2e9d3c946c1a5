//! What everything that is opened in a session knows of it.

use core::time::Duration;

use shmem_core::{region, Incarnation, PartitionState, Region};
use shmem_registry::{AttachError, Registry};

use crate::error::Error;
use crate::platform::{Platform, PlatformHandle};
use crate::wait::Waiter;

/// A partition in a region: what an end of a ring needs of its session.
#[derive(Clone)]
pub(crate) struct Member<'m> {
    pub(crate) incarnation: Incarnation,
    pub(crate) region: Region<'m>,
    pub(crate) registry: Registry<'m>,
    pub(crate) platform: PlatformHandle<'m>,
    /// The mapping, where the session has its own: dropped last.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) memory: Option<std::sync::Arc<shmem_core::Mapping>>,
}

impl<'m> Member<'m> {
    pub(crate) fn new(
        incarnation: Incarnation,
        region: Region<'m>,
        registry: Registry<'m>,
        platform: PlatformHandle<'m>,
    ) -> Self {
        Self {
            incarnation,
            region,
            registry,
            platform,
            #[cfg(all(feature = "linux", target_os = "linux"))]
            memory: None,
        }
    }

    /// A wait of `timeout`.
    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'m> {
        Waiter::new(self.platform.clone(), timeout)
    }

    pub(crate) fn platform(&self) -> &dyn Platform {
        self.platform.get()
    }

    /// What is known of another partition.
    pub(crate) fn state(&self, partition: Incarnation) -> PartitionState {
        self.platform().state(&self.registry, partition)
    }

    /// Whether `partition` is known to be gone.
    pub(crate) fn is_over(&self, partition: Incarnation) -> bool {
        self.state(partition) == PartitionState::Gone
    }

    /// An error if the region is not the one any more that this session joined.
    #[inline]
    pub(crate) fn check_region(&self) -> Result<(), Error> {
        match self.region.is_stale() {
            true => Err(self.reformatted()),
            false => Ok(()),
        }
    }

    #[cold]
    fn reformatted(&self) -> Error {
        match Region::attach(self.region.memory()) {
            Ok(_) | Err(region::AttachError::NotARegion { magic: 0 }) => Error::Reformatted,
            Err(error) => Error::Region(error),
        }
    }

    /// Why this partition lost its place.
    #[cold]
    pub(crate) fn evicted(&self) -> Error {
        match self.registry.partition(self.incarnation.partition()) {
            // Memory that was wiped counts its incarnations from the beginning.
            Ok(slot) if slot.incarnation.is_none() => Error::Reformatted,
            Ok(_) | Err(AttachError::NoSuchPartition { .. }) => Error::Evicted,
            Err(error) => Error::Join(error),
        }
    }
}

//! What each object that is opened in a session knows about the session.

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
    /// The mapping, if the session has its own. It is dropped last.
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

    /// Returns a wait with this timeout.
    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'m> {
        Waiter::new(self.platform.clone(), timeout)
    }

    pub(crate) fn platform(&self) -> &dyn Platform {
        self.platform.get()
    }

    /// Returns what is known about an incarnation of another partition.
    pub(crate) fn state(&self, incarnation: Incarnation) -> PartitionState {
        self.platform().state(&self.registry, incarnation)
    }

    /// Returns true if `incarnation` is known to be gone.
    pub(crate) fn is_gone(&self, incarnation: Incarnation) -> bool {
        self.state(incarnation) == PartitionState::Gone
    }

    /// Fails if the region is no longer the one that this session joined.
    #[inline]
    pub(crate) fn check_region(&self) -> Result<(), Error> {
        match self.region.is_stale() {
            true => self.reformatted(),
            false => Ok(()),
        }
    }

    /// Fails if this partition lost its place: the region is another, or a later incarnation has
    /// the slot. A wait makes this check before each sleep, so that a partition that only waits
    /// finds out, too.
    pub(crate) fn check_place(&self) -> Result<(), Error> {
        self.check_region()?;
        let slot = self.registry.partition(self.incarnation.partition());
        let attached = slot.ok().and_then(|slot| slot.incarnation);
        // An earlier incarnation there is the late store of one that was stopped while it left.
        match attached.is_some_and(|attached| attached.follows(self.incarnation)) {
            true => Err(self.evicted()),
            false => Ok(()),
        }
    }

    #[cold]
    fn reformatted(&self) -> Result<(), Error> {
        Err(match Region::attach(self.region.memory()) {
            Ok(_) | Err(region::AttachError::NotARegion { magic: 0 }) => Error::Reformatted,
            Err(error) => Error::Region(error),
        })
    }

    /// Returns why this partition lost its place.
    #[cold]
    pub(crate) fn evicted(&self) -> Error {
        match self.registry.partition(self.incarnation.partition()) {
            // Memory that was wiped counts incarnations from the start again.
            Ok(slot) if slot.incarnation.is_none() => Error::Reformatted,
            Ok(_) | Err(AttachError::NoSuchPartition { .. }) => Error::Evicted,
            Err(error) => Error::Join(error),
        }
    }
}

//! One partition's membership of a region.

use core::time::Duration;

use shmem_core::layout::{MAX_CAPACITY, MIN_CAPACITY};
use shmem_core::ring::{GeometryError, Ring, Unread};
use shmem_core::wait::Wait;
use shmem_core::{region, Life, Liveness, PartitionState, Region, Window};
use shmem_registry::{
    AttachError, FormatError, Geometry, Heartbeats, Kind, Name, OpenError, Presence, Process,
    Registry, Request, Segment,
};

use crate::channel::ChannelOptions;
use crate::client::Client;
use crate::error::Error;
use crate::platform::Platform;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::server::Server;
use crate::wait::Waiter;

/// How a partition joins a region.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    partition: u8,
    geometry: Geometry,
    patience: Duration,
    presumed_gone_after: Option<Duration>,
    earlier: Option<Life>,
    creates: bool,
}

impl SessionOptions {
    /// Joins as `partition`, a number from 1 that is this partition's own by agreement.
    pub fn new(partition: u8) -> Self {
        Self {
            partition,
            geometry: Geometry::default(),
            patience: Duration::ZERO,
            presumed_gone_after: None,
            earlier: None,
            creates: true,
        }
    }

    /// What a region is created with: how many segments and partitions it can have.
    #[must_use]
    pub fn geometry(self, geometry: Geometry) -> Self {
        Self { geometry, ..self }
    }

    /// Waits for so long until an earlier incarnation of this partition is known to be
    /// gone. By default it has to be known at once.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Takes an earlier incarnation of this partition for gone whose heartbeat stands still
    /// for `limit` while it is waited for ([`SessionOptions::patience`]): where nothing
    /// else tells, and there is one partition of this number by construction. One that was
    /// only slow is evicted by this.
    #[must_use]
    pub fn presume_gone_after(self, limit: Duration) -> Self {
        let presumed_gone_after = Some(limit);
        Self {
            presumed_gone_after,
            ..self
        }
    }

    /// The caller knows that `earlier`, an incarnation of this partition, is gone: it
    /// ended that one itself, or an operator said so. If it lives, it is evicted.
    #[must_use]
    pub fn take_over(self, earlier: Life) -> Self {
        let earlier = Some(earlier);
        Self { earlier, ..self }
    }

    /// Creates no segments, because compare-and-swap does not work on this memory: every
    /// segment has to be there already.
    #[must_use]
    pub fn without_read_modify_write(self) -> Self {
        let creates = false;
        Self { creates, ..self }
    }

    /// Makes `memory` a region with an empty registry, and joins it.
    ///
    /// One partition does this, that the platform or the operator names; whoever used
    /// the memory before is told so at its next call, if it has not ended.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the memory is too short, [`Error::Registry`] if the geometry
    /// does not fit into it, [`Error::Join`] if that has no such partition.
    pub fn create<'m>(
        self,
        memory: Window<'m>,
        platform: &'m dyn Platform,
    ) -> Result<Session<'m>, Error> {
        let region = Region::format(memory, 0).map_err(Error::Region)?;
        let registry = Registry::format(region, self.geometry).map_err(Error::Registry)?;
        self.attach(region, registry, platform)
    }

    /// Joins the region that another partition created in `memory`.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] and [`Error::Registry`] if it is no region that can be joined,
    /// or not yet ([`Session::is_early`]); [`Error::Join`] if a living partition has
    /// this number; [`Error::Reformatted`] if the region was formatted meanwhile.
    pub fn join<'m>(
        self,
        memory: Window<'m>,
        platform: &'m dyn Platform,
    ) -> Result<Session<'m>, Error> {
        let region = Region::attach(memory).map_err(Error::Region)?;
        let registry = Registry::attach(region).map_err(Error::Registry)?;
        self.attach(region, registry, platform)
    }

    fn attach<'m>(
        self,
        region: Region<'m>,
        registry: Registry<'m>,
        platform: &'m dyn Platform,
    ) -> Result<Session<'m>, Error> {
        let process = platform.process();
        let wait = &mut Waiter::new(platform, self.patience);
        let mut known = Ask { platform, registry };
        let attached = match (self.earlier, self.presumed_gone_after) {
            (Some(earlier), _) if earlier.partition() == self.partition => {
                registry.attach_after(earlier, process)
            }
            (_, None) => registry.attach_when_over(self.partition, process, wait, &mut known),
            (_, Some(limit)) => {
                let clock = || platform.now();
                let beats = Heartbeats::by_clock(registry, limit / 2, clock);
                let mut known = (known, beats.presume_gone_after(limit));
                registry.attach_when_over(self.partition, process, wait, &mut known)
            }
        };
        if region.is_stale() {
            return Err(Error::Reformatted);
        }
        Ok(Session {
            region,
            registry: match self.creates {
                true => registry,
                false => registry.without_read_modify_write(),
            },
            attachment: attached.map_err(Error::Join)?,
            platform,
        })
    }
}

/// One partition's membership of a region: joined until it is dropped.
///
/// Everything that is opened through it borrows from it. Threads of the partition share
/// one session. Where others go by its heartbeat, it beats ([`Session::beat`]) several
/// times in the time after which they take it for silent.
pub struct Session<'m> {
    region: Region<'m>,
    registry: Registry<'m>,
    attachment: Presence<'m>,
    platform: &'m dyn Platform,
}

impl<'m> Session<'m> {
    /// As [`SessionOptions::create`] with the default options.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn create(
        memory: Window<'m>,
        partition: u8,
        platform: &'m dyn Platform,
    ) -> Result<Self, Error> {
        SessionOptions::new(partition).create(memory, platform)
    }

    /// As [`SessionOptions::join`] with the default options.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn join(
        memory: Window<'m>,
        partition: u8,
        platform: &'m dyn Platform,
    ) -> Result<Self, Error> {
        SessionOptions::new(partition).join(memory, platform)
    }
}

impl Session<'_> {
    /// Which incarnation of which partition this is.
    pub fn incarnation(&self) -> Life {
        self.attachment.life()
    }

    /// The region's registry.
    pub fn registry(&self) -> Registry<'_> {
        self.registry
    }

    /// This partition's place in the region, for what the registry does in its name:
    /// creating, removing and reaping.
    pub fn attachment(&self) -> &Presence<'_> {
        &self.attachment
    }

    /// Where this partition runs.
    pub fn platform(&self) -> &dyn Platform {
        self.platform
    }

    /// Shows the others that this partition is alive.
    ///
    /// # Errors
    ///
    /// [`Error::Evicted`] and [`Error::Reformatted`]: nothing is stored, and nothing of
    /// the region is to be used any more.
    pub fn beat(&self) -> Result<(), Error> {
        self.check_region()?;
        self.attachment.beat().map_err(|_| self.evicted())
    }

    /// Whether this partition still has its place in the region.
    ///
    /// # Errors
    ///
    /// As [`Session::beat`].
    pub fn check(&self) -> Result<(), Error> {
        self.check_region()?;
        self.attachment.check().map_err(|_| self.evicted())
    }

    /// What is known of another partition.
    pub fn state(&self, partition: Life) -> PartitionState {
        self.platform.state(&self.registry, partition)
    }

    /// How another process is known to its kernel, as far as `partition` has said.
    pub fn process_of(&self, partition: u8) -> Process {
        let slot = self.registry.partition(partition);
        slot.map_or(Process::UNKNOWN, |slot| slot.process)
    }

    /// For calls on locks: what is known of those that hold them.
    pub fn liveness(&self) -> impl Liveness + '_ {
        Ask {
            platform: self.platform,
            registry: self.registry,
        }
    }

    /// For calls on locks: a wait of `timeout` from now on.
    pub fn wait(&self, timeout: Duration) -> impl Wait + '_ {
        Waiter::new(self.platform, timeout)
    }

    /// Opens the segment `name`, and creates it, zeroed, if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for a name that is too long, [`Error::Open`].
    pub fn segment(
        &self,
        name: impl AsRef<[u8]>,
        kind: Kind,
        len: usize,
    ) -> Result<Segment<'_>, Error> {
        self.find(name.as_ref(), kind, len)
    }

    pub(crate) fn find(&self, name: &[u8], kind: Kind, len: usize) -> Result<Segment<'_>, Error> {
        let request = Request::named(name, kind, len).map_err(Error::Name)?;
        let found = self.registry.open_or_create(&self.attachment, &request);
        found.map_err(|reason| match reason {
            OpenError::Reformatted => Error::Reformatted,
            OpenError::Evicted => Error::Evicted,
            reason => Error::Open {
                name: Name::new(name).unwrap_or(Name::NONE),
                reason,
            },
        })
    }

    pub(crate) fn ring(&self, name: &[u8], capacity: usize) -> Result<Ring<'_>, Error> {
        let len = Ring::segment_len(capacity);
        if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(Error::Capacity(GeometryError { len })); // Nothing is created.
        }
        let segment = self.find(name, Kind::RING, len)?;
        Ring::attach(segment.window()).map_err(Error::Capacity)
    }

    /// The sending end of the ring `name`, of `capacity` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Capacity`], [`Error::Open`]; [`Error::EndTaken`] if a
    /// living partition has this end.
    pub fn sender(&self, name: impl AsRef<[u8]>, capacity: usize) -> Result<Sender<'_>, Error> {
        Sender::open(self, self.ring(name.as_ref(), capacity)?)
    }

    /// The receiving end of the ring `name`, of `capacity` bytes. `unread` says what
    /// becomes of records that were sent before a restart of either end.
    ///
    /// # Errors
    ///
    /// As [`Session::sender`].
    pub fn receiver(
        &self,
        name: impl AsRef<[u8]>,
        capacity: usize,
        unread: Unread,
    ) -> Result<Receiver<'_>, Error> {
        Receiver::open(self, self.ring(name.as_ref(), capacity)?, unread)
    }

    /// The end of channel `name` that sends commands, with [`ChannelOptions::default`].
    ///
    /// # Errors
    ///
    /// As [`ChannelOptions::client`].
    pub fn client(&self, name: impl AsRef<[u8]>) -> Result<Client<'_>, Error> {
        ChannelOptions::default().client(self, name)
    }

    /// The end of channel `name` that answers them, with [`ChannelOptions::default`].
    ///
    /// # Errors
    ///
    /// As [`ChannelOptions::server`].
    pub fn server(&self, name: impl AsRef<[u8]>) -> Result<Server<'_>, Error> {
        ChannelOptions::default().server(self, name)
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
        let slot = self.registry.partition(self.incarnation().partition());
        match slot {
            // Memory that was wiped counts its incarnations from the beginning.
            Ok(slot) if slot.life.is_none() => Error::Reformatted,
            Ok(_) | Err(AttachError::NoSuchPartition { .. }) => Error::Evicted,
            Err(error) => Error::Join(error),
        }
    }

    /// Whether joining failed because the region is not formatted yet, or not all of
    /// it: to be tried again.
    pub fn is_early(error: &Error) -> bool {
        match error {
            Error::Region(error) => matches!(
                error,
                region::AttachError::NotARegion { .. } | region::AttachError::BeingFormatted
            ),
            Error::Registry(error) => *error == FormatError::NotFormatted,
            Error::Reformatted => true,
            _ => false,
        }
    }
}

/// A platform's knowledge of partitions, as locks ask for it.
struct Ask<'m> {
    platform: &'m dyn Platform,
    registry: Registry<'m>,
}

impl Liveness for Ask<'_> {
    fn state(&mut self, partition: Life) -> PartitionState {
        self.platform.state(&self.registry, partition)
    }
}

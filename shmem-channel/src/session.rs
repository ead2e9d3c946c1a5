//! One partition's membership of a region.

use core::mem::MaybeUninit;
use core::time::Duration;

use shmem_core::call::{self, CallLine};
use shmem_core::doorbell::Doorbell;
use shmem_core::layout::{MAX_CAPACITY, MIN_CAPACITY};
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::wait::Wait;
use shmem_core::{Incarnation, Liveness, PartitionState, Region, Window};
use shmem_registry::{
    Attachment, Geometry, Heartbeats, Kind, Name, OpenError, Process, Registry, Request, Segment,
};

use crate::error::Error;
use crate::member::Member;
use crate::platform::{LockBell, Platform, PlatformHandle};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::wait::{Waiter, FOREVER};

/// How a partition joins a region.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    partition: u8,
    geometry: Geometry,
    wait_for_earlier: Duration,
    presumed_gone_after: Option<Duration>,
    earlier: Option<Incarnation>,
    creates: bool,
}

impl SessionOptions {
    /// Returns options to join as `partition`: a number from 1 to the region's number of slots,
    /// which is 64 by default and at most 128. By agreement, only this partition uses that number.
    pub fn new(partition: u8) -> Self {
        Self {
            partition,
            geometry: Geometry::default(),
            wait_for_earlier: Duration::ZERO,
            presumed_gone_after: None,
            earlier: None,
            creates: true,
        }
    }

    /// Sets the geometry that a region is created with: how many segments and partitions it can
    /// have.
    #[must_use]
    pub fn geometry(self, geometry: Geometry) -> Self {
        Self { geometry, ..self }
    }

    /// Sets how long [`SessionOptions::join`] waits for an earlier incarnation of this partition to
    /// be known to be gone. After that, joining fails with [`Error::Join`]. The default is 0.
    #[must_use]
    pub fn wait_for_earlier(self, wait_for_earlier: Duration) -> Self {
        Self {
            wait_for_earlier,
            ..self
        }
    }

    /// Presumes that an earlier incarnation of this partition is gone after its heartbeat has stood
    /// still for `limit`. This happens during [`SessionOptions::wait_for_earlier`], which must be
    /// longer than `limit`.
    ///
    /// For platforms that have no other way to know, and where only one partition can have this
    /// number. An earlier incarnation that was only slow is evicted.
    #[must_use]
    pub fn presume_gone_after(self, limit: Duration) -> Self {
        let presumed_gone_after = Some(limit);
        Self {
            presumed_gone_after,
            ..self
        }
    }

    /// States that `earlier`, an incarnation of this partition, is gone: the caller ended it, or an
    /// operator said so. If it is alive, it is evicted. An incarnation of another partition is
    /// ignored.
    #[must_use]
    pub fn take_over(self, earlier: Incarnation) -> Self {
        let earlier = Some(earlier);
        Self { earlier, ..self }
    }

    /// Makes the session create no segments, for memory without compare-and-swap. Opening a segment
    /// that does not exist then fails with [`Error::Open`].
    #[must_use]
    pub fn without_read_modify_write(self) -> Self {
        let creates = false;
        Self { creates, ..self }
    }

    /// Makes `memory` a region with an empty registry, and joins it.
    ///
    /// Exactly one partition does this; the platform or the operator chooses it. A session that
    /// still uses the memory returns [`Error::Reformatted`] from its next call, and so do its
    /// clients, servers, senders and receivers. Locks and snapshots do not notice it.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the memory is too short, [`Error::Registry`] if the geometry does not
    /// fit into it, [`Error::Join`] if the geometry has no such partition. [`Error::Reformatted`]
    /// if another partition created a region in the memory at the same time: join that one.
    pub fn create<'m>(
        self,
        memory: Window<'m>,
        platform: impl Into<PlatformHandle<'m>>,
    ) -> Result<Session<'m>, Error> {
        let region = Region::format(memory).map_err(Error::Region)?;
        let registry = Registry::format(region, self.geometry).map_err(Error::Registry)?;
        self.attach(region, registry, platform.into())
    }

    /// Joins the region that another partition created in `memory`.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] and [`Error::Registry`] if the memory is not a region that can be joined,
    /// or not yet ([`Error::is_early`]). [`Error::Join`] if a partition that is not known to be
    /// gone has this number. [`Error::Reformatted`] if the region was formatted meanwhile.
    pub fn join<'m>(
        self,
        memory: Window<'m>,
        platform: impl Into<PlatformHandle<'m>>,
    ) -> Result<Session<'m>, Error> {
        let region = Region::attach(memory).map_err(Error::Region)?;
        let registry = Registry::attach(region).map_err(Error::Registry)?;
        self.attach(region, registry, platform.into())
    }

    fn attach<'m>(
        self,
        region: Region<'m>,
        registry: Registry<'m>,
        platform: PlatformHandle<'m>,
    ) -> Result<Session<'m>, Error> {
        let own = platform.get();
        let process = own.process();
        let wait = &mut Waiter::new(platform.clone(), self.wait_for_earlier);
        let known = PlatformLiveness {
            platform: own,
            registry,
        };
        let attached = match self.earlier {
            Some(earlier) if earlier.partition() == self.partition => {
                registry.attach_after(earlier, process)
            }
            _ => {
                let limit = self.presumed_gone_after.unwrap_or(FOREVER);
                let beats = Heartbeats::with_clock(registry, limit / 2, || own.now());
                let known = &mut (known, beats.presume_gone_after(limit));
                registry.attach_or_take_over(self.partition, process, wait, known)
            }
        };
        if region.is_stale() {
            return Err(Error::Reformatted);
        }
        let attachment = attached.map_err(Error::Join)?;
        let registry = match self.creates {
            true => registry,
            false => registry.without_read_modify_write(),
        };
        let incarnation = attachment.incarnation();
        Ok(Session {
            bell: LockBell(platform.clone()),
            member: Member::new(incarnation, region, registry, platform),
            attachment,
        })
    }
}

/// One partition's membership of a region. The partition leaves when this is dropped.
///
/// Clients, servers, senders and receivers can be used while the memory is mapped, even after the
/// session that opened them is dropped. But then the partition has left: peers may take over the
/// ends of rings that it held, and these ends report [`Error::Evicted`]. Segments and locks borrow
/// from the session.
///
/// The threads of a partition share one session. If peers watch its heartbeat, the partition calls
/// [`Session::beat`] several times within the limit after which they report it as silent.
pub struct Session<'m> {
    attachment: Attachment<'m>,
    /// The doorbell of locks.
    bell: LockBell<'m>,
    pub(crate) member: Member<'m>,
}

impl<'m> Session<'m> {
    /// Creates a region in `memory` and joins it, with the default options.
    ///
    /// # Errors
    ///
    /// Those of [`SessionOptions::create`].
    pub fn create(
        memory: Window<'m>,
        partition: u8,
        platform: impl Into<PlatformHandle<'m>>,
    ) -> Result<Self, Error> {
        SessionOptions::new(partition).create(memory, platform)
    }

    /// Joins the region in `memory`, with the default options.
    ///
    /// # Errors
    ///
    /// Those of [`SessionOptions::join`].
    pub fn join(
        memory: Window<'m>,
        partition: u8,
        platform: impl Into<PlatformHandle<'m>>,
    ) -> Result<Self, Error> {
        SessionOptions::new(partition).join(memory, platform)
    }

    pub(crate) fn bell(&self) -> &(dyn Doorbell + Sync) {
        &self.bell
    }

    /// Returns the incarnation of this partition.
    pub fn incarnation(&self) -> Incarnation {
        self.member.incarnation
    }

    /// Returns the region's registry.
    pub fn registry(&self) -> Registry<'_> {
        self.member.registry
    }

    /// Returns this partition's attachment, for the registry's calls that create, remove and reap
    /// segments.
    pub fn attachment(&self) -> &Attachment<'_> {
        &self.attachment
    }

    /// Returns the platform.
    pub fn platform(&self) -> &dyn Platform {
        self.member.platform()
    }

    /// Shows the other partitions that this one is alive.
    ///
    /// # Errors
    ///
    /// [`Error::Evicted`] and [`Error::Reformatted`]: nothing was stored, and this partition must
    /// not use the region any more.
    pub fn beat(&self) -> Result<(), Error> {
        self.member.check_region()?;
        self.attachment.beat().map_err(|_| self.member.evicted())
    }

    /// Checks that no later incarnation has this partition's slot, and that the region was not
    /// formatted again.
    ///
    /// # Errors
    ///
    /// Those of [`Session::beat`].
    pub fn check(&self) -> Result<(), Error> {
        self.member.check_region()?;
        self.attachment.check().map_err(|_| self.member.evicted())
    }

    /// Returns what is known about an incarnation of another partition.
    pub fn state(&self, incarnation: Incarnation) -> PartitionState {
        self.member.state(incarnation)
    }

    /// Returns the process that runs `partition`, or [`Process::UNKNOWN`] if it published none.
    pub fn partition_process(&self, partition: u8) -> Process {
        let slot = self.member.registry.partition(partition);
        slot.map_or(Process::UNKNOWN, |slot| slot.process)
    }

    /// Returns what the platform knows about partitions, for calls on locks.
    pub fn liveness(&self) -> impl Liveness + '_ {
        PlatformLiveness {
            platform: self.member.platform(),
            registry: self.member.registry,
        }
    }

    /// Returns a wait with this timeout, for calls on locks.
    pub fn waiter(&self, timeout: Duration) -> impl Wait + '_ {
        self.member.waiter(timeout)
    }

    /// Opens the segment `name`, and creates it, zeroed, if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if the name is empty, has more than 32 bytes or contains a zero byte, or if
    /// `len` (bytes) is 0 or more than 2^32 - 8. [`Error::Open`], [`Error::Evicted`],
    /// [`Error::Reformatted`].
    pub fn segment(
        &self,
        name: impl AsRef<[u8]>,
        kind: Kind,
        len: usize,
    ) -> Result<Segment<'_>, Error> {
        self.find(name.as_ref(), kind, len)
    }

    fn find(&self, name: &[u8], kind: Kind, len: usize) -> Result<Segment<'m>, Error> {
        let request = Request::named(name, kind, len).map_err(Error::Name)?;
        let found = self
            .member
            .registry
            .open_or_create(&self.attachment, &request);
        found.map_err(|reason| match reason {
            OpenError::Reformatted => Error::Reformatted,
            OpenError::Evicted => Error::Evicted,
            reason => Error::Open {
                name: Name::new(name).unwrap_or(Name::NONE),
                reason,
            },
        })
    }

    pub(crate) fn ring(&self, name: &[u8], capacity: usize) -> Result<Ring<'m>, Error> {
        let error = Error::Capacity { capacity };
        if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(error); // Nothing is created.
        }
        let segment = self.find(name, Kind::RING, Ring::segment_len(capacity))?;
        Ring::attach(segment.window()).map_err(|_| error)
    }

    pub(crate) fn call_line(&self, name: &[u8]) -> Result<CallLine<'m>, Error> {
        let segment = self.find(name, Kind::CALL_LINE, call::SEGMENT_LEN)?;
        let line = CallLine::attach(segment.window());
        // It was found with this length.
        line.map_err(|_| Error::Capacity {
            capacity: segment.len(),
        })
    }

    /// Opens the sending end of the ring `name`, and creates the ring if it does not exist.
    /// `capacity` is in bytes: a power of two from 64 to 1 GiB, the same at both ends.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Capacity`], [`Error::Open`]. [`Error::EndTaken`] if a partition
    /// that is not known to be gone has this end. [`Error::Evicted`], [`Error::Reformatted`],
    /// [`Error::Corrupt`].
    pub fn sender(&self, name: impl AsRef<[u8]>, capacity: usize) -> Result<Sender<'m>, Error> {
        self.sender_on(self.ring(name.as_ref(), capacity)?)
    }

    /// Opens a sender as [`Session::sender`] does, and stores it in `place`. This saves the copy of
    /// a returned value. `place` does not drop the sender: to close this end, call
    /// [`MaybeUninit::assume_init_drop`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::sender`].
    pub fn sender_in<'p>(
        &self,
        place: &'p mut MaybeUninit<Sender<'m>>,
        name: impl AsRef<[u8]>,
        capacity: usize,
    ) -> Result<&'p mut Sender<'m>, Error> {
        let ring = self.ring(name.as_ref(), capacity)?;
        self.check()?;
        Sender::open_in(place, &self.member, ring)
    }

    /// Opens the sending end of `ring`, which the caller found in this session's region.
    ///
    /// # Errors
    ///
    /// [`Error::EndTaken`], [`Error::Corrupt`], [`Error::Evicted`], [`Error::Reformatted`].
    pub fn sender_on(&self, ring: Ring<'m>) -> Result<Sender<'m>, Error> {
        self.check()?;
        Sender::open(&self.member, ring)
    }

    /// Opens the receiving end of `ring`, which the caller found in this session's region.
    ///
    /// # Errors
    ///
    /// Those of [`Session::sender_on`].
    pub fn receiver_on(
        &self,
        ring: Ring<'m>,
        on_restart: OnRestart,
    ) -> Result<Receiver<'m>, Error> {
        self.check()?;
        Receiver::open(&self.member, ring, on_restart)
    }

    /// Opens the receiving end of the ring `name`, and creates the ring if it does not exist.
    /// `capacity` is as for [`Session::sender`]. `on_restart` chooses whether records from before a
    /// restart of either end are kept or discarded.
    ///
    /// # Errors
    ///
    /// Those of [`Session::sender`].
    pub fn receiver(
        &self,
        name: impl AsRef<[u8]>,
        capacity: usize,
        on_restart: OnRestart,
    ) -> Result<Receiver<'m>, Error> {
        self.receiver_on(self.ring(name.as_ref(), capacity)?, on_restart)
    }

    /// Opens a receiver as [`Session::receiver`] does, and stores it in `place`. This saves the
    /// copy of a returned value. `place` does not drop the receiver: to close this end, call
    /// [`MaybeUninit::assume_init_drop`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::sender`].
    pub fn receiver_in<'p>(
        &self,
        place: &'p mut MaybeUninit<Receiver<'m>>,
        name: impl AsRef<[u8]>,
        capacity: usize,
        on_restart: OnRestart,
    ) -> Result<&'p mut Receiver<'m>, Error> {
        let ring = self.ring(name.as_ref(), capacity)?;
        self.check()?;
        Receiver::open_in(place, &self.member, ring, on_restart)
    }
}

/// A platform's knowledge about partitions, in the form that locks need.
struct PlatformLiveness<'m> {
    platform: &'m dyn Platform,
    registry: Registry<'m>,
}

impl Liveness for PlatformLiveness<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        self.platform.state(&self.registry, incarnation)
    }
}

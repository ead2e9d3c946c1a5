//! The parts of both ends of a link: a sender, a receiver and a session.

use std::sync::Arc;
use std::time::Duration;

use shmem_channel::{Error, Session, SessionOptions, Waiter};
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::{Incarnation, Region, Window};
use shmem_registry::{OpenError, Partition, Registry, Request, Segment};

use super::bells::{RECORDS, WakeMethod};
use super::idle_task::IdleTask;
use super::record_wait::{BackOff, RecordWait};
use super::{GEOMETRY, LinkError, Received, Sent, Waiting};

/// Limits of the records and bytes that one call of `receive` handles, so that it returns during a
/// flood.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// An earlier incarnation that is silent for this long is presumed gone, if nothing else shows its
/// end. A busy machine does not leave a process without a processor for so long.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// How long joining waits for the end of an earlier incarnation.
pub(crate) const TAKE_OVER: Duration = Duration::from_secs(4);

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        match error {
            Error::Evicted => Self::Evicted,
            Error::Reformatted => Self::Formatted,
            error => Self::Broken(error.to_string()),
        }
    }
}

/// One end's membership of its region, and its peer.
pub(super) struct Membership<'m> {
    session: Session<'m>,
    registry: Registry<'m>,
    pub(super) wake_method: Arc<WakeMethod<'m>>,
    peer: u8,
}

/// KMON and each machine have their own number, and each exists only once: an earlier incarnation
/// that is silent for long belongs to an earlier boot of the machine.
fn options(own: u8) -> SessionOptions {
    let options = SessionOptions::new(own).geometry(GEOMETRY);
    options
        .wait_for_earlier(TAKE_OVER)
        .presume_gone_after(SILENCE_LIMIT)
}

impl<'m> Membership<'m> {
    /// Formats `memory` as partition `own`.
    pub(super) fn create(
        memory: Window<'m>,
        own: u8,
        peer: u8,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let wake_method = Arc::new(WakeMethod::new(waiting));
        let session = options(own).create(memory, Arc::clone(&wake_method))?;
        Self::from_session(session, Found::attach(memory)?, wake_method, peer)
    }

    /// Joins the region `found` as partition `own`, at once if its earlier incarnation has left or
    /// its process is gone.
    pub(super) fn join(
        found: Found<'m>,
        own: u8,
        peer: u8,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let wake_method = Arc::new(WakeMethod::new(waiting));
        let session = options(own).join(found.region.memory(), Arc::clone(&wake_method));
        Self::from_session(session.map_err(join_error)?, found, wake_method, peer)
    }

    fn from_session(
        session: Session<'m>,
        found: Found<'m>,
        wake_method: Arc<WakeMethod<'m>>,
        peer: u8,
    ) -> Result<Self, LinkError> {
        // The region must not have been formatted between finding and joining it.
        if found.region.is_stale() {
            return Err(LinkError::Formatted);
        }
        Ok(Self {
            session,
            registry: found.registry,
            wake_method,
            peer,
        })
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.session.incarnation()
    }

    /// Opens or creates the segment of a request.
    pub(super) fn open_or_create(&self, request: &Request) -> Result<Segment<'m>, OpenError> {
        self.registry
            .open_or_create(self.session.attachment(), request)
    }

    pub(super) fn beat(&self) -> Result<(), LinkError> {
        Ok(self.session.beat()?)
    }

    pub(super) fn check(&self) -> Result<(), LinkError> {
        Ok(self.session.check()?)
    }

    /// Returns the peer's entry in the registry; `None` if it cannot be read.
    pub(super) fn peer(&self) -> Option<Partition> {
        self.registry.partition(self.peer).ok()
    }

    pub(super) fn peer_beat(&self) -> u32 {
        self.peer().map_or(0, |peer| peer.heartbeat)
    }

    pub(super) fn sender(&self, segment: &Segment<'m>) -> Result<Sender<'m>, LinkError> {
        let end = self.session.sender_on(ring(segment)?);
        Ok(Sender {
            end: end.map_err(|error| with_segment_name(segment, error))?,
            wake_method: Arc::clone(&self.wake_method),
            record: Vec::new(),
        })
    }

    pub(super) fn receiver(
        &self,
        segment: &Segment<'m>,
        on_restart: OnRestart,
        back_off: BackOff,
    ) -> Result<Receiver<'m>, LinkError> {
        let end = self.session.receiver_on(ring(segment)?, on_restart);
        Ok(Receiver {
            end: end.map_err(|error| with_segment_name(segment, error))?,
            wake_method: Arc::clone(&self.wake_method),
            record: Vec::new(),
            back_off,
        })
    }
}

fn ring<'m>(segment: &Segment<'m>) -> Result<Ring<'m>, LinkError> {
    Ring::attach(segment.window()).map_err(|e| LinkError::new(segment.name().as_str(), e))
}

fn with_segment_name(segment: &Segment<'_>, error: Error) -> LinkError {
    match error.into() {
        LinkError::Broken(why) => LinkError::new(segment.name().as_str(), why),
        error => error,
    }
}

/// An existing region, before it is joined.
#[derive(Clone, Copy)]
pub(super) struct Found<'m> {
    region: Region<'m>,
    pub(super) registry: Registry<'m>,
}

impl<'m> Found<'m> {
    pub(super) fn attach(memory: Window<'m>) -> Result<Self, LinkError> {
        let region = Region::attach(memory).map_err(|error| join_error(Error::Region(error)))?;
        let registry = Registry::attach(region);
        let registry = registry.map_err(|error| join_error(Error::Registry(error)))?;
        Ok(Self { region, registry })
    }
}

/// Converts an error of joining: a region that is not formatted completely is `Unformatted`.
fn join_error(error: Error) -> LinkError {
    match error.is_early() {
        true => LinkError::Unformatted(error.to_string()),
        false => error.into(),
    }
}

/// The producing end of a ring.
pub(super) struct Sender<'m> {
    end: shmem_channel::Sender<'m>,
    wake_method: Arc<WakeMethod<'m>>,
    /// The record to send.
    pub(super) record: Vec<u8>,
}

impl Sender<'_> {
    pub(super) fn send(&mut self) -> Result<Sent, LinkError> {
        match self.end.try_send(&self.record) {
            Ok(()) => Ok(Sent::Whole),
            Err(Error::Full) => Ok(Sent::Full),
            Err(Error::PeerRestarted) => Ok(Sent::Restarted),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the bytes of the longest record.
    pub(super) fn max_len(&self) -> usize {
        self.end.max_len()
    }

    /// Waits for room for a record of `len` bytes.
    pub(super) fn wait_for_space(&mut self, len: usize, timeout: Duration) {
        // A corrupt ring counts as having room: the next `send` reports the error.
        let mut wait = Waiter::new(&*self.wake_method, timeout);
        self.end.wait_for_space(len, &mut wait);
    }
}

/// When a record is released to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Before it is handled: if this end dies meanwhile, the record counts as handled.
    Before,
    /// After it was handled: if this end dies meanwhile, the next incarnation handles it.
    After,
}

/// The consuming end of a ring.
pub(super) struct Receiver<'m> {
    end: shmem_channel::Receiver<'m>,
    wake_method: Arc<WakeMethod<'m>>,
    record: Vec<u8>,
    back_off: BackOff,
}

impl Receiver<'_> {
    /// Waits for records while running `idle_task`, then passes a copy of each record of a batch to
    /// `handle`, with its position.
    pub(super) fn receive(
        &mut self,
        timeout: Duration,
        idle_task: &mut dyn IdleTask,
        release: Release,
        mut handle: impl FnMut(u32, Received<&[u8]>),
    ) -> Result<usize, LinkError> {
        self.wait(timeout, idle_task);
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH && bytes < BATCH_BYTES {
            let found = match self.end.peek()? {
                None => break,
                Some(shmem_channel::Received::PeerRestarted) => Received::Restarted,
                Some(shmem_channel::Received::Message(found)) => {
                    found.read_into(&mut self.record);
                    Received::Message(())
                }
            };
            // Discarded records lie before this position.
            let position = self.end.position();
            if release == Release::Before {
                self.end.release()?;
            }
            bytes += self.record.len();
            handle(position, found.map(|()| &*self.record));
            self.end.release()?;
            count += 1;
        }
        Ok(count)
    }

    /// Returns how many records all incarnations of this end have discarded.
    pub(super) fn discarded(&self) -> u32 {
        self.end.discarded()
    }

    /// Returns true if the other end interrupts this one now.
    pub(super) fn is_rung(&self) -> bool {
        matches!(self.wake_method.waiting(), Waiting::Bells(_))
    }

    /// Skips the next record if it is the one at `position`.
    pub(super) fn skip(&mut self, position: u32) {
        if self.end.position() == position && matches!(self.end.peek(), Ok(Some(_))) {
            // The next call reports it if this end was evicted.
            let _ = self.end.release();
        }
    }

    fn wait(&mut self, timeout: Duration, idle_task: &mut dyn IdleTask) {
        let bell = match self.wake_method.waiting() {
            Waiting::Futex => {
                let wait = Waiter::new(&*self.wake_method, timeout);
                self.end.wait(&mut wait.recheck(timeout));
                return;
            }
            Waiting::Poll => None,
            Waiting::Bells(bells) => Some(&**bells.own(RECORDS)),
        };
        // If records are always available, no wait runs the idle task.
        if !self.end.is_empty() {
            idle_task.step();
        }
        let mut wait = RecordWait::new(&mut self.back_off, idle_task, bell, timeout);
        if self.end.wait(&mut wait) {
            wait.note_record();
        }
    }
}

//! What both ends of a link are made of: one that sends, one that receives, a session.

use std::sync::Arc;
use std::time::Duration;

use shmem_channel::{Error, Session, SessionOptions, Waiter};
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::{Incarnation, Region, Window};
use shmem_registry::{OpenError, Partition, Registry, Request, Segment};

use super::bells::{RECORDS, WakeMethod};
use super::idle_task::IdleTask;
use super::look::{BackOff, Look};
use super::{GEOMETRY, LinkError, Received, Sent, Waiting};

/// Records and bytes handled by one call of `receive`, so that a flood leaves its caller time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// An earlier incarnation whose heartbeat stands still for so long is over, where nothing
/// else tells: longer than a busy machine leaves one without a processor.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(3);
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

/// One end's membership of its region, and whom it shares that with.
pub(super) struct Membership<'m> {
    session: Session<'m>,
    registry: Registry<'m>,
    pub(super) way: Arc<WakeMethod<'m>>,
    peer: u8,
}

/// KMON and each machine have a number of their own, and there is one of each: an earlier
/// incarnation that is silent for long was another boot of the machine.
fn options(own: u8) -> SessionOptions {
    let options = SessionOptions::new(own).geometry(GEOMETRY);
    options.patience(TAKE_OVER).presume_gone_after(STANDSTILL)
}

impl<'m> Membership<'m> {
    /// Formats `memory` as partition `own`.
    pub(super) fn create(
        memory: Window<'m>,
        own: u8,
        peer: u8,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let way = Arc::new(WakeMethod::new(waiting));
        let session = options(own).create(memory, Arc::clone(&way))?;
        Self::over(session, Found::attach(memory)?, way, peer)
    }

    /// Joins the region that was `found` as partition `own`, at once if its earlier
    /// incarnation left or its process is gone.
    pub(super) fn join(
        found: Found<'m>,
        own: u8,
        peer: u8,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let way = Arc::new(WakeMethod::new(waiting));
        let session = options(own).join(found.region.memory(), Arc::clone(&way));
        Self::over(session.map_err(early)?, found, way, peer)
    }

    fn over(
        session: Session<'m>,
        found: Found<'m>,
        way: Arc<WakeMethod<'m>>,
        peer: u8,
    ) -> Result<Self, LinkError> {
        // What was found and what was joined are one region.
        if found.region.is_stale() {
            return Err(LinkError::Formatted);
        }
        Ok(Self {
            session,
            registry: found.registry,
            way,
            peer,
        })
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.session.incarnation()
    }

    /// What this end makes of a request.
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

    /// What is known of the peer; nothing if its slot is no slot any more.
    pub(super) fn peer(&self) -> Option<Partition> {
        self.registry.partition(self.peer).ok()
    }

    pub(super) fn peer_beat(&self) -> u32 {
        self.peer().map_or(0, |peer| peer.heartbeat)
    }

    pub(super) fn sender(&self, segment: &Segment<'m>) -> Result<Sender<'m>, LinkError> {
        let end = self.session.sender_on(ring(segment)?);
        Ok(Sender {
            end: end.map_err(|error| of_segment(segment, error))?,
            way: Arc::clone(&self.way),
            record: Vec::new(),
        })
    }

    pub(super) fn receiver(
        &self,
        segment: &Segment<'m>,
        unread: OnRestart,
        back_off: BackOff,
    ) -> Result<Receiver<'m>, LinkError> {
        let end = self.session.receiver_on(ring(segment)?, unread);
        Ok(Receiver {
            end: end.map_err(|error| of_segment(segment, error))?,
            way: Arc::clone(&self.way),
            record: Vec::new(),
            back_off,
        })
    }
}

fn ring<'m>(segment: &Segment<'m>) -> Result<Ring<'m>, LinkError> {
    Ring::attach(segment.window()).map_err(|e| LinkError::new(segment.name().as_str(), e))
}

fn of_segment(segment: &Segment<'_>, error: Error) -> LinkError {
    match error.into() {
        LinkError::Broken(why) => LinkError::new(segment.name().as_str(), why),
        error => error,
    }
}

/// A region that is there, before it is joined.
#[derive(Clone, Copy)]
pub(super) struct Found<'m> {
    region: Region<'m>,
    pub(super) registry: Registry<'m>,
}

impl<'m> Found<'m> {
    pub(super) fn attach(memory: Window<'m>) -> Result<Self, LinkError> {
        let region = Region::attach(memory).map_err(|error| early(Error::Region(error)))?;
        let registry = Registry::attach(region);
        let registry = registry.map_err(|error| early(Error::Registry(error)))?;
        Ok(Self { region, registry })
    }
}

/// Why a region cannot be joined: what KMON has still to format is due.
fn early(error: Error) -> LinkError {
    match error.is_early() {
        true => LinkError::Unformatted(error.to_string()),
        false => error.into(),
    }
}

/// The producing end of either ring.
pub(super) struct Sender<'m> {
    end: shmem_channel::Sender<'m>,
    way: Arc<WakeMethod<'m>>,
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

    /// Waits for room for a record of `len` bytes.
    pub(super) fn wait_for_space(&mut self, len: usize, timeout: Duration) {
        // A broken ring has room: the next `send` says what is wrong.
        let mut wait = Waiter::new(&*self.way, timeout);
        self.end.wait_for_room(len, &mut wait);
    }
}

/// When a record is given back to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Before it is handled: whoever dies at it leaves it handled, or half.
    Before,
    /// After that: whoever dies at it leaves it to the next incarnation.
    After,
}

/// The consuming end of either ring.
pub(super) struct Receiver<'m> {
    end: shmem_channel::Receiver<'m>,
    way: Arc<WakeMethod<'m>>,
    record: Vec<u8>,
    back_off: BackOff,
}

impl Receiver<'_> {
    /// Waits for records, attending to `idle_task`, and hands a copy of each of a batch to
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
            // What is discarded lies before it.
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

    /// Records that were discarded, by all incarnations of this end.
    pub(super) fn discarded(&self) -> u32 {
        self.end.discarded()
    }

    /// Whether the other end interrupts this one now.
    pub(super) fn is_rung(&self) -> bool {
        matches!(self.way.waiting(), Waiting::Bells(_))
    }

    /// Passes over the next record if it is the one at `position`.
    pub(super) fn skip(&mut self, position: u32) {
        if self.end.position() == position && matches!(self.end.peek(), Ok(Some(_))) {
            // The next call says if it is another's.
            let _ = self.end.release();
        }
    }

    fn wait(&mut self, timeout: Duration, idle_task: &mut dyn IdleTask) {
        let bell = match self.way.waiting() {
            Waiting::Futex => {
                let wait = Waiter::new(&*self.way, timeout);
                self.end.wait(&mut wait.recheck(timeout));
                return;
            }
            Waiting::Poll => None,
            Waiting::Bells(bells) => Some(&**bells.own(RECORDS)),
        };
        // Where records are always there, no wait gives it a turn.
        if !self.end.is_empty() {
            idle_task.step();
        }
        let mut look = Look::new(&mut self.back_off, idle_task, bell, timeout);
        if self.end.wait(&mut look) {
            look.found();
        }
    }
}

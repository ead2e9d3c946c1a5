//! What both ends of a link are made of: one that sends, one that receives, a pulse.

use std::fmt::Display;
use std::time::{Duration, Instant};

use shmem_core::ring::{Consumer, PopError, Producer, PushError};
use shmem_core::{Life, Region, Window, region};
use shmem_registry::{FormatError, Heartbeats, Partition, Presence, Process, Processes, Registry};
use shmem_sync::{Futex, SleepPoll};

use super::bells::{Nap, RECORDS, ROOM, Way};
use super::poll::{LONGEST, Pace, Poll, Role};
use super::sideline::{Idle, Sideline};
use super::{LinkError, Received, Sent, Waiting};

/// Records and bytes handled by one call of `receive`, so that a flood leaves its caller time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// Longest delay between two looks for room, or for the end of an earlier life.
const POLL_LIMIT: Duration = Duration::from_millis(10);
/// An earlier life whose heartbeat stands still for so long is over, where
/// nothing else tells: longer than a busy machine leaves one without a processor.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(3);
/// How long attaching waits for the end of an earlier life.
pub(crate) const TAKE_OVER: Duration = Duration::from_secs(4);

/// The region that this end attached to, as it was then.
#[derive(Clone, Copy)]
pub(super) struct Ground<'m> {
    region: Region<'m>,
    pub(super) registry: Registry<'m>,
}

impl<'m> Ground<'m> {
    /// A region that was formatted just now.
    pub(super) fn new(region: Region<'m>, registry: Registry<'m>) -> Self {
        Self { region, registry }
    }

    /// A region that is there already.
    pub(super) fn attach(memory: Window<'m>) -> Result<Self, LinkError> {
        let region = Region::attach(memory).map_err(|e| {
            let is_due = matches!(e, region::AttachError::NotARegion { .. });
            LinkError::due(is_due, "region", e)
        })?;
        let registry = Registry::attach(region)
            .map_err(|e| LinkError::due(e == FormatError::NotFormatted, "registry", e))?;
        Ok(Self { region, registry })
    }

    /// An error if it is not that region any more (A4).
    pub(super) fn check(&self) -> Result<(), LinkError> {
        if !self.region.is_stale() {
            return Ok(());
        }
        match Region::attach(self.region.memory()) {
            Ok(_) | Err(region::AttachError::NotARegion { magic: 0 }) => Err(LinkError::Formatted),
            Err(error) => Err(LinkError::new("region", error)),
        }
    }

    /// An error unless `own` still has an end that `holder` has: a life that was
    /// thought dead while it only slept touches nothing more.
    fn check_claim(&self, holder: Option<Life>, own: Life) -> Result<(), LinkError> {
        self.check()?;
        match holder {
            Some(life) if life == own => Ok(()),
            Some(life) if life.partition() == own.partition() => Err(LinkError::Evicted),
            _ if self.knows_none(own) => Err(LinkError::Formatted),
            _ => Err(LinkError::new("claim", "this end of the ring was ours")),
        }
    }

    /// Whether no life of `own`'s partition was ever here: memory that was wiped
    /// counts its incarnations from the beginning.
    fn knows_none(&self, own: Life) -> bool {
        let partition = self.registry.partition(own.partition());
        partition.is_ok_and(|partition| partition.life.is_none())
    }
}

/// This end's heartbeat and the peer's.
pub(super) struct Pulse<'m> {
    ground: Ground<'m>,
    presence: Presence<'m>,
    peer: u8,
}

impl<'m> Pulse<'m> {
    /// Attaches as a new life of `own`, at once if its earlier one left or its
    /// process is gone.
    pub(super) fn attach(ground: Ground<'m>, own: u8, peer: u8) -> Result<Self, LinkError> {
        let registry = ground.registry;
        let processes = Processes::new(registry);
        // KMON and each machine have a number of their own, and there is one of each:
        // an earlier life that is silent for so long was another boot of the machine.
        let heartbeats = Heartbeats::with_limit(registry, STANDSTILL / 2);
        let heartbeats = heartbeats.presume_gone_after(STANDSTILL);
        let mut wait = SleepPoll::timeout(TAKE_OVER, POLL_LIMIT);
        let presence = registry.attach_when_over(
            own,
            Process::this(),
            &mut wait,
            &mut (processes, heartbeats),
        );
        Ok(Self {
            ground,
            presence: presence.map_err(|e| LinkError::new("partition", e))?,
            peer,
        })
    }

    pub(super) fn life(&self) -> Life {
        self.presence.life()
    }

    pub(super) fn beat(&mut self) -> Result<(), LinkError> {
        self.ground.check()?;
        if self.presence.beat().is_ok() {
            return Ok(());
        }
        if self.ground.knows_none(self.life()) {
            return Err(LinkError::Formatted);
        }
        let own = self.ground.registry.partition(self.life().partition());
        own.map_err(|e| LinkError::new("partition", e))?;
        Err(LinkError::Evicted)
    }

    /// What is known of the peer; nothing if its slot is no slot any more.
    pub(super) fn peer(&self) -> Option<Partition> {
        self.ground.registry.partition(self.peer).ok()
    }

    pub(super) fn peer_beat(&self) -> u32 {
        self.peer().map_or(0, |peer| peer.heartbeat)
    }
}

/// The producing end of either ring.
pub(super) struct Sender<'m> {
    ground: Ground<'m>,
    producer: Producer<'m>,
    life: Life,
    way: Way<'m>,
    /// Learnt while waiting for space, and not said yet.
    restarted: bool,
    /// The record to send.
    pub(super) record: Vec<u8>,
}

impl<'m> Sender<'m> {
    pub(super) fn new(producer: Producer<'m>, pulse: &Pulse<'m>, way: &Way<'m>) -> Self {
        Self {
            ground: pulse.ground,
            producer,
            life: pulse.life(),
            way: way.clone(),
            restarted: false,
            record: Vec::new(),
        }
    }

    pub(super) fn send(&mut self) -> Result<Sent, LinkError> {
        self.check()?;
        if std::mem::take(&mut self.restarted) {
            return Ok(Sent::Restarted);
        }
        match self.producer.push(&self.record) {
            Ok(()) => {}
            Err(PushError::Full) => return Ok(Sent::Full),
            Err(PushError::Restarted) => return Ok(Sent::Restarted),
            Err(error) => return Err(self.failed(error)),
        }
        if let Some(bell) = self.way.doorbell(RECORDS) {
            let told = self.producer.notify(&bell);
            told.map_err(|error| self.failed(error))?;
        }
        Ok(Sent::Whole)
    }

    fn check(&self) -> Result<(), LinkError> {
        let holder = self.producer.ring().producing();
        self.ground.check_claim(holder, self.life)
    }

    /// Why the ring refused: that the end was lost meanwhile, if it was.
    fn failed(&self, error: impl Display) -> LinkError {
        let why = self.check().err();
        why.unwrap_or_else(|| LinkError::new("cannot send", error))
    }

    /// Waits for room for a record of `len` bytes.
    pub(super) fn wait_for_space(&mut self, len: usize, timeout: Duration) {
        let deadline = Instant::now() + timeout.min(LONGEST);
        let waited = match self.way.waiting() {
            Waiting::Futex => self
                .producer
                .wait_for_space(len, &mut Futex::timeout(timeout)),
            Waiting::Poll => self
                .producer
                .wait_for_space(len, &mut SleepPoll::timeout(timeout, POLL_LIMIT)),
            Waiting::Bells(bells) => self
                .producer
                .wait_for_space(len, &mut Nap::new(&mut Idle, bells.own(ROOM), deadline)),
        };
        // A broken ring has "space": the next `send` says what is wrong.
        self.restarted |= waited == Err(PushError::Restarted);
    }
}

/// When a record is given back to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Before it is handled: whoever dies at it leaves it handled, or half.
    Before,
    /// Behind that: whoever dies at it leaves it to the next life.
    Behind,
}

/// The consuming end of either ring.
pub(super) struct Receiver<'m> {
    ground: Ground<'m>,
    pub(super) consumer: Consumer<'m>,
    life: Life,
    way: Way<'m>,
    record: Vec<u8>,
    pace: Pace,
}

impl<'m> Receiver<'m> {
    pub(super) fn new(
        consumer: Consumer<'m>,
        pulse: &Pulse<'m>,
        way: &Way<'m>,
        role: Role,
    ) -> Self {
        Self {
            ground: pulse.ground,
            consumer,
            life: pulse.life(),
            way: way.clone(),
            record: Vec::new(),
            pace: Pace::new(role),
        }
    }

    /// Waits for records, attending to `sideline`, and hands a copy of each of a batch to
    /// `handle`, with its position.
    pub(super) fn receive(
        &mut self,
        timeout: Duration,
        sideline: &mut dyn Sideline,
        release: Release,
        mut handle: impl FnMut(u32, Received<&[u8]>),
    ) -> Result<usize, LinkError> {
        self.wait(timeout, sideline);
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH && bytes < BATCH_BYTES {
            self.check()?;
            let found = match self.consumer.peek() {
                Ok(found) => {
                    found.read_into(&mut self.record);
                    Received::Message(())
                }
                Err(PopError::Restarted) => Received::Restarted,
                Err(PopError::Empty) => break,
                Err(error) => return Err(self.failed(error)),
            };
            // What is discarded lies in front of it.
            let position = self.consumer.position();
            if release == Release::Before {
                self.release()?;
            }
            bytes += self.record.len();
            handle(position, found.map(|()| &*self.record));
            self.release()?;
            count += 1;
        }
        if count != 0
            && let Some(bell) = self.way.doorbell(ROOM)
        {
            let told = self.consumer.notify(&bell);
            told.map_err(|error| self.failed(error))?;
        }
        Ok(count)
    }

    fn release(&mut self) -> Result<(), LinkError> {
        let released = self.consumer.release();
        released.map_err(|error| self.failed(error))
    }

    fn check(&self) -> Result<(), LinkError> {
        let holder = self.consumer.ring().consuming();
        self.ground.check_claim(holder, self.life)
    }

    /// As [`Sender::failed`].
    fn failed(&self, error: impl Display) -> LinkError {
        let why = self.check().err();
        why.unwrap_or_else(|| LinkError::new("cannot receive", error))
    }

    /// Whether the other end interrupts this one now.
    pub(super) fn is_rung(&self) -> bool {
        matches!(self.way.waiting(), Waiting::Bells(_))
    }

    /// Passes over the next record if it is the one at `position`.
    pub(super) fn skip(&mut self, position: u32) {
        let next = &mut self.consumer;
        if next.position() == position && next.peek().is_ok() {
            // The next call says if it is another's.
            let _ = next.release();
        }
    }

    fn wait(&mut self, timeout: Duration, sideline: &mut dyn Sideline) {
        let waiting = self.way.waiting();
        // Where records are always there, no wait gives it a turn.
        if !matches!(waiting, Waiting::Futex) && !self.consumer.is_empty() {
            sideline.turn();
        }
        match waiting {
            Waiting::Bells(bells) => {
                let mut poll = Poll::linger(&mut self.pace, sideline, timeout);
                let mut found = self.consumer.wait(&mut poll);
                if !found && poll.lie_down() {
                    found = self.consumer.wait(&mut poll.nap(bells.own(RECORDS)));
                    poll.wake();
                }
                if found {
                    poll.found();
                }
            }
            Waiting::Futex => {
                self.consumer.wait(&mut Futex::timeout(timeout));
            }
            Waiting::Poll => {
                let mut poll = Poll::timeout(&mut self.pace, sideline, timeout);
                if self.consumer.wait(&mut poll) {
                    poll.found();
                }
            }
        }
    }
}

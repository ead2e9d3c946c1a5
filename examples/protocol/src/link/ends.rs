//! What both ends of a link are made of: one that sends, one that receives, a pulse.

use std::time::Duration;

use shmem_core::ring::{Consumer, PopError, Producer, PushError};
use shmem_core::{Life, Window};
use shmem_registry::{Heartbeats, Partition, Presence, Process, Processes, Registry};
use shmem_sync::{Futex, FutexBell, SleepPoll};

use super::{LinkError, Received, Sent, Waiting};

/// Records and bytes handled by one call of `receive`, so that a flood leaves its caller time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// Longest delay between two looks where there is no doorbell: the latency of
/// a key typed after a pause, against the processor time of an idle instance.
const POLL_LIMIT: Duration = Duration::from_millis(10);
/// An earlier life whose heartbeat stands still for so long is over, where
/// nothing else tells: longer than a busy machine leaves one without a processor.
const STANDSTILL: Duration = Duration::from_secs(3);
/// How long attaching waits for the end of an earlier life.
const TAKE_OVER: Duration = Duration::from_secs(4);

/// This end's heartbeat and the peer's.
pub(super) struct Pulse<'m> {
    registry: Registry<'m>,
    presence: Presence<'m>,
    peer: u8,
}

impl<'m> Pulse<'m> {
    /// Attaches as a new life of `own`, at once if its earlier one left or its
    /// process is gone.
    pub(super) fn attach(registry: Registry<'m>, own: u8, peer: u8) -> Result<Self, LinkError> {
        let processes = Processes::new(registry);
        let heartbeats = Heartbeats::with_limit(registry, STANDSTILL);
        let mut wait = SleepPoll::timeout(TAKE_OVER, POLL_LIMIT);
        let presence = registry.attach_when_over(
            own,
            Process::this(),
            &mut wait,
            &mut (processes, heartbeats),
        );
        Ok(Self {
            registry,
            presence: presence.map_err(|e| LinkError::new("partition", e))?,
            peer,
        })
    }

    pub(super) fn life(&self) -> Life {
        self.presence.life()
    }

    pub(super) fn beat(&mut self) -> Result<(), LinkError> {
        if self.presence.beat().is_ok() {
            return Ok(());
        }
        let own = self.registry.partition(self.life().partition());
        own.map_err(|e| LinkError::new("partition", e))?;
        Err(LinkError::Replaced)
    }

    /// What is known of the peer; nothing if its slot is no slot any more.
    pub(super) fn peer(&self) -> Option<Partition> {
        self.registry.partition(self.peer).ok()
    }

    pub(super) fn peer_beat(&self) -> u32 {
        self.peer().map_or(0, |peer| peer.heartbeat)
    }
}

/// The registry in a region that is there already.
pub(super) fn registry(memory: Window<'_>) -> Result<Registry<'_>, LinkError> {
    let region = shmem_core::Region::attach(memory).map_err(|e| LinkError::new("region", e))?;
    Registry::attach(region).map_err(|e| LinkError::new("registry", e))
}

/// An error unless `own` still has an end that `holder` has: a life that was
/// thought dead while it only slept touches nothing more.
fn check_claim(holder: Option<Life>, own: Life) -> Result<(), LinkError> {
    match holder {
        Some(life) if life == own => Ok(()),
        Some(life) if life.partition() == own.partition() => Err(LinkError::Replaced),
        _ => Err(LinkError::new("claim", "this end of the ring was ours")),
    }
}

/// The producing end of either ring.
pub(super) struct Sender<'m> {
    producer: Producer<'m>,
    life: Life,
    waiting: Waiting,
    /// Learnt while waiting for space, and not said yet.
    restarted: bool,
    /// The record to send.
    pub(super) record: Vec<u8>,
}

impl<'m> Sender<'m> {
    pub(super) fn new(producer: Producer<'m>, life: Life, waiting: Waiting) -> Self {
        Self {
            producer,
            life,
            waiting,
            restarted: false,
            record: Vec::new(),
        }
    }

    pub(super) fn send(&mut self) -> Result<Sent, LinkError> {
        check_claim(self.producer.ring().producing(), self.life)?;
        if std::mem::take(&mut self.restarted) {
            return Ok(Sent::Restarted);
        }
        match self.producer.push(&self.record) {
            Ok(()) => {}
            Err(PushError::Full) => return Ok(Sent::Full),
            Err(PushError::Restarted) => return Ok(Sent::Restarted),
            Err(error) => return Err(LinkError::new("cannot send", error)),
        }
        if self.waiting == Waiting::Futex {
            self.producer.notify(&FutexBell);
        }
        Ok(Sent::Whole)
    }

    pub(super) fn wait_for_space(&mut self, body: usize, timeout: Duration) {
        let len = crate::message::HEADER_LEN + body;
        let waited = match self.waiting {
            Waiting::Futex => self
                .producer
                .wait_for_space(len, &mut Futex::timeout(timeout)),
            Waiting::Poll => self
                .producer
                .wait_for_space(len, &mut SleepPoll::timeout(timeout, POLL_LIMIT)),
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
    pub(super) consumer: Consumer<'m>,
    life: Life,
    waiting: Waiting,
    record: Vec<u8>,
    /// How long the last poll slept between two looks: zero after a record.
    delay: Duration,
}

impl<'m> Receiver<'m> {
    pub(super) fn new(consumer: Consumer<'m>, life: Life, waiting: Waiting) -> Self {
        Self {
            consumer,
            life,
            waiting,
            record: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// Waits for records and hands a copy of each of a batch to `handle`, with
    /// its position.
    pub(super) fn receive(
        &mut self,
        timeout: Duration,
        release: Release,
        mut handle: impl FnMut(u32, Received<&[u8]>),
    ) -> Result<usize, LinkError> {
        self.wait(timeout);
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH && bytes < BATCH_BYTES {
            check_claim(self.consumer.ring().consuming(), self.life)?;
            let found = match self.consumer.peek() {
                Ok(found) => {
                    found.read_into(&mut self.record);
                    Received::Message(())
                }
                Err(PopError::Restarted) => Received::Restarted,
                Err(PopError::Empty) => break,
                Err(error) => return Err(LinkError::new("cannot receive", error)),
            };
            // What is discarded lies in front of it.
            let position = self.consumer.position();
            if release == Release::Before {
                self.consumer.release();
            }
            bytes += self.record.len();
            handle(position, found.map(|()| &*self.record));
            self.consumer.release();
            count += 1;
        }
        if count != 0 && self.waiting == Waiting::Futex {
            self.consumer.notify(&FutexBell);
        }
        Ok(count)
    }

    fn wait(&mut self, timeout: Duration) {
        match self.waiting {
            Waiting::Futex => {
                self.consumer.wait(&mut Futex::timeout(timeout));
            }
            Waiting::Poll => {
                let poll = SleepPoll::timeout(timeout, POLL_LIMIT);
                let mut poll = poll.starting_at(self.delay);
                let found = self.consumer.wait(&mut poll);
                self.delay = if found { Duration::ZERO } else { poll.delay() };
            }
        }
    }
}

//! What both ends of a link are made of: one that sends, one that receives, a heartbeat.

use std::time::Duration;

use shmem_core::ring::{Consumer, PopError, Producer, PushError};
use shmem_registry::{Presence, Registry};
use shmem_sync::{Futex, FutexBell, SleepPoll};

use super::{LinkError, Waiting};

/// Records and bytes handled by one call of `receive`, so that a flood leaves its caller time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// Longest delay between two looks where there is no doorbell: the latency of
/// a key typed after a pause, against the processor time of an idle instance.
const POLL_LIMIT: Duration = Duration::from_millis(10);

/// This end's heartbeat and the peer's.
pub(super) struct Life<'m> {
    pub(super) registry: Registry<'m>,
    pub(super) presence: Presence<'m>,
    pub(super) peer: u8,
}

impl<'m> Life<'m> {
    pub(super) fn new(registry: Registry<'m>, own: u8, peer: u8) -> Result<Self, LinkError> {
        let presence = registry.attach_partition(own);
        registry
            .partition(peer)
            .and(presence)
            .map(|presence| Self {
                registry,
                presence,
                peer,
            })
            .map_err(|e| LinkError::new("partition", e))
    }

    pub(super) fn peer_beat(&self) -> u32 {
        self.registry
            .partition(self.peer)
            .map_or(0, |peer| peer.heartbeat)
    }
}

/// The producing end of either ring.
pub(super) struct Sender<'m> {
    pub(super) producer: Producer<'m>,
    pub(super) record: Vec<u8>,
    pub(super) waiting: Waiting,
}

impl Sender<'_> {
    pub(super) fn send(&mut self) -> Result<bool, LinkError> {
        match self.producer.push(&self.record) {
            Ok(()) => {}
            Err(PushError::Full) => return Ok(false),
            Err(error) => return Err(LinkError::new("cannot send", error)),
        }
        if self.waiting == Waiting::Futex {
            self.producer.notify(&mut FutexBell);
        }
        Ok(true)
    }

    pub(super) fn wait_for_space(&mut self, body: usize, timeout: Duration) {
        let len = crate::message::HEADER_LEN + body;
        // A broken ring has "space": the next `send` says what is wrong.
        let _ = match self.waiting {
            Waiting::Futex => self
                .producer
                .wait_for_space(len, &mut Futex::timeout(timeout)),
            Waiting::Poll => self
                .producer
                .wait_for_space(len, &mut SleepPoll::timeout(timeout, POLL_LIMIT)),
        };
    }
}

/// The consuming end of either ring.
pub(super) struct Receiver<'m> {
    pub(super) consumer: Consumer<'m>,
    pub(super) record: Vec<u8>,
    pub(super) waiting: Waiting,
    /// How long the last poll slept between two looks: zero after a record.
    pub(super) delay: Duration,
}

impl Receiver<'_> {
    /// Waits for records and hands a copy of each of a batch to `handle`.
    pub(super) fn receive(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(&[u8]),
    ) -> Result<usize, LinkError> {
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
        let record = &mut self.record;
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH && bytes < BATCH_BYTES {
            match self.consumer.peek() {
                Ok(found) => found.read_into(record),
                Err(PopError::Empty) => break,
                Err(error) => return Err(LinkError::new("cannot receive", error)),
            }
            self.consumer.release();
            count += 1;
            bytes += record.len();
            handle(record);
        }
        if count != 0 && self.waiting == Waiting::Futex {
            self.consumer.notify(&mut FutexBell);
        }
        Ok(count)
    }
}

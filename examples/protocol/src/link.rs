//! The two ends of an instance's region.
//!
//! | segment         | kind     | bytes        | producer or writer |
//! |-----------------|----------|--------------|--------------------|
//! | `kmon.settings` | snapshot | 256          | KMON               |
//! | `kmon.command`  | ring     | 64 KiB       | KMON               |
//! | `kmon.result`   | ring     | 1 MiB        | instance           |
//! | `kmon.stats`    | snapshot | [`Stats::MAX_LEN`] | instance     |
//!
//! KMON formats the region and creates the segments before an instance sees
//! it; the instance attaches and formats nothing.

use std::fmt;
use std::time::Duration;

use shmem_core::ring::{Consumer, PopError, Producer, PushError, Ring};
use shmem_core::snapshot::{self, Reader, Writer};
use shmem_core::{Region, Window};
use shmem_registry::{Geometry, Kind, Presence, Registry, Request, Segment};
use shmem_sync::{Futex, FutexBell, SleepPoll};

use crate::MONITOR;
use crate::message::{Command, Event};
use crate::settings::Settings;
use crate::stats::Stats;

/// Version of the messages, said in [`Event::Hello`].
pub const VERSION: u16 = 1;

const COMMAND_RING: usize = 64 << 10;
const RESULT_RING: usize = 1 << 20;
const GEOMETRY: Geometry = Geometry {
    segments: 16,
    partitions: 64,
    block: 128,
};

/// Longest body of an event that carries bytes.
const EVENT_BODY: usize = 16 << 10;
/// Longest body of a command that carries bytes.
const COMMAND_BODY: usize = 4 << 10;
/// Records and bytes handled by one call of `receive`, so that a flood leaves its caller time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// Longest delay between two looks where there is no doorbell: the latency of
/// a key typed after a pause, against the processor time of an idle instance.
const POLL_LIMIT: Duration = Duration::from_millis(10);

/// How two ends wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// They are processes of one kernel.
    Futex,
    /// They share nothing but the memory.
    Poll,
}

/// Why a link cannot be made or used any more: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError(String);

impl LinkError {
    fn new(what: &str, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LinkError {}

/// The four segments of a region.
struct Segments<'m> {
    settings: Segment<'m>,
    command: Segment<'m>,
    result: Segment<'m>,
    stats: Segment<'m>,
}

impl<'m> Segments<'m> {
    fn find(
        mut open: impl FnMut(&Request) -> Result<Segment<'m>, shmem_registry::OpenError>,
    ) -> Result<Self, LinkError> {
        let mut segment = |name, kind, len| {
            let request = Request::named(name, kind, len).map_err(|e| LinkError::new(name, e))?;
            open(&request).map_err(|e| LinkError::new(name, e))
        };
        let settings = snapshot::segment_len(Settings::MAX_LEN);
        let stats = snapshot::segment_len(Stats::MAX_LEN);
        Ok(Self {
            settings: segment("kmon.settings", Kind::SNAPSHOT, settings)?,
            command: segment("kmon.command", Kind::RING, Ring::segment_len(COMMAND_RING))?,
            result: segment("kmon.result", Kind::RING, Ring::segment_len(RESULT_RING))?,
            stats: segment("kmon.stats", Kind::SNAPSHOT, stats)?,
        })
    }
}

fn ring<'m>(segment: &Segment<'m>) -> Result<Ring<'m>, LinkError> {
    Ring::attach(segment.window()).map_err(|e| LinkError::new(segment.name().as_str(), e))
}

/// KMON's end.
pub struct MonitorLink<'m> {
    sender: CommandSender<'m>,
    receiver: EventReceiver<'m>,
}

impl<'m> MonitorLink<'m> {
    /// Bytes a region must have.
    pub const REGION_LEN: usize = 2 << 20;

    /// Formats `memory` as the region of the instance that `settings` names.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the memory is too short.
    pub fn create(
        memory: Window<'m>,
        settings: &Settings,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let region = Region::format(memory, 0).map_err(|e| LinkError::new("region", e))?;
        let registry =
            Registry::format(region, GEOMETRY).map_err(|e| LinkError::new("registry", e))?;
        let segments = Segments::find(|request| registry.open_or_create(MONITOR, request))?;

        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        let mut writer = Writer::attach(segments.settings.window())
            .map_err(|e| LinkError::new("kmon.settings", e))?;
        let written = writer.write(&bytes);
        written.map_err(|e| LinkError::new("kmon.settings", e))?;

        let producer = ring(&segments.command)?.producer(MONITOR);
        let consumer = ring(&segments.result)?.consumer(MONITOR);
        Ok(Self {
            sender: CommandSender(Sender {
                producer: producer.map_err(|e| LinkError::new("kmon.command", e))?,
                record: Vec::new(),
                waiting,
            }),
            receiver: EventReceiver {
                end: Receiver {
                    consumer: consumer.map_err(|e| LinkError::new("kmon.result", e))?,
                    record: Vec::new(),
                    waiting,
                    delay: Duration::ZERO,
                },
                life: Life::new(registry, MONITOR, settings.partition)?,
                stats: Reader::attach(segments.stats.window())
                    .map_err(|e| LinkError::new("kmon.stats", e))?,
            },
        })
    }

    /// The two halves, for a thread each.
    pub fn split(self) -> (CommandSender<'m>, EventReceiver<'m>) {
        (self.sender, self.receiver)
    }
}

/// An instance's end.
pub struct DaemonLink<'m> {
    settings: Settings,
    sender: EventSender<'m>,
    receiver: CommandReceiver<'m>,
    stats: StatsWriter<'m>,
}

impl<'m> DaemonLink<'m> {
    /// Attaches to the region that KMON formatted in `memory`.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if it is no such region, or an end of it is taken.
    pub fn attach(memory: Window<'m>, waiting: Waiting) -> Result<Self, LinkError> {
        let region = Region::attach(memory).map_err(|e| LinkError::new("region", e))?;
        let registry = Registry::attach(region).map_err(|e| LinkError::new("registry", e))?;
        let segments = Segments::find(|request| registry.open(request))?;

        let mut bytes = [0; Settings::MAX_LEN];
        let len = Reader::attach(segments.settings.window())
            .map_err(|e| LinkError::new("kmon.settings", e))?
            .read(&mut bytes)
            .map_err(|e| LinkError::new("kmon.settings", e))?;
        let settings =
            Settings::decode(&bytes[..len]).map_err(|e| LinkError::new("kmon.settings", e))?;

        let consumer = ring(&segments.command)?.consumer(settings.partition);
        let producer = ring(&segments.result)?.producer(settings.partition);
        Ok(Self {
            sender: EventSender(Sender {
                producer: producer.map_err(|e| LinkError::new("kmon.result", e))?,
                record: Vec::new(),
                waiting,
            }),
            receiver: CommandReceiver {
                end: Receiver {
                    consumer: consumer.map_err(|e| LinkError::new("kmon.command", e))?,
                    record: Vec::new(),
                    waiting,
                    delay: Duration::ZERO,
                },
                life: Life::new(registry, settings.partition, MONITOR)?,
            },
            stats: StatsWriter {
                writer: Writer::attach(segments.stats.window())
                    .map_err(|e| LinkError::new("kmon.stats", e))?,
                bytes: Vec::new(),
            },
            settings,
        })
    }

    /// What KMON told this instance about itself.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The three parts, for a thread each.
    pub fn split(self) -> (EventSender<'m>, CommandReceiver<'m>, StatsWriter<'m>) {
        (self.sender, self.receiver, self.stats)
    }
}

/// This end's heartbeat and the peer's.
struct Life<'m> {
    registry: Registry<'m>,
    presence: Presence<'m>,
    peer: u8,
}

impl<'m> Life<'m> {
    fn new(registry: Registry<'m>, own: u8, peer: u8) -> Result<Self, LinkError> {
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

    fn peer_beat(&self) -> u32 {
        self.registry
            .partition(self.peer)
            .map_or(0, |peer| peer.heartbeat)
    }
}

/// The producing end of either ring.
struct Sender<'m> {
    producer: Producer<'m>,
    record: Vec<u8>,
    waiting: Waiting,
}

impl Sender<'_> {
    fn send(&mut self) -> Result<bool, LinkError> {
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

    fn wait_for_space(&mut self, body: usize, timeout: Duration) {
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
struct Receiver<'m> {
    consumer: Consumer<'m>,
    record: Vec<u8>,
    waiting: Waiting,
    /// How long the last poll slept between two looks: zero after a record.
    delay: Duration,
}

impl Receiver<'_> {
    /// Waits for records and hands a copy of each of a batch to `handle`.
    fn receive(
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

/// KMON's half that sends.
pub struct CommandSender<'m>(Sender<'m>);

impl CommandSender<'_> {
    /// Bytes one [`Command::Input`] can carry.
    pub const MAX_BODY: usize = COMMAND_BODY;

    /// Sends `command` and wakes the instance; `false` if there is no room now.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring.
    pub fn send(&mut self, command: &Command<'_>) -> Result<bool, LinkError> {
        command.encode(&mut self.0.record);
        self.0.send()
    }

    /// Waits until the longest input fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.0.wait_for_space(Self::MAX_BODY, timeout);
    }
}

/// KMON's half that receives.
pub struct EventReceiver<'m> {
    end: Receiver<'m>,
    life: Life<'m>,
    stats: Reader<'m>,
}

impl EventReceiver<'_> {
    /// Waits up to `timeout` for an event, then hands what is there to
    /// `handle`, a bounded number. Returns how many records there were; those
    /// that are no event are skipped.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Event<'_>),
    ) -> Result<usize, LinkError> {
        self.end.receive(timeout, |record| {
            if let Ok(event) = Event::decode(record) {
                handle(event);
            }
        })
    }

    /// The latest statistics; `None` if there are none, or none that can be read.
    pub fn stats(&mut self) -> Option<Stats> {
        let mut bytes = vec![0; Stats::MAX_LEN];
        let len = self.stats.read(&mut bytes).ok()?;
        Stats::decode(&bytes[..len]).ok()
    }

    /// Shows the instance that KMON lives; at least every 100 ms.
    pub fn beat(&mut self) {
        self.life.presence.beat();
    }

    /// The instance's heartbeat; 0 before it attached.
    pub fn peer_beat(&self) -> u32 {
        self.life.peer_beat()
    }
}

/// An instance's half that sends.
pub struct EventSender<'m>(Sender<'m>);

impl EventSender<'_> {
    /// Bytes one event can carry.
    pub const MAX_BODY: usize = EVENT_BODY;

    /// Sends `event` and wakes KMON; `false` if there is no room now.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring.
    pub fn send(&mut self, event: &Event<'_>) -> Result<bool, LinkError> {
        event.encode(&mut self.0.record);
        self.0.send()
    }

    /// Waits until the longest event fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.0.wait_for_space(Self::MAX_BODY, timeout);
    }
}

/// An instance's half that receives.
pub struct CommandReceiver<'m> {
    end: Receiver<'m>,
    life: Life<'m>,
}

impl CommandReceiver<'_> {
    /// Waits up to `timeout` for a command, then hands what is there to
    /// `handle`, a bounded number. Returns how many records there were; those
    /// that are no command are skipped.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Command<'_>),
    ) -> Result<usize, LinkError> {
        self.end.receive(timeout, |record| {
            if let Ok(command) = Command::decode(record) {
                handle(command);
            }
        })
    }

    /// Shows KMON that the instance lives; at least every 100 ms.
    pub fn beat(&mut self) {
        self.life.presence.beat();
    }

    /// KMON's heartbeat.
    pub fn peer_beat(&self) -> u32 {
        self.life.peer_beat()
    }
}

/// An instance's half that reports.
pub struct StatsWriter<'m> {
    writer: Writer<'m>,
    bytes: Vec<u8>,
}

impl StatsWriter<'_> {
    /// Makes `stats` the latest.
    pub fn publish(&mut self, stats: &Stats) {
        stats.encode(&mut self.bytes);
        let written = self.writer.write(&self.bytes);
        written.expect("the segment has room for the longest statistics");
    }
}

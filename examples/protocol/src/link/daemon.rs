//! An instance's end of its region.

use std::time::Duration;

use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Region, Window};
use shmem_registry::Registry;

use super::ends::{Life, Receiver, Sender};
use super::{EVENT_BODY, LinkError, Segments, Waiting, ring};
use crate::MONITOR;
use crate::message::{Command, Event};
use crate::settings::Settings;
use crate::stats::Stats;

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

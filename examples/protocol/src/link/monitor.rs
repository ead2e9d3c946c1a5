//! KMON's end of an instance's region.

use std::time::Duration;

use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Region, Window};
use shmem_registry::Registry;

use super::ends::{Life, Receiver, Sender};
use super::{COMMAND_BODY, GEOMETRY, LinkError, Segments, Waiting, ring};
use crate::MONITOR;
use crate::message::{Command, Event};
use crate::settings::Settings;
use crate::stats::Stats;

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

//! KMON's end of an instance's region.

use std::time::Duration;

use shmem_core::ring::Unread;
use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Life, Region, Window};
use shmem_registry::{Process, Registry, Segment};
use shmem_sync::litmus::Verdict;

use super::bells::{RECORDS, Way};
use super::ends::{Ground, Pulse, Receiver, Release, Sender};
use super::kernel::{KernelReceiver, KernelSegments};
use super::memory::Trial;
use super::nudge::Nudge;
use super::poll::Role;
use super::sideline::Idle;
use super::{COMMAND_BODY, GEOMETRY, LinkError, Received, Segments, Sent, Waiting, ring};
use crate::MONITOR;
use crate::message::{Command, Event, HEADER_LEN};
use crate::settings::Settings;
use crate::stats::Stats;

/// KMON's end.
pub struct MonitorLink<'m> {
    sender: CommandSender<'m>,
    receiver: EventReceiver<'m>,
    kernel: Option<KernelReceiver<'m>>,
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
        let ground = Ground::new(region, registry);
        let pulse = Pulse::attach(ground, MONITOR, settings.partition)?;
        let life = pulse.life();
        let segments = Segments::find(|request| registry.open_or_create(life, request))?;
        let kernel = KernelSegments::find(|request| registry.open_or_create(life, request))?;
        let way = Way::new(waiting, |request| registry.open_or_create(life, request))?;
        let trial = Trial::new(&way, |request| registry.open_or_create(life, request))?;
        // Last: an instance that sees them finds all else.
        tell(&segments.settings, settings)?;
        Self::over(&segments, kernel, pulse, &way, trial)
    }

    /// Attaches as KMON's next life to a region that an earlier one formatted.
    /// What was not released in the result ring is there again; what was not
    /// taken from the command ring never runs. `settings` hold from the
    /// instance's next life on.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if it is no such region, or KMON's earlier life still lives.
    pub fn attach(
        memory: Window<'m>,
        settings: &Settings,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let ground = Ground::attach(memory)?;
        let segments = Segments::find(|request| ground.registry.open(request))?;
        let kernel = KernelSegments::find(|request| ground.registry.open(request))?;
        let pulse = Pulse::attach(ground, MONITOR, settings.partition)?;
        let way = Way::new(waiting, |request| ground.registry.open(request))?;
        let trial = Trial::new(&way, |request| ground.registry.open(request))?;
        tell(&segments.settings, settings)?;
        Self::over(&segments, kernel, pulse, &way, trial)
    }

    fn over(
        segments: &Segments<'m>,
        kernel: Option<KernelSegments<'m>>,
        pulse: Pulse<'m>,
        way: &Way<'m>,
        trial: Trial<'m>,
    ) -> Result<Self, LinkError> {
        let life = pulse.life();
        let producer = ring(&segments.command)?.producer(life);
        let consumer = ring(&segments.result)?.consumer(life, Unread::Keep);
        let producer = producer.map_err(|e| LinkError::new("kmon.command", e))?;
        let consumer = consumer.map_err(|e| LinkError::new("kmon.result", e))?;
        let kernel = kernel.map(|segments| segments.receiver(life, &pulse, way));
        way.say_number();
        // So that an instance that sleeps greets this life now.
        way.waiting().disturb();
        let nudge = Nudge::new(way.own_bell(RECORDS));
        Ok(Self {
            kernel: kernel.transpose()?,
            sender: CommandSender {
                end: Sender::new(producer, &pulse, way),
                nudge: nudge.clone(),
            },
            receiver: EventReceiver {
                end: Receiver::new(consumer, &pulse, way, Role::Monitor(nudge)),
                pulse,
                trial,
                stats: Reader::attach(segments.stats.window())
                    .map_err(|e| LinkError::new("kmon.stats", e))?,
            },
        })
    }

    /// Which of KMON's lives in this region it is.
    pub fn life(&self) -> Life {
        self.receiver.pulse.life()
    }

    /// The parts, for a thread each; the last is missing where the KMON that
    /// formatted the region made no log ring.
    pub fn split(
        self,
    ) -> (
        CommandSender<'m>,
        EventReceiver<'m>,
        Option<KernelReceiver<'m>>,
    ) {
        (self.sender, self.receiver, self.kernel)
    }
}

fn tell(segment: &Segment<'_>, settings: &Settings) -> Result<(), LinkError> {
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    let mut writer =
        Writer::attach(segment.window()).map_err(|e| LinkError::new("kmon.settings", e))?;
    let written = writer.write(&bytes);
    written.map_err(|e| LinkError::new("kmon.settings", e))
}

/// KMON's half that sends.
pub struct CommandSender<'m> {
    end: Sender<'m>,
    /// Lets the half that receives look for the answer.
    nudge: Nudge,
}

impl CommandSender<'_> {
    /// Bytes one [`Command::Input`] can carry.
    pub const MAX_BODY: usize = COMMAND_BODY;

    /// Sends `command`, which is for life number `life` of the instance and
    /// discarded by any other, and wakes the instance.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has it.
    pub fn send(&mut self, command: &Command<'_>, life: u32) -> Result<Sent, LinkError> {
        command.encode(life, &mut self.end.record);
        let sent = self.end.send();
        if sent == Ok(Sent::Whole) {
            self.nudge.give();
        }
        sent
    }

    /// Waits until the longest input fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.end
            .wait_for_space(HEADER_LEN + Self::MAX_BODY, timeout);
    }
}

/// KMON's half that receives.
pub struct EventReceiver<'m> {
    end: Receiver<'m>,
    pulse: Pulse<'m>,
    trial: Trial<'m>,
    stats: Reader<'m>,
}

impl EventReceiver<'_> {
    /// Waits up to `timeout` for an event, then hands what is there to
    /// `handle`, a bounded number, each with its position and released behind
    /// it. Returns how many records there were; those that are no event are skipped.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has it.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(u32, Received<Event<'_>>),
    ) -> Result<usize, LinkError> {
        let behind = Release::Behind;
        self.end
            .receive(timeout, &mut Idle, behind, |at, received| {
                match received.map(Event::decode) {
                    Received::Message(Ok(event)) => handle(at, Received::Message(event)),
                    Received::Message(Err(_)) => {}
                    Received::Restarted => handle(at, Received::Restarted),
                }
            })
    }

    /// Passes over the next record if it is the one at `position`: an earlier
    /// life has handled it, and died before it released it.
    pub fn skip(&mut self, position: u32) {
        self.end.skip(position);
    }

    /// The latest statistics; `None` if there are none, or none that can be read.
    pub fn stats(&mut self) -> Option<Stats> {
        let mut bytes = vec![0; Stats::MAX_LEN];
        let len = self.stats.read(&mut bytes).ok()?;
        Stats::decode(&bytes[..len]).ok()
    }

    /// Finds out with the instance what works across the region's memory, in 50 ms at
    /// most; `None` where both are of one kernel, or the region is an earlier KMON's.
    pub fn try_memory(&mut self) -> Option<Verdict> {
        self.trial.ask()
    }

    /// Shows the instance that KMON lives; at least every second.
    ///
    /// # Errors
    ///
    /// [`LinkError::Evicted`]: another KMON has the region; nothing of it is to be used any more.
    pub fn beat(&mut self) -> Result<(), LinkError> {
        self.pulse.beat()
    }

    /// The instance's heartbeat; 0 before it attached.
    pub fn peer_beat(&self) -> u32 {
        self.pulse.peer_beat()
    }

    /// The instance's process, as its kernel knows it.
    pub fn peer_process(&self) -> Process {
        self.pulse
            .peer()
            .map_or(Process::UNKNOWN, |peer| peer.process)
    }
}
